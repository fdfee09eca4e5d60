#include "hub/reader.h"

#include <stdint.h>

enum { REDIRECTS_MAX = 1000, VALUE_BYTES_MAX = 256 * 1024 * 1024 };

static bool read_profile(struct store *store, struct profile_id id, struct profile **ret,
                         struct error *err)
{
    struct key key = key_profile(id);
    struct buf bytes;
    bool found = false;
    *ret = NULL;
    buf_init(&bytes, VALUE_BYTES_MAX);
    bool fine = store_get(store, NULL, key_slice(&key), &bytes, &found, err) &&
                (!found || profile_unpack(buf_slice(&bytes), ret, err));
    buf_done(&bytes);
    return fine;
}

static bool read_redirect(struct store *store, struct profile_id *id, bool *ret_found,
                          struct error *err)
{
    struct key key = key_redirect(*id);
    struct buf bytes;
    buf_init(&bytes, 64);
    bool fine = store_get(store, NULL, key_slice(&key), &bytes, ret_found, err);
    *ret_found = fine && *ret_found && profile_id_from_slice(buf_slice(&bytes), id);
    buf_done(&bytes);
    return fine;
}

bool reader_profile(const struct reader *reader, struct profile_id id, struct profile **ret,
                    struct error *err)
{
    *ret = NULL;
    for (int n = 0; n < REDIRECTS_MAX; n++) {
        uint16_t partition = profile_id_partition(id);
        bool redirected;
        if (partition >= reader->partitions) {
            return true;
        }
        struct store *store = reader->stores[partition];
        if (!read_profile(store, id, ret, err)) {
            return false;
        }
        if (*ret != NULL) {
            return true;
        }
        if (!read_redirect(store, &id, &redirected, err)) {
            return false;
        }
        if (!redirected) {
            return true;
        }
    }
    return true;
}

bool reader_profile_of(const struct reader *reader, struct identifier id, struct profile **ret,
                       struct error *err)
{
    struct store *store = reader->stores[home_of(id, reader->partitions)];
    struct key key = key_identifier(id);
    struct profile_id owner = {0};
    struct buf bytes;
    bool found = false;
    *ret = NULL;
    buf_init(&bytes, 64);
    bool fine = store_get(store, NULL, key_slice(&key), &bytes, &found, err);
    found = fine && found && profile_id_from_slice(buf_slice(&bytes), &owner);
    buf_done(&bytes);
    return fine && (!found || reader_profile(reader, owner, ret, err));
}

struct claimants {
    const struct reader *reader;
    struct identifier id;
    size_t limit;
    void (*each)(void *user, const struct profile *profile);
    void *user;
    size_t count;
};

