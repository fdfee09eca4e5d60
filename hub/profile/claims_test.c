#include "hub/profile/claims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

static struct identifier id_of(const char *type, const char *value)
{
    return (struct identifier){slice_text(type), slice_text(value)};
}

static struct profile *new_profile(void)
{
    return profile_new(profile_id_make(1, 0, 7));
}

static bool claim(struct profile *p, const char *type, const char *value, int64_t at,
                  const char *source)
{
    return claims_add(p, &(struct profile_claim){.id = id_of(type, value),
                                                 .first_ms = at,
                                                 .last_ms = at,
                                                 .source = slice_text(source)});
}

static bool claim_trait(struct profile *p, const char *email, const char *name, const char *value,
                        int64_t at)
{
    struct identifier named[2] = {id_of("email", email), id_of("user_id", "u")};
    return claims_set_trait(p, named, 2,
                            &(struct profile_trait){.name = slice_text(name),
                                                    .value = slice_text(value),
                                                    .at_ms = at,
                                                    .message_id = slice_text("m"),
                                                    .source = slice_text("web")});
}

static void test_a_claim_keeps_its_first_source_and_its_widest_times(void **state)
{
    struct profile *p = new_profile();
    (void)state;
    assert_true(claim(p, "email", "a@x", 5, "later"));
    assert_false(claim(p, "email", "a@x", 3, "web"));
    assert_false(claim(p, "email", "a@x", 9, "app"));
    assert_int_equal(p->claim_count, 1);
    assert_int_equal(p->claims[0].first_ms, 3);
    assert_int_equal(p->claims[0].last_ms, 9);
    assert_true(slice_is(p->claims[0].source, "web"));
    assert_non_null(claims_find(p, slice_text("email")));
    assert_null(claims_find(p, slice_text("phone")));
    profile_free(&p);
}

static void test_a_fact_hides_what_is_claimed_even_where_it_was_deleted(void **state)
{
    struct profile *p = new_profile();
    bool is_claimed;
    struct slice city = slice_text("city");
    (void)state;
    assert_true(claim_trait(p, "a@x", "city", "\xa1L", 9));
    assert_true(slice_is(profile_effective_trait(p, city, &is_claimed)->value, "\xa1L"));
    assert_true(is_claimed);
    (void)profile_set_trait(p, &(struct profile_trait){.name = city,
                                                       .value = slice_text("\xc0"),
                                                       .at_ms = 1,
                                                       .message_id = slice_text("m"),
                                                       .source = slice_text("crm")});
    assert_true(slice_is(profile_effective_trait(p, city, &is_claimed)->value, "\xc0"));
    assert_false(is_claimed);
    profile_free(&p);
}

static void test_a_claimed_trait_is_true_with_the_last_of_those_it_names(void **state)
{
    struct profile *p = new_profile();
    bool is_claimed;
    (void)state;
    (void)claim(p, "email", "a@x", 5, "web");
    (void)claim(p, "user_id", "u", 5, "web");
    (void)claim_trait(p, "a@x", "city", "\xa1L", 5);
    assert_false(claims_promote(p));
    (void)profile_see_identifier(p, id_of("user_id", "u"), 8, 8);
    assert_true(claims_promote(p));
    assert_int_equal(p->claim_count, 1);
    assert_null(profile_find_trait(p, slice_text("city")));
    assert_int_equal(profile_find_identifier(p, id_of("user_id", "u"))->first_seen_ms, 5);
    (void)profile_see_identifier(p, id_of("email", "a@x"), 8, 8);
    assert_true(claims_promote(p));
    assert_int_equal(p->claim_count, 0);
    assert_int_equal(p->claimed_trait_count, 0);
    assert_non_null(profile_effective_trait(p, slice_text("city"), &is_claimed));
    assert_false(is_claimed);
    profile_free(&p);
}

static void test_what_a_server_reported_is_forgotten_by_nothing_but_its_truth(void **state)
{
    struct profile *p = new_profile();
    (void)state;
    struct profile_claim told = {.id = id_of("email", "a@x"),
                                 .by_server = true,
                                 .first_ms = 1,
                                 .last_ms = 1,
                                 .source = slice_text("shop")};
    assert_true(claims_add(p, &told));
    (void)claim(p, "email", "a@x", 5, "web");
    (void)claim_trait(p, "a@x", "city", "\xa1L", 5);
    claims_forget(p);
    assert_int_equal(p->claim_count, 1);
    assert_int_equal(p->claimed_trait_count, 0);
    assert_true(claims_have(p, told.id));
    assert_false(claims_have_own(p, told.id));
    profile_free(&p);
}

