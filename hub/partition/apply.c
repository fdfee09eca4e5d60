/* Events: from the home of an identifier to the profile, and into it. */
#include "hub/partition/internal.h"

#include "hub/card.h"
#include "shared/utf8.h"

/* An event on its way, taken apart. */
struct arrival {
    uint32_t collector;
    struct slice bytes;            /* as event_pack() wrote it */
    const msgpack_object *demoted; /* identifiers that may not count: [[type, value]…] */
    struct event event;
    size_t id_count;
    struct identifier ids[LIMIT_EVENT_IDENTIFIERS];
};

static bool is_demoted(const msgpack_object *demoted, struct identifier id)
{
    for (uint32_t i = 0; i < demoted->via.array.size; i++) {
        const msgpack_object *pair = &demoted->via.array.ptr[i];
        struct slice type;
        struct slice value;
        if (pair->type == MSGPACK_OBJECT_ARRAY && pair->via.array.size == 2 &&
            value_text(&pair->via.array.ptr[0], &type) &&
            value_text(&pair->via.array.ptr[1], &value) && slice_equal(type, id.type) &&
            slice_equal(value, id.value)) {
            return true;
        }
    }
    return false;
}

/* `at` points to the collector, the event and the demoted identifiers. */
static bool read_arrival(struct partition *p, const msgpack_object *at, struct arrival *ret,
                         struct error *err)
{
    int64_t collector;
    if (!value_int(&at[0], &collector) || !value_bin(&at[1], &ret->bytes) ||
        at[2].type != MSGPACK_OBJECT_ARRAY) {
        return error_set(err, ERROR_CORRUPT, "an event's message is damaged");
    }
    ret->collector = (uint32_t)collector;
    ret->demoted = &at[2];
    if (!event_unpack(ret->bytes, &p->zone, &ret->event, err)) {
        return false;
    }
    size_t count = identity_extract(catalog_rules(p->catalog), &ret->event, &p->arena, ret->ids);
    ret->id_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_demoted(ret->demoted, ret->ids[i])) {
            ret->ids[ret->id_count++] = ret->ids[i];
        }
    }
    return true;
}

static void pack_identifier(msgpack_packer *k, struct identifier id)
{
    msgpack_pack_array(k, 2);
    value_pack_text(k, id.type);
    value_pack_text(k, id.value);
}

/* The arrival as a message: to the home of an identifier (ROUTE, with one more demoted) or to a
 * profile (APPLY). */
static struct slice write_arrival(struct partition *p, enum message_type type,
                                  const struct profile_id *profile, const struct arrival *a,
                                  const struct identifier *demote)
{
    struct buf out;
    msgpack_packer k;
    buf_init(&out, LIMIT_EVENT_BYTES * 4);
    value_packer_init(&k, &out);
    msgpack_pack_array(&k, profile == NULL ? 4 : 5);
    msgpack_pack_int(&k, (int)type);
    if (profile != NULL) {
        value_pack_bin(&k, profile_id_slice(profile));
    }
    msgpack_pack_uint32(&k, a->collector);
    value_pack_bin(&k, a->bytes);
    msgpack_pack_array(&k, a->demoted->via.array.size + (demote != NULL));
    for (uint32_t i = 0; i < a->demoted->via.array.size; i++) {
        msgpack_pack_object(&k, a->demoted->via.array.ptr[i]);
    }
    if (demote != NULL) {
        pack_identifier(&k, *demote);
    }
    struct slice message = arena_copy(&p->arena, buf_slice(&out));
    buf_done(&out);
    return message;
}

/* An event whose identifier the profile cannot take: without the identifier that led here it goes
 * to where the others are at home. */
static bool reroute(struct partition *p, struct profile *profile, const struct arrival *a,
                    struct identifier conflict)
{
    struct evidence why = {conflict, a->event.message_id, a->event.timestamp_ms};
    struct key link = key_identifier(conflict);
    struct identifier demoted = a->ids[0];
    if (profile_add_refused(profile, hash_of(key_slice(&link)))) {
        identity_journal(p, profile, JOURNAL_REFUSED, &why, demoted, NULL,
                         "the profile has as many of this type as the identity rules allow");
        p->stats.refused_links++;
        partition_changed(p, profile);
    }
    uint32_t to = home_of(a->ids[1], p->options.count);
    partition_send(p, to, write_arrival(p, MESSAGE_ROUTE, NULL, a, &demoted));
    return true;
}