/* The claims lie where the profiles are. */
static bool scan_claims(struct claimants *c, struct store *store, struct error *err)
{
    struct key first = key_claim(c->id, (struct profile_id){0});
    struct slice prefix = key_prefix(&first, first.len - PROFILE_ID_BYTES);
    struct store_iterator *it = store_iterator_open(store, NULL);
    bool fine = true;
    for (store_iterator_seek(it, key_slice(&first));
         fine && c->count < c->limit && store_iterator_valid(it) &&
         slice_starts_with(store_iterator_key(it), prefix) &&
         store_iterator_key(it).len == first.len;
         store_iterator_next(it)) {
        struct profile *profile = NULL;
        fine =
            read_profile(store, key_profile_at(store_iterator_key(it), prefix.len), &profile, err);
        if (fine && profile != NULL) {
            c->each(c->user, profile);
            c->count++;
        }
        profile_free(&profile);
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool reader_claimants(const struct reader *reader, struct identifier id, size_t limit,
                      void (*each)(void *user, const struct profile *profile), void *user,
                      size_t *ret_count, struct error *err)
{
    struct claimants c = {reader, id, limit, each, user, 0};
    bool fine = true;
    for (uint32_t i = 0; fine && i < reader->partitions; i++) {
        fine = scan_claims(&c, reader->stores[i], err);
    }
    *ret_count = c.count;
    return fine;
}

/* What to do with the events of a timeline. */
struct events {
    struct timeline *timeline;
    void (*each)(void *user, struct slice place, const struct event *event);
    void *user;
};

static bool give_event(const struct events *events, struct slice key, struct slice value,
                       struct buf *bytes, struct error *err)
{
    struct event event;
    msgpack_zone zone;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool fine = timeline_decompress(events->timeline, value, bytes, err) &&
                event_unpack(buf_slice(bytes), &zone, &event, err);
    if (fine) {
        events->each(events->user, slice_skip(key, KEY_PREFIX_PROFILE), &event);
    }
    msgpack_zone_destroy(&zone);
    return fine;
}

static bool scan_events(const struct reader *reader, struct profile_id profile,
                        const struct key *from, size_t limit, const struct events *events,
                        bool *ret_more, struct error *err)
{
    struct key first = key_timeline(profile, 0, 0);
    struct slice prefix = key_prefix(&first, KEY_PREFIX_PROFILE);
    struct store_iterator *it =
        store_iterator_open(reader->stores[profile_id_partition(profile)], NULL);
    struct buf bytes;
    bool fine = true;
    size_t count = 0;
    buf_init(&bytes, LIMIT_EVENT_BYTES * 4);
    *ret_more = false;
    for (store_iterator_seek_before(it, key_slice(from));
         fine && store_iterator_valid(it) && slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_prev(it)) {
        if (count++ == limit) {
            *ret_more = true;
            break;
        }
        fine = give_event(events, store_iterator_key(it), store_iterator_value(it), &bytes, err);
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    buf_done(&bytes);
    return fine;
}

bool reader_events(const struct reader *reader, struct profile_id profile, struct slice before,
                   size_t limit,
                   void (*each)(void *user, struct slice place, const struct event *event),
                   void *user, bool *ret_more, struct error *err)
{
    struct key from = before.len == 16 ? key_timeline(profile, (int64_t)read_u64(before.data),
                                                      read_u64(before.data + 8))
                                       : key_timeline(profile, INT64_MAX, UINT64_MAX);
    struct events events = {timeline_new(), each, user};
    bool fine = scan_events(reader, profile, &from, limit, &events, ret_more, err);
    timeline_free(&events.timeline);
    return fine;
}

bool reader_each_event(const struct reader *reader, struct timeline *timeline,
                       struct profile_id profile,
                       void (*each)(void *user, struct slice place, const struct event *event),
                       void *user, struct error *err)
{
    struct key from = key_timeline(profile, INT64_MAX, UINT64_MAX);
    struct events events = {timeline, each, user};
    bool more;
    return scan_events(reader, profile, &from, SIZE_MAX, &events, &more, err);
}

bool reader_journal(const struct reader *reader, struct profile_id profile, size_t limit,
                    void (*each)(void *user, struct slice entry), void *user, struct error *err)
{
    struct key first = key_journal(profile, 0);
    struct slice prefix = key_prefix(&first, KEY_PREFIX_PROFILE);
    struct store_iterator *it =
        store_iterator_open(reader->stores[profile_id_partition(profile)], NULL);
    for (store_iterator_seek(it, key_slice(&first));
         limit > 0 && store_iterator_valid(it) && slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        each(user, store_iterator_value(it));
        limit--;
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

/* A page of a listing: what is left of it, and what is done with each key. */
struct page {
    struct reader_place *place;
    size_t left;
    bool (*each)(void *user, struct slice key, struct slice value);
    void *user;
};

static bool scan_partition(const struct reader *reader, struct slice prefix, struct slice from,
                           struct page *page, struct error *err)
{
    struct reader_place *place = page->place;
    struct store_iterator *it = store_iterator_open(reader->stores[place->partition], NULL);
    bool fine = true;
    for (store_iterator_seek(it, from);
         fine && store_iterator_valid(it) && slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        struct slice key = store_iterator_key(it);
        struct profile_id id = key_profile_at(key, key.len - PROFILE_ID_BYTES);
        if (slice_equal(key, from) && profile_id_equal(id, place->last)) {
            continue; /* the last of the page before */
        }
        if (page->left == 0) {
            place->more = true;
            break;
        }
        fine = page->each(page->user, key, store_iterator_value(it));
        place->last = id;
        page->left--;
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

/* The keys of a kind, partition by partition. `key_from` makes the key at which to begin. */
static bool scan(const struct reader *reader, struct page *page, size_t prefix_len,
                 struct key (*key_from)(const void *what, struct profile_id last), const void *what,
                 struct error *err)
{
    struct reader_place *place = page->place;
    place->more = false;
    while (place->partition < reader->partitions) {
        struct key key = key_from(what, place->last);
        if (!scan_partition(reader, key_prefix(&key, prefix_len), key_slice(&key), page, err)) {
            return false;
        }
        if (place->more) {
            return true;
        }
        place->last = (struct profile_id){0};
        place->partition++;
    }
    return true;
}

struct members {
    void (*each)(void *user, struct profile_id profile, int64_t since_ms);
    void *user;
};

static bool on_member(void *user, struct slice key, struct slice value)
{
    struct members *m = user;
    m->each(m->user, key_profile_at(key, KEY_PREFIX_NUMBER),
            value.len == 8 ? (int64_t)read_u64(value.data) : 0);
    return true;
}

static struct key member_from(const void *what, struct profile_id last)
{
    return key_member(*(const uint32_t *)what, last);
}

bool reader_members(const struct reader *reader, uint32_t segment, struct reader_place *place,
                    size_t limit,
                    void (*each)(void *user, struct profile_id profile, int64_t since_ms),
                    void *user, struct error *err)
{
    struct members members = {each, user};
    struct page page = {place, limit, on_member, &members};
    return scan(reader, &page, KEY_PREFIX_NUMBER, member_from, &segment, err);
}

struct profiles {
    void (*each)(void *user, const struct profile *profile);
    void *user;
    struct error *err;
};

static bool on_profile(void *user, struct slice key, struct slice value)
{
    struct profiles *p = user;
    struct profile *profile;
    (void)key;
    if (!profile_unpack(value, &profile, p->err)) {
        return false;
    }
    p->each(p->user, profile);
    profile_free(&profile);
    return true;
}

static struct key profile_from(const void *what, struct profile_id last)
{
    (void)what;
    return key_profile(last);
}

bool reader_profiles(const struct reader *reader, struct reader_place *place, size_t limit,
                     void (*each)(void *user, const struct profile *profile), void *user,
                     struct error *err)
{
    struct profiles profiles = {each, user, err};
    struct page page = {place, limit, on_profile, &profiles};
    return scan(reader, &page, KEY_PREFIX_KIND, profile_from, NULL, err);
}
