/* /v1/suppressions: whose events are refused. Identifiers go in; only their hashes are kept. */
#include "hub/api/internal.h"

#include <sodium.h>
#include <stdlib.h>

enum { LIST_MAX = 1000 };

/* The identifiers of a request, as hashes. */
struct wanted {
    size_t count;
    struct suppression_hash *hashes; /* of the call's arena */
    struct slice reason;
};

/* False: it is no identifier, or one that names nobody. Suppressing "null" would refuse everybody
 * whose shop writes that. */
static bool hash_identifier(struct call *call, struct slice type, struct slice value,
                            struct suppression_hash *ret)
{
    if (type.len == 0 || type.len > LIMIT_NAME_BYTES) {
        return false;
    }
    const struct catalog *catalog = definitions_borrow(call->hub->definitions);
    struct identity_rule rule = identity_rule_of(catalog_rules(catalog), type);
    struct identifier id = {type, identity_normalize(&rule, value, &call->arena)};
    definitions_release(call->hub->definitions);
    *ret = suppressions_hash(call->hub->suppressions, id);
    return id.value.len > 0;
}

static bool refuse(struct call *call, const char *message, const char *field)
{
    http_answer_error(call->http, 400, "invalid-suppression", message, field);
    return false;
}

static bool read_identifiers(struct call *call, const msgpack_object *list, struct wanted *ret)
{
    char field[64];
    if (!value_is(list, MSGPACK_OBJECT_ARRAY) || list->via.array.size == 0 ||
        list->via.array.size > SUPPRESSIONS_CHANGES_MAX) {
        return refuse(call,
                      "\"identifiers\" must be an array of 1 to 1,000 objects with \"type\" and "
                      "\"value\".",
                      "/identifiers");
    }
    ret->count = list->via.array.size;
    ret->hashes = arena_allocate(&call->arena, ret->count * sizeof *ret->hashes);
    for (uint32_t i = 0; i < ret->count; i++) {
        const msgpack_object *pair = &list->via.array.ptr[i];
        struct slice type;
        struct slice value;
        snprintf(field, sizeof field, "/identifiers/%u", i);
        if (!value_text(value_member_c(pair, "type"), &type) ||
            !value_text(value_member_c(pair, "value"), &value) ||
            !hash_identifier(call, type, value, &ret->hashes[i])) {
            return refuse(call, "An identifier needs a \"type\" and a usable \"value\", as texts.",
                          field);
        }
    }
    return true;
}

static bool read_wanted(struct call *call, struct wanted *ret)
{
    msgpack_object body;
    *ret = (struct wanted){0};
    if (!call_read_json(call, known_members_of_suppressions, &body)) {
        return false;
    }
    const msgpack_object *reason = value_member_c(&body, "reason");
    if (reason != NULL &&
        (!value_text(reason, &ret->reason) || ret->reason.len > SUPPRESSION_REASON_BYTES)) {
        return refuse(call, "\"reason\" must be a text of up to 200 bytes, and name nobody.",
                      "/reason");
    }
    return read_identifiers(call, value_member_c(&body, "identifiers"), ret);
}

