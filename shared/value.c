#include "shared/value.h"

static int write_to_buf(void *data, const char *bytes, size_t len)
{
    buf_put(data, bytes, len);
    return 0;
}

void value_packer_init(msgpack_packer *packer, struct buf *buf)
{
    msgpack_packer_init(packer, buf, write_to_buf);
}

void value_pack_text(msgpack_packer *packer, struct slice text)
{
    msgpack_pack_str_with_body(packer, text.data, text.len);
}

void value_pack_cstr(msgpack_packer *packer, const char *text)
{
    value_pack_text(packer, slice_text(text));
}

void value_pack_bin(msgpack_packer *packer, struct slice bytes)
{
    msgpack_pack_bin_with_body(packer, bytes.data, bytes.len);
}

bool value_unpack(struct slice bytes, msgpack_zone *zone, msgpack_object *ret, struct error *err)
{
    size_t at = 0;
    switch (msgpack_unpack((const char *)bytes.data, bytes.len, &at, zone, ret)) {
    case MSGPACK_UNPACK_SUCCESS:
        return true;
    case MSGPACK_UNPACK_EXTRA_BYTES:
        return error_set(err, ERROR_CORRUPT, "a value is followed by more bytes");
    case MSGPACK_UNPACK_CONTINUE:
        return error_set(err, ERROR_CORRUPT, "a value ends too early");
    case MSGPACK_UNPACK_NOMEM_ERROR:
        return error_set(err, ERROR_CORRUPT, "a value is nested too deep or too large");
    case MSGPACK_UNPACK_PARSE_ERROR:
    default:
        return error_set(err, ERROR_CORRUPT, "these bytes are no MessagePack");
    }
}

const msgpack_object *value_member(const msgpack_object *map, struct slice name)
{
    if (!value_is(map, MSGPACK_OBJECT_MAP)) {
        return NULL;
    }
    for (uint32_t i = map->via.map.size; i-- > 0;) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == name.len &&
            memcmp(kv->key.via.str.ptr, name.data, name.len) == 0) {
            return &kv->val;
        }
    }
    return NULL;
}

const msgpack_object *value_member_c(const msgpack_object *map, const char *name)
{
    return value_member(map, slice_text(name));
}

const msgpack_object *value_path(const msgpack_object *map, struct slice dotted)
{
    const msgpack_object *found = value_member(map, dotted);
    for (size_t i = 0; found == NULL && i < dotted.len; i++) {
        if (dotted.data[i] == '.') {
            const msgpack_object *inner = value_member(map, slice_make(dotted.data, i));
            found = inner == NULL ? NULL : value_path(inner, slice_skip(dotted, i + 1));
        }
    }
    return found;
}

bool value_text(const msgpack_object *object, struct slice *ret)
{
    if (!value_is(object, MSGPACK_OBJECT_STR)) {
        return false;
    }
    *ret = slice_make(object->via.str.ptr, object->via.str.size);
    return true;
}

bool value_bin(const msgpack_object *object, struct slice *ret)
{
    if (!value_is(object, MSGPACK_OBJECT_BIN)) {
        return false;
    }
    *ret = slice_make(object->via.bin.ptr, object->via.bin.size);
    return true;
}

bool value_int(const msgpack_object *object, int64_t *ret)
{
    if (value_is(object, MSGPACK_OBJECT_NEGATIVE_INTEGER)) {
        *ret = object->via.i64;
        return true;
    }
    if (value_is(object, MSGPACK_OBJECT_POSITIVE_INTEGER) && object->via.u64 <= INT64_MAX) {
        *ret = (int64_t)object->via.u64;
        return true;
    }
    return false;
}

bool value_number(const msgpack_object *object, double *ret)
{
    if (value_is(object, MSGPACK_OBJECT_POSITIVE_INTEGER)) {
        *ret = (double)object->via.u64;
    } else if (value_is(object, MSGPACK_OBJECT_NEGATIVE_INTEGER)) {
        *ret = (double)object->via.i64;
    } else if (value_is(object, MSGPACK_OBJECT_FLOAT64) ||
               value_is(object, MSGPACK_OBJECT_FLOAT32)) {
        *ret = object->via.f64;
    } else {
        return false;
    }
    return true;
}

bool value_bool(const msgpack_object *object, bool *ret)
{
    if (!value_is(object, MSGPACK_OBJECT_BOOLEAN)) {
        return false;
    }
    *ret = object->via.boolean;
    return true;
}
