/* /v1/collectors: enrolment, scope and health of the collectors. */
#include "hub/api/internal.h"
#include "hub/trust/carriage.h"

#include <sodium.h>
#include <stdlib.h>
#include "shared/log.h"

enum { SCOPE_BYTES_MAX = 128 * 1024 };

static void write_optional_time(struct json_writer *w, const char *name, int64_t ms)
{
    json_key(w, name);
    if (ms > 0) {
        json_time(w, ms);
    } else {
        json_null(w);
    }
}

/* What the hub did not take of it, though it was sealed by it. */
static void write_refused_events(struct json_writer *w, const struct collector_figures *f)
{
    json_key(w, "refusedEvents");
    json_open_object(w);
    for (enum admission_verdict i = ADMISSION_YES + 1; i < ADMISSION_VERDICTS; i++) {
        json_key(w, admission_verdict_name(i));
        json_int(w, (int64_t)f->events_refused[i]);
    }
    json_close_object(w);
}

/* Whom it asked for. */
static void write_lookups(struct json_writer *w, const struct collector_figures *f)
{
    json_key(w, "lookups");
    json_open_object(w);
    for (enum lookups_result i = 0; i < LOOKUPS_RESULTS; i++) {
        json_key(w, lookups_result_name(i));
        json_int(w, (int64_t)f->lookups.counts[i]);
    }
    json_close_object(w);
}

/* Those that it may carry. */
static void write_sources(struct json_writer *w, const msgpack_object *sources)
{
    json_key(w, "sources");
    if (sources != NULL) {
        json_value(w, sources);
        return;
    }
    json_open_array(w);
    json_cstr(w, "*");
    json_close_array(w);
}

/* What the edge caches hold: the scope, and how far the cache is filled for it. */
static void write_scope(struct call *call, const struct registry_entry *entry,
                        const msgpack_object *scope)
{
    struct json_writer *w = &call->w;
    struct collector_figures f = collectors_figures(call->hub->collectors, entry->key);
    uint64_t version = scope == NULL ? REFILL_FIRST_VERSION : entry->version;
    bool is_current = f.cache_is_told && f.cache_scope_version == version;
    bool is_complete = is_current && !f.cache_is_refilling;
    struct partition_stats stats;
    struct error err;
    double done = 0;
    if (is_current && f.cache_is_refilling && api_read_stats(call->hub, &stats, &err)) {
        done = stats.profiles == 0 ? 0 : (double)f.cache_profiles / (double)stats.profiles;
    }
    json_key(w, "scope");
    if (scope == NULL) {
        json_open_object(w);
        json_key(w, "kind");
        json_cstr(w, "seen");
        json_close_object(w);
    } else {
        json_value(w, scope);
    }
    json_key(w, "cache");
    json_open_object(w);
    json_key(w, "id");
    if (f.cache_is_told) {
        char hex[2 * WIRE_CACHE_ID_BYTES + 1];
        sodium_bin2hex(hex, sizeof hex, f.cache_id, sizeof f.cache_id);
        json_cstr(w, hex);
    } else {
        json_null(w);
    }
    json_key(w, "status");
    json_cstr(w, is_complete ? "complete" : "filling");
    json_key(w, "progress");
    json_double(w, is_complete ? 1 : done > 0.99 ? 0.99 : done);
    json_close_object(w);
}

/* null where the collector does not report it. */
static void write_version(struct call *call, struct slice collector)
{
    struct report_version version = reports_version(call->hub->reports, collector);
    json_key(&call->w, "version");
    if (version.text[0] == 0) {
        json_null(&call->w);
    } else {
        json_cstr(&call->w, version.text);
    }
}

/* Likewise. */
static void write_lag(struct call *call, struct slice collector)
{
    int64_t lag_ms = reports_lag_ms(call->hub->reports, collector);
    json_key(&call->w, "lagMs");
    if (lag_ms < 0) {
        json_null(&call->w);
    } else {
        json_int(&call->w, lag_ms);
    }
}

static void write_dropped(struct call *call, struct slice collector)
{
    static const char *const lanes[REPORT_LANES] = {"high", "normal", "low"};
    uint64_t dropped[REPORT_LANES];
    reports_dropped(call->hub->reports, collector, dropped);
    json_key(&call->w, "droppedEvents");
    json_open_object(&call->w);
    for (int i = 0; i < REPORT_LANES; i++) {
        json_key(&call->w, lanes[i]);
        json_int(&call->w, (int64_t)dropped[i]);
    }
    json_close_object(&call->w);
}

