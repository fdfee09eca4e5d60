/* Each rule of the shipper by itself, and then a seeded simulation of a line and a hub that lose,
 * repeat, delay and refuse. */
#include "collector/spool/shipper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

enum { BLOCK_BYTES = 100 };

/* A shipper of one lane, whose spool begins at `first` and has no gaps. */
static void begin(struct shipper *s, unsigned window, uint64_t first)
{
    shipper_init(s, window, 0, 0);
    s->next[LANE_NORMAL] = first;
}

static uint64_t must_send(struct shipper *s, uint64_t end, int64_t now_ms)
{
    struct shipper_decision d = shipper_next(s, (uint64_t[LANES]){0, end, 0}, now_ms);
    assert_int_not_equal(d.step, SHIPPER_WAIT);
    if (d.step == SHIPPER_FETCH) {
        assert_int_equal(d.place.lane, LANE_NORMAL);
        d.place.bytes = BLOCK_BYTES;
        shipper_found(s, &d.place);
    }
    return d.place.sequence;
}

/* Nothing may be sent now; the time to ask again. */
static int64_t must_wait(struct shipper *s, uint64_t end, int64_t now_ms)
{
    struct shipper_decision d = shipper_next(s, (uint64_t[LANES]){0, end, 0}, now_ms);
    assert_int_equal(d.step, SHIPPER_WAIT);
    return d.wake_ms;
}

static void test_blocks_are_sent_in_order_and_up_to_the_window(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 3, 7);
    assert_int_equal(must_send(&s, 12, 0), 7);
    assert_int_equal(must_send(&s, 12, 0), 8);
    assert_int_equal(must_send(&s, 12, 0), 9);
    assert_true(must_wait(&s, 12, 0) == INT64_MAX);
    assert_int_equal(shipper_reply(&s, 8, WIRE_STORED, 0), SHIPPER_FORGET);
    assert_int_equal(must_send(&s, 12, 0), 10);
    assert_true(must_wait(&s, 12, 0) == INT64_MAX);
}

static void test_nothing_is_sent_beyond_the_end_of_the_spool(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 4, 0);
    assert_true(must_wait(&s, 0, 0) == INT64_MAX);
    assert_int_equal(must_send(&s, 1, 0), 0);
    assert_true(must_wait(&s, 1, 0) == INT64_MAX);
    assert_int_equal(must_send(&s, 2, 0), 1);
}

static void test_a_block_that_the_hub_has_already_is_forgotten_too(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 1, 0);
    (void)must_send(&s, 1, 0);
    assert_int_equal(shipper_reply(&s, 0, WIRE_REPLAYED, 0), SHIPPER_FORGET);
    assert_true(must_wait(&s, 1, 1000000) == INT64_MAX);
}

static void test_without_an_answer_a_block_is_tried_again_ever_later(void **state)
{
    static const int64_t pauses[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct shipper s;
    int64_t now = 1000;
    (void)state;
    begin(&s, 1, 0);
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        assert_int_equal(must_send(&s, 1, now), 0);
        shipper_no_answer(&s, 0, now);
        assert_int_equal(must_wait(&s, 1, now), now + pauses[i]);
        (void)must_wait(&s, 1, now + pauses[i] - 1);
        now += pauses[i];
    }
}

static void test_while_the_hub_cannot_store_the_pause_grows_and_ends_with_success(void **state)
{
    struct shipper s;
    int64_t now = 0;
    int64_t before = 0;
    (void)state;
    begin(&s, 1, 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(must_send(&s, 5, now), 0);
        assert_int_equal(shipper_reply(&s, 0, WIRE_UNAVAILABLE, now), SHIPPER_KEEP);
        int64_t pause = must_wait(&s, 5, now) - now;
        assert_in_range(pause, before, 5000);
        before = pause;
        now += pause;
    }
    assert_int_equal(before, 5000);
    assert_int_equal(must_send(&s, 5, now), 0);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, now), SHIPPER_FORGET);
    assert_int_equal(must_send(&s, 5, now), 1);
    assert_int_equal(shipper_reply(&s, 1, WIRE_UNAVAILABLE, now), SHIPPER_KEEP);
    assert_in_range(must_wait(&s, 5, now) - now, 1, 400);
}

