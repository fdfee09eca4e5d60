/* Blocks of many epochs into a log on a memory store. */
#include "hub/intake.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>

enum { EPOCHS = INTAKE_EPOCHS_MAX + 20, COLLECTORS = 8 };

static const char *const names[COLLECTORS] = {"till-0", "till-1", "till-2", "till-3",
                                              "till-4", "till-5", "till-6", "till-7"};

static const int64_t now_ms = 1795292000000;

struct epoch {
    const char *name; /* of its collector */
    struct seal_epoch *seal;
    struct buf header;
    uint64_t sequence;
};

struct fixture {
    struct store *store;
    struct eventlog *log;
    struct registry *registry;
    struct collectors *collectors;
    struct intake *intake;
    struct clock_fake clock;
    struct rand rand;
    uint8_t hub_public[SEAL_KEY_BYTES];
    uint8_t hub_secret[SEAL_KEY_BYTES];
    uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES];
    struct epoch epochs[EPOCHS];
    pthread_mutex_t lock; /* of what is below */
    pthread_cond_t wake;
    bool holds; /* the intake's thread stands still in its next answer */
    bool is_held;
    unsigned answers[WIRE_REPLACED + 1];
    unsigned answered;
    struct error err;
};

static void on_change(void *user)
{
    (void)user;
}

static void enrol(struct fixture *f)
{
    uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES];
    char hex[2 * SEAL_SIGN_PUBLIC_BYTES + 1];
    struct catalog_error where;
    struct buf body;
    msgpack_packer k;
    crypto_sign_keypair(sign_public, f->sign_secret);
    sodium_bin2hex(hex, sizeof hex, sign_public, sizeof sign_public);
    buf_init(&body, 1024);
    value_packer_init(&k, &body);
    msgpack_pack_map(&k, 2);
    value_pack_cstr(&k, "enrolledAt");
    msgpack_pack_int64(&k, now_ms);
    value_pack_cstr(&k, "publicKey");
    value_pack_cstr(&k, hex);
    for (size_t i = 0; i < COLLECTORS; i++) {
        assert_true(registry_put(f->registry, REGISTRY_COLLECTOR, slice_text(names[i]),
                                 buf_slice(&body), &where, &f->err));
    }
    buf_done(&body);
    collectors_reload(f->collectors);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    crypto_box_keypair(f->hub_public, f->hub_secret);
    rand_seeded_init(&f->rand, 4);
    clock_fake_init(&f->clock, now_ms);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, NULL);
    f->store = store_memory_open();
    assert_true(eventlog_open(f->store, &f->log, &f->err));
    assert_true(registry_open(f->log, &f->clock.clock, on_change, NULL, &f->registry, &f->err));
    f->collectors = collectors_new(f->registry, f->hub_secret);
    enrol(f);
    f->intake = intake_open(f->log, f->collectors, f->hub_public, f->hub_secret, &f->clock.clock);
    for (size_t i = 0; i < EPOCHS; i++) {
        struct epoch *e = &f->epochs[i];
        buf_init(&e->header, 4096);
        e->name = names[i % COLLECTORS];
        e->seal = seal_epoch_begin(slice_text(e->name), f->sign_secret, f->hub_public,
                                   i == 0 ? 0 : seal_epoch_number(f->epochs[i - 1].seal), now_ms,
                                   &f->rand, &e->header);
    }
    *state = f;
    return 0;
}

