#include "hub/partition/profile_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

static struct profile_id id_of(uint64_t n)
{
    /* Few hashes, so that chains are long. */
    return profile_id_make((int64_t)n, 0, n % 7);
}

static void add(struct profile_cache *cache, uint64_t n, size_t bytes)
{
    profile_cache_add(cache, profile_new(id_of(n)), bytes);
}

static bool has(struct profile_cache *cache, uint64_t n)
{
    struct profile *found = profile_cache_find(cache, id_of(n));
    assert_true(found == NULL || profile_id_equal(found->id, id_of(n)));
    return found != NULL;
}

struct written {
    size_t count;
    size_t bytes;
    uint64_t sum;
};

static size_t write_profile(void *user, struct profile *profile)
{
    struct written *w = user;
    w->count++;
    w->sum += read_u64(profile->id.bytes) >> 16;
    return w->bytes;
}

static void test_the_least_recently_used_go_first(void **state)
{
    struct profile_cache *cache = profile_cache_new(300);
    (void)state;
    for (uint64_t n = 1; n <= 4; n++) {
        add(cache, n, 100);
    }
    assert_true(has(cache, 1)); /* a use */
    profile_cache_shrink(cache);
    assert_false(has(cache, 2));
    assert_true(has(cache, 1) && has(cache, 3) && has(cache, 4));
    add(cache, 5, 300);
    profile_cache_shrink(cache);
    assert_true(has(cache, 5));
    assert_false(has(cache, 1) || has(cache, 3) || has(cache, 4));
    profile_cache_free(&cache);
    profile_cache_free(&cache);
}

static void test_a_changed_profile_stays_until_it_is_written(void **state)
{
    struct profile_cache *cache = profile_cache_new(100);
    struct written w = {.bytes = 100};
    (void)state;
    add(cache, 1, 100);
    profile_cache_mark_dirty(cache, id_of(1));
    profile_cache_mark_dirty(cache, id_of(1));
    add(cache, 2, 100);
    add(cache, 3, 100);
    profile_cache_shrink(cache);
    assert_true(has(cache, 1));
    assert_false(has(cache, 2));
    assert_false(has(cache, 3));
    profile_cache_write(cache, write_profile, &w);
    assert_int_equal(w.count, 1); /* once, however often it changed */
    profile_cache_write(cache, write_profile, &w);
    assert_int_equal(w.count, 1);
    add(cache, 4, 100);
    profile_cache_shrink(cache);
    assert_false(has(cache, 1));
    profile_cache_free(&cache);
}

static void test_what_writing_says_counts_as_its_size(void **state)
{
    struct profile_cache *cache = profile_cache_new(1000);
    struct written w = {.bytes = 900};
    (void)state;
    add(cache, 1, 10);
    profile_cache_mark_dirty(cache, id_of(1));
    profile_cache_write(cache, write_profile, &w);
    add(cache, 2, 90);
    profile_cache_shrink(cache);
    assert_true(has(cache, 2) && has(cache, 1));
    add(cache, 3, 50);
    profile_cache_shrink(cache); /* 2 is the oldest, and its going is not enough for 3 */
    assert_false(has(cache, 2));
    assert_true(has(cache, 3));
    profile_cache_free(&cache);
}

static void test_a_removed_profile_is_neither_found_nor_written(void **state)
{
    struct profile_cache *cache = profile_cache_new(1000000);
    struct written w = {.bytes = 10};
    (void)state;
    for (uint64_t n = 1; n <= 6; n++) {
        add(cache, n, 10);
        profile_cache_mark_dirty(cache, id_of(n));
    }
    profile_cache_remove(cache, id_of(6)); /* the newest, the oldest and one between */
    profile_cache_remove(cache, id_of(1));
    profile_cache_remove(cache, id_of(3));
    profile_cache_remove(cache, id_of(3));
    profile_cache_remove(cache, id_of(77));
    assert_false(has(cache, 1) || has(cache, 3) || has(cache, 6));
    profile_cache_write(cache, write_profile, &w);
    assert_int_equal(w.count, 3);
    assert_int_equal(w.sum, 2 + 4 + 5);
    profile_cache_free(&cache);
}

/* Against a naive list: whoever is found must have been added and not removed; whoever is dirty
 * must be there, and is written once. */
static void test_random_work_does_what_a_naive_cache_does(void **state)
{
    enum { PROFILES = 5000, STEPS = 60000, BYTES_MAX = 100000 };
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct rand rand;
        bool *there = calloc(PROFILES, sizeof *there);
        bool *dirty = calloc(PROFILES, sizeof *dirty);
        struct profile_cache *cache = profile_cache_new(BYTES_MAX);
        rand_seeded_init(&rand, seed);
        for (int i = 0; i < STEPS; i++) {
            uint64_t n = rand_below(&rand, PROFILES);
            bool found = has(cache, n);
            if ((found && !there[n]) || (dirty[n] && !found)) {
                fail_msg("seed=%llu step=%d profile=%llu", (unsigned long long)seed, i,
                         (unsigned long long)n);
            }
            there[n] = found;
            if (!found) {
                add(cache, n, 10 + rand_below(&rand, 100));
                there[n] = true;
            } else if (rand_below(&rand, 8) == 0) {
                profile_cache_remove(cache, id_of(n));
                there[n] = dirty[n] = false;
            } else {
                profile_cache_mark_dirty(cache, id_of(n));
                dirty[n] = true;
            }
            if (rand_below(&rand, 500) == 0) {
                struct written w = {.bytes = 50};
                size_t expected = 0;
                for (int p = 0; p < PROFILES; p++) {
                    expected += dirty[p];
                    dirty[p] = false;
                }
                profile_cache_write(cache, write_profile, &w);
                if (w.count != expected) {
                    fail_msg("seed=%llu step=%d: wrote %zu, not %zu", (unsigned long long)seed, i,
                             w.count, expected);
                }
                profile_cache_shrink(cache);
            }
        }
        profile_cache_free(&cache);
        free(there);
        free(dirty);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_recently_used_go_first),
        cmocka_unit_test(test_a_changed_profile_stays_until_it_is_written),
        cmocka_unit_test(test_what_writing_says_counts_as_its_size),
        cmocka_unit_test(test_a_removed_profile_is_neither_found_nor_written),
        cmocka_unit_test(test_random_work_does_what_a_naive_cache_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