static void test_the_oldest_block_that_is_due_goes_first(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 3, 0);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(must_send(&s, 9, 0), i);
    }
    shipper_no_answer(&s, 2, 0);
    shipper_no_answer(&s, 0, 0);
    assert_int_equal(must_wait(&s, 9, 0), 100);
    assert_int_equal(must_send(&s, 9, 100), 0);
    assert_int_equal(must_send(&s, 9, 100), 2);
}

static void test_a_block_refused_as_damaged_three_times_is_set_aside(void **state)
{
    struct shipper s;
    int64_t now = 0;
    (void)state;
    begin(&s, 1, 4);
    for (int i = 1; i < SHIPPER_DAMAGED_TRIES; i++) {
        assert_int_equal(must_send(&s, 6, now), 4);
        assert_int_equal(shipper_reply(&s, 4, WIRE_DAMAGED, now), SHIPPER_KEEP);
        int64_t wake = must_wait(&s, 6, now);
        assert_true(wake > now && wake < now + 10000);
        now = wake;
    }
    assert_int_equal(must_send(&s, 6, now), 4);
    assert_int_equal(shipper_reply(&s, 4, WIRE_DAMAGED, now), SHIPPER_SET_ASIDE);
    assert_int_equal(must_send(&s, 6, now), 5);
}

static void test_a_block_that_was_damaged_on_the_way_is_not_set_aside(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 1, 0);
    (void)must_send(&s, 1, 0);
    assert_int_equal(shipper_reply(&s, 0, WIRE_DAMAGED, 0), SHIPPER_KEEP);
    (void)must_send(&s, 1, 10000);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 10000), SHIPPER_FORGET);
}

static void test_a_revoked_collector_keeps_its_blocks_and_asks_once_a_minute(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 2, 0);
    assert_int_equal(must_send(&s, 9, 0), 0);
    assert_int_equal(must_send(&s, 9, 0), 1);
    assert_int_equal(shipper_reply(&s, 0, WIRE_REVOKED, 0), SHIPPER_KEEP);
    assert_int_equal(shipper_reply(&s, 1, WIRE_REVOKED, 0), SHIPPER_KEEP);
    assert_int_equal(must_wait(&s, 9, 0), 60000);
    assert_int_equal(must_wait(&s, 9, 59999), 60000);
    assert_int_equal(must_send(&s, 9, 60000), 0);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 60000), SHIPPER_FORGET);
}

static void test_when_the_hub_is_back_nothing_waits_for_its_retry(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 3, 0);
    for (uint64_t n = 0; n < 3; n++) {
        assert_int_equal(must_send(&s, 9, 0), n);
    }
    assert_int_equal(shipper_reply(&s, 0, WIRE_REVOKED, 0), SHIPPER_KEEP);
    for (int64_t ms = 0; ms < 60000; ms += 6000) { /* until its pauses are as long as they get */
        shipper_no_answer(&s, 1, ms);
        assert_int_equal(must_send(&s, 9, ms + 5000), 1);
    }
    shipper_no_answer(&s, 1, 59000);
    shipper_retry_now(&s, 59001);
    assert_int_equal(must_send(&s, 9, 59001), 0);
    assert_int_equal(must_send(&s, 9, 59001), 1);
    (void)must_wait(&s, 9, 59001);   /* 2 is in flight, and stays there */
    shipper_no_answer(&s, 1, 59001); /* its pauses begin anew */
    assert_int_equal(must_wait(&s, 9, 59001), 59101);
}

static void test_numbers_that_are_not_in_the_spool_do_not_hold_up_the_rest(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 1, 0);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(must_send(&s, 100, 0), i);
        shipper_skip(&s, i);
    }
    assert_true(must_wait(&s, 100, 0) == INT64_MAX);
}

