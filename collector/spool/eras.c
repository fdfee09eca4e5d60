#include "collector/spool/eras.h"

#include <pthread.h>
#include <stdlib.h>
#include "shared/log.h"

/* Nobody ran this earlier, so a clock that shows less is wrong; and one that shows much more. */
#define EARLIEST_MS 1767225600000LL /* 2026-01-01 */
#define LATEST_MS 7258118400000LL   /* 2200-01-01 */

/* Differences below are noise. */
enum { ERA_VERSION = 1, ERA_MEMBERS = 8, NOISE_MS = 500, KEY_BYTES = 9 };

/* An offset that may be unknown: of the hub, or of the wall clock, against the logical one. */
struct offset {
    bool is_known;
    int64_t ms;
};

/* Stored under 'E' number: [version, anchor, first, before, hub's offset | nil, wall's offset |
 * nil, boot id, first sequence]. */
struct era {
    uint32_t number;
    int64_t anchor_ms; /* logical clock minus time since boot */
    int64_t first_ms;  /* by the logical clock: where the era begins, */
    int64_t before_ms; /* and where the one before it ended */
    struct offset hub;
    struct offset wall;
    uint8_t boot_id[CLOCK_BOOT_ID_BYTES]; /* zeros: not told */
    uint64_t first_sequence;              /* of its blocks */
};

struct eras {
    struct clock clock;
    const struct clock_machine *machine;
    struct store *store;
    pthread_mutex_t lock;
    struct era *eras; /* ascending; the last one runs */
    size_t count;
};

static const struct eras *of_clock(const struct clock *clock)
{
    return (const struct eras *)(const void *)clock;
}

static int64_t boot_ms(const struct eras *e)
{
    return e->machine->boot_ns(e->machine) / 1000000;
}

/* The anchor of an era that runs does not change, so nobody has to be kept out. */
static int64_t logical_now_ms(const struct clock *clock)
{
    const struct eras *e = of_clock(clock);
    return boot_ms(e) + e->eras[e->count - 1].anchor_ms;
}

static int64_t logical_monotonic_ns(const struct clock *clock)
{
    const struct eras *e = of_clock(clock);
    return e->machine->boot_ns(e->machine);
}

static bool is_plausible(int64_t wall_ms)
{
    return wall_ms >= EARLIEST_MS && wall_ms <= LATEST_MS;
}

/* ---- On disk ---- */

static struct slice era_key(uint32_t number, uint8_t ret[KEY_BYTES])
{
    struct buf key = {.data = ret, .capacity = KEY_BYTES, .len_max = KEY_BYTES};
    buf_put_u8(&key, 'E');
    buf_put_u64(&key, number);
    return buf_slice(&key);
}

static void pack_offset(msgpack_packer *p, struct offset offset)
{
    if (offset.is_known) {
        msgpack_pack_int64(p, offset.ms);
    } else {
        msgpack_pack_nil(p);
    }
}

static void put_era(const struct era *era, struct store_batch *batch)
{
    uint8_t key[KEY_BYTES];
    msgpack_packer p;
    struct buf value;
    buf_init(&value, 256);
    value_packer_init(&p, &value);
    msgpack_pack_array(&p, ERA_MEMBERS);
    msgpack_pack_int(&p, ERA_VERSION);
    msgpack_pack_int64(&p, era->anchor_ms);
    msgpack_pack_int64(&p, era->first_ms);
    msgpack_pack_int64(&p, era->before_ms);
    pack_offset(&p, era->hub);
    pack_offset(&p, era->wall);
    value_pack_bin(&p, slice_make(era->boot_id, sizeof era->boot_id));
    msgpack_pack_uint64(&p, era->first_sequence);
    store_batch_put(batch, era_key(era->number, key), buf_slice(&value));
    buf_done(&value);
}

static bool take_offset(const msgpack_object *object, struct offset *ret)
{
    ret->is_known = value_int(object, &ret->ms);
    return ret->is_known || object->type == MSGPACK_OBJECT_NIL;
}