/* The first identifier that would exceed its type's limit; NULL: none. */
static const struct identifier *find_conflict(struct partition *p, const struct profile *profile,
                                              const struct arrival *a)
{
    for (size_t i = 1; i < a->id_count; i++) {
        struct identifier id = a->ids[i];
        struct identity_rule rule = identity_rule_of(catalog_rules(p->catalog), id.type);
        if (rule.limit > 0 && profile_find_identifier(profile, id) == NULL &&
            profile_count_identifiers(profile, id.type) >= (size_t)rule.limit) {
            return &a->ids[i];
        }
    }
    return NULL;
}

static bool apply_identifiers(struct partition *p, struct profile *profile, const struct arrival *a)
{
    bool changed = false;
    int64_t at = a->event.timestamp_ms;
    for (size_t i = 0; i < a->id_count; i++) {
        struct key link = key_identifier(a->ids[i]);
        uint64_t hash = hash_of(key_slice(&link));
        bool is_refused = false;
        for (size_t r = 0; r < profile->refused_count; r++) {
            is_refused = is_refused || profile->refused[r] == hash;
        }
        if (is_refused || !profile_see_identifier(profile, a->ids[i], at, at)) {
            continue;
        }
        changed = true;
        if (i > 0) {
            struct evidence why = {a->ids[i], a->event.message_id, at};
            identity_journal(p, profile, JOURNAL_LINK, &why, a->ids[0], NULL, "same event");
            identity_claim(p, profile->id, &why);
        }
    }
    return changed;
}

static bool apply_traits(struct partition *p, struct profile *profile, const struct arrival *a,
                         bool *ret_edge)
{
    const msgpack_object *traits =
        a->event.type == EVENT_IDENTIFY ? event_properties(&a->event) : NULL;
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
        if (profile_set_trait(profile, &trait)) {
            changed = true;
            *ret_edge = *ret_edge || catalog_is_edge_trait(p->catalog, trait.name);
        }
    }
    return changed;
}

static bool apply_consents(struct profile *profile, const struct arrival *a)
{
    const msgpack_object *preferences =
        value_member_c(value_member_c(value_member_c(&a->event.body_map, "context"), "consent"),
                       "categoryPreferences");
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
            value_bool(&preferences->via.map.ptr[i].val, &consent.granted)) {
            changed = profile_set_consent(profile, &consent) || changed;
        }
    }
    return changed;
}