static void test_an_acknowledgement_covers_older_blocks_whose_answers_were_lost(void **state)
{
    struct shipper s;
    struct spool_place covered[SHIPPER_WINDOW_MAX];
    (void)state;
    begin(&s, 4, 0);
    for (uint64_t n = 0; n < 4; n++) {
        assert_int_equal(must_send(&s, 4, 0), n);
    }
    shipper_no_answer(&s, 0, 0); /* stored, but the answer was lost */
    assert_int_equal(shipper_reply(&s, 2, WIRE_STORED, 0), SHIPPER_FORGET);
    assert_int_equal(shipper_cover(&s, 0, 2, covered), 2);
    assert_true(covered[0].sequence + covered[1].sequence == 1); /* 0 and 1, but not 3 */
    /* The late answer of 1 finds nothing to do, 0 is not sent again, and 3 is still under way. */
    assert_int_equal(shipper_reply(&s, 1, WIRE_STORED, 0), SHIPPER_KEEP);
    assert_int_equal(must_wait(&s, 4, 1000000), INT64_MAX);
    assert_int_equal(shipper_reply(&s, 3, WIRE_STORED, 0), SHIPPER_FORGET);
    assert_int_equal(shipper_cover(&s, 0, 3, covered), 0);
}

static void test_an_answer_about_a_block_that_is_not_under_way_changes_nothing(void **state)
{
    struct shipper s;
    (void)state;
    begin(&s, 2, 0);
    assert_int_equal(shipper_reply(&s, 5, WIRE_STORED, 0), SHIPPER_KEEP);
    shipper_no_answer(&s, 5, 0);
    shipper_skip(&s, 5);
    assert_int_equal(must_send(&s, 2, 0), 0);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 0), SHIPPER_FORGET);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 0), SHIPPER_KEEP);
    assert_int_equal(must_send(&s, 2, 0), 1);
}

/* ---- Lanes and the limit of bytes a second ---- */

static struct shipper_decision decide(struct shipper *s, const uint64_t ends[LANES], int64_t now_ms,
                                      size_t bytes)
{
    struct shipper_decision d = shipper_next(s, ends, now_ms);
    if (d.step == SHIPPER_FETCH) {
        d.place.bytes = bytes;
        shipper_found(s, &d.place);
    }
    return d;
}

static void test_the_high_lane_goes_first_and_the_low_one_last(void **state)
{
    static const enum lane order[] = {LANE_HIGH, LANE_HIGH, LANE_NORMAL, LANE_LOW, LANE_LOW};
    struct shipper s;
    const uint64_t ends[LANES] = {2, 1, 2};
    (void)state;
    shipper_init(&s, 8, 0, 0);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        assert_int_equal(decide(&s, ends, 0, 1).place.lane, order[i]);
    }
    assert_int_equal(decide(&s, ends, 0, 1).step, SHIPPER_WAIT);
}

static void test_a_retry_of_the_low_lane_waits_for_a_new_block_of_the_high_one(void **state)
{
    struct shipper s;
    (void)state;
    shipper_init(&s, 8, 0, 0);
    assert_int_equal(decide(&s, (uint64_t[LANES]){0, 0, 1}, 0, 1).place.lane, LANE_LOW);
    shipper_no_answer(&s, 0, 0);
    s.next[LANE_HIGH] = 5;
    assert_int_equal(decide(&s, (uint64_t[LANES]){6, 0, 1}, 1000, 1).place.lane, LANE_HIGH);
    struct shipper_decision d = decide(&s, (uint64_t[LANES]){6, 0, 1}, 1000, 1);
    assert_int_equal(d.step, SHIPPER_SEND);
    assert_int_equal(d.place.lane, LANE_LOW);
}

static void test_gaps_that_dropped_blocks_leave_are_passed_over(void **state)
{
    struct shipper s;
    struct spool_place covered[SHIPPER_WINDOW_MAX];
    const uint64_t ends[LANES] = {0, 100, 0};
    (void)state;
    shipper_init(&s, 4, 0, 0);
    assert_int_equal(shipper_next(&s, ends, 0).step, SHIPPER_FETCH);
    shipper_found(&s, &(struct spool_place){LANE_NORMAL, 1, 40, 10});
    struct shipper_decision d = shipper_next(&s, ends, 0);
    assert_int_equal(d.place.sequence, 41);
    shipper_found(&s, &(struct spool_place){LANE_NORMAL, 1, 90, 10});
    shipper_found_none(&s, LANE_NORMAL, 100);
    assert_int_equal(shipper_next(&s, ends, 0).step, SHIPPER_WAIT);
    /* The hub's ranges end at the gap; each side of it is covered by its own answer. */
    assert_int_equal(shipper_cover(&s, 40, 40, covered), 1);
    assert_int_equal(covered[0].sequence, 40);
    assert_int_equal(shipper_cover(&s, 90, 90, covered), 1);
    assert_int_equal(s.bytes_in_flight, 0);
}

