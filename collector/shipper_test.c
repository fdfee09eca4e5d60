/* Each rule of the shipper by itself, and then a seeded simulation of a line and a hub that lose,
 * repeat, delay and refuse. */
#include "collector/shipper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

static uint64_t must_send(struct shipper *s, uint64_t end, int64_t now_ms)
{
    uint64_t sequence = 0;
    int64_t wake_ms;
    assert_true(shipper_next(s, end, now_ms, &sequence, &wake_ms));
    return sequence;
}

/* Nothing may be sent now; the time to ask again. */
static int64_t must_wait(struct shipper *s, uint64_t end, int64_t now_ms)
{
    uint64_t sequence = 0;
    int64_t wake_ms = 0;
    assert_false(shipper_next(s, end, now_ms, &sequence, &wake_ms));
    return wake_ms;
}

static void test_blocks_are_sent_in_order_and_up_to_the_window(void **state)
{
    struct shipper s;
    (void)state;
    shipper_init(&s, 3, 7);
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
    shipper_init(&s, 4, 0);
    assert_true(must_wait(&s, 0, 0) == INT64_MAX);
    assert_int_equal(must_send(&s, 1, 0), 0);
    assert_true(must_wait(&s, 1, 0) == INT64_MAX);
    assert_int_equal(must_send(&s, 2, 0), 1);
}

static void test_a_block_that_the_hub_has_already_is_forgotten_too(void **state)
{
    struct shipper s;
    (void)state;
    shipper_init(&s, 1, 0);
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
    shipper_init(&s, 1, 0);
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
    shipper_init(&s, 1, 0);
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
    shipper_init(&s, 3, 0);
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
    shipper_init(&s, 1, 4);
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
    shipper_init(&s, 1, 0);
    (void)must_send(&s, 1, 0);
    assert_int_equal(shipper_reply(&s, 0, WIRE_DAMAGED, 0), SHIPPER_KEEP);
    (void)must_send(&s, 1, 10000);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 10000), SHIPPER_FORGET);
}

static void test_a_revoked_collector_keeps_its_blocks_and_asks_once_a_minute(void **state)
{
    struct shipper s;
    (void)state;
    shipper_init(&s, 2, 0);
    assert_int_equal(must_send(&s, 9, 0), 0);
    assert_int_equal(must_send(&s, 9, 0), 1);
    assert_int_equal(shipper_reply(&s, 0, WIRE_REVOKED, 0), SHIPPER_KEEP);
    assert_int_equal(shipper_reply(&s, 1, WIRE_REVOKED, 0), SHIPPER_KEEP);
    assert_int_equal(must_wait(&s, 9, 0), 60000);
    assert_int_equal(must_wait(&s, 9, 59999), 60000);
    assert_int_equal(must_send(&s, 9, 60000), 0);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 60000), SHIPPER_FORGET);
}

static void test_numbers_that_are_not_in_the_spool_do_not_hold_up_the_rest(void **state)
{
    struct shipper s;
    (void)state;
    shipper_init(&s, 1, 0);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(must_send(&s, 100, 0), i);
        shipper_skip(&s, i);
    }
    assert_true(must_wait(&s, 100, 0) == INT64_MAX);
}

static void test_an_acknowledgement_covers_older_blocks_whose_answers_were_lost(void **state)
{
    struct shipper s;
    uint64_t covered[SHIPPER_WINDOW_MAX];
    (void)state;
    shipper_init(&s, 4, 0);
    for (uint64_t n = 0; n < 4; n++) {
        assert_int_equal(must_send(&s, 4, 0), n);
    }
    shipper_no_answer(&s, 0, 0); /* stored, but the answer was lost */
    assert_int_equal(shipper_reply(&s, 2, WIRE_STORED, 0), SHIPPER_FORGET);
    assert_int_equal(shipper_cover(&s, 0, 2, covered), 2);
    assert_true(covered[0] + covered[1] == 1); /* 0 and 1, but not 3 */
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
    shipper_init(&s, 2, 0);
    assert_int_equal(shipper_reply(&s, 5, WIRE_STORED, 0), SHIPPER_KEEP);
    shipper_no_answer(&s, 5, 0);
    shipper_skip(&s, 5);
    assert_int_equal(must_send(&s, 2, 0), 0);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 0), SHIPPER_FORGET);
    assert_int_equal(shipper_reply(&s, 0, WIRE_STORED, 0), SHIPPER_KEEP);
    assert_int_equal(must_send(&s, 2, 0), 1);
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
    shipper_init(&sim->shipper, sim->window, 0);
    for (int step = 0; step < STEPS_MAX && !is_done(sim); step++) {
        uint64_t sequence;
        int64_t wake_ms;
        sim->end += sim->end < BLOCKS && chance(sim, 30);
        sim->is_hub_down = chance(sim, 1) ? !sim->is_hub_down : sim->is_hub_down;
        sim->is_revoked = rand_below(&sim->rand, 5000) == 0 ? !sim->is_revoked : sim->is_revoked;
        while (shipper_next(&sim->shipper, sim->end, sim->now_ms, &sequence, &wake_ms)) {
            send_block(sim, sequence);
        }
        CHECK(sim, wake_ms > sim->now_ms, 0);
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
        cmocka_unit_test(test_numbers_that_are_not_in_the_spool_do_not_hold_up_the_rest),
        cmocka_unit_test(test_an_acknowledgement_covers_older_blocks_whose_answers_were_lost),
        cmocka_unit_test(test_an_answer_about_a_block_that_is_not_under_way_changes_nothing),
        cmocka_unit_test(test_over_a_bad_line_every_block_gets_through_and_none_is_forgotten_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
