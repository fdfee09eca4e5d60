/* GET /v1/profiles?{type}={value}, /v1/profiles/{id}, …/events, …/identity */
#include "hub/api/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include "hub/partition/business_keys.h"
#include "hub/profile/claims.h"
#include "hub/trust/verdict.h"

enum { CLAIMANTS_MAX = 100 };

/* Of a browser that only claims are known of there is no event yet: the claims' times stand for it.
 */
static int64_t first_of(const struct profile *p, int64_t ms)
{
    for (size_t i = 0; ms == INT64_MAX && i < p->claim_count; i++) {
        ms = p->claims[i].first_ms;
    }
    return ms == INT64_MAX ? 0 : ms;
}

static int64_t last_of(const struct profile *p, int64_t ms)
{
    for (size_t i = 0; ms <= 0 && i < p->claim_count; i++) {
        ms = p->claims[i].last_ms;
    }
    return ms < 0 ? 0 : ms;
}

static void write_identifiers(struct json_writer *w, const struct profile *p)
{
    json_key(w, "identifiers");
    json_open_array(w);
    for (size_t i = 0; i < p->identifier_count; i++) {
        json_open_object(w);
        json_key(w, "type");
        json_text(w, p->identifiers[i].id.type);
        json_key(w, "value");
        json_text(w, p->identifiers[i].id.value);
        json_key(w, "firstSeenAt");
        json_time(w, first_of(p, p->identifiers[i].first_seen_ms));
        json_key(w, "lastSeenAt");
        json_time(w, last_of(p, p->identifiers[i].last_seen_ms));
        json_close_object(w);
    }
    json_close_array(w);
}

/* What somebody claims to be: the visitor herself, or a server of who was at her browser. */
static void write_claims(struct json_writer *w, const struct profile *p)
{
    json_key(w, "claims");
    json_open_array(w);
    for (size_t i = 0; i < p->claim_count; i++) {
        const struct profile_claim *claim = &p->claims[i];
        bool is_told = claim->by_server && claims_have_own(p, claim->id);
        if (is_told) {
            continue; /* the visitor's own stands for both */
        }
        json_open_object(w);
        json_key(w, "type");
        json_text(w, claim->id.type);
        json_key(w, "value");
        json_text(w, claim->id.value);
        json_key(w, "at");
        json_time(w, claim->first_ms);
        json_key(w, "source");
        json_text(w, claim->source);
        json_close_object(w);
    }
    json_close_array(w);
    if (p->claims_refused + p->traits_refused > 0) {
        json_key(w, "overLimit");
        json_open_object(w);
        json_key(w, "claims");
        json_int(w, (int64_t)p->claims_refused);
        json_key(w, "traits");
        json_int(w, (int64_t)p->traits_refused);
        json_close_object(w);
    }
}

static bool is_deleted(const struct profile_trait *trait)
{
    return trait->value.len == 1 && trait->value.data[0] == 0xc0;
}

static void write_trait_value(struct json_writer *w, const struct profile_trait *trait)
{
    msgpack_zone zone;
    msgpack_object value;
    struct error err;
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    bool fine = value_unpack(trait->value, &zone, &value, &err);
    ensure(fine);
    json_key_slice(w, trait->name);
    json_value(w, &value);
    msgpack_zone_destroy(&zone);
}

static void write_trait_details(struct json_writer *w, const struct profile_trait *trait,
                                bool is_claimed)
{
    json_key_slice(w, trait->name);
    json_open_object(w);
    json_key(w, "source");
    json_text(w, trait->source);
    json_key(w, "at");
    json_time(w, trait->at_ms);
    if (is_claimed) {
        json_key(w, "claimed");
        json_bool(w, true);
    }
    json_close_object(w);
}

/* Facts, and the visitor's own claims where there is no fact of that name. */
static void each_trait(struct json_writer *w, const struct profile *p,
                       void (*write)(struct json_writer *w, const struct profile_trait *trait,
                                     bool is_claimed))
{
    for (size_t i = 0; i < p->trait_count; i++) {
        if (!is_deleted(&p->traits[i])) {
            write(w, &p->traits[i], false);
        }
    }
    for (size_t i = 0; i < p->claimed_trait_count; i++) {
        const struct profile_trait *trait = &p->claimed_traits[i].trait;
        bool is_claimed;
        if (profile_effective_trait(p, trait->name, &is_claimed) == trait && !is_deleted(trait)) {
            write(w, trait, true);
        }
    }
}