static void test_no_more_bytes_a_second_are_sent_than_allowed(void **state)
{
    struct shipper s;
    const uint64_t ends[LANES] = {1000000, 0, 0};
    uint64_t sent = 0;
    (void)state;
    shipper_init(&s, 64, 10000, 0);
    for (int64_t now = 0; now < 60000;) {
        struct shipper_decision d = decide(&s, ends, now, 1500);
        if (d.step == SHIPPER_FETCH) {
            sent += 1500 + SHIPPER_ENVELOPE_BYTES;
            (void)shipper_reply(&s, d.place.sequence, WIRE_STORED, now);
        } else {
            assert_true(d.wake_ms > now && d.wake_ms < now + 1000);
            now = d.wake_ms;
        }
    }
    assert_in_range(sent, 590000, 610000);
}

static void test_the_backlog_leaves_a_place_and_bytes_for_a_purchase(void **state)
{
    struct shipper s;
    (void)state;
    shipper_init(&s, 3, 1000, 0);
    int64_t now = 0;
    unsigned in_flight = 0;
    for (; now < 60000; now += 100) {
        in_flight += decide(&s, (uint64_t[LANES]){0, 0, 100}, now, 600).step == SHIPPER_FETCH;
    }
    assert_int_equal(in_flight, 2); /* of 3, and no more than a second's bytes before the last */
    struct shipper_decision d = decide(&s, (uint64_t[LANES]){1, 0, 100}, now, 600);
    assert_int_equal(d.step, SHIPPER_FETCH);
    assert_int_equal(d.place.lane, LANE_HIGH);
}

static void test_of_the_lower_lanes_only_so_many_bytes_are_in_flight(void **state)
{
    enum { BYTES = 60000, ON_LINE = BYTES + SHIPPER_ENVELOPE_BYTES };
    const uint64_t high_ends[LANES] = {1001, 100, 100};
    (void)state;
    for (int lane = LANE_NORMAL; lane < LANES; lane++) {
        struct shipper s;
        uint64_t ends[LANES] = {0};
        unsigned in_flight = 0;
        ends[lane] = 100;
        shipper_init(&s, SHIPPER_WINDOW_MAX, 0, 0);
        while (decide(&s, ends, 0, BYTES).step == SHIPPER_FETCH) {
            in_flight++;
        }
        assert_int_equal(s.bytes_in_flight, in_flight * ON_LINE);
        assert_in_range(s.bytes_in_flight, SHIPPER_BYTES_IN_FLIGHT_MAX + 1,
                        SHIPPER_BYTES_IN_FLIGHT_MAX + ON_LINE);
        s.next[LANE_HIGH] = 1000;
        struct shipper_decision d = decide(&s, high_ends, 0, 1);
        assert_int_equal(d.step, SHIPPER_FETCH);
        assert_int_equal(d.place.lane, LANE_HIGH);
        assert_true(decide(&s, ends, 1000000, BYTES).wake_ms == INT64_MAX);
        assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 0), SHIPPER_FORGET);
        d = decide(&s, ends, 0, BYTES);
        assert_int_equal(d.step, SHIPPER_FETCH);
        assert_int_equal(d.place.sequence, in_flight);
        assert_int_equal(decide(&s, ends, 0, BYTES).step, SHIPPER_WAIT);
    }
}

/* ---- A long backlog on a slow line that loses: purchases get through ---- */

enum {
    RATE = 8000, /* bytes a second: of the limit, and of the line */
    LINE_BLOCKS = 4000,
    LINE_SECONDS = 900,
    PURCHASE_MS_MAX = 5000,
    ANSWER_MS = 15000,
};

/* A message on the line, or its answer on the way back. */
struct passage {
    bool used;
    struct spool_place place;
    int64_t sent_ms;
    int64_t arrives_ms;
    bool is_lost;
};

struct line {
    uint64_t seed;
    struct rand rand;
    struct shipper shipper;
    int64_t free_ms; /* the line is busy until then */
    uint64_t ends[LANES];
    int64_t made_ms[LINE_BLOCKS]; /* of a purchase: when it came into the spool, or was last lost */
    bool has_arrived[LINE_BLOCKS];
    uint64_t purchases;
    int64_t worst_ms;
    uint64_t low_arrived;
    struct passage passages[SHIPPER_WINDOW_MAX];
};

