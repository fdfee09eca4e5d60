/* /v1/sources, /v1/tracking-plans, /v1/traits, /v1/identity-rules, /v1/purchases */
#include "hub/api/internal.h"

#include "hub/api/source_rules.h"
#include "hub/trust/proof_keys.h"
#include "hub/trust/proof_secrets.h"
#include "hub/trust/source.h"
#include "shared/blocked.h"
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
    case REGISTRY_BUSINESS_KEY:
        return "businessKeys";
    case REGISTRY_PURCHASES:
        return "purchases";
    }
    return "";
}

static void write_member(struct json_writer *w, enum registry_kind kind, struct slice name,
                         const msgpack_object *value)
{
    if (kind == REGISTRY_SOURCE && slice_is(name, "proof")) {
        proof_write_hidden(w, value);
    } else {
        json_value(w, value);
    }
}

/* Shown beside the identity rules, and passed over where they come back. */
static const char always_blocked[] = "alwaysBlocked";

/* Is this what the definition is found by, which stands before its members, or what is said behind
 * them? */
static bool is_written_apart(enum registry_kind kind, struct slice name)
{
    return kind == REGISTRY_BUSINESS_KEY
               ? slice_is(name, "event")
               : slice_is(name, "key") || slice_is(name, "id") || slice_is(name, always_blocked) ||
                     (kind == REGISTRY_TRAIT && slice_is(name, "edge"));
}

static void write_members(struct call *call, enum registry_kind kind, struct slice bytes)
{
    msgpack_object body;
    struct error err;
    bool fine = value_unpack(bytes, &call->zone, &body, &err);
    ensure(fine);
    for (uint32_t i = 0; i < body.via.map.size; i++) {
        struct slice name = slice_text("");
        bool is_said = value_text(&body.via.map.ptr[i].key, &name) && is_written_apart(kind, name);
        if (name.len > 0 && !is_said) {
            json_key_slice(&call->w, name);
            write_member(&call->w, kind, name, &body.via.map.ptr[i].val);
        }
    }
    if (kind == REGISTRY_TRAIT) {
        call_write_edge(call, &body);
    }
}

/* A source's id, what it says of trust where it says nothing, so that nobody has to know the
 * defaults, and what came of it. */
static void write_source_head(struct call *call, const struct registry_entry *entry)
{
    msgpack_object body;
    struct error err;
    bool fine = value_unpack(entry->body, &call->zone, &body, &err);
    ensure(fine);
    struct source source = source_read(entry->key, &body);
    json_key(&call->w, "id");
    json_text(&call->w, entry->key);
    if (value_member_c(&body, "trust") == NULL) {
        json_key(&call->w, "trust");
        json_cstr(&call->w, "client");
    }
    if (source.write_keys == NULL) {
        json_key(&call->w, "writeKeys");
        json_open_array(&call->w);
        json_text(&call->w, source.id);
        json_close_array(&call->w);
    }
    api_write_evidence(call, entry->key, source.proof != NULL);
}

static void write_texts(struct json_writer *w, const char *name, const char *const *texts)
{
    json_key(w, name);
    json_open_array(w);
    for (size_t i = 0; texts[i] != NULL; i++) {
        json_cstr(w, texts[i]);
    }
    json_close_array(w);
}

/* What names nobody whatever the rules say. */
static void write_always_blocked(struct json_writer *w)
{
    json_key(w, always_blocked);
    json_open_object(w);
    write_texts(w, "values", blocked_words);
    write_texts(w, "kinds", blocked_kinds);
    json_close_object(w);
}

