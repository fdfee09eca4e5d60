/* The edge cache on the memory store. Cards are written as the hub writes them (shared/wire.h). */
#include "collector/edge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

struct fixture {
    struct store *store;
    struct edge *edge;
    struct buf found;
    struct error err;
};

/* A card in few words: a profile by its number, emails and merged profiles. */
struct card {
    unsigned profile;
    uint64_t version;
    const char *emails[4];
    unsigned merged[4];
};

static void put_id(msgpack_packer *k, unsigned profile)
{
    uint8_t id[PROFILE_ID_BYTES] = {0};
    id[0] = (uint8_t)(profile >> 8);
    id[1] = (uint8_t)profile;
    value_pack_bin(k, slice_make(id, sizeof id));
}

static void write_card(const struct card *card, struct buf *out)
{
    msgpack_packer k;
    size_t emails = 0;
    size_t merged = 0;
    while (emails < 4 && card->emails[emails] != NULL) {
        emails++;
    }
    while (merged < 4 && card->merged[merged] != 0) {
        merged++;
    }
    value_packer_init(&k, out);
    msgpack_pack_array(&k, CARD_MEMBERS);
    put_id(&k, card->profile);
    msgpack_pack_uint64(&k, card->version);
    msgpack_pack_int64(&k, 1795292103120);
    msgpack_pack_array(&k, emails);
    for (size_t i = 0; i < emails; i++) {
        msgpack_pack_array(&k, 2);
        bool is_visitor = strncmp(card->emails[i], "visitor", 7) == 0;
        value_pack_cstr(&k, is_visitor ? "anonymous_id" : "email");
        value_pack_cstr(&k, card->emails[i]);
    }
    msgpack_pack_array(&k, 0);
    msgpack_pack_map(&k, 0);
    msgpack_pack_map(&k, 0);
    msgpack_pack_array(&k, merged);
    for (size_t i = 0; i < merged; i++) {
        put_id(&k, card->merged[i]);
    }
    msgpack_pack_true(&k);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    buf_init(&f->found, LIMIT_WIRE_BYTES);
    assert_true(edge_open(f->store, &f->edge, &f->err));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    edge_close(&f->edge);
    store_close(&f->store);
    buf_done(&f->found);
    free(f);
    return 0;
}

static void restart_after_power_cut(struct fixture *f)
{
    edge_close(&f->edge);
    store_memory_crash(f->store);
    assert_true(edge_open(f->store, &f->edge, &f->err));
}

/* A reply with these cards, one cursor and maybe a gate. */
static bool apply(struct fixture *f, const struct card *cards, size_t count, uint64_t cursor,
                  const char *gate)
{
    static struct wire_poll_reply reply;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object list;
    msgpack_packer k;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    assert_true(msgpack_zone_init(&zone, 8192));
    value_packer_init(&k, &bytes);
    msgpack_pack_array(&k, count);
    for (size_t i = 0; i < count; i++) {
        write_card(&cards[i], &bytes);
    }
    assert_true(value_unpack(buf_slice(&bytes), &zone, &list, &f->err));
    reply = (struct wire_poll_reply){
        .gate = slice_text(gate), .cursor_count = 2, .cursors = {cursor, 9}, .cards = &list};
    bool fine = edge_apply(f->edge, &reply, &f->err);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return fine;
}

static void must_apply(struct fixture *f, struct card card)
{
    if (!apply(f, &card, 1, 1, "")) {
        fail_msg("applying a card: %s", f->err.message);
    }
}

static bool apply_looked_up(struct fixture *f, struct card card)
{
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    assert_true(msgpack_zone_init(&zone, 8192));
    write_card(&card, &bytes);
    assert_true(value_unpack(buf_slice(&bytes), &zone, &object, &f->err));
    bool fine = edge_apply_card(f->edge, &object, &f->err);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return fine;
}

