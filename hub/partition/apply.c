/* Events: from the home of an identifier to the profile, and into it. */
#include "hub/partition/arrival.h"
#include "hub/partition/business_keys.h"

#include "hub/card.h"
#include "shared/utf8.h"

/* ---- Identifiers, claims, traits, consents ---- */

static bool is_refused(const struct profile *profile, struct identifier id)
{
    struct key link = key_identifier(id);
    uint64_t hash = hash_of(key_slice(&link));
    for (size_t i = 0; i < profile->refused_count; i++) {
        if (profile->refused[i] == hash) {
            return true;
        }
    }
    return false;
}

static bool apply_identifiers(struct partition *p, struct profile *profile, const struct arrival *a)
{
    const struct parties *parties = &a->parties;
    bool changed = false;
    int64_t at = a->event.timestamp_ms;
    for (size_t i = 0; i < parties->fact_count; i++) {
        struct identifier id = parties->facts[i];
        if (is_refused(profile, id)) {
            continue;
        }
        bool is_new = profile_see_identifier(profile, id, at, at);
        changed = changed || is_new;
        if (i == 0 && parties->fact_count > 1) {
            profile_prove_identifier(profile, id, at);
        }
        if (i > 0 && !is_new && profile_find_identifier(profile, id) == NULL) {
            /* More than the profile keeps: its home has to know whose it is. */
            struct evidence why = {id, a->event.message_id, at, parties->evidence[i]};
            identity_reserve(p, profile->id, &why);
        }
        if (i > 0 && is_new) {
            struct evidence why = {id, a->event.message_id, at, parties->evidence[i]};
            identity_journal(p, profile, JOURNAL_LINK, &why, parties->facts[0], NULL, "same event");
            identity_reserve(p, profile->id, &why);
        }
    }
    return changed;
}

/* A client's word is about the device that it comes from, a server's about the person. */
static bool apply_consents(struct profile *profile, const struct arrival *a)
{
    const msgpack_object *preferences =
        value_member_c(value_member_c(value_member_c(&a->event.body_map, "context"), "consent"),
                       "categoryPreferences");
    bool is_of_device = !a->verdict.is_server && a->event.anonymous_id.len > 0;
    bool changed = false;
    if (!value_is(preferences, MSGPACK_OBJECT_MAP)) {
        return false;
    }
    for (uint32_t i = 0; i < preferences->via.map.size; i++) {
        struct profile_consent consent = {.at_ms = a->event.timestamp_ms,
                                          .message_id = a->event.message_id,
                                          .source = a->event.source};
        if (value_text(&preferences->via.map.ptr[i].key, &consent.category) &&
            consent.category.len > 0 && consent.category.len <= LIMIT_NAME_BYTES &&
            event_consent_from(&preferences->via.map.ptr[i].val, &consent.granted)) {
            changed = (is_of_device ? devices_set_consent(profile, a->event.anonymous_id, &consent)
                                    : profile_set_consent(profile, &consent)) ||
                      changed;
        }
    }
    return changed;
}

static void put_timeline(struct partition *p, const struct profile *profile,
                         const struct arrival *a)
{
    uint8_t hash[16];
    arrival_hash(a, hash);
    struct key key =
        key_timeline(profile->id, a->event.timestamp_ms, event_rank(&a->event, read_u64(hash)));
    buf_clear(&p->scratch);
    timeline_compress(p->timeline, a->bytes, &p->scratch);
    view_put(&p->view, &key, buf_slice(&p->scratch));
}

/* The browser of an event, as the card of its collector had it before. */
struct browser {
    struct slice id; /* empty: none */
    bool was_named;
    int64_t evidence_ms;
};

static struct browser look_at_browser(const struct profile *profile, const struct arrival *a)
{
    struct browser b = {0};
    if (a->parties.fact_count > 0 && slice_is(a->parties.facts[0].type, "anonymous_id")) {
        b.id = a->parties.facts[0].value;
        b.was_named = card_has_browser(profile, a->collector, b.id);
        b.evidence_ms = card_evidence_at(profile, b.id);
    }
    return b;
}

/* The collector has seen it. True: its card must name the browser, or newer evidence of it. The
 * latter is told some thirty times while it is good, so that a visit does not send a card. */
