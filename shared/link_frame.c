#include "shared/link_frame.h"

#include "shared/buf.h"
#include "shared/limits.h"

enum { ID_BYTES = 4 };

const uint8_t link_frame_greeting[LINK_FRAME_GREETING_BYTES] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
const uint8_t link_frame_client_greeting[LINK_FRAME_GREETING_BYTES] = {0, 'S',  'P', 0,
                                                                       0, 0x30, 0,   0};

enum link_taken link_frame_take_greeting(struct slice *rest)
{
    size_t len = rest->len < sizeof link_frame_client_greeting ? rest->len
                                                               : sizeof link_frame_client_greeting;
    if (len == 0) {
        return LINK_NOT_YET;
    }
    if (memcmp(rest->data, link_frame_client_greeting, len) != 0) {
        return LINK_WRONG;
    }
    if (len < sizeof link_frame_client_greeting) {
        return LINK_NOT_YET;
    }
    *rest = slice_skip(*rest, len);
    return LINK_TAKEN;
}

/* How long the ids are; 0: they have no end. */
static size_t ids_len(struct slice message)
{
    for (size_t at = 0; at < LINK_FRAME_IDS_BYTES_MAX && at + ID_BYTES <= message.len;
         at += ID_BYTES) {
        if ((message.data[at] & 0x80) != 0) {
            return at + ID_BYTES;
        }
    }
    return 0;
}

enum link_taken link_frame_take(struct slice *rest, struct slice *ret_ids, struct slice *ret_body)
{
    if (rest->len < LINK_FRAME_LENGTH_BYTES) {
        return LINK_NOT_YET;
    }
    uint64_t len = read_u64(rest->data);
    if (len > LIMIT_WIRE_BYTES) {
        return LINK_WRONG;
    }
    if (rest->len - LINK_FRAME_LENGTH_BYTES < len) {
        return LINK_NOT_YET;
    }
    struct slice message = slice_make(rest->data + LINK_FRAME_LENGTH_BYTES, (size_t)len);
    size_t ids = ids_len(message);
    if (ids == 0) {
        return LINK_WRONG;
    }
    *ret_ids = slice_make(message.data, ids);
    *ret_body = slice_skip(message, ids);
    *rest = slice_skip(*rest, LINK_FRAME_LENGTH_BYTES + (size_t)len);
    return LINK_TAKEN;
}