static void enter_line(struct line *l, const struct spool_place *place, int64_t now_ms)
{
    struct passage *p = l->passages;
    while (p->used) {
        p++;
    }
    int64_t starts_ms = l->free_ms > now_ms ? l->free_ms : now_ms;
    l->free_ms = starts_ms + (int64_t)((place->bytes + SHIPPER_ENVELOPE_BYTES) * 1000 / RATE);
    *p = (struct passage){
        .used = true,
        .place = *place,
        .sent_ms = now_ms,
        .is_lost = rand_below(&l->rand, 100) < 10,
    };
    p->arrives_ms =
        p->is_lost ? now_ms + ANSWER_MS : l->free_ms + 100 + (int64_t)rand_below(&l->rand, 400);
}

static void leave_line(struct line *l, struct passage *p, int64_t now_ms)
{
    uint64_t n = p->place.sequence;
    bool is_purchase = p->place.lane == LANE_HIGH;
    p->used = false;
    if (p->is_lost) {
        shipper_no_answer(&l->shipper, n, now_ms);
        l->made_ms[n] = now_ms;
        return;
    }
    if (is_purchase) {
        int64_t took = now_ms - l->made_ms[n];
        l->worst_ms = took > l->worst_ms ? took : l->worst_ms;
        l->purchases += !l->has_arrived[n];
    } else {
        l->low_arrived++;
    }
    l->has_arrived[n] = true;
    (void)shipper_reply(&l->shipper, n, WIRE_STORED, now_ms);
}

/* The second half of the numbers are page views that wait; each purchase takes the next number. */
static void drain(uint64_t seed)
{
    struct line *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->seed = seed;
    rand_seeded_init(&l->rand, seed);
    shipper_init(&l->shipper, 8, RATE, 0);
    l->shipper.next[LANE_LOW] = LINE_BLOCKS / 2;
    l->ends[LANE_LOW] = LINE_BLOCKS;
    for (int64_t now = 0; now < LINE_SECONDS * 1000; now += 10) {
        struct shipper_decision d;
        if (rand_below(&l->rand, 400) == 0 && l->ends[LANE_HIGH] < LINE_BLOCKS / 2) {
            l->made_ms[l->ends[LANE_HIGH]++] = now;
        }
        size_t bytes = 200 + rand_below(&l->rand, RATE - 550); /* up to a second of the line */
        while ((d = decide(&l->shipper, l->ends, now, bytes)).step != SHIPPER_WAIT) {
            enter_line(l, &d.place, now);
        }
        for (size_t i = 0; i < SHIPPER_WINDOW_MAX; i++) {
            if (l->passages[i].used && l->passages[i].arrives_ms <= now) {
                leave_line(l, &l->passages[i], now);
            }
        }
    }
    if (l->worst_ms > PURCHASE_MS_MAX || l->purchases < 100 || l->low_arrived < 500) {
        fail_msg("seed=%llu: a purchase took %lld ms; %llu purchases and %llu others arrived",
                 (unsigned long long)seed, (long long)l->worst_ms, (unsigned long long)l->purchases,
                 (unsigned long long)l->low_arrived);
    }
    free(l);
}

/* A message that was lost counts from the moment when that was noticed. */
static void test_while_a_backlog_drains_slowly_a_purchase_takes_five_seconds_at_most(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        drain(seed);
    }
}

/* ---- The simulation ---- */

enum { BLOCKS = 300, FLIGHTS_MAX = 64, STEPS_MAX = 400000, TIMEOUT_MS = 2000 };

enum fate { IN_SPOOL, FORGOTTEN, SET_ASIDE };

/* A request: when it reaches the hub (or never), whether once more later, and when its answer, or
 * the news that there is none, reaches the collector. */
struct flight {
    bool used;
    bool arrived;
    bool answered;
    uint64_t sequence;
    int64_t arrives_ms;
    int64_t again_ms;
    int64_t ends_ms;
    enum wire_status status;
};