/* One of the things that happen to claims. */
static void step(struct profile *p, uint64_t n)
{
    char value[24];
    char source[8];
    snprintf(value, sizeof value, "v%llu", (unsigned long long)(n % 450));
    snprintf(source, sizeof source, "s%llu", (unsigned long long)(n % 3));
    int64_t at = (int64_t)(n * 7919 % 1000);
    if (n % 3 == 0) {
        (void)claim(p, "email", value, at, source);
    } else if (n % 3 == 1) {
        char packed[26];
        char message[24];
        snprintf(packed, sizeof packed, "\xa2%02llu", (unsigned long long)(n % 100));
        snprintf(message, sizeof message, "m%llu", (unsigned long long)n);
        struct identifier named = id_of("email", value);
        (void)claims_set_trait(p, &named, 1,
                               &(struct profile_trait){.name = slice_text(n % 2 ? "a" : "b"),
                                                       .value = slice_text(packed),
                                                       .at_ms = at,
                                                       .message_id = slice_text(message),
                                                       .source = slice_text(source)});
    } else {
        char message[24];
        snprintf(message, sizeof message, "m%llu", (unsigned long long)n);
        (void)devices_set_consent(p, slice_text(value),
                                  &(struct profile_consent){.category = slice_text("marketing"),
                                                            .granted = n % 2 == 0,
                                                            .at_ms = at,
                                                            .message_id = slice_text(message),
                                                            .source = slice_text(source)});
    }
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* What is kept, as lines in order; how often bounds refused depends on the order of arrival. */
static void describe(const struct profile *p, struct buf *out)
{
    enum { LINES = CLAIMS_KEPT + CLAIMED_TRAITS_KEPT + DEVICE_CONSENTS_KEPT, LINE = 160 };
    static char lines[LINES][LINE];
    size_t count = 0;
    for (size_t i = 0; i < p->claim_count; i++) {
        const struct profile_claim *c = &p->claims[i];
        snprintf(lines[count++], LINE, "claim %.*s %lld %lld %.*s", SLICE_ARGS(c->id.value),
                 (long long)c->first_ms, (long long)c->last_ms, SLICE_ARGS(c->source));
    }
    for (size_t i = 0; i < p->claimed_trait_count; i++) {
        const struct profile_claimed_trait *t = &p->claimed_traits[i];
        snprintf(lines[count++], LINE, "trait %llx %.*s %.*s %lld",
                 (unsigned long long)read_u64(t->named.data), SLICE_ARGS(t->trait.name),
                 SLICE_ARGS(t->trait.message_id), (long long)t->trait.at_ms);
    }
    for (size_t i = 0; i < p->device_consent_count; i++) {
        const struct profile_device_consent *d = &p->device_consents[i];
        snprintf(lines[count++], LINE, "device %.*s %d %lld %.*s", SLICE_ARGS(d->device),
                 d->consent.granted, (long long)d->consent.at_ms,
                 SLICE_ARGS(d->consent.message_id));
    }
    qsort(lines, count, LINE, compare_texts);
    for (size_t i = 0; i < count; i++) {
        buf_put_format(out, "%s\n", lines[i]);
    }
}

static void shuffle(uint64_t *steps, size_t count, struct rand *rand)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = rand_below(rand, i);
        uint64_t kept = steps[i - 1];
        steps[i - 1] = steps[other];
        steps[other] = kept;
    }
}

/* Far beyond every bound, in another order, in two halves that merge, and written and read between.
 */
static void test_what_is_kept_is_the_same_for_every_order_and_merge(void **state)
{
    enum { STEPS = 1200 };
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t steps[STEPS];
        struct rand rand;
        struct buf texts[2];
        rand_seeded_init(&rand, seed);
        for (size_t i = 0; i < STEPS; i++) {
            steps[i] = i;
        }
        for (int turn = 0; turn < 2; turn++) {
            struct profile *p = new_profile();
            struct profile *q = new_profile();
            buf_init(&texts[turn], 1024 * 1024);
            shuffle(steps, STEPS, &rand);
            size_t half = turn == 0 ? STEPS : STEPS / 2;
            for (size_t i = 0; i < STEPS; i++) {
                step(i < half ? p : q, steps[i]);
            }
            claims_merge(p, q);
            struct buf packed;
            struct profile *back;
            struct error err;
            buf_init(&packed, 1024 * 1024);
            profile_pack(p, &packed);
            assert_true(profile_unpack(buf_slice(&packed), &back, &err));
            describe(back, &texts[turn]);
            buf_done(&packed);
            profile_free(&back);
            profile_free(&q);
            profile_free(&p);
        }
        if (!slice_equal(buf_slice(&texts[0]), buf_slice(&texts[1]))) {
            fail_msg("seed=%llu: the order of arrival shows", (unsigned long long)seed);
        }
        buf_done(&texts[0]);
        buf_done(&texts[1]);
    }
}

static void test_what_the_bounds_refuse_is_counted(void **state)
{
    struct profile *p = new_profile();
    (void)state;
    for (int i = 0; i < CLAIMS_KEPT + 5; i++) {
        char value[16];
        snprintf(value, sizeof value, "v%d", i);
        (void)claim(p, "email", value, i, "web");
    }
    assert_int_equal(p->claim_count, CLAIMS_KEPT);
    assert_int_equal(p->claims_refused, 5);
    profile_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_claim_keeps_its_first_source_and_its_widest_times),
        cmocka_unit_test(test_a_fact_hides_what_is_claimed_even_where_it_was_deleted),
        cmocka_unit_test(test_a_claimed_trait_is_true_with_the_last_of_those_it_names),
        cmocka_unit_test(test_what_a_server_reported_is_forgotten_by_nothing_but_its_truth),
        cmocka_unit_test(test_what_is_kept_is_the_same_for_every_order_and_merge),
        cmocka_unit_test(test_what_the_bounds_refuse_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
