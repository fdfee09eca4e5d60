/* Profiles: seeded random ones read back as they were packed, and merging them gives the same in
 * every order. */
#include "hub/profile/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/limits.h"
#include "shared/rand.h"

static struct profile_id id_of(uint64_t n)
{
    return profile_id_make((int64_t)n, 3, n * 7);
}

/* ---- Ids ---- */

static void test_an_id_names_its_partition_and_sorts_by_age(void **state)
{
    struct profile_id id;
    struct profile_id back;
    (void)state;
    id = profile_id_make(1795292103120, 513, UINT64_MAX);
    assert_int_equal(profile_id_partition(id), 513);
    assert_string_equal(profile_id_hex(id).text, "01a1ffbf81d00201ffffffffffffffff");
    assert_true(profile_id_from_hex(slice_text("01a1ffbf81d00201ffffffffffffffff"), &back));
    assert_true(profile_id_equal(id, back));
    assert_true(profile_id_from_slice(profile_id_slice(&id), &back));
    assert_true(profile_id_compare(profile_id_make(5, 9, 9), profile_id_make(6, 0, 0)) < 0);
    assert_true(profile_id_compare(profile_id_make(5, 0, 2), profile_id_make(5, 0, 1)) > 0);
}

static void test_a_text_that_is_no_id_is_refused(void **state)
{
    static const char *const rows[] = {
        "", "01a1ffbf81d00201fffffffffffffff", "01a1ffbf81d00201ffffffffffffffffff",
        "01a1ffbf81d00201fffffffffffffffg", "01a1ffbf-81d00201ffffffffffffffff"};
    struct profile_id id;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_false(profile_id_from_hex(slice_text(rows[i]), &id));
    }
    assert_false(profile_id_from_slice(slice_text("short"), &id));
}

/* ---- Last write wins ---- */

static bool set(struct profile *p, const char *name, const char *value, int64_t at_ms,
                const char *message)
{
    return profile_set_trait(p, &(struct profile_trait){slice_text(name), slice_text(value), at_ms,
                                                        slice_text(message), slice_text("web")});
}

static void assert_trait(const struct profile *p, const char *name, const char *value)
{
    const struct profile_trait *t = profile_find_trait(p, slice_text(name));
    assert_non_null(t);
    assert_true(slice_is(t->value, value));
}

static void test_the_newest_value_of_a_trait_wins_and_ties_go_to_the_greater_message(void **state)
{
    struct profile *p = profile_new(id_of(1));
    (void)state;
    assert_true(set(p, "a", "1", 100, "m5"));
    assert_false(set(p, "a", "2", 99, "m9"));
    assert_trait(p, "a", "1");
    assert_true(set(p, "a", "3", 101, "m1"));
    assert_trait(p, "a", "3");
    assert_false(set(p, "a", "4", 101, "m0"));
    assert_false(set(p, "a", "4", 101, "m"));
    assert_true(set(p, "a", "5", 101, "m10"));
    assert_trait(p, "a", "5");
    /* The same value later: nothing changes but when it was said. */
    assert_false(set(p, "a", "5", 200, "m1"));
    assert_false(set(p, "a", "6", 150, "m1"));
    assert_trait(p, "a", "5");
    assert_int_equal(profile_find_trait(p, slice_text("a"))->at_ms, 200);
    assert_null(profile_find_trait(p, slice_text("b")));
    profile_free(&p);
}

static void test_the_newest_word_on_consent_wins(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct profile_consent c = {slice_text("marketing"), true, 100, slice_text("m5"),
                                slice_text("web")};
    (void)state;
    assert_true(profile_set_consent(p, &c));
    c.granted = false;
    c.at_ms = 99;
    assert_false(profile_set_consent(p, &c));
    assert_true(p->consents[0].granted);
    c.at_ms = 100;
    c.message_id = slice_text("m6");
    assert_true(profile_set_consent(p, &c));
    assert_false(p->consents[0].granted);
    c.at_ms = 101;
    assert_false(profile_set_consent(p, &c)); /* said again */
    assert_int_equal(p->consents[0].at_ms, 101);
    assert_int_equal(p->consent_count, 1);
    profile_free(&p);
}

