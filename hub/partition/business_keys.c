#include "hub/partition/business_keys.h"

#include <stdlib.h>

enum { KEY_BYTES = 64 * 1024, ENTRY_BYTES = 4096 };

/* What decides between two events with an equal key. */
struct rank {
    bool is_server;
    int64_t at_ms;
    struct slice message_id;
    struct slice source;
};

static struct rank rank_of(const struct event *event)
{
    return (struct rank){verdict_is_server(event->verdict), event->timestamp_ms, event->message_id,
                         event->source};
}

/* Below 0: `a` counts. */
static int compare(const struct rank *a, const struct rank *b)
{
    if (a->is_server != b->is_server) {
        return a->is_server ? -1 : 1;
    }
    if (a->at_ms != b->at_ms) {
        return a->at_ms < b->at_ms ? -1 : 1;
    }
    int order = slice_compare(a->message_id, b->message_id);
    return order != 0 ? order : slice_compare(a->source, b->source);
}

/* stored: [is server, at, message id, source] */
static void write_rank(const struct rank *rank, struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 4);
    msgpack_pack_int(&k, rank->is_server);
    msgpack_pack_int64(&k, rank->at_ms);
    value_pack_text(&k, rank->message_id);
    value_pack_text(&k, rank->source);
}

static bool read_rank(struct slice bytes, msgpack_zone *zone, struct rank *ret, struct error *err)
{
    msgpack_object root;
    int64_t is_server = 0;
    bool fine = value_unpack(bytes, zone, &root, err) && root.type == MSGPACK_OBJECT_ARRAY &&
                root.via.array.size == 4 && value_int(&root.via.array.ptr[0], &is_server) &&
                value_int(&root.via.array.ptr[1], &ret->at_ms) &&
                value_text(&root.via.array.ptr[2], &ret->message_id) &&
                value_text(&root.via.array.ptr[3], &ret->source);
    ret->is_server = is_server != 0;
    return fine || error_set(err, ERROR_CORRUPT, "an entry of the business keys is damaged");
}

/* False: the event has no key. */
static bool find_key(const struct catalog *catalog, struct profile_id profile,
                     const struct event *event, struct key *ret)
{
    struct buf text;
    buf_init(&text, KEY_BYTES);
    bool has_key = catalog_business_key(catalog, event, &text);
    if (has_key) {
        *ret = key_business(profile, hash_of(buf_slice(&text)));
    }
    buf_done(&text);
    return has_key;
}

static void put(struct partition *p, const struct key *key, const struct rank *rank)
{
    struct buf value;
    buf_init(&value, ENTRY_BYTES);
    write_rank(rank, &value);
    view_put(&p->view, key, buf_slice(&value));
    buf_done(&value);
}

/* How an event stands to the one that counts: below 0 before it, 0 it is itself, or there is none.
 */
static bool stand(struct partition *p, const struct key *key, const struct rank *rank,
                  bool *ret_found, int *ret_order, struct error *err)
{
    struct buf value;
    struct rank other;
    msgpack_zone zone;
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    buf_init(&value, ENTRY_BYTES);
    *ret_order = 0;
    bool fine = view_get(&p->view, key, &value, ret_found, err) &&
                (!*ret_found || read_rank(buf_slice(&value), &zone, &other, err));
    if (fine && *ret_found) {
        *ret_order = compare(rank, &other);
    }
    buf_done(&value);
    msgpack_zone_destroy(&zone);
    return fine;
}

bool business_keys_take(struct partition *p, struct profile *profile, const struct event *event,
                        enum business_key_result *ret, struct error *err)
{
    struct key key;
    struct rank rank = rank_of(event);
    bool found;
    int order;
    *ret = KEY_COUNTS;
    if (!find_key(p->catalog, profile->id, event, &key)) {
        return true;
    }
    if (!stand(p, &key, &rank, &found, &order, err)) {
        return false;
    }
    profile->keyed_count++;
    *ret = !found ? KEY_COUNTS : order < 0 ? KEY_REPLACES : KEY_REPEATS;
    if (*ret != KEY_REPEATS) {
        put(p, &key, &rank);
    }
    return true;
}

bool business_keys_repeats(struct partition *p, const struct profile *profile,
                           const struct event *event, bool *ret, struct error *err)
{
    struct key key;
    struct rank rank = rank_of(event);
    bool found;
    int order = 0;
    bool fine = !find_key(p->catalog, profile->id, event, &key) ||
                stand(p, &key, &rank, &found, &order, err);
    *ret = order > 0;
    return fine;
}

