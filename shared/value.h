/* Values: MessagePack, written into a buf and read as msgpack-c's object tree.
 *
 * Writing stops the process when the buf is full, so writers check sizes first (limits.h).
 * Reading is safe for any bytes: value_unpack() refuses what is damaged, too deep or followed by
 * more. The objects live in the zone and refer into the bytes that were read; both must outlive
 * them. One thread at a time for each buf and zone.
 */
#ifndef TRIBUTARY_SHARED_VALUE_H
#define TRIBUTARY_SHARED_VALUE_H

#include <msgpack.h>
#include "shared/buf.h"
#include "shared/error.h"

/* Start writing MessagePack at the end of *buf. */
void value_packer_init(msgpack_packer *packer, struct buf *buf);

void value_pack_text(msgpack_packer *packer, struct slice text);
void value_pack_cstr(msgpack_packer *packer, const char *text);
/* An integer, likewise quick: nearly all are small. */
static inline void value_put_int(struct buf *buf, int64_t value)
{
    msgpack_packer packer;
    if (value >= 0 && value < 128) {
        buf_put_u8(buf, (uint8_t)value);
        return;
    }
    value_packer_init(&packer, buf);
    msgpack_pack_int64(&packer, value);
}

/* value_pack_text() where it must be quick: without a packer and its indirect calls. */
static inline void value_put_text(struct buf *buf, struct slice text)
{
    uint8_t head[5];
    size_t head_len;
    if (text.len < 32) {
        head[0] = (uint8_t)(0xa0 | text.len);
        head_len = 1;
    } else if (text.len <= UINT8_MAX) {
        head[0] = 0xd9;
        head[1] = (uint8_t)text.len;
        head_len = 2;
    } else if (text.len <= UINT16_MAX) {
        head[0] = 0xda;
        head[1] = (uint8_t)(text.len >> 8);
        head[2] = (uint8_t)text.len;
        head_len = 3;
    } else {
        ensure(text.len <= UINT32_MAX);
        head[0] = 0xdb;
        head[1] = (uint8_t)(text.len >> 24);
        head[2] = (uint8_t)(text.len >> 16);
        head[3] = (uint8_t)(text.len >> 8);
        head[4] = (uint8_t)text.len;
        head_len = 5;
    }
    buf_put(buf, head, head_len);
    buf_put(buf, text.data, text.len);
}

void value_pack_bin(msgpack_packer *packer, struct slice bytes);

/* Read one value that fills `bytes`. */
MUST_CHECK bool value_unpack(struct slice bytes, msgpack_zone *zone, msgpack_object *ret,
                             struct error *err);

/* A member of a map by name, NULL where the object is no map or has none. Of a name given twice,
 * the last counts. */
const msgpack_object *value_member(const msgpack_object *map, struct slice name);
const msgpack_object *value_member_c(const msgpack_object *map, const char *name);

/* A member reached by a dotted name: first the name as it stands, then through objects. */
const msgpack_object *value_path(const msgpack_object *map, struct slice dotted);

/* Elements of an array as what they should be; false where they are something else. */
bool value_text(const msgpack_object *object, struct slice *ret);
bool value_bin(const msgpack_object *object, struct slice *ret);
bool value_int(const msgpack_object *object, int64_t *ret);
/* Whole and broken numbers alike. */
bool value_number(const msgpack_object *object, double *ret);
bool value_bool(const msgpack_object *object, bool *ret);

static inline bool value_is(const msgpack_object *object, msgpack_object_type type)
{
    return object != NULL && object->type == type;
}

#endif