/* ---- Limits ---- */

static void test_at_its_limits_a_profile_takes_no_more_and_stays_whole(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct profile *back;
    struct buf bytes;
    struct error err;
    (void)state;
    for (int i = 0; i < 2 * LIMIT_PROFILE_TRAITS; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%d", i);
        struct identifier id = {slice_text("cookie"), slice_text(name)};
        assert_int_equal(profile_see_identifier(p, id, i, i), i < LIMIT_PROFILE_IDENTIFIERS);
        assert_int_equal(set(p, name, "v", i, "m"), i < LIMIT_PROFILE_TRAITS);
        (void)profile_set_consent(p, &(struct profile_consent){slice_text(name), true, i,
                                                               slice_text("m"), slice_text("s")});
        (void)profile_add_refused(p, (uint64_t)i);
    }
    assert_int_equal(p->identifier_count, LIMIT_PROFILE_IDENTIFIERS);
    assert_int_equal(p->trait_count, LIMIT_PROFILE_TRAITS);
    assert_int_equal(p->consent_count, LIMIT_CONSENT_CATEGORIES);
    assert_in_range(p->refused_count, 1, 256);
    /* What is there can still change. */
    assert_true(set(p, "n0", "w", 5000, "m"));
    assert_false(profile_add_refused(p, 2 * LIMIT_PROFILE_TRAITS - 1));
    buf_init(&bytes, 16 * 1024 * 1024);
    profile_pack(p, &bytes);
    assert_true(profile_unpack(buf_slice(&bytes), &back, &err));
    assert_int_equal(back->identifier_count, LIMIT_PROFILE_IDENTIFIERS);
    assert_int_equal(back->trait_count, LIMIT_PROFILE_TRAITS);
    buf_done(&bytes);
    profile_free(&back);
    profile_free(&p);
}

static void test_what_names_a_person_takes_the_place_of_a_browser(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct identifier email = {slice_text("email"), slice_text("a@x.example")};
    struct identifier late = {slice_text("anonymous_id"), slice_text("late")};
    char name[32];
    (void)state;
    for (int i = 0; i < LIMIT_PROFILE_IDENTIFIERS; i++) {
        snprintf(name, sizeof name, "b%d", i);
        struct identifier id = {slice_text("anonymous_id"), slice_text(name)};
        assert_true(profile_see_identifier(p, id, i, i == 7 ? 0 : i + 1));
    }
    assert_false(profile_see_identifier(p, late, 9999, 9999));
    assert_null(profile_find_identifier(p, late));
    assert_true(profile_see_identifier(p, email, 5, 5));
    assert_non_null(profile_find_identifier(p, email));
    assert_null(profile_find_identifier(
        p, (struct identifier){slice_text("anonymous_id"), slice_text("b7")}));
    assert_int_equal(p->identifier_count, LIMIT_PROFILE_IDENTIFIERS);
    profile_free(&p);
}

static void test_the_collector_that_came_first_makes_room_for_a_new_one(void **state)
{
    struct profile *p = profile_new(id_of(1));
    bool is_new;
    (void)state;
    for (uint32_t i = 1; i <= LIMIT_PROFILE_COLLECTORS; i++) {
        profile_make_interest(p, i, &is_new)->sequence = i;
        assert_true(is_new);
    }
    assert_int_equal(profile_make_interest(p, 1, &is_new)->sequence, 1);
    assert_false(is_new);
    assert_int_equal(profile_make_interest(p, 999, &is_new)->sequence, 0);
    assert_true(is_new);
    assert_int_equal(p->interest_count, LIMIT_PROFILE_COLLECTORS);
    assert_null(profile_find_interest(p, 1));
    (void)profile_make_interest(p, 5, &is_new);
    assert_false(is_new);
    profile_free(&p);
}