static bool see_browser(const struct partition *p, struct profile *profile, const struct arrival *a,
                        const struct browser *before)
{
    struct profile_identifier *id =
        before->id.len == 0 ? NULL : profile_find_identifier(profile, a->parties.facts[0]);
    if (id == NULL) {
        return false;
    }
    int64_t step_ms = catalog_rules(p->catalog)->me_for_ms / 30 + 1;
    int64_t evidence_ms = card_evidence_at(profile, before->id);
    (void)profile_see_at(profile, id, a->collector);
    return !before->was_named || (partition_is_known(p, profile) &&
                                  evidence_ms / step_ms != before->evidence_ms / step_ms);
}

/* What an event says of people: its identifiers, claims and traits. *ret_parted: earlier events of
 * the profile left it for what this one proves. */
static bool apply_people(struct partition *p, struct profile *profile, struct arrival *a,
                         struct catalog_touch *touch, bool *ret_edge_trait, bool *ret_parted,
                         struct error *err)
{
    struct claim_list before;
    partition_list_claims(profile, &before);
    touch->identifiers = apply_identifiers(p, profile, a);
    *ret_parted = false;
    if (touch->identifiers && profile->claim_count > 0) {
        if (!arrival_judge_again(p, profile, touch, ret_parted, err)) {
            return false;
        }
        (void)apply_identifiers(p, profile, a); /* once more: they were seen anew */
    }
    touch->claims = arrival_apply_claims(profile, a);
    touch->traits = arrival_apply_traits(p, profile, a, ret_edge_trait) || touch->traits;
    touch->claims = partition_index_claims(p, profile, &before) || touch->claims;
    return true;
}

static bool apply(struct partition *p, struct profile *profile, struct arrival *a,
                  struct error *err)
{
    struct catalog_touch touch = {0};
    bool edge_trait = false;
    bool is_new_interest = false;
    bool parted;
    enum business_key_result keyed;
    bool was_known = partition_is_known(p, profile);
    struct browser browser = look_at_browser(profile, a);
    int64_t at = a->event.timestamp_ms;
    if (!apply_people(p, profile, a, &touch, &edge_trait, &parted, err)) {
        return false;
    }
    touch.consents = apply_consents(profile, a);
    profile->created_ms = at < profile->created_ms ? at : profile->created_ms;
    profile->last_seen_ms = at > profile->last_seen_ms ? at : profile->last_seen_ms;
    profile->event_count++;
    p->stats.events++;
    put_timeline(p, profile, a);
    if (!business_keys_take(p, profile, &a->event, &keyed, err)) {
        return false;
    }
    touch.conditions =
        keyed != KEY_REPEATS && catalog_note_event(p->catalog, profile, &a->event, p->now_ms);
    bool has_bought = keyed != KEY_REPEATS && partition_note_purchase(p, profile, &a->event);
    if (a->collector != SHARED_OUTBOX) {
        (void)profile_make_interest(profile, a->collector, &is_new_interest);
    }
    bool has_browser_news = see_browser(p, profile, a, &browser);
    bool is_known = partition_is_known(p, profile);
    p->stats.known += is_known && !was_known;
    bool card_changed = touch.identifiers || edge_trait || touch.consents || has_bought ||
                        is_new_interest || has_browser_news || parted;
    /* A new profile is a member of what holds for those without any event. */
    touch.everything = touch.everything || profile->event_count == 1;
    partition_changed(p, profile);
    return partition_settle(p, profile, touch, card_changed, err) &&
           ((!parted && keyed != KEY_REPLACES) || partition_put_together(p, profile, err));
}

/* Somebody who had not signed in made an event at this browser: its visitor claims to be who the
 * event is about. */
static bool apply_bystander(struct partition *p, struct profile *profile, struct arrival *a,
                            struct error *err)
{
    struct catalog_touch touch = {.everything = profile->event_count == 0};
    struct claim_list before;
    partition_list_claims(profile, &before);
    /* The event is not of this browser: it was not seen at that time. */
    (void)profile_see_identifier(profile, a->parties.facts[0], INT64_MAX, INT64_MIN);
    touch.claims = arrival_apply_claims(profile, a);
    (void)partition_index_claims(p, profile, &before);
    partition_changed(p, profile);
    return partition_settle(p, profile, touch, false, err);
}

