#include "hub/receipts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

enum { NUMBERS = 200 };

static void test_ranges_join_where_they_touch(void **state)
{
    struct receipts r;
    (void)state;
    receipts_init(&r);
    assert_null(receipts_find(&r, 5));
    receipts_add(&r, 5);
    receipts_add(&r, 7);
    assert_int_equal(r.count, 2);
    assert_null(receipts_find(&r, 6));
    receipts_add(&r, 6);
    assert_int_equal(r.count, 1);
    const struct receipt_range *range = receipts_find(&r, 6);
    assert_non_null(range);
    assert_int_equal(range->from, 5);
    assert_int_equal(range->to, 7);
    receipts_add(&r, 6);
    assert_int_equal(r.count, 1);
    receipts_done(&r);
}

static void test_the_first_and_the_last_number_are_numbers_like_others(void **state)
{
    struct receipts r;
    (void)state;
    receipts_init(&r);
    receipts_add(&r, UINT64_MAX);
    receipts_add(&r, 0);
    assert_int_equal(r.count, 2);
    assert_non_null(receipts_find(&r, 0));
    assert_non_null(receipts_find(&r, UINT64_MAX));
    assert_null(receipts_find(&r, 1));
    receipts_add(&r, UINT64_MAX - 1);
    receipts_add(&r, 1);
    assert_int_equal(r.count, 2);
    receipts_add(&r, UINT64_MAX);
    assert_int_equal(r.count, 2);
    receipts_done(&r);
}

/* Ascending, apart, and exactly the numbers of the set. */
static void check(const struct receipts *r, const bool has[NUMBERS], uint64_t seed)
{
    for (size_t i = 0; i < r->count; i++) {
        bool in_order = r->ranges[i].from <= r->ranges[i].to &&
                        (i == 0 || r->ranges[i].from > r->ranges[i - 1].to + 1);
        if (!in_order) {
            fail_msg("seed=%llu: range %zu is out of order", (unsigned long long)seed, i);
        }
    }
    for (uint64_t n = 0; n < NUMBERS; n++) {
        const struct receipt_range *range = receipts_find(r, n);
        if ((range != NULL) != has[n] || (range != NULL && (range->from > n || range->to < n))) {
            fail_msg("seed=%llu number=%llu: %s", (unsigned long long)seed, (unsigned long long)n,
                     has[n] ? "lost" : "invented");
        }
    }
}

static void test_random_numbers_are_kept_as_a_naive_set_keeps_them(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct receipts r;
        struct receipts back;
        struct buf bytes;
        struct rand rand;
        bool has[NUMBERS] = {false};
        uint64_t spread = 1 + seed % NUMBERS;
        rand_seeded_init(&rand, seed);
        receipts_init(&r);
        buf_init(&bytes, 1024 * 1024);
        for (int i = 0; i < NUMBERS; i++) {
            uint64_t n = rand_below(&rand, spread);
            receipts_add(&r, n);
            has[n] = true;
        }
        check(&r, has, seed);
        receipts_write(&r, &bytes);
        assert_true(receipts_read(buf_slice(&bytes), &back));
        check(&back, has, seed);
        /* They go on from where they were. */
        for (uint64_t n = 0; n < NUMBERS; n++) {
            receipts_add(&back, n);
        }
        assert_int_equal(back.count, 1);
        receipts_done(&r);
        receipts_done(&back);
        buf_done(&bytes);
    }
}

static void put_range(struct buf *out, uint64_t from, uint64_t to)
{
    buf_put_u64(out, from);
    buf_put_u64(out, to);
}

static void test_bytes_that_are_no_receipts_are_refused(void **state)
{
    struct receipts r;
    struct buf bytes;
    (void)state;
    buf_init(&bytes, 1024);
    assert_true(receipts_read(buf_slice(&bytes), &r));
    assert_int_equal(r.count, 0);
    for (size_t len = 1; len < 16; len++) {
        buf_clear(&bytes);
        put_range(&bytes, 1, 2);
        assert_false(receipts_read(slice_make(bytes.data, len), &r));
    }
    static const uint64_t wrong[][4] = {{2, 1, 5, 6}, {5, 6, 1, 2}, {1, 5, 5, 6}, {1, 5, 2, 3}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        buf_clear(&bytes);
        put_range(&bytes, wrong[i][0], wrong[i][1]);
        put_range(&bytes, wrong[i][2], wrong[i][3]);
        assert_false(receipts_read(buf_slice(&bytes), &r));
    }
    buf_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_join_where_they_touch),
        cmocka_unit_test(test_the_first_and_the_last_number_are_numbers_like_others),
        cmocka_unit_test(test_random_numbers_are_kept_as_a_naive_set_keeps_them),
        cmocka_unit_test(test_bytes_that_are_no_receipts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