static void test_the_shared_outbox_makes_no_room_for_a_collector(void **state)
{
    struct profile *p = profile_new(id_of(1));
    bool is_new;
    (void)state;
    (void)profile_make_interest(p, SHARED_OUTBOX, &is_new);
    for (uint32_t i = 1; i <= LIMIT_PROFILE_COLLECTORS + 5; i++) {
        (void)profile_make_interest(p, i, &is_new);
    }
    assert_non_null(profile_find_interest(p, SHARED_OUTBOX));
    assert_null(profile_find_interest(p, 5));
    assert_non_null(profile_find_interest(p, 6));
    assert_int_equal(p->interest_count, LIMIT_PROFILE_COLLECTORS + 1);
    profile_free(&p);
}

static void test_where_a_browser_was_seen_stays_true_when_a_collector_makes_room(void **state)
{
    const struct identifier browser = {slice_text("anonymous_id"), slice_text("a-1")};
    struct profile *p = profile_new(id_of(1));
    bool is_new;
    (void)state;
    (void)profile_make_interest(p, 7, &is_new);
    (void)profile_make_interest(p, SHARED_OUTBOX, &is_new);
    for (uint32_t i = 100; i < 99 + LIMIT_PROFILE_COLLECTORS; i++) {
        (void)profile_make_interest(p, i, &is_new);
    }
    assert_true(profile_see_identifier(p, browser, 1, 1));
    struct profile_identifier *id = profile_find_identifier(p, browser);
    assert_false(profile_see_at(p, id, 8)); /* it has no interest */
    assert_true(profile_see_at(p, id, 7));
    assert_false(profile_see_at(p, id, 7));
    assert_true(profile_see_at(p, id, 130));
    assert_true(profile_see_at(p, id, 102));
    (void)profile_make_interest(p, 999, &is_new); /* 7 goes */
    (void)profile_make_interest(p, 998, &is_new); /* 100 goes */
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(profile_is_seen_at(p, id, i), i == 102 || i == 130);
    }
    profile_free(&p);
}

/* As versions wrote it that did not keep where browsers were seen. */
static struct profile *read_back_as_of_old(const struct profile *p)
{
    struct buf bytes;
    struct profile *back;
    struct error err;
    buf_init(&bytes, 1024 * 1024);
    profile_pack(p, &bytes);
    assert_memory_equal(bytes.data, "\xdc\x00\x15", 3);
    bytes.data[2] -= 2;
    bytes.len -= 1 + p->identifier_count;                 /* one small number each */
    bytes.len -= 1 + 3 + 1 + 2 * p->identifier_count + 5; /* no claims */
    assert_true(profile_unpack(buf_slice(&bytes), &back, &err));
    buf_done(&bytes);
    return back;
}

static void test_browsers_of_old_were_seen_where_alone_somebody_was_interested(void **state)
{
    const struct identifier browser = {slice_text("anonymous_id"), slice_text("a-1")};
    const struct identifier email = {slice_text("email"), slice_text("a@x.example")};
    struct profile *p = profile_new(id_of(1));
    bool is_new;
    (void)state;
    (void)profile_see_identifier(p, browser, 1, 1);
    (void)profile_see_identifier(p, email, 1, 1);
    (void)profile_make_interest(p, 7, &is_new);
    struct profile *back = read_back_as_of_old(p);
    assert_true(profile_is_seen_at(back, profile_find_identifier(back, browser), 7));
    assert_false(profile_is_seen_at(back, profile_find_identifier(back, email), 7));
    profile_free(&back);
    (void)profile_make_interest(p, 8, &is_new);
    back = read_back_as_of_old(p);
    assert_int_equal(profile_find_identifier(back, browser)->seen_at, 0);
    profile_free(&back);
    profile_free(&p);
}

static struct profile *read_back(const struct profile *p)
{
    struct buf bytes;
    struct profile *back;
    struct error err;
    buf_init(&bytes, 1024 * 1024);
    profile_pack(p, &bytes);
    assert_true(profile_unpack(buf_slice(&bytes), &back, &err));
    buf_done(&bytes);
    return back;
}

