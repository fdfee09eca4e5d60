#include "shared/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/arena.h"
#include "shared/rand.h"

static void test_an_append_past_the_maximum_leaves_the_buf_as_it_was(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, 5);
    assert_true(buf_append(&buf, "abc", 3));
    assert_false(buf_append(&buf, "def", 3));
    assert_int_equal(buf.len, 3);
    assert_memory_equal(buf.data, "abc", 3);
    assert_true(buf_append(&buf, "de", 2));
    assert_int_equal(buf.len, 5);
    assert_false(buf_append(&buf, "f", 1));
    assert_true(buf_append(&buf, NULL, 0));
    buf_done(&buf);
}

static void test_a_reservation_that_would_overflow_is_refused(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, SIZE_MAX / 2);
    assert_true(buf_append(&buf, "abc", 3));
    assert_false(buf_reserve(&buf, SIZE_MAX));
    assert_false(buf_reserve(&buf, SIZE_MAX - 2));
    assert_false(buf_reserve(&buf, SIZE_MAX / 2 - 2));
    buf_done(&buf);
}

static void test_the_capacity_never_passes_the_maximum(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, 100);
    for (int i = 0; i < 100; i++) {
        buf_put_u8(&buf, (uint8_t)i);
        assert_true(buf.capacity <= 100);
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(buf.data[i], i);
    }
    buf_done(&buf);
}

static void test_after_done_a_buf_can_be_filled_again_up_to_the_same_maximum(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, 4);
    buf_put(&buf, "abcd", 4);
    buf_done(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.len, 0);
    assert_true(buf_append(&buf, "efgh", 4));
    assert_false(buf_append(&buf, "i", 1));
    buf_done(&buf);
}

static void test_numbers_are_big_endian_and_read_back(void **state)
{
    static const uint8_t expected[] = {0x01, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x01,
                                       0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    struct buf buf;
    (void)state;
    buf_init(&buf, 64);
    buf_put_u8(&buf, 1);
    buf_put_u16(&buf, 0xfedc);
    buf_put_u32(&buf, 0xba987654);
    buf_put_u64(&buf, 0x0123456789abcdef);
    assert_int_equal(buf.len, sizeof expected);
    assert_memory_equal(buf.data, expected, sizeof expected);
    assert_int_equal(read_u16(buf.data + 1), 0xfedc);
    assert_int_equal(read_u32(buf.data + 3), 0xba987654);
    assert_true(read_u64(buf.data + 7) == 0x0123456789abcdef);
    buf_done(&buf);
}

static void test_formatted_text_has_no_terminating_zero(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, 5);
    buf_put_format(&buf, "%d-%s", 12, "ab");
    assert_int_equal(buf.len, 5);
    assert_memory_equal(buf.data, "12-ab", 5);
    buf_done(&buf);
}

static void test_slices_compare_in_byte_order_and_a_prefix_sorts_first(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        int order;
    } rows[] = {
        {"", "", 0},     {"", "a", -1},  {"a", "", 1},           {"a", "a", 0},
        {"a", "ab", -1}, {"b", "ab", 1}, {"a\x7f", "a\x80", -1}, {"\xff", "a", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int order = slice_compare(slice_text(rows[i].a), slice_text(rows[i].b));
        assert_int_equal((order > 0) - (order < 0), rows[i].order);
        assert_int_equal(slice_equal(slice_text(rows[i].a), slice_text(rows[i].b)),
                         rows[i].order == 0);
    }
    assert_true(slice_starts_with(slice_text("abc"), slice_text("ab")));
    assert_true(slice_starts_with(slice_text("abc"), slice_make(NULL, 0)));
    assert_false(slice_starts_with(slice_text("ab"), slice_text("abc")));
    assert_true(slice_is(slice_skip(slice_text("abc"), 3), ""));
}

static void test_arena_memory_is_aligned_and_does_not_overlap(void **state)
{
    struct arena arena;
    struct rand rand;
    uint8_t *parts[500];
    size_t sizes[500];
    (void)state;
    rand_seeded_init(&rand, 7);
    arena_init(&arena, 256);
    for (size_t i = 0; i < 500; i++) {
        sizes[i] = rand_below(&rand, i % 50 == 0 ? 2000 : 40);
        parts[i] = arena_allocate(&arena, sizes[i]);
        assert_non_null(parts[i]);
        assert_int_equal((uintptr_t)parts[i] % _Alignof(max_align_t), 0);
        memset(parts[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < 500; i++) {
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(parts[i][k], i & 0xff);
        }
    }
    arena_done(&arena);
}

static void test_a_cleared_arena_hands_out_the_memory_of_its_first_chunk_again(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, 128);
    void *first = arena_allocate(&arena, 10);
    for (int i = 0; i < 100; i++) {
        (void)arena_allocate(&arena, 100);
    }
    arena_clear(&arena);
    assert_ptr_equal(arena_allocate(&arena, 10), first);
    arena_done(&arena);
    assert_null(arena.chunks);
    assert_non_null(arena_allocate(&arena, 1));
    arena_done(&arena);
}

static void test_a_copy_in_an_arena_outlives_what_it_was_copied_from(void **state)
{
    struct arena arena;
    char text[] = "hello";
    (void)state;
    arena_init(&arena, 16);
    struct slice copy = arena_copy(&arena, slice_text(text));
    struct slice empty = arena_copy(&arena, slice_make(NULL, 0));
    memset(text, 'x', 5);
    assert_true(slice_is(copy, "hello"));
    assert_int_equal(empty.len, 0);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_append_past_the_maximum_leaves_the_buf_as_it_was),
        cmocka_unit_test(test_a_reservation_that_would_overflow_is_refused),
        cmocka_unit_test(test_the_capacity_never_passes_the_maximum),
        cmocka_unit_test(test_after_done_a_buf_can_be_filled_again_up_to_the_same_maximum),
        cmocka_unit_test(test_numbers_are_big_endian_and_read_back),
        cmocka_unit_test(test_formatted_text_has_no_terminating_zero),
        cmocka_unit_test(test_slices_compare_in_byte_order_and_a_prefix_sorts_first),
        cmocka_unit_test(test_arena_memory_is_aligned_and_does_not_overlap),
        cmocka_unit_test(test_a_cleared_arena_hands_out_the_memory_of_its_first_chunk_again),
        cmocka_unit_test(test_a_copy_in_an_arena_outlives_what_it_was_copied_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