/* The profile that answers for an email, 0 for none; *ret_version is its card's. */
static unsigned find(struct fixture *f, const char *email, uint64_t *ret_version)
{
    bool found;
    msgpack_zone zone;
    msgpack_object object;
    struct wire_card card;
    struct identifier id = {slice_text("email"), slice_text(email)};
    *ret_version = 0;
    assert_true(edge_find(f->edge, id, &f->found, &found, &f->err));
    if (!found) {
        return 0;
    }
    assert_true(msgpack_zone_init(&zone, 8192));
    assert_true(value_unpack(buf_slice(&f->found), &zone, &object, &f->err));
    assert_true(wire_read_card(&object, &card));
    *ret_version = card.version;
    unsigned profile = (unsigned)card.profile_id.data[0] << 8 | card.profile_id.data[1];
    msgpack_zone_destroy(&zone);
    return profile;
}

static void assert_answer(struct fixture *f, const char *email, unsigned profile, uint64_t version)
{
    uint64_t got_version;
    unsigned got = find(f, email, &got_version);
    if (got != profile || got_version != version) {
        fail_msg("%s: profile %u version %llu, not profile %u version %llu", email, got,
                 (unsigned long long)got_version, profile, (unsigned long long)version);
    }
}

static void test_a_card_answers_for_each_of_its_identifiers(void **state)
{
    struct fixture *f = *state;
    must_apply(f, (struct card){1, 3, {"a@x.example", "b@x.example"}, {0}});
    must_apply(f, (struct card){2, 1, {"c@x.example"}, {0}});
    assert_answer(f, "a@x.example", 1, 3);
    assert_answer(f, "b@x.example", 1, 3);
    assert_answer(f, "c@x.example", 2, 1);
    assert_answer(f, "d@x.example", 0, 0);
    assert_answer(f, "", 0, 0);
}

static void test_the_same_value_of_another_type_is_somebody_else(void **state)
{
    struct fixture *f = *state;
    bool found;
    must_apply(f, (struct card){1, 1, {"a@x.example"}, {0}});
    assert_true(edge_find(f->edge,
                          (struct identifier){slice_text("phone"), slice_text("a@x.example")},
                          &f->found, &found, &f->err));
    assert_false(found);
}

static void test_an_identifier_too_long_to_be_stored_is_nobody(void **state)
{
    struct fixture *f = *state;
    static char text[4096];
    bool found = true;
    memset(text, 'x', sizeof text - 1);
    struct slice longest = slice_make(text, LIMIT_IDENTIFIER_BYTES + 1);
    assert_true(edge_find(f->edge, (struct identifier){slice_text("email"), longest}, &f->found,
                          &found, &f->err));
    assert_false(found);
    assert_true(
        edge_find(f->edge, (struct identifier){longest, longest}, &f->found, &found, &f->err));
    assert_false(found);
    text[LIMIT_IDENTIFIER_BYTES] = 0;
    must_apply(f, (struct card){1, 1, {text}, {0}});
    assert_answer(f, text, 1, 1);
    text[LIMIT_IDENTIFIER_BYTES] = 'x';
    must_apply(f, (struct card){2, 1, {text, "short@x.example"}, {0}});
    assert_answer(f, "short@x.example", 2, 1);
}

static void test_a_newer_card_replaces_and_an_older_one_is_ignored(void **state)
{
    struct fixture *f = *state;
    must_apply(f, (struct card){1, 5, {"a@x.example"}, {0}});
    must_apply(f, (struct card){1, 6, {"a@x.example", "new@x.example"}, {0}});
    assert_answer(f, "new@x.example", 1, 6);
    must_apply(f, (struct card){1, 4, {"a@x.example", "old@x.example"}, {0}});
    assert_answer(f, "a@x.example", 1, 6);
    assert_answer(f, "old@x.example", 0, 0);
    assert_true(apply_looked_up(f, (struct card){1, 3, {"a@x.example"}, {0}}));
    assert_answer(f, "a@x.example", 1, 6);
    assert_true(apply_looked_up(f, (struct card){1, 7, {"a@x.example"}, {0}}));
    assert_answer(f, "a@x.example", 1, 7);
}