static void test_when_who_was_at_a_browser_is_kept_and_joined(void **state)
{
    const struct identifier browser = {slice_text("anonymous_id"), slice_text("a-1")};
    struct profile *a = profile_new(id_of(1));
    struct profile *b = profile_new(id_of(2));
    (void)state;
    (void)profile_see_identifier(a, browser, 1, 1);
    profile_prove_identifier(a, browser, 10);
    profile_part_identifier(a, browser, 20);
    (void)profile_see_identifier(b, browser, 1, 1);
    profile_prove_identifier(b, browser, 30);
    profile_part_identifier(b, browser, 5);
    struct profile *back = read_back(a);
    assert_int_equal(profile_find_identifier(back, browser)->evidence_ms, 10);
    assert_int_equal(profile_find_identifier(back, browser)->parted_ms, 20);
    profile_merge(back, b);
    assert_int_equal(profile_find_identifier(back, browser)->evidence_ms, 30);
    assert_int_equal(profile_find_identifier(back, browser)->parted_ms, 20);
    profile_free(&a);
    profile_free(&b);
    profile_free(&back);
}

/* ---- Identifiers, times, memberships ---- */

static void test_an_identifier_is_seen_from_its_first_to_its_last_time(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct identifier id = {slice_text("email"), slice_text("a@b")};
    struct identifier other = {slice_text("phone"), slice_text("a@b")};
    (void)state;
    assert_true(profile_see_identifier(p, id, 50, 50));
    assert_false(profile_see_identifier(p, id, 20, 20));
    assert_false(profile_see_identifier(p, id, 70, 70));
    assert_true(profile_see_identifier(p, other, 1, 1));
    assert_int_equal(profile_find_identifier(p, id)->first_seen_ms, 20);
    assert_int_equal(profile_find_identifier(p, id)->last_seen_ms, 70);
    assert_int_equal(profile_count_identifiers(p, slice_text("email")), 1);
    profile_drop_identifier(p, id);
    profile_drop_identifier(p, id);
    assert_null(profile_find_identifier(p, id));
    assert_non_null(profile_find_identifier(p, other));
    profile_free(&p);
}

static void test_times_of_a_state_are_kept_in_order(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct rand rand;
    (void)state;
    rand_seeded_init(&rand, 3);
    struct profile_state *s = profile_make_state(p, UINT64_MAX);
    for (int i = 0; i < 500; i++) {
        profile_state_add(p, s, (int64_t)rand_below(&rand, 100));
    }
    assert_int_equal(s->count, 500);
    for (uint32_t i = 1; i < s->count; i++) {
        assert_true(s->times[i - 1] <= s->times[i]);
    }
    assert_ptr_equal(profile_make_state(p, UINT64_MAX), s);
    profile_drop_state(p, UINT64_MAX);
    profile_drop_state(p, 1);
    assert_null(profile_find_state(p, UINT64_MAX));
    profile_free(&p);
}

static void test_memberships_begin_and_end(void **state)
{
    struct profile *p = profile_new(id_of(1));
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        profile_enter(p, i, i * 10);
    }
    profile_leave(p, 3);
    profile_leave(p, 3);
    profile_leave(p, 99);
    assert_null(profile_find_membership(p, 3));
    assert_int_equal(profile_find_membership(p, 19)->since_ms, 190);
    assert_int_equal(p->membership_count, 19);
    profile_free(&p);
}

/* ---- Random profiles ---- */

static struct slice random_text(struct rand *rand, char memory[40], const char *prefix)
{
    snprintf(memory, 40, "%s%llu", prefix, (unsigned long long)rand_below(rand, 12));
    return slice_text(memory);
}

/* A message id says when and what: two with the same id are the same message. */
static struct slice message_at(struct rand *rand, char memory[40], int64_t at_ms)
{
    snprintf(memory, 40, "m%lld-%llu", (long long)at_ms, (unsigned long long)rand_below(rand, 3));
    return slice_text(memory);
}