static bool forget_entry(void *user, struct slice key, struct slice value)
{
    struct partition *p = user;
    struct key copy = {.len = key.len};
    (void)value;
    memcpy(copy.bytes, key.data, key.len);
    view_delete(&p->view, &copy);
    return true;
}

bool business_keys_forget(struct partition *p, struct profile_id profile, struct error *err)
{
    struct key first = key_business(profile, 0);
    return view_each(&p->view, key_prefix(&first, KEY_PREFIX_PROFILE), forget_entry, p, err);
}

/* An event with a key, while all of them are collected. */
struct keyed {
    struct key key;
    struct rank rank;
};

struct deciding {
    struct partition *partition;
    struct profile *profile;
    struct buf event;
    struct arena arena;
    struct keyed *keyed;
    size_t count;
    size_t capacity;
    struct error *err;
    bool fine;
};

static void collect(struct deciding *d, const struct event *event)
{
    struct key key;
    if (!find_key(d->partition->catalog, d->profile->id, event, &key)) {
        return;
    }
    if (d->count == d->capacity) {
        d->capacity = d->capacity == 0 ? 16 : d->capacity * 2;
        d->keyed = memory_resize(d->keyed, d->capacity * sizeof *d->keyed);
    }
    struct rank rank = rank_of(event);
    rank.message_id = arena_copy(&d->arena, rank.message_id);
    rank.source = arena_copy(&d->arena, rank.source);
    d->keyed[d->count++] = (struct keyed){key, rank};
}

static bool decide_event(void *user, struct slice key, struct slice record)
{
    struct deciding *d = user;
    struct event event;
    msgpack_zone zone;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    (void)key;
    d->fine = timeline_decompress(d->partition->timeline, record, &d->event, d->err) &&
              event_unpack(buf_slice(&d->event), &zone, &event, d->err);
    if (d->fine) {
        collect(d, &event);
    }
    msgpack_zone_destroy(&zone);
    return d->fine;
}

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a;
    const struct keyed *y = b;
    int order = slice_compare(key_slice(&x->key), key_slice(&y->key));
    return order != 0 ? order : compare(&x->rank, &y->rank);
}

/* The first of each key counts. */
static void put_all(struct deciding *d)
{
    if (d->count > 0) {
        qsort(d->keyed, d->count, sizeof *d->keyed, compare_keyed);
    }
    for (size_t i = 0; i < d->count; i++) {
        const struct keyed *one = &d->keyed[i];
        if (i == 0 || !slice_equal(key_slice(&one->key), key_slice(&d->keyed[i - 1].key))) {
            put(d->partition, &one->key, &one->rank);
        }
    }
}

bool business_keys_decide(struct partition *p, struct profile *profile, struct error *err)
{
    struct deciding d = {.partition = p, .profile = profile, .err = err, .fine = true};
    struct key key = key_timeline(profile->id, 0, 0);
    profile->keys_id = catalog_business_keys_id(p->catalog);
    if (profile->keyed_count > 0 && !business_keys_forget(p, profile->id, err)) {
        return false;
    }
    profile->keyed_count = 0;
    if (profile->keys_id == 0) {
        return true;
    }
    buf_init(&d.event, LIMIT_EVENT_BYTES * 4);
    arena_init(&d.arena, 4096);
    /* Collected first: the view must not change while it is walked. */
    bool fine =
        view_each(&p->view, key_prefix(&key, KEY_PREFIX_PROFILE), decide_event, &d, err) && d.fine;
    if (fine) {
        put_all(&d);
        profile->keyed_count = d.count;
    }
    free(d.keyed);
    arena_done(&d.arena);
    buf_done(&d.event);
    return fine;
}

bool business_keys_read(struct store *store, const struct catalog *catalog,
                        struct profile_id profile, const struct event *event, struct buf *ret,
                        struct error *err)
{
    struct key key;
    struct rank rank = rank_of(event);
    struct rank other;
    struct buf value;
    msgpack_zone zone;
    bool found = false;
    buf_clear(ret);
    if (!find_key(catalog, profile, event, &key)) {
        return true;
    }
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    buf_init(&value, ENTRY_BYTES);
    bool fine = store_get(store, NULL, key_slice(&key), &value, &found, err) &&
                (!found || read_rank(buf_slice(&value), &zone, &other, err));
    if (fine && found && compare(&rank, &other) > 0) {
        buf_put_slice(ret, other.message_id);
    }
    buf_done(&value);
    msgpack_zone_destroy(&zone);
    return fine;
}
