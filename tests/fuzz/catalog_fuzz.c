/* The segment language, and what compiled definitions make of events. The input is a JSON array of
 * conditions up to a zero byte (segments "a", "b", … of it), then four bytes for each event.
 *
 * Whatever compiles must keep its word: memberships do not depend on the order in which events came
 * nor on whether they were noted one by one or rebuilt, and between now and the timer nothing
 * changes by itself. */
#include "hub/segment/catalog.h"
#include "shared/json.h"
#include "shared/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENTS_MAX = 48, SEGMENTS_MAX = 8, BYTES_MAX = 4 * 1024 * 1024 };
#define NOW_MS 1795292103120
#define HOUR_MS 3600000

struct made_event {
    struct buf bytes;
    msgpack_zone zone;
    struct event event;
};

struct input {
    struct catalog *catalog;
    size_t count;
    struct made_event events[EVENTS_MAX];
};

static size_t split(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size == 0 ? NULL : memchr(data, 0, size);
    return zero == NULL ? size : (size_t)(zero - data);
}

static void put_segments(msgpack_packer *k, const msgpack_object *list)
{
    uint32_t count = list->via.array.size < SEGMENTS_MAX ? list->via.array.size : SEGMENTS_MAX;
    msgpack_pack_array(k, count);
    for (uint32_t i = 0; i < count; i++) {
        char key[2] = {(char)('a' + (int)i), 0};
        msgpack_pack_map(k, 4);
        value_pack_cstr(k, "id");
        msgpack_pack_uint32(k, i + 1);
        value_pack_cstr(k, "key");
        value_pack_cstr(k, key);
        value_pack_cstr(k, "version");
        msgpack_pack_int(k, 1);
        value_pack_cstr(k, "where");
        msgpack_pack_object(k, list->via.array.ptr[i]);
    }
}

static void check_refusal(const struct catalog_error *where, const struct error *err)
{
    ensure(err->kind == ERROR_INVALID && err->message[0] != 0 && where->code[0] != 0);
    ensure(utf8_is_valid(slice_text(where->field)) && utf8_is_valid(slice_text(err->message)));
}

/* NULL: refused. */
static struct catalog *compile(struct slice json)
{
    struct catalog *catalog = NULL;
    struct catalog_error where;
    struct error err;
    struct buf rules;
    struct buf text;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object list;
    msgpack_object rules_object;
    msgpack_packer k;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    buf_init(&rules, BYTES_MAX);
    buf_init(&text, BYTES_MAX);
    buf_init(&bytes, BYTES_MAX);
    bool fine =
        json_read_value(slice_text(identity_rules_default), &rules, &zone, &rules_object, &err);
    ensure(fine);
    if (json_read_value(json, &text, &zone, &list, &err) && list.type == MSGPACK_OBJECT_ARRAY) {
        value_packer_init(&k, &bytes);
        msgpack_pack_map(&k, 3);
        value_pack_cstr(&k, "version");
        msgpack_pack_int(&k, 1);
        value_pack_cstr(&k, "rules");
        msgpack_pack_object(&k, rules_object);
        value_pack_cstr(&k, "segments");
        put_segments(&k, &list);
        if (!catalog_new(buf_slice(&bytes), &catalog, &where, &err)) {
            check_refusal(&where, &err);
            catalog = NULL;
        }
    }
    buf_done(&rules);
    buf_done(&text);
    buf_done(&bytes);
    msgpack_zone_destroy(&zone);
    return catalog;
}

/* Of four bytes: type and name, a property, and when. */
static void make_event(struct made_event *m, const uint8_t four[4])
{
    static const char *const names[] = {"Sold", "Seen", "Added", ""};
    static const char *const bodies[] = {
        "{}",
        "{\"properties\":{\"x\":1,\"shop\":\"Lyon\"}}",
        "{\"properties\":{\"x\":2.5,\"products\":[{\"id\":\"A\"},{\"id\":\"B\"}]}}",
        "{\"properties\":{\"x\":\"1\",\"at\":\"2026-11-20T10:00:00Z\",\"y\":{\"z\":null}}}",
    };
    struct buf body;
    struct error err;
    buf_init(&body, 4096);
    buf_init(&m->bytes, 8192);
    bool made = msgpack_zone_init(&m->zone, 1024);
    ensure(made);
    enum json_fault fault = json_read(slice_text(bodies[four[1] % 4]), &body);
    ensure(fault == JSON_FINE);
    int64_t hours = four[2] + 256 * (four[3] % 16) - 200; /* also ahead of now */
    event_pack(&(struct event){.type = (enum event_type)(four[0] / 4 % EVENT_TYPES),
                               .timestamp_ms = NOW_MS - hours * HOUR_MS,
                               .received_ms = NOW_MS,
                               .source = slice_text("web"),
                               .message_id = slice_make(four, 4),
                               .anonymous_id = slice_text("v"),
                               .name = slice_text(names[four[0] % 4]),
                               .body = buf_slice(&body)},
               &m->bytes);
    bool fine = event_unpack(buf_slice(&m->bytes), &m->zone, &m->event, &err);
    ensure(fine);
    buf_done(&body);
}

