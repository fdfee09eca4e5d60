#include "hub/trust/trust_counts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_each_source_has_figures_of_its_own(void **state)
{
    (void)state;
    struct trust_counts *counts = trust_counts_new();
    static const char *const ids[] = {"shop", "app", "blog", "a", ""};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        for (size_t n = 0; n <= i; n++) {
            trust_counts_add_claimed(counts, slice_text(ids[i]));
            trust_counts_add_proof(counts, slice_text(ids[i]), PROOF_VALID);
            trust_counts_add_proof(counts, slice_text(ids[i]), PROOF_EXPIRED);
        }
    }
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct trust_figures figures = trust_counts_of(counts, slice_text(ids[i]));
        assert_int_equal(figures.claimed, i + 1);
        assert_int_equal(figures.proven, i + 1);
        assert_int_equal(figures.invalid[PROOF_EXPIRED], i + 1);
        assert_int_equal(trust_invalid(&figures), i + 1);
    }
    struct trust_figures all = trust_counts_of_all(counts);
    assert_int_equal(all.claimed, 15);
    assert_int_equal(all.proven, 15);
    assert_int_equal(trust_invalid(&all), 15);
    struct trust_figures none = trust_counts_of(counts, slice_text("other"));
    assert_int_equal(none.claimed + none.proven + trust_invalid(&none), 0);
    trust_counts_free(&counts);
}

static void test_a_source_too_many_is_not_counted_and_does_no_harm(void **state)
{
    (void)state;
    struct trust_counts *counts = trust_counts_new();
    for (int i = 0; i < TRUST_SOURCES_MAX + 10; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i * 7919 % 100000);
        trust_counts_add_claimed(counts, slice_text(id));
    }
    assert_int_equal(trust_counts_of_all(counts).claimed, TRUST_SOURCES_MAX);
    trust_counts_add_claimed(counts, slice_text("0"));
    assert_int_equal(trust_counts_of(counts, slice_text("0")).claimed, 2);
    trust_counts_free(&counts);
}

static const struct {
    uint64_t proven;
    uint64_t claimed;
    uint64_t expired;
    uint64_t wrong_audience;
    bool has_keys;
    const char *text; /* in the advice; NULL: there is none */
} advices[] = {
    {0, 0, 0, 0, false, NULL},
    {0, 0, 0, 0, true, NULL},
    {0, 7, 0, 0, false, "7 events say who their visitor is and nothing proves it"},
    {0, 7, 0, 0, false, "\"open\""},
    {0, 7, 0, 0, true, "no event brought one"},
    {3, 7, 0, 0, true, NULL}, /* a newsletter's form, beside visitors who are signed in */
    {0, 7, 2, 5, true, "7 of 7 proofs do not count, most often (5) as wrong-audience: \"aud\""},
    {0, 7, 0, 7, false, "wrong-audience"},
    {19, 0, 1, 0, true, "1 of 20 proofs"},
    {20, 0, 1, 0, true, NULL},
    {20, 0, 2, 0, true, "as expired: The token had expired"},
};

static void test_the_advice_follows_the_figures(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
        struct trust_figures figures = {.proven = advices[i].proven, .claimed = advices[i].claimed};
        char text[TRUST_ADVICE_BYTES] = "";
        figures.invalid[PROOF_EXPIRED] = advices[i].expired;
        figures.invalid[PROOF_WRONG_AUDIENCE] = advices[i].wrong_audience;
        bool has = trust_advice(&figures, advices[i].has_keys, text);
        if (has != (advices[i].text != NULL) || (has && strstr(text, advices[i].text) == NULL)) {
            fail_msg("advice %zu: %s", i, text);
        }
    }
}

static void test_every_advice_is_whole(void **state)
{
    (void)state;
    for (unsigned fault = PROOF_NO_KEYS; fault < PROOF_FAULTS; fault++) {
        struct trust_figures figures = {.claimed = UINT64_MAX / 2};
        char text[TRUST_ADVICE_BYTES];
        figures.invalid[fault] = UINT64_MAX / 2;
        assert_true(trust_advice(&figures, true, text));
        assert_non_null(strchr(".?", text[strlen(text) - 1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_source_has_figures_of_its_own),
        cmocka_unit_test(test_a_source_too_many_is_not_counted_and_does_no_harm),
        cmocka_unit_test(test_the_advice_follows_the_figures),
        cmocka_unit_test(test_every_advice_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