static void set_holds(struct fixture *f, bool holds)
{
    pthread_mutex_lock(&f->lock);
    f->holds = holds;
    pthread_cond_broadcast(&f->wake);
    while (holds && !f->is_held) {
        pthread_cond_wait(&f->wake, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    set_holds(f, false);
    intake_close(&f->intake);
    collectors_free(&f->collectors);
    registry_close(&f->registry);
    eventlog_close(&f->log);
    store_close(&f->store);
    for (size_t i = 0; i < EPOCHS; i++) {
        seal_epoch_end(&f->epochs[i].seal);
        buf_done(&f->epochs[i].header);
    }
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->wake);
    free(f);
    return 0;
}

static void on_answer(void *user, const struct wire_block_reply *reply)
{
    struct fixture *f = user;
    pthread_mutex_lock(&f->lock);
    f->answers[reply->status]++;
    f->answered++;
    f->is_held = f->holds;
    pthread_cond_broadcast(&f->wake);
    while (f->holds && reply->status == WIRE_STORED) { /* others are told on the test's thread */
        pthread_cond_wait(&f->wake, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

/* The next block of an epoch; a damaged one has another byte at its end. */
static void send_any(struct fixture *f, struct epoch *e, bool is_damaged, int64_t offset_ms)
{
    struct buf sealed;
    buf_init(&sealed, 4096);
    seal_write_block(e->seal, e->sequence++, 1, slice_text("block"), &sealed);
    sealed.data[sealed.len - 1] ^= is_damaged;
    struct wire_block block = {
        .header = buf_slice(&e->header), .block = buf_slice(&sealed), .clock_offset_ms = offset_ms};
    struct collector_keys keys;
    assert_true(collectors_find(f->collectors, slice_text(e->name), &keys));
    intake_take(f->intake, slice_text(e->name), &keys, &block,
                (struct intake_waiter){on_answer, f});
    buf_done(&sealed);
}

static void send_block(struct fixture *f, struct epoch *e, bool is_damaged)
{
    send_any(f, e, is_damaged, 0);
}

static void send_block_with_offset(struct fixture *f, struct epoch *e, int64_t offset_ms)
{
    send_any(f, e, false, offset_ms);
}

static void wait_for_answers(struct fixture *f, unsigned count)
{
    pthread_mutex_lock(&f->lock);
    while (f->answered < count) {
        pthread_cond_wait(&f->wake, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

static void test_epochs_that_nobody_uses_are_closed_and_can_be_opened_again(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < EPOCHS; i++) {
        send_block(f, &f->epochs[i], false);
        wait_for_answers(f, i + 1);
    }
    assert_int_equal(intake_epochs(f->intake), INTAKE_EPOCHS_MAX);
    f->epochs[0].sequence = 0; /* the block that is there, and another one */
    send_block(f, &f->epochs[0], false);
    send_block(f, &f->epochs[0], false);
    wait_for_answers(f, EPOCHS + 2);
    assert_int_equal(f->answers[WIRE_REPLAYED], 1);
    assert_int_equal(f->answers[WIRE_STORED], EPOCHS + 1);
    assert_int_equal(intake_epochs(f->intake), INTAKE_EPOCHS_MAX);
}

static void test_an_epoch_is_not_closed_while_a_block_of_it_is_under_way(void **state)
{
    struct fixture *f = *state;
    pthread_mutex_lock(&f->lock);
    f->holds = true;
    pthread_mutex_unlock(&f->lock);
    send_block(f, &f->epochs[0], false);
    set_holds(f, true);
    for (unsigned i = 0; i < EPOCHS; i++) {
        send_block(f, &f->epochs[i], false);
    }
    assert_int_equal(intake_epochs(f->intake), EPOCHS);
    set_holds(f, false);
    wait_for_answers(f, EPOCHS + 1);
    assert_int_equal(f->answers[WIRE_STORED], EPOCHS + 1);
}

static void test_a_damaged_block_does_not_keep_its_epoch_open(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < EPOCHS; i++) {
        send_block(f, &f->epochs[i], true);
    }
    assert_int_equal(f->answers[WIRE_DAMAGED], EPOCHS);
    assert_int_equal(intake_epochs(f->intake), INTAKE_EPOCHS_MAX);
    for (unsigned i = 0; i < 2 * INTAKE_PENDING_BLOCKS_MAX; i++) {
        send_block(f, &f->epochs[0], true);
    }
    send_block(f, &f->epochs[0], false); /* none of them counts as waiting */
    wait_for_answers(f, EPOCHS + 2 * INTAKE_PENDING_BLOCKS_MAX + 1);
    assert_int_equal(f->answers[WIRE_STORED], 1);
}

static void test_one_collector_cannot_fill_the_hub_with_what_waits(void **state)
{
    struct fixture *f = *state;
    pthread_mutex_lock(&f->lock);
    f->holds = true;
    pthread_mutex_unlock(&f->lock);
    send_block(f, &f->epochs[1], false); /* of another collector: it holds the intake */
    set_holds(f, true);
    for (unsigned i = 0; i < 2 * INTAKE_PENDING_BLOCKS_MAX; i++) {
        send_block(f, &f->epochs[0], false);
    }
    send_block(f, &f->epochs[1], false); /* its neighbour's are taken all the same */
    assert_int_equal(f->answers[WIRE_UNAVAILABLE], INTAKE_PENDING_BLOCKS_MAX);
    set_holds(f, false);
    wait_for_answers(f, 2 * INTAKE_PENDING_BLOCKS_MAX + 2);
    assert_int_equal(f->answers[WIRE_STORED], INTAKE_PENDING_BLOCKS_MAX + 2);
    send_block(f, &f->epochs[0], false); /* there is room again, also after what was refused */
    wait_for_answers(f, 2 * INTAKE_PENDING_BLOCKS_MAX + 3);
    assert_int_equal(f->answers[WIRE_STORED], INTAKE_PENDING_BLOCKS_MAX + 3);
}

static void test_an_epoch_from_before_the_enrolment_or_after_now_is_refused(void **state)
{
    struct fixture *f = *state;
    const int64_t hour = 3600000;
    const struct {
        int64_t offset_ms; /* what the collector says that its clock is behind by */
        bool is_possible;
    } cases[] = {{0, true},          {-23 * hour, true}, {-25 * hour, false}, {23 * hour, true},
                 {25 * hour, false}, {INT64_MIN, false}, {INT64_MAX, false},  {5 * 60000, true}};
    unsigned stored = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        send_block_with_offset(f, &f->epochs[0], cases[i].offset_ms);
        wait_for_answers(f, (unsigned)i + 1);
        stored += cases[i].is_possible;
        assert_int_equal(f->answers[WIRE_STORED], stored);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_epochs_that_nobody_uses_are_closed_and_can_be_opened_again),
        TEST(test_an_epoch_is_not_closed_while_a_block_of_it_is_under_way),
        TEST(test_a_damaged_block_does_not_keep_its_epoch_open),
        TEST(test_one_collector_cannot_fill_the_hub_with_what_waits),
        TEST(test_an_epoch_from_before_the_enrolment_or_after_now_is_refused),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