/* Of a withdrawal its consents alone are taken. One that says what was known leaves nothing but the
 * time until when it holds: a client may repeat it with every page. */
static bool apply_withdrawal(struct partition *p, struct profile *profile, const struct arrival *a,
                             struct error *err)
{
    struct catalog_touch touch = {.consents = apply_consents(profile, a)};
    partition_changed(p, profile);
    if (!touch.consents) {
        return true;
    }
    put_timeline(p, profile, a);
    return partition_settle(p, profile, touch, true, err);
}

static struct profile *make_profile(struct partition *p, struct profile_id id)
{
    struct profile *profile = profile_new(id);
    profile->catalog_version = catalog_version(p->catalog);
    profile->purchases_version = catalog_purchases_version(p->catalog);
    profile->keys_id = catalog_business_keys_id(p->catalog);
    profile_cache_add(p->cache, profile, sizeof *profile + 1024);
    partition_changed(p, profile);
    p->stats.profiles++;
    return profile;
}

/* The profile may have gone elsewhere since the message was sent, or wait for a merge. */
static bool apply_at(struct partition *p, struct profile_id id, struct arrival *a,
                     struct error *err)
{
    struct profile *profile;
    struct profile_id went_to;
    if (!partition_locate(p, id, &profile, &went_to, err)) {
        return false;
    }
    if (profile == NULL && !profile_id_equal(went_to, id)) {
        partition_send(p, profile_id_partition(went_to), arrival_write(p, &went_to, a, NULL, NULL));
        return true;
    }
    if (profile == NULL) {
        profile = make_profile(p, id); /* a store lost it: better begun anew than events refused */
    }
    if (profile->is_frozen) {
        identity_defer(p, profile, arrival_write(p, &id, a, NULL, NULL));
        return true;
    }
    if (event_is_withdrawal(&a->event)) {
        return apply_withdrawal(p, profile, a, err);
    }
    if (a->part == PART_BYSTANDER) {
        return apply_bystander(p, profile, a, err);
    }
    return arrival_takes_seat(p, profile, a) || apply(p, profile, a, err);
}

bool apply_to_profile(struct partition *p, const msgpack_object *m, struct slice message,
                      struct error *err)
{
    struct arrival a;
    struct slice bytes;
    struct profile_id id;
    (void)message;
    uint32_t size = m->via.array.size;
    if ((size != 5 && size != 6) || !value_bin(&m->via.array.ptr[1], &bytes) ||
        !profile_id_from_slice(bytes, &id)) {
        return error_set(err, ERROR_CORRUPT, "an event's message is damaged");
    }
    return arrival_read(p, &m->via.array.ptr[2], size - 2, &a, err) && apply_at(p, id, &a, err);
}

/* Count each event once. */
static bool is_duplicate(struct partition *p, const struct arrival *a, bool *ret, struct error *err)
{
    uint8_t hash[16];
    arrival_hash(a, hash);
    struct key key = key_dedup(hash);
    if (!view_get(&p->view, &key, &p->scratch, ret, err)) {
        return false;
    }
    if (*ret) {
        p->stats.duplicates++;
    } else {
        view_put(&p->view, &key, slice_make(NULL, 0));
    }
    return true;
}

static struct profile_id new_id(struct partition *p, const struct arrival *a)
{
    struct key key = key_identifier(a->parties.facts[0]);
    struct buf seed;
    buf_init(&seed, KEY_BYTES_MAX + LIMIT_EVENT_BYTES);
    buf_put_slice(&seed, key_slice(&key));
    buf_put_slice(&seed, a->event.message_id);
    uint64_t hash = hash_of(buf_slice(&seed));
    buf_done(&seed);
    return profile_id_make(p->now_ms, (uint16_t)p->options.index, hash);
}

/* ---- Whom an identifier leads to ---- */

/* Remembered hits. An entry counts only if its profile is in the cache and has the identifier, so
 * it need not be kept up to date. */
