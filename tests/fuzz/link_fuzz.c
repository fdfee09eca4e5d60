/* What a client of the link sends, as it may come: cut anywhere, each part must give what the whole
 * gives, and nothing may be taken that was not sent. */
#include "shared/buf.h"
#include "shared/limits.h"
#include "shared/link_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Take messages from what has come so far; how many, and in *ret_used how many bytes. */
static size_t take_all(struct slice come, enum link_taken *ret_end, size_t *ret_used)
{
    struct slice rest = come;
    struct slice ids;
    struct slice body;
    size_t count = 0;
    *ret_end = link_frame_take_greeting(&rest);
    while (*ret_end == LINK_TAKEN) {
        struct slice before = rest;
        *ret_end = link_frame_take(&rest, &ids, &body);
        if (*ret_end == LINK_TAKEN) {
            count++;
            ensure(ids.len >= 4 && ids.len <= LINK_FRAME_IDS_BYTES_MAX && ids.len % 4 == 0);
            ensure((ids.data[ids.len - 4] & 0x80) != 0);
            ensure(body.data == ids.data + ids.len && body.data + body.len == rest.data);
            ensure(before.len - rest.len == LINK_FRAME_LENGTH_BYTES + ids.len + body.len);
            ensure(ids.len + body.len <= LIMIT_WIRE_BYTES);
        }
    }
    *ret_used = come.len - rest.len;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum link_taken end;
    size_t used;
    size_t count = take_all(slice_make(data, size), &end, &used);
    size_t step = size / 16 + 1;
    for (size_t len = 0; len < size; len += step) {
        enum link_taken part_end;
        size_t part_used;
        size_t part = take_all(slice_make(data, len), &part_end, &part_used);
        ensure(part <= count && part_used <= used);
        ensure(part_end != LINK_WRONG || end == LINK_WRONG); /* what is wrong stays wrong */
    }
    return 0;
}