static bool read_era(struct slice bytes, struct era *ret)
{
    struct error err;
    msgpack_zone zone;
    msgpack_object root;
    struct slice id;
    int64_t version;
    int64_t first_sequence = 0;
    bool made = msgpack_zone_init(&zone, 512);
    ensure(made);
    bool fine = value_unpack(bytes, &zone, &root, &err) && root.type == MSGPACK_OBJECT_ARRAY &&
                root.via.array.size == ERA_MEMBERS;
    const msgpack_object *at = fine ? root.via.array.ptr : NULL;
    fine = fine && value_int(&at[0], &version) && version == ERA_VERSION &&
           value_int(&at[1], &ret->anchor_ms) && value_int(&at[2], &ret->first_ms) &&
           value_int(&at[3], &ret->before_ms) && take_offset(&at[4], &ret->hub) &&
           take_offset(&at[5], &ret->wall) && value_bin(&at[6], &id) &&
           id.len == sizeof ret->boot_id && value_int(&at[7], &first_sequence) &&
           first_sequence >= 0;
    if (fine) {
        memcpy(ret->boot_id, id.data, id.len);
        ret->first_sequence = (uint64_t)first_sequence;
    }
    msgpack_zone_destroy(&zone);
    return fine;
}

static struct era *add_era(struct eras *e)
{
    e->eras = memory_resize(e->eras, (e->count + 1) * sizeof *e->eras);
    struct era *era = &e->eras[e->count++];
    *era = (struct era){0};
    return era;
}

static bool load(struct eras *e, struct error *err)
{
    uint8_t key[KEY_BYTES];
    struct store_iterator *it = store_iterator_open(e->store, NULL);
    bool fine = true;
    for (store_iterator_seek(it, era_key(0, key));
         fine && store_iterator_valid(it) && store_iterator_key(it).data[0] == 'E';
         store_iterator_next(it)) {
        struct slice at = store_iterator_key(it);
        struct era era = {0};
        fine = at.len == KEY_BYTES && read_era(store_iterator_value(it), &era);
        if (fine) {
            era.number = (uint32_t)read_u64(at.data + 1);
            *add_era(e) = era;
        }
    }
    fine = fine ? store_iterator_check(it, err)
                : error_set(err, ERROR_CORRUPT, "the record of an era is damaged");
    store_iterator_close(&it);
    return fine;
}

/* Forget what is older than every block. */
static void forget_old(struct eras *e, uint64_t first_sequence, struct store_batch *batch)
{
    uint8_t key[KEY_BYTES];
    size_t old = 0;
    while (old + 1 < e->count && e->eras[old + 1].first_sequence <= first_sequence) {
        store_batch_delete(batch, era_key(e->eras[old].number, key));
        old++;
    }
    e->count -= old;
    memmove(e->eras, e->eras + old, e->count * sizeof *e->eras);
}

/* ---- Entering ---- */

/* The last era, if this boot has been in it before. */
static bool goes_on(const struct eras *e, const uint8_t boot_id[CLOCK_BOOT_ID_BYTES],
                    int64_t last_ms)
{
    if (e->count == 0) {
        return false;
    }
    const struct era *last = &e->eras[e->count - 1];
    return memcmp(last->boot_id, boot_id, CLOCK_BOOT_ID_BYTES) == 0 &&
           boot_ms(e) + last->anchor_ms >= last_ms;
}

static void begin_era(struct eras *e, const uint8_t boot_id[CLOCK_BOOT_ID_BYTES], int64_t last_ms,
                      uint64_t next_sequence)
{
    int64_t wall_ms = e->machine->wall_ms(e->machine);
    const struct era *previous = e->count > 0 ? &e->eras[e->count - 1] : NULL;
    uint32_t number = previous == NULL ? 1 : previous->number + 1;
    int64_t before_ms =
        previous != NULL && previous->first_ms > last_ms ? previous->first_ms : last_ms;
    int64_t first_ms = is_plausible(wall_ms) ? wall_ms : EARLIEST_MS;
    first_ms = before_ms > first_ms ? before_ms : first_ms;
    struct era *era = add_era(e);
    era->number = number;
    era->anchor_ms = first_ms - boot_ms(e);
    era->first_ms = first_ms;
    era->before_ms = before_ms;
    /* The first era has what a spool of an earlier version holds. */
    era->first_sequence = number == 1 ? 0 : next_sequence;
    memcpy(era->boot_id, boot_id, CLOCK_BOOT_ID_BYTES);
    era->wall = (struct offset){is_plausible(wall_ms), wall_ms - first_ms};
}