static bool write_definition(void *user, const struct registry_entry *entry)
{
    struct call *call = user;
    json_open_object(&call->w);
    if (entry->kind == REGISTRY_SOURCE) {
        write_source_head(call, entry);
    } else if (entry->kind == REGISTRY_BUSINESS_KEY) {
        json_key(&call->w, "event");
        json_text(&call->w, entry->key);
    } else if (entry->kind != REGISTRY_RULES && entry->kind != REGISTRY_PURCHASES) {
        json_key(&call->w, "key");
        json_text(&call->w, entry->key);
    }
    write_members(call, entry->kind, entry->body);
    if (entry->kind == REGISTRY_RULES) {
        write_always_blocked(&call->w);
    }
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

static void show_default_purchases(struct call *call)
{
    const struct catalog *catalog = definitions_borrow(call->hub->definitions);
    json_open_object(&call->w);
    json_key(&call->w, "events");
    json_open_array(&call->w);
    for (size_t i = 0; i < catalog_purchase_count(catalog); i++) {
        json_text(&call->w, catalog_purchase_at(catalog, i));
    }
    json_close_array(&call->w);
    json_close_object(&call->w);
    definitions_release(call->hub->definitions);
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
    } else if (kind == REGISTRY_PURCHASES) {
        show_default_purchases(call);
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

static const char *find_source_mistake(const msgpack_object *body, const char **ret_field)
{
    const char *mistake = source_mistake(body, ret_field);
    if (mistake != NULL) {
        return mistake;
    }
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
static bool check_proof(struct call *call, const msgpack_object *source)
{
    const msgpack_object *proof = value_member_c(source, "proof");
    struct proof_keys *keys = NULL;
    char pointer[PROOF_POINTER_BYTES];
    struct error err;
    bool fine = proof == NULL || proof_keys_read(proof, &keys, pointer, &err);
    if (!fine) {
        http_answer_error(call->http, 400, "invalid-source", err.message, pointer);
    }
    proof_keys_free(&keys);
    return fine;
}

/* What an answer adds to a definition is no part of it. */
static void drop_member(msgpack_object *map, const char *dropped)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        struct slice name;
        if (!value_text(&map->via.map.ptr[i].key, &name) || !slice_is(name, dropped)) {
            map->via.map.ptr[kept++] = map->via.map.ptr[i];
        }
    }
    map->via.map.size = kept;
}

/* Where the source was read and put again, its secrets are those that it had. */
static void settle_source(struct call *call, struct slice key, msgpack_object *body)
{
    struct registry_entry entry;
    msgpack_object before;
    struct error err;
    struct buf bytes;
    struct buf whole;
    if (!proof_has_hidden(body) && value_member_c(body, "evidence") == NULL) {
        return;
    }
    drop_member(body, "evidence");
    buf_init(&bytes, SIZE_MAX / 2);
    buf_init(&whole, SIZE_MAX / 2);
    bool found = registry_find(call->hub->registry, REGISTRY_SOURCE, key, &bytes, &entry);
    bool fine = !found || value_unpack(entry.body, &call->zone, &before, &err);
    ensure(fine);
    proof_restore_hidden(body, found ? &before : NULL, &whole);
    buf_clear(&call->json);
    buf_put_slice(&call->json, buf_slice(&whole));
    fine = value_unpack(buf_slice(&call->json), &call->zone, body, &err);
    ensure(fine);
    buf_done(&bytes);
    buf_done(&whole);
}

/* False: answered with what is wrong. */
static bool check_definition(struct call *call, enum registry_kind kind, const msgpack_object *body)
{
    struct tracking_plan *plan = NULL;
    struct schema_place where;
    struct error err;
    const char *field = NULL;
    const char *mistake = kind == REGISTRY_SOURCE ? find_source_mistake(body, &field) : NULL;
    if (mistake != NULL) {
        http_answer_error(call->http, 400, "invalid-source", mistake, field);
        return false;
    }
    if (kind == REGISTRY_SOURCE && !check_proof(call, body)) {
        return false;
    }
    if (kind == REGISTRY_TRAIT && !call_check_edge(call, body, "invalid-trait")) {
        return false;
    }
    if (kind == REGISTRY_PLAN && !tracking_plan_new(body, &plan, &where, &err)) {
        const char *code = where.names_unknown ? "unknown-member" : "invalid-tracking-plan";
        http_answer_error(call->http, 400, code, err.message, where.pointer);
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
    if (!call_read_json(call, known_members_of(kind), &body)) {
        return;
    }
    if (kind == REGISTRY_SOURCE) {
        settle_source(call, key, &body);
    }
    if (!check_definition(call, kind, &body)) {
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