static void write_one_value(struct json_writer *w, const struct profile_trait *trait,
                            bool is_claimed)
{
    (void)is_claimed;
    write_trait_value(w, trait);
}

static void write_traits(struct json_writer *w, const struct profile *p)
{
    json_key(w, "traits");
    json_open_object(w);
    each_trait(w, p, write_one_value);
    json_close_object(w);
    json_key(w, "traitDetails");
    json_open_object(w);
    each_trait(w, p, write_trait_details);
    json_close_object(w);
}

static void write_consent(struct json_writer *w, const struct profile_consent *consent)
{
    json_key_slice(w, consent->category);
    json_open_object(w);
    json_key(w, "granted");
    json_bool(w, consent->granted);
    json_key(w, "at");
    json_time(w, consent->at_ms);
    json_key(w, "source");
    json_text(w, consent->source);
    json_close_object(w);
}

static bool is_first_of_device(const struct profile *p, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (slice_equal(p->device_consents[i].device, p->device_consents[at].device)) {
            return false;
        }
    }
    return true;
}

/* The person's own, and those of each device. */
static void write_consents(struct json_writer *w, const struct profile *p)
{
    json_key(w, "consents");
    json_open_object(w);
    for (size_t i = 0; i < p->consent_count; i++) {
        write_consent(w, &p->consents[i]);
    }
    json_close_object(w);
    json_key(w, "deviceConsents");
    json_open_object(w);
    for (size_t i = 0; i < p->device_consent_count; i++) {
        if (!is_first_of_device(p, i)) {
            continue;
        }
        json_key_slice(w, p->device_consents[i].device);
        json_open_object(w);
        for (size_t j = i; j < p->device_consent_count; j++) {
            if (slice_equal(p->device_consents[j].device, p->device_consents[i].device)) {
                write_consent(w, &p->device_consents[j].consent);
            }
        }
        json_close_object(w);
    }
    json_close_object(w);
}

static void write_segments(struct json_writer *w, const struct profile *p,
                           const struct catalog *catalog)
{
    json_key(w, "segments");
    json_open_array(w);
    for (size_t i = 0; i < p->membership_count; i++) {
        struct slice key = catalog_segment_key(catalog, p->memberships[i].segment);
        if (key.len > 0) {
            json_open_object(w);
            json_key(w, "key");
            json_text(w, key);
            json_key(w, "since");
            json_time(w, p->memberships[i].since_ms);
            json_close_object(w);
        }
    }
    json_close_array(w);
}

static void write_optional_text(struct json_writer *w, const char *name, struct slice text)
{
    json_key(w, name);
    if (text.len > 0) {
        json_text(w, text);
    } else {
        json_null(w);
    }
}

static void write_purchases(struct json_writer *w, const struct profile *p)
{
    json_key(w, "purchases");
    json_open_array(w);
    for (size_t i = 0; i < p->purchase_count; i++) {
        const struct profile_purchase *one = &p->purchases[i];
        json_open_object(w);
        json_key(w, "at");
        json_time(w, one->at_ms);
        json_key(w, "event");
        json_text(w, one->name);
        json_key(w, "total");
        if (one->has_total) {
            json_double(w, one->total);
        } else {
            json_null(w);
        }
        write_optional_text(w, "currency", one->currency);
        write_optional_text(w, "orderId", one->order_id);
        json_key(w, "source");
        json_text(w, one->source);
        json_close_object(w);
    }
    json_close_array(w);
}

