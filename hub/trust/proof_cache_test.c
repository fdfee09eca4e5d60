#include "hub/trust/proof_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct key {
    uint8_t bytes[PROOF_CACHE_KEY_BYTES];
};

/* All in one set. */
static struct key key_of(uint8_t number)
{
    struct key key = {{0}};
    key.bytes[PROOF_CACHE_KEY_BYTES - 1] = number;
    return key;
}

static struct proof_facts facts_of(enum proof_fault fault, const char *kid)
{
    return (struct proof_facts){.fault = fault, .claims.kid = slice_text(kid)};
}

static bool has(struct proof_cache *cache, uint8_t number)
{
    struct proof_facts facts;
    struct key key = key_of(number);
    return proof_cache_find(cache, key.bytes, &facts);
}

static void put(struct proof_cache *cache, uint8_t number, enum proof_fault fault)
{
    struct key key = key_of(number);
    struct proof_facts facts = facts_of(fault, "k");
    proof_cache_put(cache, key.bytes, &facts);
}

static void test_what_was_put_comes_back_whole(void **state)
{
    (void)state;
    struct proof_cache *cache = proof_cache_new(1);
    struct key key = key_of(1);
    struct proof_facts ret;
    struct proof_facts facts = {
        .fault = PROOF_VALID,
        .has_browser = true,
        .browser = slice_text("a-1"),
        .not_before_ms = -3,
        .claims = {.kid = slice_text("2026"),
                   .issued_ms = 5,
                   .expires_ms = INT64_MAX,
                   .count = 2,
                   .named = {{slice_text("user_id"), slice_text("u")},
                             {slice_text("email"), slice_text("jane@example.com")}}}};
    assert_false(proof_cache_find(cache, key.bytes, &ret));
    proof_cache_put(cache, key.bytes, &facts);
    assert_true(proof_cache_find(cache, key.bytes, &ret));
    assert_int_equal(ret.fault, PROOF_VALID);
    assert_true(ret.has_browser && slice_is(ret.browser, "a-1"));
    assert_true(ret.not_before_ms == -3 && ret.claims.issued_ms == 5 &&
                ret.claims.expires_ms == INT64_MAX);
    assert_true(slice_is(ret.claims.kid, "2026"));
    assert_int_equal(ret.claims.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(slice_equal(ret.claims.named[i].type, facts.claims.named[i].type));
        assert_true(slice_equal(ret.claims.named[i].value, facts.claims.named[i].value));
    }
    proof_cache_clear(cache);
    assert_false(proof_cache_find(cache, key.bytes, &ret));
    proof_cache_free(&cache);
}

static void test_the_one_used_longest_ago_gives_way(void **state)
{
    (void)state;
    struct proof_cache *cache = proof_cache_new(PROOF_CACHE_WAYS);
    for (uint8_t i = 0; i < PROOF_CACHE_WAYS; i++) {
        put(cache, i, PROOF_VALID);
    }
    assert_true(has(cache, 0));
    put(cache, 100, PROOF_VALID);
    assert_true(has(cache, 0));
    assert_false(has(cache, 1));
    assert_true(has(cache, 2));
    assert_true(has(cache, 100));
    proof_cache_free(&cache);
}

static void test_a_fault_gives_way_first_and_pushes_nothing_valid_out(void **state)
{
    (void)state;
    struct proof_cache *cache = proof_cache_new(PROOF_CACHE_WAYS);
    for (uint8_t i = 0; i < PROOF_CACHE_WAYS - 1; i++) {
        put(cache, i, PROOF_VALID);
    }
    put(cache, 50, PROOF_BAD_SIGNATURE);
    assert_true(has(cache, 50));
    put(cache, 51, PROOF_MALFORMED);
    assert_false(has(cache, 50));
    assert_true(has(cache, 51));
    put(cache, 52, PROOF_VALID);
    assert_false(has(cache, 51));
    put(cache, 53, PROOF_MALFORMED);
    assert_false(has(cache, 53));
    for (uint8_t i = 0; i < PROOF_CACHE_WAYS - 1; i++) {
        assert_true(has(cache, i));
    }
    assert_true(has(cache, 52));
    proof_cache_free(&cache);
}

static void test_what_does_not_fit_is_not_remembered(void **state)
{
    (void)state;
    static char text[600];
    struct proof_cache *cache = proof_cache_new(1);
    struct key key = key_of(1);
    struct proof_facts ret;
    memset(text, 'x', sizeof text - 1);
    struct proof_facts facts = facts_of(PROOF_VALID, text);
    proof_cache_put(cache, key.bytes, &facts);
    assert_false(proof_cache_find(cache, key.bytes, &ret));
    proof_cache_free(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_comes_back_whole),
        cmocka_unit_test(test_the_one_used_longest_ago_gives_way),
        cmocka_unit_test(test_a_fault_gives_way_first_and_pushes_nothing_valid_out),
        cmocka_unit_test(test_what_does_not_fit_is_not_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