static struct routing_hit *hit_of(struct partition *p, uint64_t hash)
{
    return &p->hits[hash % ROUTING_HITS];
}

static bool is_remembered(struct partition *p, struct identifier id, uint64_t hash,
                          struct profile_id *ret)
{
    const struct routing_hit *hit = hit_of(p, hash);
    const struct profile *profile =
        hit->hash == hash ? profile_cache_find(p->cache, hit->profile) : NULL;
    *ret = hit->profile;
    return profile != NULL && profile_find_identifier(profile, id) != NULL;
}

/* The owner of an identifier that is at home here. */
static bool find_owner(struct partition *p, struct identifier id, struct profile_id *ret,
                       bool *ret_found, struct error *err)
{
    struct key key = key_identifier(id);
    uint64_t hash = hash_of(key_slice(&key));
    *ret_found = is_remembered(p, id, hash, ret);
    if (*ret_found) {
        return true;
    }
    if (!view_get(&p->view, &key, &p->scratch, ret_found, err)) {
        return false;
    }
    if (*ret_found && !profile_id_from_slice(buf_slice(&p->scratch), ret)) {
        return error_set(err, ERROR_CORRUPT, "an identifier points to no profile");
    }
    if (*ret_found) {
        *hit_of(p, hash) = (struct routing_hit){hash, *ret};
    }
    return true;
}

/* Nobody has the identifier: the event begins a profile, here at its home. */
static bool begin_profile(struct partition *p, struct arrival *a, struct error *err)
{
    struct profile_id id = new_id(p, a);
    struct key key = key_identifier(a->parties.facts[0]);
    view_put(&p->view, &key, profile_id_slice(&id));
    return a->part == PART_BYSTANDER ? apply_bystander(p, make_profile(p, id), a, err)
                                     : apply(p, make_profile(p, id), a, err);
}

/* A withdrawal counts for everybody whom one of its identifiers leads to, without making one person
 * of them: from the home of the first it goes on to that of the next. */
static void pass_on(struct partition *p, const struct arrival *a)
{
    partition_send(p, home_of(a->parties.facts[1], p->options.count),
                   arrival_write(p, NULL, a, &a->parties.facts[0], NULL));
}

/* The browser of a guest: its visitor claims to be who the event is about. */
static void tell_bystander(struct partition *p, const struct arrival *a)
{
    struct arrival part = *a;
    part.part = PART_BYSTANDER;
    partition_send(p, home_of(a->parties.bystander, p->options.count),
                   arrival_write(p, NULL, &part, NULL, NULL));
}

bool apply_event(struct partition *p, const msgpack_object *m, bool is_new, struct error *err)
{
    struct arrival a;
    struct profile_id id;
    bool found = false;
    uint32_t size = m->via.array.size;
    bool is_readable =
        (size == 4 || size == 5) && arrival_read(p, &m->via.array.ptr[1], size - 1, &a, err);
    if (is_new && (!is_readable || !event_is_clean(&a.event))) {
        p->stats.unidentified++;
        return true;
    }
    if (!is_readable) {
        return error_set(err, ERROR_CORRUPT, "an event's message is damaged");
    }
    if (is_new && (!is_duplicate(p, &a, &found, err) || found)) {
        return found;
    }
    if (a.parties.fact_count == 0) {
        p->stats.unidentified++; /* every identifier is blocked: it is nobody's event */
        return true;
    }
    if (event_is_withdrawal(&a.event) && a.parties.fact_count > 1) {
        pass_on(p, &a);
    }
    if (is_new && a.parties.bystander.value.len > 0 && !event_is_withdrawal(&a.event)) {
        tell_bystander(p, &a);
    }
    if (!find_owner(p, a.parties.facts[0], &id, &found, err)) {
        return false;
    }
    if (!found && event_is_withdrawal(&a.event)) {
        return true; /* nobody whom the hub knows: there is nothing to withdraw */
    }
    if (!found) {
        return begin_profile(p, &a, err);
    }
    if (profile_id_partition(id) == p->options.index) {
        return apply_at(p, id, &a, err);
    }
    partition_send(p, profile_id_partition(id), arrival_write(p, &id, &a, NULL, NULL));
    return true;
}