void api_write_profile(struct json_writer *w, const struct profile *p,
                       const struct catalog *catalog)
{
    bool is_known = false;
    for (size_t i = 0; i < p->identifier_count && !is_known; i++) {
        is_known = identity_rule_of(catalog_rules(catalog), p->identifiers[i].id.type).is_known;
    }
    json_open_object(w);
    json_key(w, "id");
    json_cstr(w, profile_id_hex(p->id).text);
    json_key(w, "createdAt");
    json_time(w, first_of(p, p->created_ms));
    json_key(w, "lastSeenAt");
    json_time(w, last_of(p, p->last_seen_ms));
    json_key(w, "known");
    json_bool(w, is_known);
    write_identifiers(w, p);
    write_claims(w, p);
    write_traits(w, p);
    write_consents(w, p);
    write_segments(w, p, catalog);
    write_purchases(w, p);
    json_key(w, "eventCount");
    json_int(w, (int64_t)p->event_count);
    json_key(w, "mergedIds");
    json_open_array(w);
    for (size_t i = 0; i < p->merged_count; i++) {
        json_cstr(w, profile_id_hex(p->merged[i]).text);
    }
    json_close_array(w);
    json_close_object(w);
}

static void answer_profile(struct call *call, struct profile *profile)
{
    if (profile == NULL) {
        call_answer_not_found(call, "profile");
        return;
    }
    const struct catalog *catalog = definitions_borrow(call->hub->definitions);
    api_write_profile(&call->w, profile, catalog);
    definitions_release(call->hub->definitions);
    call_answer(call, 200);
}

static void write_claimant(void *user, const struct profile *profile)
{
    struct call *call = user;
    const struct catalog *catalog = definitions_borrow(call->hub->definitions);
    api_write_profile(&call->w, profile, catalog);
    definitions_release(call->hub->definitions);
}

/* Whoever claims to have the identifier: visitors without evidence, up to CLAIMANTS_MAX. */
static void find_claimants(struct call *call, struct identifier id)
{
    struct reader reader = hub_reader(call->hub);
    struct error err;
    size_t count = 0;
    json_open_object(&call->w);
    json_key(&call->w, "profiles");
    json_open_array(&call->w);
    if (!reader_claimants(&reader, id, CLAIMANTS_MAX, write_claimant, call, &count, &err)) {
        call_answer_failure(call, &err);
    } else if (count == 0) {
        call_answer_not_found(call, "profile");
    } else {
        json_close_array(&call->w);
        json_close_object(&call->w);
        call_answer(call, 200);
    }
}

struct one_query {
    struct slice name;
    struct slice value;
    unsigned count;
};

static void on_query(void *user, struct slice name, struct slice value)
{
    struct one_query *q = user;
    q->name = name;
    q->value = value;
    q->count++;
}

static void find_profile(struct call *call)
{
    struct one_query q = {0};
    struct profile *profile;
    struct error err;
    http_each_query(call->http, on_query, &q);
    if (q.count != 1 || q.name.len == 0 || q.name.len > LIMIT_NAME_BYTES) {
        http_answer_error(call->http, 400, "invalid-query",
                          "Ask for one identifier, as in ?email=jane@example.com.", NULL);
        return;
    }
    struct slice of_claims = slice_text("claim.");
    bool is_claim = slice_starts_with(q.name, of_claims);
    q.name = is_claim ? slice_skip(q.name, of_claims.len) : q.name;
    const struct catalog *catalog = definitions_borrow(call->hub->definitions);
    struct identity_rule rule = identity_rule_of(catalog_rules(catalog), q.name);
    struct identifier id = {q.name, identity_normalize(&rule, q.value, &call->arena)};
    definitions_release(call->hub->definitions);
    struct reader reader = hub_reader(call->hub);
    if (id.value.len == 0) {
        call_answer_not_found(call, "profile");
    } else if (is_claim) {
        find_claimants(call, id);
    } else if (!reader_profile_of(&reader, id, &profile, &err)) {
        call_answer_failure(call, &err);
    } else {
        answer_profile(call, profile);
        profile_free(&profile);
    }
}

struct listing {
    struct json_writer *w;
    uint8_t last[16];
    bool links_only; /* of a journal: what still joins identifiers, not what was refused */
    struct hub *hub; /* of a timeline */
    const struct profile *profile;
};

/* What an answer says of an event itself: a client's member of the same name does not stand beside
 * it, where it could be taken for it. */