static void write_collector(struct call *call, const struct registry_entry *entry)
{
    struct json_writer *w = &call->w;
    struct collector_figures f = collectors_figures(call->hub->collectors, entry->key);
    msgpack_object body;
    struct error err;
    int64_t revoked = 0;
    int64_t enrolled = 0;
    bool fine = value_unpack(entry->body, &call->zone, &body, &err);
    ensure(fine);
    (void)value_int(value_member_c(&body, "revokedAt"), &revoked);
    (void)value_int(value_member_c(&body, "enrolledAt"), &enrolled);
    json_open_object(w);
    json_key(w, "id");
    json_text(w, entry->key);
    json_key(w, "publicKey");
    json_value(w, value_member_c(&body, "publicKey"));
    write_optional_time(w, "enrolledAt", enrolled);
    write_optional_time(w, "revokedAt", revoked);
    write_optional_time(w, "lastSeenAt", f.last_seen_ms);
    write_version(call, entry->key);
    json_key(w, "clockOffsetMs");
    json_int(w, f.clock_offset_ms);
    json_key(w, "spoolBlocks");
    json_int(w, (int64_t)f.spool_blocks);
    json_key(w, "spoolBytes");
    json_int(w, (int64_t)f.spool_bytes);
    json_key(w, "gateVersion");
    json_int(w, (int64_t)f.gate_version);
    write_lag(call, entry->key);
    write_dropped(call, entry->key);
    api_write_refusal_sums(call, entry->key);
    json_key(w, "blocks");
    json_int(w, (int64_t)f.blocks);
    json_key(w, "events");
    json_int(w, (int64_t)f.events);
    json_key(w, "replayed");
    json_int(w, (int64_t)f.replayed);
    json_key(w, "refused");
    json_int(w, (int64_t)f.refused);
    write_refused_events(w, &f);
    write_lookups(w, &f);
    write_sources(w, value_member_c(&body, "sources"));
    write_scope(call, entry, value_member_c(&body, "scope"));
    json_close_object(w);
}

struct names {
    struct call *call;
    size_t count;
    size_t capacity;
    struct slice *keys;
};

static bool copy_name(void *user, const struct registry_entry *entry)
{
    struct names *n = user;
    if (n->count == n->capacity) {
        n->capacity = n->capacity == 0 ? 64 : n->capacity * 2;
        n->keys = memory_resize(n->keys, n->capacity * sizeof *n->keys);
    }
    n->keys[n->count++] = arena_copy(&n->call->arena, entry->key);
    return true;
}

static bool write_collector_named(struct call *call, struct slice key)
{
    struct registry_entry entry;
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX / 2);
    bool found = registry_find(call->hub->registry, REGISTRY_COLLECTOR, key, &bytes, &entry);
    if (found) {
        write_collector(call, &entry);
    }
    buf_done(&bytes);
    return found;
}

/* The names first: figures are behind a lock of their own, which must not be taken inside the
 * registry's. */
static void list_collectors(struct call *call)
{
    struct names names = {.call = call};
    registry_each(call->hub->registry, REGISTRY_COLLECTOR, copy_name, &names);
    json_open_object(&call->w);
    json_key(&call->w, "collectors");
    json_open_array(&call->w);
    for (size_t i = 0; i < names.count; i++) {
        (void)write_collector_named(call, names.keys[i]);
    }
    json_close_array(&call->w);
    json_close_object(&call->w);
    call_answer(call, 200);
    free(names.keys);
}

static bool is_name(struct slice key)
{
    bool fine = key.len > 0 && key.len <= SEAL_COLLECTOR_ID_MAX;
    for (size_t i = 0; fine && i < key.len; i++) {
        uint8_t c = key.data[i];
        fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    }
    return fine;
}

/* A collector's definition; the texts and the scope (NULL: never set) are borrowed. */
struct definition {
    struct slice public_key;
    int64_t enrolled_ms;
    int64_t revoked_ms;
    const msgpack_object *scope;
    const msgpack_object *sources; /* that it may carry; NULL: never set */
    struct slice replaced;         /* the key that public_key takes the place of; empty: none */
    const msgpack_object *former;  /* those that were replaced before; NULL: none */
};

