/* /v1/sources, /v1/tracking-plans, /v1/traits, /v1/identity-rules, /v1/collectors */
#include "hub/api/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include "hub/api/source_rules.h"
#include "shared/tracking_plan.h"

static const char *name_of(enum registry_kind kind)
{
    switch (kind) {
    case REGISTRY_COLLECTOR:
        return "collectors";
    case REGISTRY_SOURCE:
        return "sources";
    case REGISTRY_SEGMENT:
        return "segments";
    case REGISTRY_TRAIT:
        return "traits";
    case REGISTRY_RULES:
        return "identity-rules";
    case REGISTRY_PLAN:
        return "trackingPlans";
    }
    return "";
}

static void write_members(struct json_writer *w, msgpack_zone *zone, struct slice bytes)
{
    msgpack_object body;
    struct error err;
    bool fine = value_unpack(bytes, zone, &body, &err);
    ensure(fine);
    for (uint32_t i = 0; i < body.via.map.size; i++) {
        struct slice name;
        if (value_text(&body.via.map.ptr[i].key, &name) && !slice_is(name, "key")) {
            json_key_slice(w, name);
            json_value(w, &body.via.map.ptr[i].val);
        }
    }
}

static bool write_definition(void *user, const struct registry_entry *entry)
{
    struct call *call = user;
    json_open_object(&call->w);
    if (entry->kind != REGISTRY_RULES) {
        json_key(&call->w, "key");
        json_text(&call->w, entry->key);
    }
    write_members(&call->w, &call->zone, entry->body);
    json_close_object(&call->w);
    return true;
}

static void list_definitions(struct call *call, enum registry_kind kind)
{
    json_open_object(&call->w);
    json_key(&call->w, name_of(kind));
    json_open_array(&call->w);
    registry_each(call->hub->registry, kind, write_definition, call);
    json_close_array(&call->w);
    json_close_object(&call->w);
    call_answer(call, 200);
}

static void show_definition(struct call *call, enum registry_kind kind, struct slice key)
{
    struct registry_entry entry;
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX / 2);
    if (registry_find(call->hub->registry, kind, key, &bytes, &entry)) {
        (void)write_definition(call, &entry);
        call_answer(call, 200);
    } else {
        call_answer_not_found(call, "definition");
    }
    buf_done(&bytes);
}

static bool is_texts(const msgpack_object *list)
{
    bool fine = list == NULL || list->type == MSGPACK_OBJECT_ARRAY;
    for (uint32_t i = 0; fine && list != NULL && i < list->via.array.size; i++) {
        fine = list->via.array.ptr[i].type == MSGPACK_OBJECT_STR;
    }
    return fine;
}

static const char *source_mistake(const msgpack_object *body, const char **ret_field)
{
    *ret_field = "/origins";
    if (!is_texts(value_member_c(body, "origins"))) {
        return "\"origins\" must be an array of texts such as \"https://www.example.com\".";
    }
    const msgpack_object *plan = value_member_c(body, "tracking_plan");
    *ret_field = "/tracking_plan";
    if (plan != NULL && plan->type != MSGPACK_OBJECT_STR) {
        return "\"tracking_plan\" must be the key of a tracking plan.";
    }
    return source_rules_mistake(body, ret_field);
}

/* False: answered with what is wrong. */
static bool check_definition(struct call *call, enum registry_kind kind, const msgpack_object *body)
{
    struct tracking_plan *plan = NULL;
    struct schema_place where;
    struct error err;
    const char *field = NULL;
    const char *mistake = kind == REGISTRY_SOURCE ? source_mistake(body, &field) : NULL;
    if (mistake != NULL) {
        http_answer_error(call->http, 400, "invalid-source", mistake, field);
        return false;
    }
    if (kind == REGISTRY_PLAN && !tracking_plan_new(body, &plan, &where, &err)) {
        http_answer_error(call->http, 400, "invalid-tracking-plan", err.message, where.pointer);
        return false;
    }
    tracking_plan_free(&plan);
    return true;
}

static void put_definition(struct call *call, enum registry_kind kind, struct slice key)
{
    msgpack_object body;
    struct catalog_error where;
    struct error err;
    if (!call_read_json(call, &body) || !check_definition(call, kind, &body)) {
        return;
    }
    if (registry_put(call->hub->registry, kind, key, buf_slice(&call->json), &where, &err)) {
        msgpack_zone_clear(&call->zone);
        show_definition(call, kind, key);
    } else {
        call_answer_invalid(call, &where, &err);
    }
}

static void delete_definition(struct call *call, enum registry_kind kind, struct slice key)
{
    struct catalog_error where;
    struct error err;
    bool found;
    if (!registry_delete(call->hub->registry, kind, key, &found, &where, &err)) {
        call_answer_invalid(call, &where, &err);
    } else if (!found) {
        call_answer_not_found(call, "definition");
    } else {
        http_answer_static(call->http, 204, NULL, slice_text(""));
    }
}