static void fill_people(struct rand *rand, struct profile *p)
{
    char name[40];
    char value[40];
    char message[40];
    for (uint64_t i = rand_below(rand, 10); i > 0; i--) {
        struct identifier id = {random_text(rand, name, "type"), random_text(rand, value, "v")};
        int64_t at = (int64_t)rand_below(rand, 50);
        (void)profile_see_identifier(p, id, at, at + (int64_t)rand_below(rand, 5));
    }
    for (uint64_t i = rand_below(rand, 20); i > 0; i--) {
        int64_t at = (int64_t)rand_below(rand, 5);
        struct profile_trait t = {.name = random_text(rand, name, "t"), .at_ms = at};
        t.message_id = message_at(rand, message, at);
        t.value = t.message_id; /* one message says one value */
        t.source = slice_text(at % 2 == 0 ? "web" : "till");
        (void)profile_set_trait(p, &t);
    }
    for (uint64_t i = rand_below(rand, 20); i > 0; i--) {
        int64_t at = (int64_t)rand_below(rand, 5);
        struct profile_consent c = {.category = random_text(rand, name, "c"), .at_ms = at};
        c.message_id = message_at(rand, message, at);
        c.granted = c.message_id.data[c.message_id.len - 1] == '0';
        c.source = slice_text("web");
        (void)profile_set_consent(p, &c);
    }
}

static struct profile *random_profile(struct rand *rand, uint64_t n)
{
    struct profile *p = profile_new(id_of(n));
    bool is_new;
    p->created_ms = rand_below(rand, 4) == 0 ? INT64_MAX : (int64_t)rand_below(rand, 1000);
    p->last_seen_ms = (int64_t)rand_below(rand, 1000);
    p->event_count = rand_below(rand, 100);
    p->version = rand_below(rand, 100);
    p->catalog_version = rand_below(rand, 10);
    p->timer_ms = (int64_t)rand_below(rand, 3) * 1795292103120;
    p->journal_next = rand_below(rand, 100);
    p->is_frozen = rand_below(rand, 2) == 0;
    p->deferred_next = p->is_frozen ? rand_below(rand, 5) : 0;
    fill_people(rand, p);
    for (uint64_t i = rand_below(rand, 4); i > 0; i--) {
        struct profile_state *s = profile_make_state(p, rand_below(rand, 6) + (UINT64_MAX - 5));
        for (uint64_t t = rand_below(rand, 6); t > 0; t--) {
            profile_state_add(p, s, 1795292103120 - (int64_t)rand_below(rand, 100));
        }
    }
    for (uint32_t i = 0; i < rand_below(rand, 4); i++) {
        profile_enter(p, i == 3 ? UINT32_MAX - 1 : i, (int64_t)rand_below(rand, 1000));
        profile_make_interest(p, i, &is_new)->sequence = rand_below(rand, 100);
        profile_add_merged(p, id_of(n * 1000 + i));
        (void)profile_add_refused(p, rand_u64(rand));
    }
    for (size_t i = 0; i < p->identifier_count; i++) {
        (void)profile_see_at(p, &p->identifiers[i], (uint32_t)rand_below(rand, 5));
    }
    return p;
}

static void test_random_profiles_read_back_as_they_were_packed(void **state)
{
    struct rand rand;
    struct buf bytes;
    struct buf again;
    (void)state;
    buf_init(&bytes, 1024 * 1024);
    buf_init(&again, 1024 * 1024);
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct profile *back;
        struct error err;
        rand_seeded_init(&rand, seed);
        struct profile *p = random_profile(&rand, seed);
        buf_clear(&bytes);
        buf_clear(&again);
        profile_pack(p, &bytes);
        if (!profile_unpack(buf_slice(&bytes), &back, &err)) {
            fail_msg("seed=%llu: %s", (unsigned long long)seed, err.message);
        }
        profile_pack(back, &again);
        bool same = slice_equal(buf_slice(&bytes), buf_slice(&again)) &&
                    p->event_count == back->event_count && p->timer_ms == back->timer_ms &&
                    p->is_frozen == back->is_frozen && p->deferred_next == back->deferred_next &&
                    p->created_ms == back->created_ms && p->state_count == back->state_count &&
                    p->refused_count == back->refused_count && profile_id_equal(p->id, back->id);
        if (!same) {
            fail_msg("seed=%llu: it reads back differently", (unsigned long long)seed);
        }
        profile_free(&p);
        profile_free(&back);
    }
    buf_done(&bytes);
    buf_done(&again);
}