static void change(struct call *call, bool is_suppressed)
{
    struct wanted wanted;
    struct error err;
    size_t changed;
    if (!read_wanted(call, &wanted)) {
        return;
    }
    if (!suppressions_change(call->hub->suppressions, wanted.hashes, wanted.count, is_suppressed,
                             wanted.reason, &changed, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    json_open_object(&call->w);
    json_key(&call->w, is_suppressed ? "suppressed" : "unsuppressed");
    json_int(&call->w, (int64_t)changed);
    json_key(&call->w, "version");
    json_int(&call->w, (int64_t)suppressions_version(call->hub->suppressions));
    json_close_object(&call->w);
    call_answer(call, 200);
}

static void write_hash(struct json_writer *w, struct suppression_hash hash)
{
    char hex[2 * SUPPRESSION_HASH_BYTES + 1];
    sodium_bin2hex(hex, sizeof hex, hash.bytes, sizeof hash.bytes);
    json_key(w, "hash");
    json_cstr(w, hex);
}

static void write_entry(struct json_writer *w, const struct suppression_entry *entry)
{
    write_hash(w, entry->hash);
    json_key(w, "at");
    json_time(w, entry->at_ms);
    json_key(w, "reason");
    json_text(w, entry->reason);
}

/* ?type=&value=: is this identifier on the list? */
static void show_one(struct call *call, struct slice type, struct slice value)
{
    struct suppression_hash hash;
    struct suppression_entry entry;
    struct error err;
    struct buf bytes;
    bool found = false;
    if (!hash_identifier(call, type, value, &hash)) {
        http_answer_error(call->http, 400, "invalid-query",
                          "Ask for one identifier, as in ?type=email&value=jane@example.com.",
                          NULL);
        return;
    }
    buf_init(&bytes, 4096);
    if (!suppressions_find(call->hub->suppressions, hash, &bytes, &entry, &found, &err)) {
        call_answer_failure(call, &err);
    } else if (!found) {
        call_answer_not_found(call, "suppression");
    } else {
        json_open_object(&call->w);
        write_entry(&call->w, &entry);
        json_close_object(&call->w);
        call_answer(call, 200);
    }
    buf_done(&bytes);
}

struct listing {
    struct call *call;
    size_t left;
    bool more;
    struct suppression_hash last;
};

static bool list_entry(void *user, const struct suppression_entry *entry)
{
    struct listing *l = user;
    l->more = l->left == 0;
    if (l->more) {
        return false;
    }
    l->left--;
    l->last = entry->hash;
    json_open_object(&l->call->w);
    write_entry(&l->call->w, entry);
    json_close_object(&l->call->w);
    return true;
}

static bool read_cursor(struct call *call, struct suppression_hash *ret)
{
    struct slice text = http_query(call->http, "cursor");
    size_t len = 0;
    memset(ret, 0, sizeof *ret);
    if (text.len > 0 && (sodium_hex2bin(ret->bytes, sizeof ret->bytes, (const char *)text.data,
                                        text.len, NULL, &len, NULL) != 0 ||
                         len != sizeof ret->bytes)) {
        http_answer_error(call->http, 400, "invalid-query",
                          "\"cursor\" must be the \"next\" of an earlier answer.", NULL);
        return false;
    }
    return true;
}

static void list(struct call *call)
{
    struct listing l = {.call = call};
    struct suppression_hash after;
    struct error err;
    struct json_writer *w = &call->w;
    char hex[2 * SUPPRESSION_HASH_BYTES + 1];
    if (!call_read_limit(call, 100, LIST_MAX, &l.left) || !read_cursor(call, &after)) {
        return;
    }
    json_open_object(w);
    json_key(w, "count");
    json_int(w, (int64_t)suppressions_count(call->hub->suppressions));
    json_key(w, "version");
    json_int(w, (int64_t)suppressions_version(call->hub->suppressions));
    json_key(w, "suppressions");
    json_open_array(w);
    if (!suppressions_each(call->hub->suppressions, after, list_entry, &l, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    json_close_array(w);
    json_key(w, "next");
    if (l.more) {
        sodium_bin2hex(hex, sizeof hex, l.last.bytes, sizeof l.last.bytes);
        json_cstr(w, hex);
    } else {
        json_null(w);
    }
    json_close_object(w);
    call_answer(call, 200);
}

void api_suppressions(struct call *call, struct slice method)
{
    struct slice type = http_query(call->http, "type");
    if (slice_is(method, "GET") && type.len > 0) {
        show_one(call, type, http_query(call->http, "value"));
    } else if (slice_is(method, "GET")) {
        list(call);
    } else if (slice_is(method, "PUT")) {
        change(call, true);
    } else if (slice_is(method, "DELETE")) {
        change(call, false);
    } else {
        http_answer_error(call->http, 405, "method-not-allowed",
                          "The suppression list takes GET, PUT and DELETE.", NULL);
    }
}
