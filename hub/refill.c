#include "hub/refill.h"

enum { PROFILES_A_STEP = 2000, PLACE_BYTES = 4 + PROFILE_ID_BYTES + 8 };

struct place {
    uint32_t partition;
    struct profile_id last; /* looked at before it: begin behind */
    uint64_t profiles;
};

static bool read_place(const struct wire_place *wire, struct place *ret)
{
    if (wire->len != PLACE_BYTES) {
        return false;
    }
    ret->partition = read_u32(wire->bytes);
    memcpy(ret->last.bytes, wire->bytes + 4, PROFILE_ID_BYTES);
    ret->profiles = read_u64(wire->bytes + 4 + PROFILE_ID_BYTES);
    return true;
}

static void write_place(const struct place *place, struct wire_place *ret)
{
    struct buf out = {.data = ret->bytes, .capacity = PLACE_BYTES, .len_max = PLACE_BYTES};
    buf_put_u32(&out, place->partition);
    buf_put(&out, place->last.bytes, PROFILE_ID_BYTES);
    buf_put_u64(&out, place->profiles);
    ret->len = PLACE_BYTES;
}

uint64_t refill_profiles(const struct wire_place *wire)
{
    struct place place;
    return read_place(wire, &place) ? place.profiles : 0;
}

uint32_t refill_outbox(const struct refill_asker *asker)
{
    return asker->scope == NULL || asker->scope->kind == SCOPE_SEEN ? asker->collector
                                                                    : SHARED_OUTBOX;
}

uint64_t refill_version(const struct refill_asker *asker)
{
    return asker->scope == NULL ? REFILL_FIRST_VERSION : asker->scope->version;
}

bool refill_check_cursors(const struct reader *reader, const struct refill_asker *asker,
                          bool *ret_fit, struct error *err)
{
    *ret_fit = asker->poll->cursor_count == reader->partitions;
    for (uint32_t i = 0; *ret_fit && i < reader->partitions; i++) {
        uint64_t oldest;
        uint64_t last;
        if (!partition_read_outbox(reader->stores[i], refill_outbox(asker), &oldest, &last, err)) {
            return false;
        }
        uint64_t cursor = asker->poll->cursors[i];
        *ret_fit = cursor <= last && cursor + 1 >= oldest;
    }
    return true;
}

static bool is_ready(const struct reader *reader, const struct refill_asker *asker, bool *ret,
                     struct error *err)
{
    *ret = true;
    for (uint32_t i = 0; *ret && asker->scope != NULL && i < reader->partitions; i++) {
        struct partition_stats stats;
        if (!partition_read_stats(reader->stores[i], NULL, &stats, err)) {
            return false;
        }
        *ret = stats.scopes_version >= asker->scope->version;
    }
    return true;
}

bool refill_begin(const struct reader *reader, const struct refill_asker *asker,
                  struct wire_poll_reply *reply, bool *ret_ready, struct error *err)
{
    if (!is_ready(reader, asker, ret_ready, err) || !*ret_ready) {
        return !*ret_ready;
    }
    uint64_t told = 0;
    reply->cursor_count = reader->partitions;
    for (uint32_t i = 0; i < reader->partitions; i++) {
        uint64_t oldest;
        if (!partition_read_outbox(reader->stores[i], refill_outbox(asker), &oldest,
                                   &reply->cursors[i], err)) {
            return false;
        }
        told += reply->cursors[i];
    }
    reply->refill = (struct wire_refill){
        .is_told = true, .begins = true, .scope_version = refill_version(asker)};
    /* A collector that is new and was told of nobody is complete without looking at everybody. */
    if (told > 0 || asker->scope != NULL) {
        write_place(&(struct place){0}, &reply->refill.place);
    }
    return true;
}

struct walk {
    struct place place;
    size_t left; /* of this step */
    bool (*each)(void *user, const struct profile *profile);
    void *user;
};

/* *ret_more: the step ended before the partition did. */
static bool walk_partition(struct store *store, struct walk *w, bool *ret_more, struct error *err)
{
    struct key key = key_profile(w->place.last);
    struct store_iterator *it = store_iterator_open(store, NULL);
    bool fine = true;
    *ret_more = false;
    for (store_iterator_seek(it, key_slice(&key));
         fine && !*ret_more && store_iterator_valid(it) && store_iterator_key(it).data[0] == 'p';
         store_iterator_next(it)) {
        struct profile *profile = NULL;
        struct profile_id id = key_profile_at(store_iterator_key(it), 1);
        if (profile_id_equal(id, w->place.last)) {
            continue;
        }
        fine = profile_unpack(store_iterator_value(it), &profile, err);
        *ret_more = fine && (w->left == 0 || !w->each(w->user, profile));
        profile_free(&profile);
        if (fine && !*ret_more) {
            w->left--;
            w->place.last = id;
            w->place.profiles++;
        }
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool refill_go_on(const struct reader *reader, struct wire_place *place,
                  bool (*each)(void *user, const struct profile *profile), void *user,
                  struct error *err)
{
    struct walk w = {.left = PROFILES_A_STEP, .each = each, .user = user};
    bool more = false;
    if (!read_place(place, &w.place)) {
        place->len = 0;
        return true;
    }
    while (!more && w.place.partition < reader->partitions) {
        if (!walk_partition(reader->stores[w.place.partition], &w, &more, err)) {
            return false;
        }
        if (!more) {
            w.place.partition++;
            w.place.last = (struct profile_id){0};
        }
    }
    if (more) {
        write_place(&w.place, place);
    } else {
        place->len = 0;
    }
    return true;
}