/* Nothing but what it means: the body that it came with may hold more. */
static void put_scope(const msgpack_object *scope, msgpack_packer *k)
{
    const msgpack_object *segments = value_member_c(scope, "segments");
    msgpack_pack_map(k, segments == NULL ? 1 : 2);
    value_pack_cstr(k, "kind");
    msgpack_pack_object(k, *value_member_c(scope, "kind"));
    if (segments != NULL) {
        value_pack_cstr(k, "segments");
        msgpack_pack_object(k, *segments);
    }
}

/* Those whose holders can be told that they were replaced, the last first. */
static size_t list_former(const struct definition *d, struct slice ret[COLLECTORS_FORMER_KEYS])
{
    size_t count = 0;
    uint32_t before = d->former == NULL ? 0 : d->former->via.array.size;
    if (d->replaced.len > 0 && !slice_equal(d->replaced, d->public_key)) {
        ret[count++] = d->replaced;
    }
    for (uint32_t i = 0; i < before && count < COLLECTORS_FORMER_KEYS; i++) {
        struct slice key;
        if (value_text(&d->former->via.array.ptr[i], &key) && !slice_equal(key, d->public_key) &&
            (count == 0 || !slice_equal(key, ret[0]))) {
            ret[count++] = key;
        }
    }
    return count;
}

static void put_collector(const struct definition *d, struct buf *out)
{
    struct slice former[COLLECTORS_FORMER_KEYS];
    size_t former_count = list_former(d, former);
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_map(&k, 3 + (size_t)(former_count > 0) + (size_t)(d->scope != NULL) +
                             (size_t)(d->sources != NULL));
    value_pack_cstr(&k, "publicKey");
    value_pack_text(&k, d->public_key);
    value_pack_cstr(&k, "enrolledAt");
    msgpack_pack_int64(&k, d->enrolled_ms);
    value_pack_cstr(&k, "revokedAt");
    msgpack_pack_int64(&k, d->revoked_ms);
    if (former_count > 0) {
        value_pack_cstr(&k, "formerKeys");
        msgpack_pack_array(&k, former_count);
        for (size_t i = 0; i < former_count; i++) {
            value_pack_text(&k, former[i]);
        }
    }
    if (d->scope != NULL) {
        value_pack_cstr(&k, "scope");
        put_scope(d->scope, &k);
    }
    if (d->sources != NULL) {
        value_pack_cstr(&k, "sources");
        msgpack_pack_object(&k, *d->sources);
    }
}

/* As it stands in the registry: it refers into *bytes and the call's zone. False: there is none. */
static bool find_definition(struct call *call, struct slice key, struct buf *bytes,
                            struct definition *ret)
{
    struct registry_entry entry;
    msgpack_object *body = arena_allocate(&call->arena, sizeof *body);
    struct error err;
    *ret = (struct definition){.public_key = slice_make(NULL, 0)};
    if (!registry_find(call->hub->registry, REGISTRY_COLLECTOR, key, bytes, &entry)) {
        return false;
    }
    bool fine = value_unpack(entry.body, &call->zone, body, &err);
    ensure(fine);
    (void)value_text(value_member_c(body, "publicKey"), &ret->public_key);
    (void)value_int(value_member_c(body, "enrolledAt"), &ret->enrolled_ms);
    (void)value_int(value_member_c(body, "revokedAt"), &ret->revoked_ms);
    ret->scope = value_member_c(body, "scope");
    ret->sources = value_member_c(body, "sources");
    ret->former = value_member_c(body, "formerKeys");
    return true;
}

static bool store_definition(struct call *call, struct slice key, const struct definition *d)
{
    struct catalog_error where;
    struct error err;
    struct buf bytes;
    buf_init(&bytes, SCOPE_BYTES_MAX + 4096);
    put_collector(d, &bytes);
    bool fine =
        registry_put(call->hub->registry, REGISTRY_COLLECTOR, key, buf_slice(&bytes), &where, &err);
    buf_done(&bytes);
    if (!fine) {
        call_answer_invalid(call, &where, &err);
    }
    return fine;
}