static void test_damaged_bytes_are_refused_or_read_as_some_profile(void **state)
{
    struct rand rand;
    struct buf bytes;
    (void)state;
    buf_init(&bytes, 1024 * 1024);
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct profile *back = NULL;
        struct error err;
        rand_seeded_init(&rand, seed);
        struct profile *p = random_profile(&rand, seed);
        buf_clear(&bytes);
        profile_pack(p, &bytes);
        size_t len = bytes.len;
        if (rand_below(&rand, 2) == 0) {
            len = rand_below(&rand, bytes.len);
        } else {
            bytes.data[rand_below(&rand, bytes.len)] = (uint8_t)rand_u64(&rand);
        }
        if (profile_unpack(slice_make(bytes.data, len), &back, &err)) {
            profile_free(&back);
        } else {
            assert_int_equal(err.kind, ERROR_CORRUPT);
        }
        profile_free(&p);
    }
    buf_done(&bytes);
}

/* ---- Merging ---- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Everything that a merge puts together, in an order of its own. */
static void describe(const struct profile *p, struct buf *out)
{
    char *lines[256];
    size_t count = 0;
#define LINE(...)                                                                                  \
    do {                                                                                           \
        assert_true(count < 256);                                                                  \
        assert_true(asprintf(&lines[count++], __VA_ARGS__) >= 0);                                  \
    } while (0)
    LINE("created %lld last %lld events %llu", (long long)p->created_ms, (long long)p->last_seen_ms,
         (unsigned long long)p->event_count);
    for (size_t i = 0; i < p->identifier_count; i++) {
        const struct profile_identifier *id = &p->identifiers[i];
        LINE("identifier %.*s=%.*s %lld %lld", SLICE_ARGS(id->id.type), SLICE_ARGS(id->id.value),
             (long long)id->first_seen_ms, (long long)id->last_seen_ms);
        for (uint32_t collector = 0; collector < 5; collector++) {
            if (profile_is_seen_at(p, id, collector)) {
                LINE("identifier %.*s=%.*s is seen at %u", SLICE_ARGS(id->id.type),
                     SLICE_ARGS(id->id.value), collector);
            }
        }
    }
    for (size_t i = 0; i < p->trait_count; i++) {
        const struct profile_trait *t = &p->traits[i];
        LINE("trait %.*s=%.*s %lld %.*s %.*s", SLICE_ARGS(t->name), SLICE_ARGS(t->value),
             (long long)t->at_ms, SLICE_ARGS(t->message_id), SLICE_ARGS(t->source));
    }
    for (size_t i = 0; i < p->consent_count; i++) {
        const struct profile_consent *c = &p->consents[i];
        LINE("consent %.*s=%d %lld %.*s", SLICE_ARGS(c->category), c->granted, (long long)c->at_ms,
             SLICE_ARGS(c->message_id));
    }
    for (size_t i = 0; i < p->state_count; i++) {
        for (uint32_t t = 0; t < p->states[i].count; t++) {
            LINE("state %llu %lld", (unsigned long long)p->states[i].condition,
                 (long long)p->states[i].times[t]);
        }
    }
    for (size_t i = 0; i < p->interest_count; i++) {
        LINE("interest %u", p->interests[i].collector);
    }
    /* Who was merged into whom differs; that all are named does not. */
    for (size_t i = 0; i < p->merged_count; i++) {
        LINE("id %s", profile_id_hex(p->merged[i]).text);
    }
    LINE("id %s", profile_id_hex(p->id).text);
#undef LINE
    qsort(lines, count, sizeof *lines, compare_lines);
    for (size_t i = 0; i < count; i++) {
        buf_put(out, lines[i], strlen(lines[i]));
        buf_put_u8(out, '\n');
        free(lines[i]);
    }
    buf_put_u8(out, 0);
}