void api_definitions(struct call *call, struct slice method, enum registry_kind kind,
                     struct slice key)
{
    if (key.len == 0 && slice_is(method, "GET")) {
        list_definitions(call, kind);
    } else if (key.len > 0 && slice_is(method, "GET")) {
        show_definition(call, kind, key);
    } else if (key.len > 0 && slice_is(method, "PUT")) {
        put_definition(call, kind, key);
    } else if (key.len > 0 && slice_is(method, "DELETE") && kind != REGISTRY_RULES) {
        delete_definition(call, kind, key);
    } else {
        http_answer_error(call->http, 405, "method-not-allowed",
                          kind == REGISTRY_RULES ? "The rules take GET and PUT."
                                                 : "This path takes GET, PUT and DELETE.",
                          NULL);
    }
}

/* ---- Collectors ---- */

static void write_optional_time(struct json_writer *w, const char *name, int64_t ms)
{
    json_key(w, name);
    if (ms > 0) {
        json_time(w, ms);
    } else {
        json_null(w);
    }
}

/* null where the collector does not report it. */
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

static void put_collector(struct slice public_key, int64_t enrolled_ms, int64_t revoked_ms,
                          struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_map(&k, 3);
    value_pack_cstr(&k, "publicKey");
    value_pack_text(&k, public_key);
    value_pack_cstr(&k, "enrolledAt");
    msgpack_pack_int64(&k, enrolled_ms);
    value_pack_cstr(&k, "revokedAt");
    msgpack_pack_int64(&k, revoked_ms);
}

/* What the new collector needs to know of the hub. */
static void answer_enrolled(struct call *call, struct slice key, struct slice public_key)
{
    struct json_writer *w = &call->w;
    struct buf gate;
    uint64_t version;
    char hex[2 * SEAL_KEY_BYTES + 1];
    buf_init(&gate, SIZE_MAX / 2);
    registry_gate(call->hub->registry, &gate, &version);
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

static void enroll(struct call *call, struct slice key)
{
    msgpack_object body;
    struct slice public_key;
    uint8_t bytes[SEAL_SIGN_PUBLIC_BYTES];
    size_t len = 0;
    struct catalog_error where;
    struct error err;
    struct buf definition;
    if (!call_read_json(call, &body)) {
        return;
    }
    if (!is_name(key)) {
        http_answer_error(call->http, 400, "invalid-collector",
                          "A collector's name has 1 to 64 of a-z 0-9 . _ -", NULL);
        return;
    }
    if (!value_text(value_member_c(&body, "publicKey"), &public_key) ||
        sodium_hex2bin(bytes, sizeof bytes, (const char *)public_key.data, public_key.len, NULL,
                       &len, NULL) != 0 ||
        len != sizeof bytes) {
        http_answer_error(call->http, 400, "invalid-collector",
                          "\"publicKey\" must be an Ed25519 key of 32 bytes in hex.", "/publicKey");
        return;
    }
    buf_init(&definition, 4096);
    put_collector(public_key, clock_now_ms(&clock_real), 0, &definition);
    if (registry_put(call->hub->registry, REGISTRY_COLLECTOR, key, buf_slice(&definition), &where,
                     &err)) {
        answer_enrolled(call, key, public_key);
    } else {
        call_answer_invalid(call, &where, &err);
    }
    buf_done(&definition);
}

static void revoke(struct call *call, struct slice key)
{
    struct registry_entry entry;
    struct catalog_error where;
    struct error err;
    struct buf bytes;
    struct buf definition;
    msgpack_object body;
    struct slice public_key = slice_make(NULL, 0);
    int64_t enrolled = 0;
    buf_init(&bytes, SIZE_MAX / 2);
    buf_init(&definition, 4096);
    if (!registry_find(call->hub->registry, REGISTRY_COLLECTOR, key, &bytes, &entry)) {
        call_answer_not_found(call, "collector");
    } else {
        bool fine = value_unpack(entry.body, &call->zone, &body, &err);
        ensure(fine);
        (void)value_text(value_member_c(&body, "publicKey"), &public_key);
        (void)value_int(value_member_c(&body, "enrolledAt"), &enrolled);
        put_collector(public_key, enrolled, clock_now_ms(&clock_real), &definition);
        if (registry_put(call->hub->registry, REGISTRY_COLLECTOR, key, buf_slice(&definition),
                         &where, &err)) {
            http_answer_static(call->http, 204, NULL, slice_text(""));
        } else {
            call_answer_invalid(call, &where, &err);
        }
    }
    buf_done(&bytes);
    buf_done(&definition);
}

static void show_collector(struct call *call, struct slice key)
{
    if (write_collector_named(call, key)) {
        call_answer(call, 200);
    } else {
        call_answer_not_found(call, "collector");
    }
}

void api_collectors(struct call *call, struct slice method, struct slice key)
{
    if (key.len == 0 && slice_is(method, "GET")) {
        list_collectors(call);
    } else if (key.len > 0 && slice_is(method, "GET")) {
        show_collector(call, key);
    } else if (key.len > 0 && slice_is(method, "PUT")) {
        enroll(call, key);
    } else if (key.len > 0 && slice_is(method, "DELETE")) {
        revoke(call, key);
    } else {
        http_answer_error(call->http, 405, "method-not-allowed",
                          "A collector takes GET, PUT and DELETE.", NULL);
    }
}
