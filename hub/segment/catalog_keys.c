/* Business keys: which property of an event says that two of them are about the same thing, as the
 * order_id of an order that page and server both report. */
#include "hub/segment/catalog_internal.h"

#include <sodium.h>

static bool read_key(const msgpack_object_kv *kv, struct business_key *ret)
{
    return value_text(&kv->key, &ret->event) && ret->event.len > 0 &&
           ret->event.len <= LIMIT_NAME_BYTES &&
           value_text(value_member_c(&kv->val, "key"), &ret->property) && ret->property.len > 0 &&
           ret->property.len <= LIMIT_NAME_BYTES;
}

bool catalog_read_business_keys(struct catalog *c, const msgpack_object *root,
                                struct catalog_error *where, struct error *err)
{
    static const uint8_t hash_key[crypto_shorthash_KEYBYTES] = "tributary-bkeys";
    const msgpack_object *keys = value_member_c(root, "businessKeys");
    uint32_t count = value_is(keys, MSGPACK_OBJECT_MAP) ? keys->via.map.size : 0;
    struct buf all;
    buf_init(&all, SIZE_MAX / 2);
    c->business_keys = arena_allocate(&c->arena, (count + 1) * sizeof *c->business_keys);
    bool fine = count <= LIMIT_BUSINESS_KEYS;
    for (uint32_t i = 0; fine && i < count; i++) {
        struct business_key *key = &c->business_keys[i];
        fine = read_key(&keys->via.map.ptr[i], key);
        if (fine) {
            buf_put_u32(&all, (uint32_t)key->event.len);
            buf_put_slice(&all, key->event);
            buf_put_slice(&all, key->property);
            buf_put_u8(&all, 0);
            c->business_key_count++;
        }
    }
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, all.data, all.len, hash_key);
    c->business_keys_id = count == 0 ? 0 : read_u64(hash);
    buf_done(&all);
    if (!fine) {
        snprintf(where->code, sizeof where->code, "invalid-business-key");
        snprintf(where->field, sizeof where->field, "/key");
        return error_set(
            err, ERROR_INVALID,
            "\"key\" must be the name of a property, of 1 to %d bytes; up to %d events "
            "may have one.",
            LIMIT_NAME_BYTES, LIMIT_BUSINESS_KEYS);
    }
    return true;
}

uint64_t catalog_business_keys_id(const struct catalog *c)
{
    return c->business_keys_id;
}

/* A page may send the number as text, and a server as a number. */
static bool put_value(const msgpack_object *value, struct buf *out)
{
    struct slice text;
    int64_t number;
    if (value_text(value, &text) && text.len > 0) {
        buf_put_slice(out, text);
        return true;
    }
    if (value_int(value, &number)) {
        buf_put_format(out, "%lld", (long long)number);
        return true;
    }
    return false;
}

bool catalog_business_key(const struct catalog *c, const struct event *event, struct buf *ret)
{
    const struct business_key *key = NULL;
    for (size_t i = 0; event->type == EVENT_TRACK && key == NULL && i < c->business_key_count;
         i++) {
        key = slice_equal(c->business_keys[i].event, event->name) ? &c->business_keys[i] : NULL;
    }
    const msgpack_object *properties = key == NULL ? NULL : event_properties(event);
    if (properties == NULL) {
        return false;
    }
    buf_clear(ret);
    buf_put_slice(ret, event->name);
    buf_put_u8(ret, 0);
    const msgpack_object *value = value_member(properties, key->property);
    return put_value(value == NULL ? value_path(properties, key->property) : value, ret);
}