static void test_a_merge_takes_the_other_card_away(void **state)
{
    struct fixture *f = *state;
    must_apply(f, (struct card){1, 5, {"a@x.example"}, {0}});
    must_apply(f, (struct card){2, 5, {"b@x.example"}, {0}});
    must_apply(f, (struct card){1, 6, {"a@x.example", "b@x.example"}, {2}});
    assert_answer(f, "a@x.example", 1, 6);
    assert_answer(f, "b@x.example", 1, 6);
}

static void test_an_identifier_that_a_profile_lost_no_longer_finds_it(void **state)
{
    struct fixture *f = *state;
    must_apply(f, (struct card){1, 5, {"a@x.example", "b@x.example"}, {0}});
    must_apply(f, (struct card){1, 6, {"a@x.example"}, {0}});
    assert_answer(f, "a@x.example", 1, 6);
    assert_answer(f, "b@x.example", 0, 0);
}

static void test_an_identifier_that_went_to_another_profile_stays_there(void **state)
{
    struct fixture *f = *state;
    must_apply(f, (struct card){1, 5, {"a@x.example", "b@x.example"}, {0}});
    must_apply(f, (struct card){2, 1, {"b@x.example"}, {0}});
    must_apply(f, (struct card){1, 6, {"a@x.example"}, {0}});
    assert_answer(f, "a@x.example", 1, 6);
    assert_answer(f, "b@x.example", 2, 1);
    /* Also where both cards come in one reply, in whatever order. */
    const struct card there[] = {{3, 1, {"a@x.example"}, {0}}, {1, 7, {"c@x.example"}, {0}}};
    const struct card back[] = {{3, 2, {"d@x.example"}, {0}}, {1, 8, {"a@x.example"}, {0}}};
    assert_true(apply(f, there, 2, 1, ""));
    assert_answer(f, "a@x.example", 3, 1);
    assert_answer(f, "c@x.example", 1, 7);
    assert_true(apply(f, back, 2, 2, ""));
    assert_answer(f, "a@x.example", 1, 8);
    assert_answer(f, "c@x.example", 0, 0);
}

static void test_cursors_and_gate_survive_a_power_cut(void **state)
{
    struct fixture *f = *state;
    uint32_t count = 7;
    const struct card card = {1, 5, {"a@x.example"}, {0}};
    (void)edge_cursors(f->edge, &count);
    assert_int_equal(count, 0);
    assert_true(edge_gate_state(f->edge, &f->found, &f->err));
    assert_int_equal(f->found.len, 0);
    assert_true(apply(f, &card, 1, 42, "the gate"));
    restart_after_power_cut(f);
    const uint64_t *cursors = edge_cursors(f->edge, &count);
    assert_int_equal(count, 2);
    assert_int_equal(cursors[0], 42);
    assert_int_equal(cursors[1], 9);
    assert_true(edge_gate_state(f->edge, &f->found, &f->err));
    assert_true(slice_is(buf_slice(&f->found), "the gate"));
    assert_answer(f, "a@x.example", 1, 5);
    /* A reply without a gate leaves the last one. */
    assert_true(apply(f, NULL, 0, 43, ""));
    assert_true(edge_gate_state(f->edge, &f->found, &f->err));
    assert_true(slice_is(buf_slice(&f->found), "the gate"));
    assert_int_equal(edge_cursors(f->edge, &count)[0], 43);
}

static void test_a_failed_write_moves_no_cursor(void **state)
{
    struct fixture *f = *state;
    uint32_t count;
    const struct card card = {1, 5, {"a@x.example"}, {0}};
    assert_true(apply(f, NULL, 0, 10, ""));
    store_memory_fail_write(f->store, 1);
    assert_false(apply(f, &card, 1, 11, "gate"));
    assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
    assert_int_equal(edge_cursors(f->edge, &count)[0], 10);
    assert_answer(f, "a@x.example", 0, 0);
    assert_true(apply(f, &card, 1, 11, "gate"));
    assert_answer(f, "a@x.example", 1, 5);
}