struct simulation {
    uint64_t seed;
    struct rand rand;
    struct shipper shipper;
    unsigned window;
    int64_t now_ms;
    uint64_t end;
    bool is_hub_down;
    bool is_revoked;
    bool is_stored[BLOCKS];
    bool is_rotten[BLOCKS];
    unsigned refused[BLOCKS];
    enum fate fates[BLOCKS];
    struct flight flights[FLIGHTS_MAX];
};

#define CHECK(sim, condition, sequence)                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("%s: seed=%llu now=%lld sequence=%llu", #condition,                           \
                     (unsigned long long)(sim)->seed, (long long)(sim)->now_ms,                    \
                     (unsigned long long)(sequence));                                              \
        }                                                                                          \
    } while (0)

static bool chance(struct simulation *sim, unsigned percent)
{
    return rand_below(&sim->rand, 100) < percent;
}

static enum wire_status hub_takes(struct simulation *sim, uint64_t sequence)
{
    if (sim->is_revoked) {
        return WIRE_REVOKED;
    }
    if (chance(sim, 5)) {
        return WIRE_UNAVAILABLE;
    }
    /* Some blocks rotted on the disk; a few are damaged on the way and fine the next time. */
    if (sim->is_rotten[sequence] || chance(sim, 2)) {
        return WIRE_DAMAGED;
    }
    enum wire_status status = sim->is_stored[sequence] ? WIRE_REPLAYED : WIRE_STORED;
    sim->is_stored[sequence] = true;
    return status;
}

static void send_block(struct simulation *sim, uint64_t sequence)
{
    unsigned in_flight = 0;
    struct flight *place = NULL;
    CHECK(sim, sequence < sim->end, sequence);
    CHECK(sim, sim->fates[sequence] == IN_SPOOL, sequence);
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &sim->flights[i];
        in_flight += f->used;
        place = f->used ? place : f;
        CHECK(sim, !f->used || f->sequence != sequence, sequence);
    }
    CHECK(sim, in_flight < sim->window && place != NULL, sequence);
    *place = (struct flight){.used = true, .sequence = sequence, .again_ms = INT64_MAX};
    bool is_lost = sim->is_hub_down || chance(sim, 15);
    bool is_answer_lost = is_lost || chance(sim, 15);
    int64_t there = sim->now_ms + 1 + (int64_t)rand_below(&sim->rand, 300);
    place->arrives_ms = is_lost ? INT64_MAX : there;
    place->again_ms =
        !is_lost && chance(sim, 10) ? there + (int64_t)rand_below(&sim->rand, 900) : INT64_MAX;
    place->ends_ms = is_answer_lost ? sim->now_ms + TIMEOUT_MS
                                    : there + 1 + (int64_t)rand_below(&sim->rand, 300);
    place->answered = !is_answer_lost;
}

static void land(struct simulation *sim, struct flight *f)
{
    uint64_t sequence = f->sequence;
    f->used = false;
    if (!f->answered) {
        shipper_no_answer(&sim->shipper, sequence, sim->now_ms);
        return;
    }
    sim->refused[sequence] += f->status == WIRE_DAMAGED;
    switch (shipper_reply(&sim->shipper, sequence, f->status, sim->now_ms)) {
    case SHIPPER_FORGET:
        CHECK(sim, sim->is_stored[sequence], sequence);
        CHECK(sim, sim->fates[sequence] == IN_SPOOL, sequence);
        sim->fates[sequence] = FORGOTTEN;
        break;
    case SHIPPER_SET_ASIDE:
        CHECK(sim, sim->refused[sequence] >= SHIPPER_DAMAGED_TRIES, sequence);
        CHECK(sim, sim->fates[sequence] == IN_SPOOL, sequence);
        sim->fates[sequence] = SET_ASIDE;
        break;
    case SHIPPER_KEEP:
        break;
    }
}

static void fly(struct simulation *sim)
{
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &sim->flights[i];
        if (f->used && f->arrives_ms <= sim->now_ms && !f->arrived) {
            f->arrived = true;
            f->status = hub_takes(sim, f->sequence);
        }
        if (f->used && f->again_ms <= sim->now_ms) {
            f->again_ms = INT64_MAX;
            (void)hub_takes(sim, f->sequence);
        }
        if (f->used && f->ends_ms <= sim->now_ms) {
            land(sim, f);
        }
    }
}

static bool is_done(const struct simulation *sim)
{
    for (int i = 0; i < BLOCKS; i++) {
        if (sim->fates[i] == IN_SPOOL) {
            return false;
        }
    }
    return true;
}