static void put_timeline(struct partition *p, const struct profile *profile,
                         const struct arrival *a)
{
    struct key key = key_timeline(profile->id, a->event.timestamp_ms, hash_of(a->event.message_id));
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
    if (a->id_count > 0 && slice_is(a->ids[0].type, "anonymous_id")) {
        b.id = a->ids[0].value;
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
        before->id.len == 0 ? NULL : profile_find_identifier(profile, a->ids[0]);
    if (id == NULL) {
        return false;
    }
    int64_t step_ms = catalog_rules(p->catalog)->me_for_ms / 30 + 1;
    int64_t evidence_ms = card_evidence_at(profile, before->id);
    (void)profile_see_at(profile, id, a->collector);
    return !before->was_named || (partition_is_known(p, profile) &&
                                  evidence_ms / step_ms != before->evidence_ms / step_ms);
}

static bool apply(struct partition *p, struct profile *profile, const struct arrival *a,
                  struct error *err)
{
    struct catalog_touch touch = {0};
    bool edge_trait = false;
    bool is_new_interest;
    bool was_known = partition_is_known(p, profile);
    struct browser browser = look_at_browser(profile, a);
    int64_t at = a->event.timestamp_ms;
    touch.identifiers = apply_identifiers(p, profile, a);
    touch.traits = apply_traits(p, profile, a, &edge_trait);
    touch.consents = apply_consents(profile, a);
    profile->created_ms = at < profile->created_ms ? at : profile->created_ms;
    profile->last_seen_ms = at > profile->last_seen_ms ? at : profile->last_seen_ms;
    profile->event_count++;
    p->stats.events++;
    put_timeline(p, profile, a);
    touch.conditions = catalog_note_event(p->catalog, profile, &a->event, p->now_ms);
    bool has_bought = partition_note_purchase(p, profile, &a->event);
    (void)profile_make_interest(profile, a->collector, &is_new_interest);
    bool has_browser_news = see_browser(p, profile, a, &browser);
    bool is_known = partition_is_known(p, profile);
    p->stats.known += is_known && !was_known;
    bool card_changed = touch.identifiers || edge_trait || touch.consents || has_bought ||
                        is_new_interest || has_browser_news;
    /* A new profile is a member of what holds for those without any event. */
    touch.everything = profile->event_count == 1;
    partition_changed(p, profile);
    return partition_settle(p, profile, touch, card_changed, err);
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
    profile_cache_add(p->cache, profile, sizeof *profile + 1024);
    partition_changed(p, profile);
    p->stats.profiles++;
    return profile;
}

/* The profile may have gone elsewhere since the message was sent, or wait for a merge. */
static bool apply_at(struct partition *p, struct profile_id id, const struct arrival *a,
                     struct error *err)
{
    struct profile *profile;
    struct profile_id went_to;
    if (!partition_locate(p, id, &profile, &went_to, err)) {
        return false;
    }
    if (profile == NULL && !profile_id_equal(went_to, id)) {
        partition_send(p, profile_id_partition(went_to),
                       write_arrival(p, MESSAGE_APPLY, &went_to, a, NULL));
        return true;
    }
    if (profile == NULL) {
        profile = make_profile(p, id); /* a store lost it: better begun anew than events refused */
    }
    if (profile->is_frozen) {
        identity_defer(p, profile, write_arrival(p, MESSAGE_APPLY, &id, a, NULL));
        return true;
    }
    if (event_is_withdrawal(&a->event)) {
        return apply_withdrawal(p, profile, a, err);
    }
    const struct identifier *conflict = find_conflict(p, profile, a);
    return conflict != NULL ? reroute(p, profile, a, *conflict) : apply(p, profile, a, err);
}

bool apply_to_profile(struct partition *p, const msgpack_object *m, struct slice message,
                      struct error *err)
{
    struct arrival a;
    struct slice bytes;
    struct profile_id id;
    (void)message;
    if (m->via.array.size != 5 || !value_bin(&m->via.array.ptr[1], &bytes) ||
        !profile_id_from_slice(bytes, &id)) {
        return error_set(err, ERROR_CORRUPT, "an event's message is damaged");
    }
    return read_arrival(p, &m->via.array.ptr[2], &a, err) && apply_at(p, id, &a, err);
}

/* Count each message id once. */
static bool is_duplicate(struct partition *p, const struct arrival *a, bool *ret, struct error *err)
{
    uint8_t hash[16];
    hash128_of(a->event.message_id, hash);
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
    struct key key = key_identifier(a->ids[0]);
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
static bool begin_profile(struct partition *p, const struct arrival *a, struct error *err)
{
    struct profile_id id = new_id(p, a);
    struct key key = key_identifier(a->ids[0]);
    view_put(&p->view, &key, profile_id_slice(&id));
    return apply(p, make_profile(p, id), a, err);
}

/* A withdrawal counts for everybody whom one of its identifiers leads to, without making one person
 * of them: from the home of the first it goes on to that of the next. */
static void pass_on(struct partition *p, const struct arrival *a)
{
    partition_send(p, home_of(a->ids[1], p->options.count),
                   write_arrival(p, MESSAGE_ROUTE, NULL, a, &a->ids[0]));
}

bool apply_event(struct partition *p, const msgpack_object *m, bool is_new, struct error *err)
{
    struct arrival a;
    struct profile_id id;
    bool found = false;
    bool is_readable = m->via.array.size == 4 && read_arrival(p, &m->via.array.ptr[1], &a, err);
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
    if (a.id_count == 0) {
        p->stats.unidentified++; /* every identifier is blocked: it is nobody's event */
        return true;
    }
    if (event_is_withdrawal(&a.event) && a.id_count > 1) {
        pass_on(p, &a);
    }
    if (!find_owner(p, a.ids[0], &id, &found, err)) {
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
    partition_send(p, profile_id_partition(id), write_arrival(p, MESSAGE_APPLY, &id, &a, NULL));
    return true;
}
