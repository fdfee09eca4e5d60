#include "collector/edge/report.h"

#include <stdlib.h>
#include "shared/seal.h"
#include "shared/version.h"
#include "shared/wire.h"

/* Of the 16 KiB, this much for counts; the last refusals get the rest. */
enum { COUNTS_BYTES_MAX = 8 * 1024, MARKS_MAX = 64, EPOCH_SHIFT = 16 };

/* At this moment the spool's next block was to have this number. */
struct mark {
    uint64_t sequence;
    int64_t at_ms; /* monotonic */
};

struct report {
    struct refusals *refusals;
    struct spool *spool;
    const struct clock *clock;
    const struct clock *wall;
    uint64_t start;
    int64_t opened_ms;  /* monotonic */
    int64_t backlog_ms; /* age of the oldest block then; 0: there was none */
    size_t mark_count;
    struct mark marks[MARKS_MAX];
    uint64_t told;    /* serial of the refusals that the hub has */
    uint64_t telling; /* and will have when the poll under way is answered */
};

static int64_t monotonic_ms(const struct report *r)
{
    return clock_monotonic_ns(r->clock) / 1000000;
}

/* When the epoch of a lane's first block began, as its number says; INT64_MAX: the lane is empty.
 */
static int64_t oldest_ms(const struct report *r, enum lane lane, struct buf *block,
                         struct buf *header)
{
    struct spool_place place;
    struct seal_block sealed;
    struct error err;
    bool found = false;
    bool fine = spool_find(r->spool, lane, 0, &place, block, header, &found, &err) && found &&
                seal_block_peek(buf_slice(block), &sealed, &err);
    return fine ? (int64_t)(sealed.epoch >> EPOCH_SHIFT) : INT64_MAX;
}

/* How long what an earlier start left has been waiting. */
static int64_t backlog_age_ms(const struct report *r)
{
    struct buf block;
    struct buf header;
    int64_t now = clock_now_ms(r->clock);
    int64_t age = 0;
    buf_init(&block, SIZE_MAX / 2);
    buf_init(&header, 4096);
    for (int lane = 0; lane < LANES; lane++) {
        int64_t since = oldest_ms(r, (enum lane)lane, &block, &header);
        age = now - since > age ? now - since : age;
    }
    buf_done(&block);
    buf_done(&header);
    return age;
}

struct report *report_open(struct refusals *refusals, struct spool *spool,
                           const struct clock *clock, const struct clock *wall, struct rand *rand)
{
    struct report *r = memory_allocate_zeroed(sizeof *r);
    uint8_t start[8];
    r->refusals = refusals;
    r->spool = spool;
    r->clock = clock;
    r->wall = wall;
    rand_fill(rand, start, sizeof start);
    r->start = read_u64(start) >> 1;
    r->backlog_ms = backlog_age_ms(r);
    r->opened_ms = monotonic_ms(r);
    r->marks[r->mark_count++] = (struct mark){spool_next_sequence(spool), r->opened_ms};
    return r;
}

void report_close(struct report **report)
{
    free(*report);
    *report = NULL;
}

/* ---- Lag ---- */

/* Where the marks are many every other one goes: old ones become coarse. */
static void set_mark(struct report *r)
{
    uint64_t sequence = spool_next_sequence(r->spool);
    if (sequence == r->marks[r->mark_count - 1].sequence) {
        r->marks[r->mark_count - 1].at_ms = monotonic_ms(r);
        return;
    }
    if (r->mark_count == MARKS_MAX) {
        for (size_t i = 1; i < MARKS_MAX / 2; i++) {
            r->marks[i] = r->marks[i * 2];
        }
        r->mark_count = MARKS_MAX / 2;
    }
    r->marks[r->mark_count++] = (struct mark){sequence, monotonic_ms(r)};
}

int64_t report_lag_ms(struct report *r)
{
    int64_t now = monotonic_ms(r);
    set_mark(r);
    if (spool_blocks(r->spool) == 0) {
        return 0;
    }
    uint64_t first;
    struct error err;
    if (!spool_first_waiting(r->spool, &first, &err)) {
        first = 0; /* what is not known counts as old */
    }
    for (size_t i = r->mark_count; i-- > 0;) {
        if (r->marks[i].sequence <= first) {
            return now - r->marks[i].at_ms;
        }
    }
    return now - r->opened_ms + r->backlog_ms;
}