/* What the new collector needs to know of the hub. */
static void answer_enrolled(struct call *call, struct slice key, struct slice public_key)
{
    struct json_writer *w = &call->w;
    struct buf gate;
    struct buf entry_bytes;
    struct registry_entry entry;
    uint64_t version;
    char hex[2 * SEAL_KEY_BYTES + 1];
    buf_init(&gate, SIZE_MAX / 2);
    buf_init(&entry_bytes, SIZE_MAX / 2);
    bool found = registry_find(call->hub->registry, REGISTRY_COLLECTOR, key, &entry_bytes, &entry);
    ensure(found);
    registry_gate(call->hub->registry, (struct registry_reader){.collector = entry.id}, &gate,
                  &version);
    buf_done(&entry_bytes);
    size_t size = sodium_base64_encoded_len(gate.len, sodium_base64_VARIANT_ORIGINAL);
    char *base64 = arena_allocate(&call->arena, size);
    sodium_bin2base64(base64, size, gate.data, gate.len, sodium_base64_VARIANT_ORIGINAL);
    sodium_bin2hex(hex, sizeof hex, call->hub->public_key, SEAL_KEY_BYTES);
    json_open_object(w);
    json_key(w, "id");
    json_text(w, key);
    json_key(w, "publicKey");
    json_text(w, public_key);
    json_key(w, "hubPublicKey");
    json_cstr(w, hex);
    json_key(w, "gateState");
    json_cstr(w, base64);
    json_close_object(w);
    call_answer(call, 200);
    buf_done(&gate);
}

static void show_collector(struct call *call, struct slice key)
{
    if (write_collector_named(call, key)) {
        call_answer(call, 200);
    } else {
        call_answer_not_found(call, "collector");
    }
}

static bool is_public_key(const msgpack_object *object, struct slice *ret)
{
    uint8_t bytes[SEAL_SIGN_PUBLIC_BYTES];
    size_t len = 0;
    return value_text(object, ret) &&
           sodium_hex2bin(bytes, sizeof bytes, (const char *)ret->data, ret->len, NULL, &len,
                          NULL) == 0 &&
           len == sizeof bytes;
}

static bool is_keys(const msgpack_object *list)
{
    bool fine = list->type == MSGPACK_OBJECT_ARRAY && list->via.array.size > 0 &&
                list->via.array.size <= LIMIT_SEGMENTS;
    for (uint32_t i = 0; fine && i < list->via.array.size; i++) {
        struct slice key;
        fine = value_text(&list->via.array.ptr[i], &key) && key.len <= LIMIT_NAME_BYTES;
    }
    return fine;
}

static const char *scope_mistake(const msgpack_object *scope)
{
    struct slice kind = slice_make(NULL, 0);
    const msgpack_object *segments = value_member_c(scope, "segments");
    if (!value_is(scope, MSGPACK_OBJECT_MAP) || !value_text(value_member_c(scope, "kind"), &kind) ||
        (!slice_is(kind, "seen") && !slice_is(kind, "segments") && !slice_is(kind, "everybody"))) {
        return "\"scope\" must be {\"kind\":\"seen\"}, {\"kind\":\"everybody\"} or "
               "{\"kind\":\"segments\",\"segments\":[key…]}.";
    }
    if (slice_is(kind, "segments") != (segments != NULL)) {
        return "\"segments\" and the kind \"segments\" go together.";
    }
    return segments == NULL || is_keys(segments)
               ? NULL
               : "\"segments\" must be an array of 1 to 512 keys of segments.";
}

/* Whoever has the name now is locked out by another key, so that is not done by mistake. */
static bool may_take_name(struct call *call, const msgpack_object *body,
                          const struct definition *before, const struct definition *now)
{
    bool replaces = false;
    (void)value_bool(value_member_c(body, "replace"), &replaces);
    bool is_taken = before->public_key.len > 0 && before->revoked_ms == 0 &&
                    !slice_equal(before->public_key, now->public_key);
    if (is_taken && !replaces) {
        http_answer_error(call->http, 409, "collector-exists",
                          "A collector is enrolled under this name, and would be locked out: with "
                          "\"replace\": true the new key takes the place of its own.",
                          "/publicKey");
    }
    return !is_taken || replaces;
}

