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

enum { EPOCHS = INTAKE_EPOCHS_MAX + 20 };

static const int64_t now_ms = 1795292000000;

struct epoch {
    struct seal_epoch *seal;
    struct buf header;
    uint64_t sequence;
};

struct fixture {
    struct store *store;
    struct eventlog *log;
    struct registry *registry;
    struct collectors *collectors;
    struct collector_keys keys;
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
    unsigned answers[WIRE_DAMAGED + 1];
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
    msgpack_pack_map(&k, 1);
    value_pack_cstr(&k, "publicKey");
    value_pack_cstr(&k, hex);
    assert_true(registry_put(f->registry, REGISTRY_COLLECTOR, slice_text("till"), buf_slice(&body),
                             &where, &f->err));
    buf_done(&body);
    collectors_reload(f->collectors);
    assert_true(collectors_find(f->collectors, slice_text("till"), &f->keys));
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
        e->seal = seal_epoch_begin(slice_text("till"), f->sign_secret, f->hub_public,
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
    while (f->holds) {
        pthread_cond_wait(&f->wake, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

/* The next block of an epoch; a damaged one has another byte at its end. */
static void send_block(struct fixture *f, struct epoch *e, bool is_damaged)
{
    struct buf sealed;
    buf_init(&sealed, 4096);
    seal_write_block(e->seal, e->sequence++, 1, slice_text("block"), &sealed);
    sealed.data[sealed.len - 1] ^= is_damaged;
    struct wire_block block = {.header = buf_slice(&e->header), .block = buf_slice(&sealed)};
    intake_take(f->intake, slice_text("till"), &f->keys, &block,
                (struct intake_waiter){on_answer, f});
    buf_done(&sealed);
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
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_epochs_that_nobody_uses_are_closed_and_can_be_opened_again),
        TEST(test_an_epoch_is_not_closed_while_a_block_of_it_is_under_way),
        TEST(test_a_damaged_block_does_not_keep_its_epoch_open),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