static bool is_of_head(struct slice key)
{
    static const char *const names[] = {"id",     "collector",   "messageId", "type",
                                        "event",  "name",        "timestamp", "receivedAt",
                                        "source", "anonymousId", "userId",    "duplicateOf"};
    bool is_one = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !is_one; i++) {
        is_one = slice_is(key, names[i]);
    }
    return is_one;
}

void api_write_event_members(struct json_writer *w, const struct event *event)
{
    json_key(w, "messageId");
    json_text(w, event->message_id);
    json_key(w, "type");
    json_cstr(w, event_type_name(event->type));
    if (event->name.len > 0) {
        json_key(w, event->type == EVENT_TRACK ? "event" : "name");
        json_text(w, event->name);
    }
    json_key(w, "timestamp");
    json_time(w, event->timestamp_ms);
    json_key(w, "receivedAt");
    json_time(w, event->received_ms);
    json_key(w, "source");
    json_text(w, event->source);
    if (event->anonymous_id.len > 0) {
        json_key(w, "anonymousId");
        json_text(w, event->anonymous_id);
    }
    if (event->user_id.len > 0) {
        json_key(w, "userId");
        json_text(w, event->user_id);
    }
    for (uint32_t i = 0; i < event->body_map.via.map.size; i++) {
        struct slice key;
        if (value_text(&event->body_map.via.map.ptr[i].key, &key) && !is_of_head(key)) {
            json_key_slice(w, key);
            json_value(w, &event->body_map.via.map.ptr[i].val);
        }
    }
}

/* The messageId of the event that counts in its place. */
static void write_duplicate_of(const struct listing *l, const struct event *event)
{
    struct buf other;
    struct error err;
    struct profile_id id = l->profile->id;
    const struct catalog *catalog = definitions_borrow(l->hub->definitions);
    buf_init(&other, LIMIT_EVENT_BYTES);
    if (business_keys_read(l->hub->stores[profile_id_partition(id)], catalog, id, event, &other,
                           &err) &&
        other.len > 0) {
        json_key(l->w, "duplicateOf");
        json_text(l->w, buf_slice(&other));
    }
    buf_done(&other);
    definitions_release(l->hub->definitions);
}

static void write_event(void *user, struct slice place, const struct event *event)
{
    struct listing *l = user;
    memcpy(l->last, place.data, sizeof l->last);
    json_open_object(l->w);
    api_write_event_members(l->w, event);
    if (l->profile->keyed_count > 0) {
        write_duplicate_of(l, event);
    }
    json_close_object(l->w);
}