/* What the body says goes over what there is. False: answered. */
static bool take_changes(struct call *call, const msgpack_object *body, struct definition *d,
                         bool exists)
{
    const msgpack_object *public_key = value_member_c(body, "publicKey");
    const msgpack_object *scope = value_member_c(body, "scope");
    const struct definition before = *d;
    const msgpack_object *sources = value_member_c(body, "sources");
    if ((public_key != NULL || !exists || (scope == NULL && sources == NULL)) &&
        (public_key == NULL || !is_public_key(public_key, &d->public_key))) {
        http_answer_error(call->http, 400, "invalid-collector",
                          "\"publicKey\" must be an Ed25519 key of 32 bytes in hex.", "/publicKey");
        return false;
    }
    if (public_key != NULL && !may_take_name(call, body, &before, d)) {
        return false;
    }
    if (public_key != NULL) {
        d->replaced = before.public_key;
        d->enrolled_ms = clock_now_ms(&clock_real);
        d->revoked_ms = 0;
    }
    const char *mistake = scope == NULL ? NULL : scope_mistake(scope);
    if (mistake != NULL) {
        http_answer_error(call->http, 400, "invalid-scope", mistake, "/scope");
        return false;
    }
    mistake = sources == NULL ? NULL : carriage_mistake(sources);
    if (mistake != NULL) {
        http_answer_error(call->http, 400, "invalid-sources", mistake, "/sources");
        return false;
    }
    d->scope = scope == NULL ? d->scope : scope;
    d->sources = sources == NULL ? d->sources : sources;
    return true;
}

static void log_scope(struct slice collector, const msgpack_object *scope)
{
    const msgpack_object *segments = value_member_c(scope, "segments");
    struct slice kind = slice_text("");
    (void)value_text(value_member_c(scope, "kind"), &kind);
    log_info("collector-scope-changed",
             "A collector shall keep other cards. collector=%.*s kind=%.*s segments=%u",
             SLICE_ARGS(collector), SLICE_ARGS(kind),
             segments == NULL ? 0 : segments->via.array.size);
}

/* With a public key: enrol, or enrol again. Without: change what the cache holds, or which sources
 * the collector carries. */
static void put(struct call *call, struct slice key)
{
    msgpack_object body;
    struct definition d;
    struct buf old;
    if (!call_read_json(call, known_members_of(REGISTRY_COLLECTOR), &body)) {
        return;
    }
    if (!is_name(key)) {
        http_answer_error(call->http, 400, "invalid-collector",
                          "A collector's name has 1 to 64 of a-z 0-9 . _ -", NULL);
        return;
    }
    buf_init(&old, SIZE_MAX / 2);
    bool exists = find_definition(call, key, &old, &d);
    if (!exists && value_member_c(&body, "publicKey") == NULL) {
        call_answer_not_found(call, "collector");
    } else if (take_changes(call, &body, &d, exists) && store_definition(call, key, &d)) {
        if (value_member_c(&body, "scope") != NULL) {
            log_scope(key, d.scope);
        }
        if (value_member_c(&body, "publicKey") != NULL) {
            log_info("collector-enrolled", "A collector was enrolled%s. collector=%.*s",
                     exists ? " again, its key before is worth nothing now" : "", SLICE_ARGS(key));
            answer_enrolled(call, key, d.public_key);
        } else {
            show_collector(call, key);
        }
    }
    buf_done(&old);
}

static void revoke(struct call *call, struct slice key)
{
    struct buf bytes;
    struct definition d;
    buf_init(&bytes, SIZE_MAX / 2);
    if (!find_definition(call, key, &bytes, &d)) {
        call_answer_not_found(call, "collector");
    } else {
        d.revoked_ms = clock_now_ms(&clock_real);
        if (store_definition(call, key, &d)) {
            log_info("collector-revoked", "A collector was revoked. collector=%.*s",
                     SLICE_ARGS(key));
            http_answer_static(call->http, 204, NULL, slice_text(""));
        }
    }
    buf_done(&bytes);
}

/* One at a time: a new scope that was made of an older definition would undo a revocation. */
static void change(struct call *call, struct slice key,
                   void (*make)(struct call *call, struct slice key))
{
    pthread_mutex_lock(call->changing);
    make(call, key);
    pthread_mutex_unlock(call->changing);
}

void api_collectors(struct call *call, struct slice method, struct slice key)
{
    if (key.len == 0 && slice_is(method, "GET")) {
        list_collectors(call);
    } else if (key.len > 0 && slice_is(method, "GET")) {
        show_collector(call, key);
    } else if (key.len > 0 && slice_is(method, "PUT")) {
        change(call, key, put);
    } else if (key.len > 0 && slice_is(method, "DELETE")) {
        change(call, key, revoke);
    } else {
        http_answer_error(call->http, 405, "method-not-allowed",
                          "A collector takes GET, PUT and DELETE.", NULL);
    }
}