/* ---- The map ---- */

struct list {
    struct buf *out;
    size_t bytes_max;
    uint32_t count;
    int64_t now_ms;
};

static void put_count(void *user, struct slice source, const char *code, uint64_t count)
{
    struct list *list = user;
    msgpack_packer k;
    if (list->out->len + source.len + strlen(code) + 32 > list->bytes_max) {
        return;
    }
    value_packer_init(&k, list->out);
    msgpack_pack_array(&k, 3);
    value_pack_text(&k, source);
    value_pack_cstr(&k, code);
    msgpack_pack_uint64(&k, count);
    list->count++;
}

static bool put_seen(void *user, struct slice source, const struct refusal_seen *seen)
{
    struct list *list = user;
    msgpack_packer k;
    size_t size = source.len + strlen(seen->field) + strlen(seen->event) + strlen(seen->sample);
    if (list->out->len + size + 160 > list->bytes_max) {
        return false;
    }
    value_packer_init(&k, list->out);
    msgpack_pack_map(&k, 7);
    value_pack_cstr(&k, "source");
    value_pack_text(&k, source);
    value_pack_cstr(&k, "code");
    value_pack_cstr(&k, seen->code);
    value_pack_cstr(&k, "field");
    value_pack_cstr(&k, seen->field);
    value_pack_cstr(&k, "age");
    msgpack_pack_int64(&k, list->now_ms - seen->at_ms);
    value_pack_cstr(&k, "type");
    value_pack_cstr(&k, seen->type == NULL ? "" : seen->type);
    value_pack_cstr(&k, "event");
    value_pack_cstr(&k, seen->event);
    value_pack_cstr(&k, "sample");
    value_pack_cstr(&k, seen->sample);
    list->count++;
    return true;
}

static void put_list(struct buf *out, const char *name, const struct list *list)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    value_pack_cstr(&k, name);
    msgpack_pack_array(&k, list->count);
    buf_put_slice(out, buf_slice(list->out));
}

void report_write(struct report *r, struct buf *out)
{
    struct buf counts;
    struct buf last;
    msgpack_packer k;
    uint64_t serial = refusals_serial(r->refusals);
    bool is_news = serial != r->told;
    buf_init(&counts, COUNTS_BYTES_MAX);
    buf_init(&last, WIRE_REPORT_BYTES);
    struct list count_list = {.out = &counts, .bytes_max = COUNTS_BYTES_MAX};
    refusals_each_count(r->refusals, put_count, &count_list);
    struct list last_list = {.out = &last,
                             .bytes_max = WIRE_REPORT_BYTES - 1024 - counts.len,
                             .now_ms = clock_now_ms(r->clock)};
    value_packer_init(&k, out);
    msgpack_pack_map(&k, is_news ? 7 : 6);
    value_pack_cstr(&k, "start");
    msgpack_pack_uint64(&k, r->start);
    value_pack_cstr(&k, "version");
    value_pack_cstr(&k, TRIBUTARY_VERSION);
    value_pack_cstr(&k, "clock");
    msgpack_pack_int64(&k, clock_now_ms(r->wall));
    value_pack_cstr(&k, "lag");
    msgpack_pack_int64(&k, report_lag_ms(r));
    value_pack_cstr(&k, "dropped");
    msgpack_pack_array(&k, LANES);
    for (int lane = 0; lane < LANES; lane++) {
        msgpack_pack_uint64(&k, spool_dropped(r->spool, (enum lane)lane));
    }
    put_list(out, "refusals", &count_list);
    if (is_news) {
        refusals_each_last(r->refusals, put_seen, &last_list);
        put_list(out, "last_refusals", &last_list);
    }
    r->telling = serial;
    buf_done(&counts);
    buf_done(&last);
}

void report_settle(struct report *r, bool was_answered)
{
    r->told = was_answered ? r->telling : 0;
}