static bool enter(struct eras *e, struct spool *spool, struct error *err)
{
    uint8_t boot_id[CLOCK_BOOT_ID_BYTES] = {0};
    uint64_t first_sequence;
    struct store_batch batch;
    bool is_told = e->machine->boot_id(e->machine, boot_id);
    if (!load(e, err) || !spool_first_sequence(spool, &first_sequence, err)) {
        return false;
    }
    if (!is_told || !goes_on(e, boot_id, spool_last_ms(spool))) {
        begin_era(e, boot_id, spool_last_ms(spool), spool_next_sequence(spool));
    }
    store_batch_init(&batch);
    forget_old(e, first_sequence, &batch);
    put_era(&e->eras[e->count - 1], &batch);
    bool fine = store_write(e->store, &batch, true, err);
    store_batch_done(&batch);
    return fine;
}

bool eras_open(struct store *store, struct spool *spool, const struct clock_machine *machine,
               struct eras **ret, struct error *err)
{
    struct eras *e = memory_allocate_zeroed(sizeof *e);
    e->clock = (struct clock){.now_ms = logical_now_ms, .monotonic_ns = logical_monotonic_ns};
    e->store = store;
    e->machine = machine;
    pthread_mutex_init(&e->lock, NULL);
    if (!enter(e, spool, err)) {
        eras_close(&e);
        return error_add_context(err, "entering the era of this boot");
    }
    *ret = e;
    return true;
}

void eras_close(struct eras **eras)
{
    if (*eras != NULL) {
        pthread_mutex_destroy(&(*eras)->lock);
        free((*eras)->eras);
        free(*eras);
        *eras = NULL;
    }
}

const struct clock *eras_clock(const struct eras *e)
{
    return &e->clock;
}

uint32_t eras_current(const struct eras *e)
{
    return e->eras[e->count - 1].number;
}

/* ---- Learning ---- */

/* Under the lock. An offset that was unknown is synced, so that a power cut does not take it away
 * from blocks that wait; a better one goes with the next block. */
static void keep(struct eras *e, struct offset *offset, int64_t ms)
{
    struct error err;
    struct store_batch batch;
    bool was_known = offset->is_known;
    int64_t moved = ms - offset->ms;
    if (was_known && moved < NOISE_MS && moved > -NOISE_MS) {
        return;
    }
    *offset = (struct offset){true, ms};
    store_batch_init(&batch);
    put_era(&e->eras[e->count - 1], &batch);
    if (!store_write(e->store, &batch, !was_known, &err)) {
        log_error_limited("era-failed", "%s", err.message);
    }
    store_batch_done(&batch);
}

void eras_look_at_wall(struct eras *e)
{
    int64_t wall_ms = e->machine->wall_ms(e->machine);
    if (is_plausible(wall_ms)) {
        pthread_mutex_lock(&e->lock);
        keep(e, &e->eras[e->count - 1].wall, wall_ms - clock_now_ms(&e->clock));
        pthread_mutex_unlock(&e->lock);
    }
}

void eras_note_offset(struct eras *e, int64_t offset_ms)
{
    pthread_mutex_lock(&e->lock);
    keep(e, &e->eras[e->count - 1].hub, offset_ms);
    pthread_mutex_unlock(&e->lock);
}

int64_t eras_offset_ms(struct eras *e, uint32_t era, int64_t current_ms)
{
    int64_t offset = current_ms;
    pthread_mutex_lock(&e->lock);
    for (size_t at = e->count - 1; at > 0 && e->eras[at].number > era; at--) {
        const struct era *next = &e->eras[at];
        const struct era *this = &e->eras[at - 1];
        /* Where this era ends is not later than where the next one begins. */
        int64_t most = next->first_ms + offset - next->before_ms;
        offset = this->hub.is_known                            ? this->hub.ms
                 : this->wall.is_known && this->wall.ms < most ? this->wall.ms
                                                               : most;
    }
    pthread_mutex_unlock(&e->lock);
    return offset;
}
