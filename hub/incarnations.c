#include "hub/incarnations.h"

#include <stdlib.h>

/* In the log's store (stored: never change): 'I' number, of a start -> id, moment at which it began
 */
enum { KEY_BYTES = 1 + 8, VALUE_BYTES = WIRE_INCARNATION_BYTES + 8 };

struct incarnation {
    uint8_t id[WIRE_INCARNATION_BYTES];
    uint64_t began;
};

struct incarnations {
    struct eventlog *log;
    struct registry *registry;
    struct suppressions *suppressions;
    size_t count;                             /* the rest is written while this is opened only */
    struct incarnation all[INCARNATIONS_MAX]; /* oldest first, the last is this one */
};

static struct slice key_of(uint64_t number, uint8_t ret[KEY_BYTES])
{
    struct buf key = {.data = ret, .capacity = KEY_BYTES, .len_max = KEY_BYTES};
    buf_put_u8(&key, 'I');
    buf_put_u64(&key, number);
    return buf_slice(&key);
}

static uint64_t moment_of(const struct incarnations *in)
{
    return eventlog_next(in->log) + registry_version(in->registry) +
           suppressions_version(in->suppressions);
}

static void add(struct incarnations *in, const struct incarnation *one)
{
    if (in->count == INCARNATIONS_MAX) {
        memmove(in->all, in->all + 1, (INCARNATIONS_MAX - 1) * sizeof *in->all);
        in->count--;
    }
    in->all[in->count++] = *one;
}

/* *ret_next: the number of the next start. Those beyond the last few are put into the batch. */
static bool load(struct incarnations *in, uint64_t *ret_next, struct store_batch *batch,
                 struct error *err)
{
    uint8_t key[KEY_BYTES];
    bool fine = true;
    *ret_next = 1;
    struct store_iterator *it = store_iterator_open(eventlog_store(in->log), NULL);
    for (store_iterator_seek(it, key_of(0, key));
         fine && store_iterator_valid(it) && store_iterator_key(it).data[0] == 'I';
         store_iterator_next(it)) {
        struct slice value = store_iterator_value(it);
        struct incarnation one;
        fine = store_iterator_key(it).len == KEY_BYTES && value.len == VALUE_BYTES;
        if (fine) {
            memcpy(one.id, value.data, sizeof one.id);
            one.began = read_u64(value.data + sizeof one.id);
            *ret_next = read_u64(store_iterator_key(it).data + 1) + 1;
            add(in, &one);
        } else {
            error_set(err, ERROR_CORRUPT, "a start of this hub cannot be read");
        }
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    if (fine && *ret_next > INCARNATIONS_MAX) {
        store_batch_delete(batch, key_of(*ret_next - INCARNATIONS_MAX, key));
    }
    return fine;
}

static bool begin(struct incarnations *in, struct rand *rand, struct error *err)
{
    struct store_batch batch;
    struct incarnation one;
    struct buf value;
    uint8_t key[KEY_BYTES];
    uint64_t number;
    store_batch_init(&batch);
    buf_init(&value, VALUE_BYTES);
    bool fine = load(in, &number, &batch, err);
    if (fine) {
        rand_fill(rand, one.id, sizeof one.id);
        one.began = moment_of(in);
        buf_put(&value, one.id, sizeof one.id);
        buf_put_u64(&value, one.began);
        store_batch_put(&batch, key_of(number, key), buf_slice(&value));
        fine = store_write(eventlog_store(in->log), &batch, true, err);
        add(in, &one);
    }
    buf_done(&value);
    store_batch_done(&batch);
    return fine;
}

bool incarnations_open(struct eventlog *log, struct registry *registry,
                       struct suppressions *suppressions, struct rand *rand,
                       struct incarnations **ret, struct error *err)
{
    struct incarnations *in = memory_allocate_zeroed(sizeof *in);
    *in = (struct incarnations){.log = log, .registry = registry, .suppressions = suppressions};
    if (!begin(in, rand, err)) {
        incarnations_close(&in);
        return error_add_context(err, "noting this start");
    }
    *ret = in;
    return true;
}

void incarnations_close(struct incarnations **incarnations)
{
    free(*incarnations);
    *incarnations = NULL;
}

struct wire_moment incarnations_now(struct incarnations *in)
{
    struct wire_moment now = {.is_told = true, .number = moment_of(in)};
    memcpy(now.incarnation, in->all[in->count - 1].id, sizeof now.incarnation);
    return now;
}

static bool has(const struct incarnations *in, const struct wire_moment *moment)
{
    size_t at = in->count;
    while (at > 0 && memcmp(in->all[at - 1].id, moment->incarnation, WIRE_INCARNATION_BYTES) != 0) {
        at--;
    }
    return at == in->count || (at > 0 && moment->number <= in->all[at].began);
}

enum incarnations_verdict incarnations_judge(struct incarnations *in,
                                             const struct wire_moment *moment)
{
    static const uint8_t none[WIRE_INCARNATION_BYTES];
    if (!moment->is_told || has(in, moment)) {
        return INCARNATIONS_PAST;
    }
    return memcmp(moment->incarnation, none, sizeof none) == 0 ? INCARNATIONS_UNKNOWN
                                                               : INCARNATIONS_FOREIGN;
}