/* The three profiles of a seed, merged in an order. */
static void merge_in_order(uint64_t seed, const int order[4], struct buf *out)
{
    struct profile *all[3];
    struct rand rand;
    rand_seeded_init(&rand, seed);
    for (uint64_t i = 0; i < 3; i++) {
        all[i] = random_profile(&rand, seed * 10 + i);
    }
    profile_merge(all[order[0]], all[order[1]]);
    profile_merge(all[order[2]], all[order[3]]);
    describe(all[order[2]], out);
    for (int i = 0; i < 3; i++) {
        profile_free(&all[i]);
    }
}

static void test_merging_gives_the_same_in_every_order(void **state)
{
    /* first <- second, then third <- fourth, which holds all afterwards */
    static const int orders[][4] = {{0, 1, 0, 2}, {1, 0, 1, 2}, {0, 2, 0, 1}, {2, 0, 2, 1},
                                    {1, 2, 0, 1}, {2, 1, 0, 2}, {0, 1, 2, 0}, {1, 2, 1, 0}};
    struct buf first;
    struct buf other;
    (void)state;
    buf_init(&first, 1024 * 1024);
    buf_init(&other, 1024 * 1024);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        buf_clear(&first);
        merge_in_order(seed, orders[0], &first);
        for (size_t i = 1; i < sizeof orders / sizeof *orders; i++) {
            buf_clear(&other);
            merge_in_order(seed, orders[i], &other);
            if (strcmp((const char *)first.data, (const char *)other.data) != 0) {
                fail_msg("seed=%llu order %zu:\n%s\n%s", (unsigned long long)seed, i,
                         (const char *)first.data, (const char *)other.data);
            }
        }
    }
    buf_done(&first);
    buf_done(&other);
}

static void test_a_merge_leaves_the_other_profile_and_is_newer_than_both(void **state)
{
    struct rand rand;
    struct buf before;
    struct buf after;
    (void)state;
    rand_seeded_init(&rand, 9);
    buf_init(&before, 1024 * 1024);
    buf_init(&after, 1024 * 1024);
    struct profile *a = random_profile(&rand, 1);
    struct profile *b = random_profile(&rand, 2);
    a->version = 4;
    b->version = 9;
    profile_pack(b, &before);
    profile_merge(a, b);
    profile_pack(b, &after);
    assert_true(slice_equal(buf_slice(&before), buf_slice(&after)));
    assert_true(a->version > 9);
    buf_done(&before);
    buf_done(&after);
    profile_free(&b); /* nothing of a refers into it */
    buf_init(&after, 1024 * 1024);
    describe(a, &after);
    buf_done(&after);
    profile_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_names_its_partition_and_sorts_by_age),
        cmocka_unit_test(test_a_text_that_is_no_id_is_refused),
        cmocka_unit_test(test_the_newest_value_of_a_trait_wins_and_ties_go_to_the_greater_message),
        cmocka_unit_test(test_the_newest_word_on_consent_wins),
        cmocka_unit_test(test_at_its_limits_a_profile_takes_no_more_and_stays_whole),
        cmocka_unit_test(test_what_names_a_person_takes_the_place_of_a_browser),
        cmocka_unit_test(test_the_collector_that_came_first_makes_room_for_a_new_one),
        cmocka_unit_test(test_the_shared_outbox_makes_no_room_for_a_collector),
        cmocka_unit_test(test_where_a_browser_was_seen_stays_true_when_a_collector_makes_room),
        cmocka_unit_test(test_when_who_was_at_a_browser_is_kept_and_joined),
        cmocka_unit_test(test_browsers_of_old_were_seen_where_alone_somebody_was_interested),
        cmocka_unit_test(test_an_identifier_is_seen_from_its_first_to_its_last_time),
        cmocka_unit_test(test_times_of_a_state_are_kept_in_order),
        cmocka_unit_test(test_memberships_begin_and_end),
        cmocka_unit_test(test_random_profiles_read_back_as_they_were_packed),
        cmocka_unit_test(test_damaged_bytes_are_refused_or_read_as_some_profile),
        cmocka_unit_test(test_merging_gives_the_same_in_every_order),
        cmocka_unit_test(test_a_merge_leaves_the_other_profile_and_is_newer_than_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
