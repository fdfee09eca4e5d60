/* Events that contradict their profile, and what becomes of claims when a profile gets more facts.
 *
 * A browser whose profile is one person's may send an event of another: a shared tablet. The other
 * has a seat there: an identifier made of the browser and the person, which takes the browser's
 * place in the event. With evidence the seat is the other person's own; without, it is a visitor
 * who claims to be that person. */
#include "hub/card.h"
#include "hub/partition/arrival.h"

enum { ARENA_CHUNK = 4096 };

/* Would the profile have more of the type than its limit with this one? */
static bool is_too_many(struct partition *p, const struct profile *profile, struct identifier id)
{
    int64_t limit = identity_rule_of(catalog_rules(p->catalog), id.type).limit;
    return limit > 0 && profile_find_identifier(profile, id) == NULL &&
           profile_count_identifiers(profile, id.type) >= (size_t)limit;
}

/* Something beside the browser says that the event is this profile's. */
static bool is_of_profile(const struct profile *profile, const struct parties *parties)
{
    for (size_t i = 1; i < parties->fact_count; i++) {
        if (profile_find_identifier(profile, parties->facts[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* Can somebody else have a seat? Only at a browser that is not one. */
static bool has_seats(const struct profile *profile, const struct parties *parties)
{
    return parties->fact_count > 0 && slice_is(parties->facts[0].type, "anonymous_id") &&
           !is_of_profile(profile, parties);
}

/* Whom an event without evidence claims to be, and the profile cannot be; NULL: nobody. */
static const struct identifier *claimed_stranger(struct partition *p, const struct profile *profile,
                                                 const struct parties *parties)
{
    bool may_sit = parties->fact_count == 1 && has_seats(profile, parties);
    for (size_t i = 0; may_sit && i < parties->claim_count; i++) {
        if (is_too_many(p, profile, parties->claims[i])) {
            return &parties->claims[i];
        }
    }
    return NULL;
}

static void remove_fact(struct parties *parties, size_t at)
{
    parties->fact_count--;
    size_t left = parties->fact_count - at;
    memmove(&parties->facts[at], &parties->facts[at + 1], left * sizeof *parties->facts);
    memmove(&parties->evidence[at], &parties->evidence[at + 1], left * sizeof *parties->evidence);
}

static void journal_refusal(struct partition *p, struct profile *profile, const struct arrival *a,
                            struct identifier refused)
{
    struct key link = key_identifier(refused);
    struct evidence why = {refused, a->event.message_id, a->event.timestamp_ms, EVIDENCE_NONE};
    if (profile_add_refused(profile, hash_of(key_slice(&link)))) {
        identity_journal(p, profile, JOURNAL_REFUSED, &why, a->parties.facts[0], NULL,
                         "the profile has as many of this type as the identity rules allow");
        p->stats.refused_links++;
        partition_changed(p, profile);
    }
}

/* Whom the event proves that the profile cannot be; NULL: nobody. Of an event that is the profile's
 * all the same, or of no browser, what it cannot take is left out: it has the lower priority. */
static const struct identifier *proven_stranger(struct partition *p, struct profile *profile,
                                                struct arrival *a)
{
    bool may_sit = has_seats(profile, &a->parties);
    for (size_t i = 1; i < a->parties.fact_count;) {
        if (!is_too_many(p, profile, a->parties.facts[i])) {
            i++;
        } else if (may_sit) {
            return &a->parties.facts[i];
        } else {
            journal_refusal(p, profile, a, a->parties.facts[i]);
            remove_fact(&a->parties, i);
        }
    }
    return NULL;
}

/* It is evident that somebody else was at the browser: its pages may not be told of this profile
 * any more, until evidence brings it back. */
static void part_browser(struct partition *p, struct profile *profile, struct identifier browser,
                         int64_t at_ms)
{
    int64_t before = card_evidence_at(profile, browser.value);
    profile_part_identifier(profile, browser, at_ms);
    partition_changed(p, profile);
    if (card_evidence_at(profile, browser.value) != before) {
        profile->version++;
        partition_tell_edges(p, profile);
    }
}

bool arrival_takes_seat(struct partition *p, struct profile *profile, struct arrival *a)
{
    const struct identifier *proven = proven_stranger(p, profile, a);
    const struct identifier *person =
        proven == NULL ? claimed_stranger(p, profile, &a->parties) : proven;
    if (person == NULL) {
        return false;
    }
    struct identifier browser = a->parties.facts[0];
    if (proven != NULL) {
        part_browser(p, profile, browser, a->event.timestamp_ms);
    }
    struct identifier seat = identity_seat(browser.value, *person, &p->arena);
    journal_refusal(p, profile, a, *person);
    partition_send(p, home_of(seat, p->options.count),
                   arrival_write(p, NULL, a, &browser, &seat.value));
    return true;
}

/* ---- Claims ---- */

bool arrival_apply_claims(struct profile *profile, struct arrival *a)
{
    struct parties *parties = &a->parties;
    bool has_new = false;
    size_t claimed = 0;
    int64_t at = a->event.timestamp_ms;
    for (size_t i = 0; i < parties->claim_count; i++) {
        struct profile_claim claim = {.id = parties->claims[i],
                                      .by_server = a->part == PART_BYSTANDER,
                                      .first_ms = at,
                                      .last_ms = at,
                                      .source = a->event.source};
        if (profile_find_identifier(profile, claim.id) == NULL) {
            has_new = claims_add(profile, &claim) || has_new;
            parties->claims[claimed++] = claim.id;
        } else if (!claim.by_server) {
            (void)profile_see_identifier(profile, claim.id, at, at);
        }
    }
    parties->claim_count = claimed;
    return has_new;
}

bool arrival_apply_traits(struct partition *p, struct profile *profile, const struct arrival *a,
                          bool *ret_edge)
{
    const msgpack_object *traits =
        a->event.type == EVENT_IDENTIFY ? event_properties(&a->event) : NULL;
    const struct parties *parties = &a->parties;
    bool changed = false;
    for (uint32_t i = 0; traits != NULL && i < traits->via.map.size; i++) {
        const msgpack_object_kv *kv = &traits->via.map.ptr[i];
        struct profile_trait trait = {.at_ms = a->event.timestamp_ms,
                                      .message_id = a->event.message_id,
                                      .source = a->event.source};
        if (!value_text(&kv->key, &trait.name) || trait.name.len == 0 ||
            trait.name.len > LIMIT_NAME_BYTES) {
            continue;
        }
        msgpack_packer k;
        buf_clear(&p->scratch);
        value_packer_init(&k, &p->scratch);
        msgpack_pack_object(&k, kv->val);
        trait.value = buf_slice(&p->scratch);
        if (parties->claim_count > 0
                ? claims_set_trait(profile, parties->claims, parties->claim_count, &trait)
                : profile_set_trait(profile, &trait)) {
            changed = true;
            *ret_edge =
                *ret_edge || catalog_trait_audience(p->catalog, trait.name) != AUDIENCE_NOBODY;
        }
    }
    return changed;
}

/* ---- More facts than before ---- */

struct parting {
    struct partition *partition;
    struct profile *profile;
    struct buf event;
    uint64_t left;
    bool fine;
    struct error *err;
};

/* What stays is seen and claimed once more. */
static void stay(struct parting *parting, struct arrival *a)
{
    struct profile *profile = parting->profile;
    int64_t at = a->event.timestamp_ms;
    bool edge = false;
    if (event_is_withdrawal(&a->event)) {
        return;
    }
    profile->created_ms = at < profile->created_ms ? at : profile->created_ms;
    profile->last_seen_ms = at > profile->last_seen_ms ? at : profile->last_seen_ms;
    for (size_t i = 0; i < a->parties.fact_count; i++) {
        if (profile_find_identifier(profile, a->parties.facts[i]) != NULL) {
            (void)profile_see_identifier(profile, a->parties.facts[i], at, at);
        }
    }
    (void)arrival_apply_claims(profile, a);
    (void)arrival_apply_traits(parting->partition, profile, a, &edge);
}

static void leave(struct parting *parting, const struct arrival *a, struct slice key)
{
    struct partition *p = parting->partition;
    struct key copy = {.len = key.len};
    memcpy(copy.bytes, key.data, key.len);
    view_delete(&p->view, &copy);
    partition_send(p, p->options.index, arrival_write(p, &parting->profile->id, a, NULL, NULL));
    parting->left++;
}

static bool part_event(struct parting *parting, struct slice key, struct slice record)
{
    struct partition *p = parting->partition;
    struct arrival a;
    bool fine = timeline_decompress(p->timeline, record, &parting->event, parting->err) &&
                arrival_of_event(p, SHARED_OUTBOX, buf_slice(&parting->event), &a, parting->err);
    if (fine && !event_is_withdrawal(&a.event) &&
        claimed_stranger(p, parting->profile, &a.parties) != NULL) {
        leave(parting, &a, key);
    } else if (fine) {
        stay(parting, &a);
    }
    return fine;
}

/* In memory of its own: a timeline may be long, and the message at hand must stay. */
static bool on_event(void *user, struct slice key, struct slice record)
{
    struct parting *parting = user;
    struct partition *p = parting->partition;
    struct arena arena = p->arena;
    msgpack_zone zone = p->zone;
    arena_init(&p->arena, ARENA_CHUNK);
    bool made = msgpack_zone_init(&p->zone, ARENA_CHUNK);
    ensure(made);
    parting->fine = part_event(parting, key, record);
    msgpack_zone_destroy(&p->zone);
    arena_done(&p->arena);
    p->zone = zone;
    p->arena = arena;
    return parting->fine;
}

static bool part_events(struct partition *p, struct profile *profile, struct error *err)
{
    struct parting parting = {.partition = p, .profile = profile, .fine = true, .err = err};
    struct key key = key_timeline(profile->id, 0, 0);
    /* All that was seen is seen anew; what the event at hand brings its caller sees afterwards. */
    for (size_t i = 0; i < profile->identifier_count; i++) {
        profile->identifiers[i].first_seen_ms = INT64_MAX;
        profile->identifiers[i].last_seen_ms = INT64_MIN;
    }
    profile->created_ms = INT64_MAX;
    profile->last_seen_ms = 0;
    claims_forget(profile);
    buf_init(&parting.event, LIMIT_EVENT_BYTES * 4);
    bool fine =
        view_each(&p->view, key_prefix(&key, KEY_PREFIX_PROFILE), on_event, &parting, err) &&
        parting.fine;
    buf_done(&parting.event);
    profile->event_count -= parting.left;
    p->stats.events -= parting.left; /* they are applied again where they go */
    return fine;
}

static bool has_stranger_among_claims(struct partition *p, const struct profile *profile)
{
    bool found = false;
    for (size_t i = 0; !found && i < profile->claim_count; i++) {
        found = !profile->claims[i].by_server && is_too_many(p, profile, profile->claims[i].id);
    }
    return found;
}

bool arrival_judge_again(struct partition *p, struct profile *profile, struct catalog_touch *touch,
                         bool *ret_parted, struct error *err)
{
    *ret_parted = has_stranger_among_claims(p, profile);
    bool fine = !*ret_parted || part_events(p, profile, err);
    if (fine && claims_promote(profile)) {
        touch->traits = true;
    }
    touch->everything = touch->everything || *ret_parted;
    partition_changed(p, profile);
    return fine;
}