static struct shipper_decision next_of(struct simulation *sim)
{
    struct shipper_decision d =
        shipper_next(&sim->shipper, (uint64_t[LANES]){0, sim->end, 0}, sim->now_ms);
    if (d.step == SHIPPER_FETCH) {
        d.place.bytes = BLOCK_BYTES;
        shipper_found(&sim->shipper, &d.place);
    }
    return d;
}

static void simulate(uint64_t seed)
{
    struct simulation *sim = calloc(1, sizeof *sim);
    assert_non_null(sim);
    sim->seed = seed;
    rand_seeded_init(&sim->rand, seed);
    sim->window = 1 + (unsigned)rand_below(&sim->rand, 16);
    for (int i = 0; i < BLOCKS; i++) {
        sim->is_rotten[i] = chance(sim, 3);
    }
    begin(&sim->shipper, sim->window, 0);
    for (int step = 0; step < STEPS_MAX && !is_done(sim); step++) {
        struct shipper_decision d;
        sim->end += sim->end < BLOCKS && chance(sim, 30);
        sim->is_hub_down = chance(sim, 1) ? !sim->is_hub_down : sim->is_hub_down;
        sim->is_revoked = rand_below(&sim->rand, 5000) == 0 ? !sim->is_revoked : sim->is_revoked;
        while ((d = next_of(sim)).step != SHIPPER_WAIT) {
            send_block(sim, d.place.sequence);
        }
        CHECK(sim, d.wake_ms > sim->now_ms, 0);
        sim->now_ms += 1 + (int64_t)rand_below(&sim->rand, 40);
        fly(sim);
    }
    for (uint64_t i = 0; i < BLOCKS; i++) {
        CHECK(sim, sim->fates[i] != IN_SPOOL, i);
        CHECK(sim, sim->fates[i] == SET_ASIDE || sim->is_stored[i], i);
        CHECK(sim, sim->is_rotten[i] ? sim->fates[i] == SET_ASIDE : true, i);
    }
    free(sim);
}

static void test_over_a_bad_line_every_block_gets_through_and_none_is_forgotten_early(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        simulate(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_sent_in_order_and_up_to_the_window),
        cmocka_unit_test(test_nothing_is_sent_beyond_the_end_of_the_spool),
        cmocka_unit_test(test_a_block_that_the_hub_has_already_is_forgotten_too),
        cmocka_unit_test(test_without_an_answer_a_block_is_tried_again_ever_later),
        cmocka_unit_test(test_while_the_hub_cannot_store_the_pause_grows_and_ends_with_success),
        cmocka_unit_test(test_the_oldest_block_that_is_due_goes_first),
        cmocka_unit_test(test_a_block_refused_as_damaged_three_times_is_set_aside),
        cmocka_unit_test(test_a_block_that_was_damaged_on_the_way_is_not_set_aside),
        cmocka_unit_test(test_a_revoked_collector_keeps_its_blocks_and_asks_once_a_minute),
        cmocka_unit_test(test_when_the_hub_is_back_nothing_waits_for_its_retry),
        cmocka_unit_test(test_numbers_that_are_not_in_the_spool_do_not_hold_up_the_rest),
        cmocka_unit_test(test_an_acknowledgement_covers_older_blocks_whose_answers_were_lost),
        cmocka_unit_test(test_an_answer_about_a_block_that_is_not_under_way_changes_nothing),
        cmocka_unit_test(test_the_high_lane_goes_first_and_the_low_one_last),
        cmocka_unit_test(test_a_retry_of_the_low_lane_waits_for_a_new_block_of_the_high_one),
        cmocka_unit_test(test_gaps_that_dropped_blocks_leave_are_passed_over),
        cmocka_unit_test(test_no_more_bytes_a_second_are_sent_than_allowed),
        cmocka_unit_test(test_the_backlog_leaves_a_place_and_bytes_for_a_purchase),
        cmocka_unit_test(test_of_the_lower_lanes_only_so_many_bytes_are_in_flight),
        cmocka_unit_test(test_while_a_backlog_drains_slowly_a_purchase_takes_five_seconds_at_most),
        cmocka_unit_test(test_over_a_bad_line_every_block_gets_through_and_none_is_forgotten_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
