#include "hub/incarnations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"

/* A hub as far as it is needed here, on a store that may be copied meanwhile. */
struct hub {
    struct store *store;
    struct eventlog *log;
    struct registry *registry;
    struct suppressions *suppressions;
    struct incarnations *incarnations;
    struct error err;
};

static void on_change(void *user)
{
    (void)user;
}

static void start(struct hub *h)
{
    static const uint8_t secret[SEAL_KEY_BYTES] = {1};
    assert_true(eventlog_open(h->store, &h->log, &h->err));
    assert_true(registry_open(h->log, &clock_real, on_change, NULL, &h->registry, &h->err));
    assert_true(
        suppressions_open(h->log, secret, &clock_real, on_change, NULL, &h->suppressions, &h->err));
    assert_true(incarnations_open(h->log, h->registry, h->suppressions, &rand_secure,
                                  &h->incarnations, &h->err));
}

static void stop(struct hub *h)
{
    incarnations_close(&h->incarnations);
    suppressions_close(&h->suppressions);
    registry_close(&h->registry);
    eventlog_close(&h->log);
    store_memory_crash(h->store); /* what it has noted is durable */
}

static struct store *copy_of(struct hub *h)
{
    struct store_batch batch;
    struct store *copy = store_memory_open();
    struct store_iterator *it = store_iterator_open(h->store, NULL);
    store_batch_init(&batch);
    for (store_iterator_seek(it, slice_make(NULL, 0)); store_iterator_valid(it);
         store_iterator_next(it)) {
        store_batch_put(&batch, store_iterator_key(it), store_iterator_value(it));
    }
    store_iterator_close(&it);
    assert_true(store_write(copy, &batch, true, &h->err));
    store_batch_done(&batch);
    return copy;
}

static void restore(struct hub *h, struct store *copy)
{
    stop(h);
    store_close(&h->store);
    h->store = copy;
    start(h);
}

static int set_up(void **state)
{
    struct hub *h = calloc(1, sizeof *h);
    h->store = store_memory_open();
    start(h);
    *state = h;
    return 0;
}

static int tear_down(void **state)
{
    struct hub *h = *state;
    stop(h);
    store_close(&h->store);
    free(h);
    return 0;
}

static void log_something(struct hub *h)
{
    struct eventlog_record record = {
        .kind = EVENTLOG_BLOCK, .collector_id = slice_text("till"), .bytes = slice_text("block")};
    assert_true(eventlog_append(h->log, &record, 1, NULL, &h->err));
}

static void define_something(struct hub *h)
{
    struct catalog_error where;
    struct buf body;
    buf_init(&body, 1024);
    assert_int_equal(json_read(slice_text("{\"name\":\"Shop\"}"), &body), JSON_FINE);
    assert_true(registry_put(h->registry, REGISTRY_SOURCE, slice_text("web"), buf_slice(&body),
                             &where, &h->err));
    buf_done(&body);
}

static void suppress_somebody(struct hub *h)
{
    struct suppression_hash hash = {{7}};
    size_t changed;
    assert_true(suppressions_change(h->suppressions, &hash, 1,
                                    suppressions_count(h->suppressions) == 0, slice_text("test"),
                                    &changed, &h->err));
    assert_int_equal(changed, 1);
}

static void assert_verdict(struct hub *h, const struct wire_moment *moment,
                           enum incarnations_verdict expected)
{
    assert_int_equal(incarnations_judge(h->incarnations, moment), expected);
}

static void test_what_was_heard_before_a_plain_restart_is_of_the_past(void **state)
{
    struct hub *h = *state;
    struct wire_moment heard = incarnations_now(h->incarnations);
    assert_verdict(h, &heard, INCARNATIONS_PAST);
    for (int i = 0; i < 5; i++) {
        log_something(h);
        heard = incarnations_now(h->incarnations);
        stop(h);
        start(h);
        assert_verdict(h, &heard, INCARNATIONS_PAST);
        struct wire_moment now = incarnations_now(h->incarnations);
        assert_memory_not_equal(now.incarnation, heard.incarnation, sizeof now.incarnation);
    }
}

/* Whatever it was that happened after the copy, and however much happens after it was restored. */
static void test_what_was_heard_after_the_copy_was_taken_is_foreign(void **state)
{
    struct hub *h = *state;
    void (*const happenings[])(struct hub *) = {log_something, define_something, suppress_somebody};
    for (size_t i = 0; i < sizeof happenings / sizeof *happenings; i++) {
        struct wire_moment before = incarnations_now(h->incarnations);
        struct store *copy = copy_of(h);
        happenings[i](h);
        struct wire_moment after = incarnations_now(h->incarnations);
        restore(h, copy);
        for (int more = 0; more < 4; more++) {
            assert_verdict(h, &before, INCARNATIONS_PAST);
            assert_verdict(h, &after, INCARNATIONS_FOREIGN);
            log_something(h);
            define_something(h);
        }
        stop(h);
        start(h);
        assert_verdict(h, &before, INCARNATIONS_PAST);
        assert_verdict(h, &after, INCARNATIONS_FOREIGN);
    }
}

static void test_what_was_heard_of_a_start_after_the_copy_is_foreign(void **state)
{
    struct hub *h = *state;
    struct store *copy = copy_of(h);
    stop(h);
    start(h);
    struct wire_moment heard = incarnations_now(h->incarnations);
    restore(h, copy);
    assert_verdict(h, &heard, INCARNATIONS_FOREIGN);
}

static void test_who_tells_no_moment_or_has_heard_none_is_not_taken_for_foreign(void **state)
{
    struct hub *h = *state;
    assert_verdict(h, &(struct wire_moment){0}, INCARNATIONS_PAST);
    assert_verdict(h, &(struct wire_moment){.is_told = true}, INCARNATIONS_UNKNOWN);
}

static void test_only_the_last_starts_are_remembered(void **state)
{
    struct hub *h = *state;
    size_t count = 0;
    struct wire_moment first = incarnations_now(h->incarnations);
    struct wire_moment second = {0};
    for (int i = 0; i < INCARNATIONS_MAX; i++) {
        assert_verdict(h, &first, INCARNATIONS_PAST);
        stop(h);
        start(h);
        second = i == 0 ? incarnations_now(h->incarnations) : second;
    }
    assert_verdict(h, &first, INCARNATIONS_FOREIGN);
    assert_verdict(h, &second, INCARNATIONS_PAST);
    struct store_iterator *it = store_iterator_open(h->store, NULL);
    for (store_iterator_seek(it, slice_text("I"));
         store_iterator_valid(it) && store_iterator_key(it).data[0] == 'I';
         store_iterator_next(it)) {
        count++;
    }
    store_iterator_close(&it);
    assert_int_equal(count, INCARNATIONS_MAX);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_heard_before_a_plain_restart_is_of_the_past),
        TEST(test_what_was_heard_after_the_copy_was_taken_is_foreign),
        TEST(test_what_was_heard_of_a_start_after_the_copy_is_foreign),
        TEST(test_who_tells_no_moment_or_has_heard_none_is_not_taken_for_foreign),
        TEST(test_only_the_last_starts_are_remembered),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
