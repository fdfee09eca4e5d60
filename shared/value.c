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

enum shape { SHAPE_PLAIN, SHAPE_BYTES, SHAPE_EXT, SHAPE_ARRAY, SHAPE_MAP };

/* What stands behind the heads 0xc0 to 0xdf: so many bytes of content, or of a length. */
static const struct {
    uint8_t shape;
    uint8_t bytes;
} heads[32] = {
    [0x04] = {SHAPE_BYTES, 1}, [0x05] = {SHAPE_BYTES, 2}, [0x06] = {SHAPE_BYTES, 4},
    [0x07] = {SHAPE_EXT, 1},   [0x08] = {SHAPE_EXT, 2},   [0x09] = {SHAPE_EXT, 4},
    [0x0a] = {SHAPE_PLAIN, 4}, [0x0b] = {SHAPE_PLAIN, 8}, [0x0c] = {SHAPE_PLAIN, 1},
    [0x0d] = {SHAPE_PLAIN, 2}, [0x0e] = {SHAPE_PLAIN, 4}, [0x0f] = {SHAPE_PLAIN, 8},
    [0x10] = {SHAPE_PLAIN, 1}, [0x11] = {SHAPE_PLAIN, 2}, [0x12] = {SHAPE_PLAIN, 4},
    [0x13] = {SHAPE_PLAIN, 8}, [0x14] = {SHAPE_PLAIN, 2}, [0x15] = {SHAPE_PLAIN, 3},
    [0x16] = {SHAPE_PLAIN, 5}, [0x17] = {SHAPE_PLAIN, 9}, [0x18] = {SHAPE_PLAIN, 17},
    [0x19] = {SHAPE_BYTES, 1}, [0x1a] = {SHAPE_BYTES, 2}, [0x1b] = {SHAPE_BYTES, 4},
    [0x1c] = {SHAPE_ARRAY, 2}, [0x1d] = {SHAPE_ARRAY, 4}, [0x1e] = {SHAPE_MAP, 2},
    [0x1f] = {SHAPE_MAP, 4},
};

/* Step over one head at *at. *ret_skip: bytes of content; *ret_members: values that follow. */
static bool read_head(struct slice bytes, size_t *at, uint64_t *ret_skip, uint64_t *ret_members)
{
    uint8_t head = bytes.data[(*at)++];
    uint64_t length = 0;
    *ret_skip = 0;
    *ret_members = 0;
    if (head < 0xc0 || head >= 0xe0) {
        *ret_members = head >> 4 == 8 ? 2 * (head & 15U) : head >> 4 == 9 ? head & 15U : 0;
        *ret_skip = head >> 5 == 5 ? head & 31U : 0;
        return true;
    }
    uint8_t size = heads[head & 31].bytes;
    if (heads[head & 31].shape == SHAPE_PLAIN) {
        *ret_skip = size;
        return true;
    }
    if (bytes.len - *at < size) {
        return false;
    }
    for (uint8_t i = 0; i < size; i++) {
        length = length << 8 | bytes.data[(*at)++];
    }
    switch (heads[head & 31].shape) {
    case SHAPE_BYTES:
        *ret_skip = length;
        break;
    case SHAPE_EXT:
        *ret_skip = length + 1;
        break;
    default:
        *ret_members = heads[head & 31].shape == SHAPE_MAP ? 2 * length : length;
        break;
    }
    return true;
}

/* Can the bytes hold what their heads announce? msgpack-c makes room for all members of a
 * container when it meets the head, so that without this a few bytes could ask for gigabytes. */
static bool holds_what_it_announces(struct slice bytes)
{
    uint64_t pending = 1;
    size_t at = 0;
    while (pending > 0) {
        uint64_t skip;
        uint64_t members;
        /* Each value still to come takes a byte at least. */
        if (pending > bytes.len - at || !read_head(bytes, &at, &skip, &members) ||
            skip > bytes.len - at) {
            return false;
        }
        at += skip;
        pending += members - 1;
    }
    return true;
}

bool value_unpack(struct slice bytes, msgpack_zone *zone, msgpack_object *ret, struct error *err)
{
    size_t at = 0;
    if (!holds_what_it_announces(bytes)) {
        return error_set(err, ERROR_CORRUPT, "a value ends too early");
    }
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
        struct slice key;
        if (value_text(&kv->key, &key) && slice_equal(key, name)) {
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