static void test_a_damaged_card_is_refused_with_its_whole_reply(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll_reply reply;
    msgpack_object card = {.type = MSGPACK_OBJECT_NIL};
    msgpack_object list = {.type = MSGPACK_OBJECT_ARRAY, .via.array = {1, &card}};
    uint32_t count;
    reply = (struct wire_poll_reply){.cursor_count = 1, .cursors = {5}, .cards = &list};
    assert_false(edge_apply(f->edge, &reply, &f->err));
    assert_int_equal(f->err.kind, ERROR_CORRUPT);
    (void)edge_cursors(f->edge, &count);
    assert_int_equal(count, 0);
}

/* However replies are repeated and reordered, the newest card of each profile is what stays. */
static void test_random_orders_of_cards_end_with_the_newest(void **state)
{
    enum { PROFILES = 4, VERSIONS = 6 };
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rand rand;
        uint64_t newest[PROFILES] = {0};
        rand_seeded_init(&rand, seed);
        tear_down(state);
        set_up(state);
        for (int i = 0; i < 40; i++) {
            unsigned profile = (unsigned)rand_below(&rand, PROFILES);
            uint64_t version = 1 + rand_below(&rand, VERSIONS);
            char email[2] = {(char)('a' + profile), 0};
            struct card card = {profile + 1, version, {email}, {0}};
            if (rand_below(&rand, 2) == 0) {
                must_apply(*state, card);
            } else {
                assert_true(apply_looked_up(*state, card));
            }
            newest[profile] = version > newest[profile] ? version : newest[profile];
        }
        for (unsigned p = 0; p < PROFILES; p++) {
            char email[2] = {(char)('a' + p), 0};
            uint64_t version;
            (void)find(*state, email, &version);
            if (version != newest[p]) {
                fail_msg("seed=%llu profile=%u: version %llu, not %llu", (unsigned long long)seed,
                         p, (unsigned long long)version, (unsigned long long)newest[p]);
            }
        }
    }
}

static void note_change(void *user, struct slice anonymous_id)
{
    buf_put_slice(user, anonymous_id);
    buf_put_slice(user, slice_text(" "));
}

static void test_a_change_is_told_for_each_visitor_of_a_stored_card(void **state)
{
    struct fixture *f = *state;
    struct buf told;
    buf_init(&told, 1024);
    edge_on_change(f->edge, note_change, &told);
    must_apply(f,
               (struct card){.profile = 1, .version = 1, .emails = {"visitor1", "a", "visitor2"}});
    assert_true(
        apply_looked_up(f, (struct card){.profile = 2, .version = 1, .emails = {"visitor3"}}));
    store_memory_fail_write(f->store, 1);
    const struct card lost = {.profile = 3, .version = 1, .emails = {"visitor4"}};
    assert_false(apply(f, &lost, 1, 2, ""));
    edge_on_change(f->edge, NULL, NULL);
    must_apply(f, (struct card){.profile = 4, .version = 1, .emails = {"visitor5"}});
    assert_true(slice_is(buf_slice(&told), "visitor1 visitor2 visitor3 "));
    buf_done(&told);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_card_answers_for_each_of_its_identifiers),
        WITH(test_the_same_value_of_another_type_is_somebody_else),
        WITH(test_an_identifier_too_long_to_be_stored_is_nobody),
        WITH(test_a_newer_card_replaces_and_an_older_one_is_ignored),
        WITH(test_a_merge_takes_the_other_card_away),
        WITH(test_an_identifier_that_a_profile_lost_no_longer_finds_it),
        WITH(test_an_identifier_that_went_to_another_profile_stays_there),
        WITH(test_cursors_and_gate_survive_a_power_cut),
        WITH(test_a_failed_write_moves_no_cursor),
        WITH(test_a_damaged_card_is_refused_with_its_whole_reply),
        WITH(test_a_change_is_told_for_each_visitor_of_a_stored_card),
        WITH(test_random_orders_of_cards_end_with_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