static void on_change(void *user, uint32_t segment, bool is_member)
{
    size_t *changes = user;
    (void)segment;
    (void)is_member;
    ++*changes;
}

static size_t evaluate(const struct input *in, struct profile *p, int64_t now_ms,
                       int64_t *ret_timer)
{
    size_t changes = 0;
    struct catalog_touch all = {.everything = true};
    catalog_evaluate(in->catalog, p, all, now_ms, on_change, &changes, ret_timer);
    for (size_t i = 0; i < catalog_segment_count(in->catalog); i++) {
        uint32_t id = catalog_segment_at(in->catalog, i).id;
        bool is_member = profile_find_membership(p, id) != NULL;
        ensure(is_member == catalog_holds(in->catalog, i, p, now_ms));
    }
    ensure(*ret_timer == 0 || *ret_timer > now_ms);
    return changes;
}

static struct profile *new_profile(void)
{
    struct profile *p = profile_new(profile_id_make(NOW_MS, 0, 1));
    struct profile_trait trait = {.name = slice_text("city"),
                                  .value = slice_text("\xa4Lyon"),
                                  .at_ms = NOW_MS,
                                  .message_id = slice_text("m"),
                                  .source = slice_text("web")};
    struct identifier id = {slice_text("email"), slice_text("jane@example.com")};
    (void)profile_set_trait(p, &trait);
    (void)profile_see_identifier(p, id, NOW_MS, NOW_MS);
    return p;
}

static void ensure_same(const struct input *in, const struct profile *a, const struct profile *b)
{
    for (size_t i = 0; i < catalog_segment_count(in->catalog); i++) {
        uint32_t id = catalog_segment_at(in->catalog, i).id;
        ensure((profile_find_membership(a, id) == NULL) ==
               (profile_find_membership(b, id) == NULL));
    }
}

/* A profile that heard of each event as it came, and one that was rebuilt from all, backwards. */
static void follow(const struct input *in)
{
    struct profile *lived = new_profile();
    struct profile *rebuilt = new_profile();
    int64_t timer;
    int64_t now_ms = NOW_MS;
    for (size_t i = 0; i < in->count; i++) {
        (void)catalog_note_event(in->catalog, lived, &in->events[i].event, now_ms);
        (void)evaluate(in, lived, now_ms, &timer);
    }
    catalog_rebuild_begin(in->catalog, rebuilt);
    for (size_t i = in->count; i-- > 0;) {
        (void)catalog_rebuild_event(in->catalog, rebuilt, &in->events[i].event, now_ms);
    }
    for (int step = 0; step < 20; step++) {
        (void)evaluate(in, lived, now_ms, &timer);
        int64_t other_timer;
        (void)evaluate(in, rebuilt, now_ms, &other_timer);
        ensure_same(in, lived, rebuilt);
        ensure(timer == other_timer);
        if (timer == 0) {
            break;
        }
        ensure(evaluate(in, lived, timer - 1, &other_timer) == 0);
        now_ms = timer;
    }
    profile_free(&lived);
    profile_free(&rebuilt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct input in;
    size_t len = split(data, size);
    in.catalog = compile(slice_make(data, len));
    if (in.catalog == NULL) {
        return 0;
    }
    in.count = 0;
    for (size_t at = len + 1; at + 4 <= size && in.count < EVENTS_MAX; at += 4) {
        make_event(&in.events[in.count++], data + at);
    }
    follow(&in);
    for (size_t i = 0; i < in.count; i++) {
        buf_done(&in.events[i].bytes);
        msgpack_zone_destroy(&in.events[i].zone);
    }
    catalog_free(&in.catalog);
    return 0;
}