static void list_events(struct call *call, const struct profile *profile)
{
    struct slice text = http_query(call->http, "before");
    uint8_t before[16];
    size_t len = 0;
    size_t limit;
    bool more = false;
    struct error err;
    struct listing listing = {.w = &call->w, .hub = call->hub, .profile = profile};
    struct reader reader = hub_reader(call->hub);
    if (!call_read_limit(call, 50, 500, &limit)) {
        return;
    }
    if (text.len > 0 && (sodium_hex2bin(before, sizeof before, (const char *)text.data, text.len,
                                        NULL, &len, NULL) != 0 ||
                         len != sizeof before)) {
        http_answer_error(call->http, 400, "invalid-query",
                          "\"before\" must be the \"next\" of an earlier answer.", NULL);
        return;
    }
    json_open_object(&call->w);
    json_key(&call->w, "events");
    json_open_array(&call->w);
    if (!reader_events(&reader, profile->id, slice_make(before, len), limit, write_event, &listing,
                       &more, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    json_close_array(&call->w);
    json_key(&call->w, "next");
    if (more) {
        char next[2 * sizeof listing.last + 1];
        sodium_bin2hex(next, sizeof next, listing.last, sizeof listing.last);
        json_cstr(&call->w, next);
    } else {
        json_null(&call->w);
    }
    json_close_object(&call->w);
    call_answer(call, 200);
}

static void write_evidence(struct json_writer *w, const msgpack_object *kind)
{
    int64_t number = EVIDENCE_NONE;
    const char *name = value_int(kind, &number) ? evidence_name((enum evidence_kind)number) : NULL;
    if (name != NULL) {
        json_key(w, "evidence");
        json_cstr(w, name);
    }
}

/* An entry is [kind, type, value, message id, at, with type, with value, other profile, rule,
 * evidence]; those of earlier versions have no evidence. */
static void write_entry(void *user, struct slice entry)
{
    static const char *const kinds[] = {"link", "merge", "refused"};
    struct listing *l = user;
    struct json_writer *w = l->w;
    msgpack_zone zone;
    msgpack_object root;
    struct error err;
    int64_t kind = -1;
    int64_t at = 0;
    struct slice with = slice_make(NULL, 0);
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    if (value_unpack(entry, &zone, &root, &err) && root.type == MSGPACK_OBJECT_ARRAY &&
        (root.via.array.size == 9 || root.via.array.size == 10) &&
        value_int(&root.via.array.ptr[0], &kind) && kind >= 0 && kind <= (l->links_only ? 0 : 2)) {
        const msgpack_object *m = root.via.array.ptr;
        (void)value_int(&m[4], &at);
        (void)value_text(&m[5], &with);
        json_open_object(w);
        json_key(w, "kind");
        json_cstr(w, kinds[kind]);
        json_key(w, "at");
        json_time(w, at);
        json_key(w, "identifier");
        json_open_object(w);
        json_key(w, "type");
        json_value(w, &m[1]);
        json_key(w, "value");
        json_value(w, &m[2]);
        json_close_object(w);
        if (with.len > 0) {
            json_key(w, "with");
            json_open_object(w);
            json_key(w, "type");
            json_value(w, &m[5]);
            json_key(w, "value");
            json_value(w, &m[6]);
            json_close_object(w);
        }
        if (m[7].type == MSGPACK_OBJECT_BIN) {
            json_key(w, "profile");
            json_value(w, &m[7]);
        }
        json_key(w, "messageId");
        json_value(w, &m[3]);
        json_key(w, kind == 2 ? "reason" : "rule");
        json_value(w, &m[8]);
        if (root.via.array.size > 9) {
            write_evidence(w, &m[9]);
        }
        json_close_object(w);
    }
    msgpack_zone_destroy(&zone);
}

static bool write_journal(struct call *call, const struct profile *profile, const char *name,
                          bool links_only, struct error *err)
{
    struct listing listing = {.w = &call->w, .links_only = links_only};
    struct reader reader = hub_reader(call->hub);
    json_key(&call->w, name);
    json_open_array(&call->w);
    bool fine = reader_journal(&reader, profile->id, 10000, write_entry, &listing, err);
    json_close_array(&call->w);
    return fine;
}

static void show_identity(struct call *call, const struct profile *profile)
{
    struct error err;
    json_open_object(&call->w);
    json_key(&call->w, "id");
    json_cstr(&call->w, profile_id_hex(profile->id).text);
    write_identifiers(&call->w, profile);
    if (!write_journal(call, profile, "links", true, &err) ||
        !write_journal(call, profile, "journal", false, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    json_close_object(&call->w);
    call_answer(call, 200);
}

void api_profiles(struct call *call, struct slice method, struct slice rest)
{
    struct profile_id id;
    struct profile *profile;
    struct error err;
    struct reader reader = hub_reader(call->hub);
    if (!slice_is(method, "GET")) {
        http_answer_error(call->http, 405, "method-not-allowed", "Profiles can be read only.",
                          NULL);
        return;
    }
    if (rest.len == 0) {
        find_profile(call);
        return;
    }
    struct slice part = api_next_part(&rest);
    if (!profile_id_from_hex(part, &id)) {
        call_answer_not_found(call, "profile");
        return;
    }
    if (!reader_profile(&reader, id, &profile, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    if (profile == NULL || rest.len == 0) {
        answer_profile(call, profile);
    } else if (slice_is(rest, "events")) {
        list_events(call, profile);
    } else if (slice_is(rest, "identity")) {
        show_identity(call, profile);
    } else {
        call_answer_not_found(call, "path");
    }
    profile_free(&profile);
}
