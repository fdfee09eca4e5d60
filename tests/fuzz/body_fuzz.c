/* Bodies as MessagePack bytes: what msgpack-c reads, body.c finds in the same place, and what was
 * put is read again. Bytes that are no MessagePack do no harm. */
#include "collector/request/body.h"
#include "shared/limits.h"
#include "shared/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
static const struct slice names[] = {NAME("context"), NAME("consent"), NAME("gpc")};

/* The members on the way are each the last of their name: so is what value_member() gives. */
static const msgpack_object *read(const msgpack_object *root, size_t depth)
{
    const msgpack_object *at = root;
    for (size_t i = 0; i < depth && at != NULL; i++) {
        at = value_member(at, names[i]);
    }
    return at;
}

static void put(struct slice body, struct body_path path, struct slice value, bool is_sound)
{
    struct buf out;
    struct slice found;
    msgpack_zone zone;
    msgpack_object root;
    struct error err;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    buf_init(&out, 4 * (body.len + 64));
    bool fine = body_put(body, path, value, &out);
    ensure(fine || !is_sound);
    if (fine) {
        ensure(body_get(buf_slice(&out), path, &found) == (value.len > 0));
    }
    if (is_sound) {
        ensure(value_unpack(buf_slice(&out), &zone, &root, &err));
        ensure((read(&root, path.depth) != NULL) == (value.len > 0));
    }
    buf_done(&out);
    msgpack_zone_destroy(&zone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice body = slice_make(data, size);
    msgpack_zone zone;
    msgpack_object root;
    struct error err;
    if (size > LIMIT_EVENT_BYTES) {
        return 0;
    }
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool is_map = value_unpack(body, &zone, &root, &err) && root.type == MSGPACK_OBJECT_MAP;
    for (size_t depth = 1; depth <= 3; depth++) {
        struct body_path path = {names, depth};
        struct slice found;
        struct slice text;
        bool has = body_get(body, path, &found);
        if (is_map) {
            const msgpack_object *expected = read(&root, depth);
            ensure(has == (expected != NULL));
            ensure((has && body_text(found, &text)) == value_is(expected, MSGPACK_OBJECT_STR));
        }
        put(body, path, slice_make("\xc3", 1), is_map);
        put(body, path, slice_make(NULL, 0), is_map);
    }
    msgpack_zone_destroy(&zone);
    return 0;
}
