/* The edge cache on the memory store. Cards are written as the hub writes them (shared/wire.h). */
#include "collector/edge/edge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "collector/edge/edge_state.h"
#include "shared/rand.h"

static const uint8_t box_key[VAULT_SECRET_BYTES] = {1, 2, 3};

struct fixture {
    struct store *store;
    struct edge *edge;
    struct buf found;
    struct error err;
};

/* A card in few words: a profile by its number, emails (or browsers, "visitor…") and merged
 * profiles.
 */
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

/* Identifiers have a type before them, browsers a time behind them. */
static void put_people(msgpack_packer *k, const struct card *card, bool visitors)
{
    size_t count = 0;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < 4 && card->emails[i] != NULL; i++) {
            if ((strncmp(card->emails[i], "visitor", 7) == 0) != visitors) {
                continue;
            }
            count += pass == 0;
            if (pass == 1 && !visitors) {
                msgpack_pack_array(k, 2);
                value_pack_cstr(k, "email");
                value_pack_cstr(k, card->emails[i]);
            } else if (pass == 1) {
                msgpack_pack_array(k, 2);
                value_pack_cstr(k, card->emails[i]);
                msgpack_pack_int64(k, 1795292103000);
            }
        }
        if (pass == 0) {
            msgpack_pack_array(k, count);
        }
    }
}

static void write_card(const struct card *card, struct buf *out)
{
    msgpack_packer k;
    size_t merged = 0;
    while (merged < 4 && card->merged[merged] != 0) {
        merged++;
    }
    value_packer_init(&k, out);
    msgpack_pack_array(&k, CARD_MEMBERS);
    put_id(&k, card->profile);
    msgpack_pack_uint64(&k, card->version);
    msgpack_pack_int64(&k, 1795292103120);
    put_people(&k, card, false);
    msgpack_pack_array(&k, 0);
    msgpack_pack_map(&k, 0);
    msgpack_pack_map(&k, 0);
    msgpack_pack_array(&k, merged);
    for (size_t i = 0; i < merged; i++) {
        put_id(&k, card->merged[i]);
    }
    msgpack_pack_true(&k);
    msgpack_pack_array(&k, 0);
    put_people(&k, card, true);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    buf_init(&f->found, LIMIT_WIRE_BYTES);
    assert_true(edge_open(f->store, box_key, &f->edge, &f->err));
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

/* What the next poll would say. */
static const struct wire_poll *describe(struct fixture *f)
{
    static struct wire_poll poll;
    poll = (struct wire_poll){0};
    edge_describe(f->edge, &poll);
    return &poll;
}

static void restart_after_power_cut(struct fixture *f)
{
    edge_close(&f->edge);
    store_memory_crash(f->store);
    assert_true(edge_open(f->store, box_key, &f->edge, &f->err));
}

static bool apply_reply(struct fixture *f, struct wire_poll_reply *reply, const struct card *cards,
                        size_t count)
{
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
    reply->cards = &list;
    bool fine = edge_apply(f->edge, reply, &f->err);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return fine;
}

/* A reply with these cards, one cursor and maybe a gate. */
static bool apply(struct fixture *f, const struct card *cards, size_t count, uint64_t cursor,
                  const char *gate)
{
    static struct wire_poll_reply reply;
    reply = (struct wire_poll_reply){
        .gate = slice_text(gate), .cursor_count = 2, .cursors = {cursor, 9}};
    return apply_reply(f, &reply, cards, count);
}
static void must_apply(struct fixture *f, struct card card)
{
    if (!apply(f, &card, 1, 1, "")) {
        fail_msg("applying a card: %s", f->err.message);
    }
}

static bool apply_said_at(struct fixture *f, const struct wire_moment *moment, struct card card)
{
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    assert_true(msgpack_zone_init(&zone, 8192));
    write_card(&card, &bytes);
    assert_true(value_unpack(buf_slice(&bytes), &zone, &object, &f->err));
    bool fine = edge_apply_card(f->edge, edge_generation(f->edge), moment, &object, &f->err);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return fine;
}

static bool apply_looked_up(struct fixture *f, struct card card)
{
    return apply_said_at(f, &describe(f)->moment, card);
}

/* The profile that answers for an email, 0 for none; *ret_version is its card's. */
static unsigned find(struct fixture *f, const char *email, uint64_t *ret_version)
{
    struct slice bytes;
    msgpack_zone zone;
    msgpack_object object;
    struct wire_card card;
    struct identifier id = {slice_text("email"), slice_text(email)};
    *ret_version = 0;
    assert_true(edge_find(f->edge, id, &f->found, &bytes, &f->err));
    if (bytes.len == 0) {
        return 0;
    }
    assert_true(msgpack_zone_init(&zone, 8192));
    assert_true(value_unpack(bytes, &zone, &object, &f->err));
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

static void test_a_card_that_is_looked_up_makes_the_cache_as_late_as_it_is(void **state)
{
    static struct wire_poll_reply reply;
    struct fixture *f = *state;
    struct wire_moment moment = {true, {1}, 7};
    reply = (struct wire_poll_reply){.moment = moment};
    assert_true(apply_reply(f, &reply, NULL, 0));
    moment.number = 9;
    assert_true(apply_said_at(f, &moment, (struct card){1, 3, {"a@x.example"}, {0}}));
    assert_int_equal(describe(f)->moment.number, 9);
    moment.number = 8; /* said before, came later */
    assert_true(apply_said_at(f, &moment, (struct card){2, 1, {"b@x.example"}, {0}}));
    must_apply(f, (struct card){3, 1, {"c@x.example"}, {0}}); /* durable from here */
    restart_after_power_cut(f);
    assert_int_equal(describe(f)->moment.number, 9);
    assert_memory_equal(describe(f)->moment.incarnation, moment.incarnation,
                        sizeof moment.incarnation);
    assert_answer(f, "b@x.example", 2, 1);
}

static void test_a_card_of_a_hub_that_no_poll_has_asked_yet_is_not_kept(void **state)
{
    static struct wire_poll_reply reply;
    struct fixture *f = *state;
    struct wire_moment another = {true, {2}, 9};
    reply = (struct wire_poll_reply){.moment = {true, {1}, 7}};
    assert_true(apply_reply(f, &reply, NULL, 0));
    assert_true(apply_said_at(f, &another, (struct card){1, 3, {"a@x.example"}, {0}}));
    assert_answer(f, "a@x.example", 0, 0);
    assert_int_equal(describe(f)->moment.number, 7);
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
    struct slice found;
    must_apply(f, (struct card){1, 1, {"a@x.example"}, {0}});
    assert_true(edge_find(f->edge,
                          (struct identifier){slice_text("phone"), slice_text("a@x.example")},
                          &f->found, &found, &f->err));
    assert_int_equal(found.len, 0);
}

static void test_an_identifier_too_long_to_be_stored_is_nobody(void **state)
{
    struct fixture *f = *state;
    static char text[4096];
    struct slice found;
    memset(text, 'x', sizeof text - 1);
    struct slice longest = slice_make(text, LIMIT_IDENTIFIER_BYTES + 1);
    assert_true(edge_find(f->edge, (struct identifier){slice_text("email"), longest}, &f->found,
                          &found, &f->err));
    assert_int_equal(found.len, 0);
    assert_true(
        edge_find(f->edge, (struct identifier){longest, longest}, &f->found, &found, &f->err));
    assert_int_equal(found.len, 0);
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
    const struct card card = {1, 5, {"a@x.example"}, {0}};
    assert_int_equal(describe(f)->cursor_count, 0);
    assert_true(edge_gate_state(f->edge, &f->found, &f->err));
    assert_int_equal(f->found.len, 0);
    assert_true(apply(f, &card, 1, 42, "the gate"));
    restart_after_power_cut(f);
    assert_int_equal(describe(f)->cursor_count, 2);
    assert_int_equal(describe(f)->cursors[0], 42);
    assert_int_equal(describe(f)->cursors[1], 9);
    assert_true(edge_gate_state(f->edge, &f->found, &f->err));
    assert_true(slice_is(buf_slice(&f->found), "the gate"));
    assert_answer(f, "a@x.example", 1, 5);
    /* A reply without a gate leaves the last one. */
    assert_true(apply(f, NULL, 0, 43, ""));
    assert_true(edge_gate_state(f->edge, &f->found, &f->err));
    assert_true(slice_is(buf_slice(&f->found), "the gate"));
    assert_int_equal(describe(f)->cursors[0], 43);
}

static void test_a_failed_write_moves_no_cursor(void **state)
{
    struct fixture *f = *state;
    const struct card card = {1, 5, {"a@x.example"}, {0}};
    assert_true(apply(f, NULL, 0, 10, ""));
    store_memory_fail_write(f->store, 1);
    assert_false(apply(f, &card, 1, 11, "gate"));
    assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
    assert_int_equal(describe(f)->cursors[0], 10);
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
    reply = (struct wire_poll_reply){.cursor_count = 1, .cursors = {5}, .cards = &list};
    assert_false(edge_apply(f->edge, &reply, &f->err));
    assert_int_equal(f->err.kind, ERROR_CORRUPT);
    assert_int_equal(describe(f)->cursor_count, 0);
}

static void test_a_look_up_answered_late_does_not_bring_a_merged_card_back(void **state)
{
    struct fixture *f = *state;
    must_apply(f, (struct card){2, 5, {"b@x.example"}, {0}});
    must_apply(f, (struct card){1, 6, {"a@x.example", "b@x.example"}, {2}});
    assert_true(apply_looked_up(f, (struct card){2, 5, {"b@x.example"}, {0}}));
    assert_answer(f, "b@x.example", 1, 6);
    /* Also where the cache had never heard of the merged profile. */
    must_apply(f, (struct card){3, 9, {"c@x.example"}, {4}});
    assert_true(apply_looked_up(f, (struct card){4, 8, {"c@x.example"}, {0}}));
    assert_answer(f, "c@x.example", 3, 9);
}

/* A reply that removes one profile. */
static void must_remove(struct fixture *f, unsigned profile, uint64_t version)
{
    static struct wire_poll_reply reply;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object list;
    uint8_t id[PROFILE_ID_BYTES] = {(uint8_t)(profile >> 8), (uint8_t)profile};
    buf_init(&bytes, 1024);
    assert_true(msgpack_zone_init(&zone, 8192));
    buf_put_u8(&bytes, 0x91); /* an array of one */
    wire_write_removal(slice_make(id, sizeof id), version, &bytes);
    assert_true(value_unpack(buf_slice(&bytes), &zone, &list, &f->err));
    reply = (struct wire_poll_reply){.removals = &list};
    assert_true(apply_reply(f, &reply, NULL, 0));
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
}

static void test_a_profile_that_left_the_scope_is_removed_until_a_newer_card_comes(void **state)
{
    struct fixture *f = *state;
    must_apply(f, (struct card){1, 5, {"a@x.example"}, {0}});
    must_remove(f, 1, 4); /* older than the card */
    assert_answer(f, "a@x.example", 1, 5);
    must_remove(f, 1, 6);
    assert_answer(f, "a@x.example", 0, 0);
    assert_true(apply_looked_up(f, (struct card){1, 5, {"a@x.example"}, {0}}));
    assert_answer(f, "a@x.example", 0, 0);
    must_apply(f, (struct card){1, 7, {"a@x.example"}, {0}});
    assert_answer(f, "a@x.example", 1, 7);
}

/* A reply of a refill: it begins or goes on, and is complete where it has no place. */
static void must_refill(struct fixture *f, bool begins, bool is_complete, struct card card)
{
    static struct wire_poll_reply reply;
    reply = (struct wire_poll_reply){.cursor_count = 1, .cursors = {3}};
    reply.refill = (struct wire_refill){.is_told = true, .begins = begins, .scope_version = 8};
    reply.refill.place.len = is_complete ? 0 : 4;
    assert_true(apply_reply(f, &reply, &card, 1));
}

static size_t count_records(struct fixture *f, char kind)
{
    size_t count = 0;
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    for (store_iterator_seek(it, slice_make(&kind, 1));
         store_iterator_valid(it) && store_iterator_key(it).data[0] == (uint8_t)kind;
         store_iterator_next(it)) {
        count++;
    }
    store_iterator_close(&it);
    return count;
}

static void test_a_refill_replaces_the_cache_and_what_it_did_not_bring_is_swept(void **state)
{
    struct fixture *f = *state;
    bool more = true;
    must_apply(f, (struct card){1, 5, {"a@x.example"}, {0}});
    must_apply(f, (struct card){2, 5, {"b@x.example", "c@x.example"}, {7}});
    must_apply(f, (struct card){3, 5, {"d@x.example"}, {0}});
    must_refill(f, true, false, (struct card){1, 2, {"a@x.example"}, {0}});
    assert_answer(f, "a@x.example", 1, 2); /* a hub that was restored counts from before */
    assert_int_equal(describe(f)->cache.scope_version, 8);
    assert_int_equal(describe(f)->cache.place.len, 4);
    assert_answer(f, "b@x.example", 2, 5); /* better old than nothing meanwhile */
    restart_after_power_cut(f);
    assert_int_equal(describe(f)->cache.place.len, 4);
    assert_true(edge_sweep(f->edge, &more, &f->err));
    assert_false(more);
    assert_answer(f, "b@x.example", 2, 5);
    must_refill(f, false, true, (struct card){3, 4, {"d@x.example"}, {0}});
    assert_int_equal(describe(f)->cache.place.len, 0);
    restart_after_power_cut(f); /* it is swept all the same */
    assert_true(edge_sweep(f->edge, &more, &f->err));
    assert_answer(f, "a@x.example", 1, 2);
    assert_answer(f, "d@x.example", 3, 4);
    assert_answer(f, "b@x.example", 0, 0);
    assert_int_equal(count_records(f, 'p'), 2);
    assert_int_equal(count_records(f, 'i'), 2);
    /* Once: the next cards are of the same generation. */
    must_apply(f, (struct card){4, 1, {"e@x.example"}, {0}});
    assert_true(edge_sweep(f->edge, &more, &f->err));
    assert_answer(f, "e@x.example", 4, 1);
}

static void test_a_sweep_goes_through_a_large_cache_in_steps(void **state)
{
    enum { CARDS = 1700 };
    struct fixture *f = *state;
    unsigned steps = 0;
    bool more = true;
    for (unsigned i = 1; i <= CARDS; i++) {
        char email[16];
        snprintf(email, sizeof email, "e%u@x", i);
        must_apply(f, (struct card){i, 1, {email}, {0}});
    }
    must_refill(f, true, true, (struct card){5, 1, {"e5@x"}, {0}});
    for (; more; steps++) {
        assert_true(edge_sweep(f->edge, &more, &f->err));
    }
    assert_in_range(steps, 3, 6);
    assert_int_equal(count_records(f, 'p'), 1);
    assert_answer(f, "e5@x", 5, 1);
    assert_answer(f, "e6@x", 0, 0);
}

/* Does any key or value of the store have these bytes? */
static bool store_has(struct fixture *f, struct slice what)
{
    bool has = false;
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    for (store_iterator_seek(it, slice_make(NULL, 0)); store_iterator_valid(it);
         store_iterator_next(it)) {
        struct slice key = store_iterator_key(it);
        struct slice value = store_iterator_value(it);
        has = has || memmem(key.data, key.len, what.data, what.len) != NULL ||
              memmem(value.data, value.len, what.data, what.len) != NULL;
    }
    store_iterator_close(&it);
    return has;
}

static void test_the_store_tells_neither_identifiers_nor_ids_nor_the_gate(void **state)
{
    struct fixture *f = *state;
    const struct card card = {0x4a4b, 5, {"wanda@x.example"}, {0}};
    const uint8_t id[PROFILE_ID_BYTES] = {0x4a, 0x4b};
    assert_true(apply(f, &card, 1, 1, "the gate's definitions"));
    assert_answer(f, "wanda@x.example", 0x4a4b, 5);
    assert_false(store_has(f, slice_text("wanda")));
    assert_false(store_has(f, slice_text("gate")));
    assert_false(store_has(f, slice_text("email")));
    assert_false(store_has(f, slice_make(id, sizeof id)));
}

static void test_another_key_or_an_earlier_version_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    static const uint8_t other_key[VAULT_SECRET_BYTES] = {9};
    struct edge *other;
    struct store_batch batch;
    must_apply(f, (struct card){1, 5, {"a@x.example"}, {0}});
    assert_false(edge_open(f->store, other_key, &other, &f->err));
    assert_int_equal(f->err.kind, ERROR_CORRUPT);

    struct store *plain = store_memory_open();
    store_batch_init(&batch);
    store_batch_put(&batch, slice_text("c"), slice_text("12345678"));
    assert_true(store_write(plain, &batch, true, &f->err));
    assert_false(edge_open(plain, box_key, &other, &f->err));
    assert_int_equal(f->err.kind, ERROR_CORRUPT);
    store_batch_done(&batch);
    store_close(&plain);
}

static void test_a_record_that_was_altered_or_moved_is_not_believed(void **state)
{
    struct fixture *f = *state;
    struct store_batch batch;
    struct slice found;
    must_apply(f, (struct card){1, 5, {"a@x.example"}, {0}});
    must_apply(f, (struct card){2, 5, {"b@x.example"}, {0}});
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    store_batch_init(&batch);
    store_iterator_seek(it, slice_text("i"));
    struct buf first;
    buf_init(&first, 1024);
    buf_put_slice(&first, store_iterator_key(it));
    store_iterator_next(it);
    store_batch_put(&batch, buf_slice(&first), store_iterator_value(it));
    store_iterator_close(&it);
    assert_true(store_write(f->store, &batch, true, &f->err));
    bool a = edge_find(f->edge, (struct identifier){slice_text("email"), slice_text("a@x.example")},
                       &f->found, &found, &f->err);
    bool b = edge_find(f->edge, (struct identifier){slice_text("email"), slice_text("b@x.example")},
                       &f->found, &found, &f->err);
    assert_true(a != b);
    assert_int_equal(f->err.kind, ERROR_CORRUPT);
    buf_done(&first);
    store_batch_done(&batch);
}

static void test_each_new_cache_has_an_id_of_its_own_and_keeps_it(void **state)
{
    struct fixture *f = *state;
    struct wire_cache first = describe(f)->cache;
    assert_true(first.is_told);
    assert_int_equal(first.scope_version, 0);
    restart_after_power_cut(f);
    assert_memory_equal(describe(f)->cache.id, first.id, sizeof first.id);
    tear_down(state);
    set_up(state);
    assert_memory_not_equal(describe(*state)->cache.id, first.id, sizeof first.id);
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

static void test_a_browser_finds_its_card_until_the_card_names_it_no_more(void **state)
{
    struct fixture *f = *state;
    struct slice card;
    struct identifier one = {slice_text("anonymous_id"), slice_text("visitor1")};
    struct identifier two = {slice_text("anonymous_id"), slice_text("visitor2")};
    must_apply(f,
               (struct card){.profile = 1, .version = 1, .emails = {"a", "visitor1", "visitor2"}});
    assert_true(edge_find(f->edge, one, &f->found, &card, &f->err));
    assert_true(card.len > 0);
    must_apply(f, (struct card){.profile = 1, .version = 2, .emails = {"a", "visitor2"}});
    assert_true(edge_find(f->edge, one, &f->found, &card, &f->err));
    assert_int_equal(card.len, 0);
    assert_true(edge_find(f->edge, two, &f->found, &card, &f->err));
    assert_true(card.len > 0);
    must_apply(f, (struct card){.profile = 2, .version = 3, .merged = {1}});
    assert_true(edge_find(f->edge, two, &f->found, &card, &f->err));
    assert_int_equal(card.len, 0);
    assert_answer(f, "a", 0, 0);
}

static void test_a_cache_with_cards_of_another_shape_asks_to_be_filled_anew(void **state)
{
    static struct edge_state kept;
    static struct edge_state back;
    struct buf bytes;
    (void)state;
    kept = (struct edge_state){.generation = 4, .scope_version = 9, .cursor_count = 1};
    buf_init(&bytes, EDGE_STATE_BYTES_MAX);
    edge_state_pack(&kept, &bytes);
    assert_true(edge_state_unpack(buf_slice(&bytes), &back));
    assert_int_equal(back.scope_version, 9);
    bytes.data[0]--;
    assert_true(edge_state_unpack(buf_slice(&bytes), &back));
    assert_int_equal(back.scope_version, 0); /* of no scope: the hub begins a refill */
    assert_int_equal(back.generation, 4);
    bytes.data[0]--;
    assert_false(edge_state_unpack(buf_slice(&bytes), &back));
    buf_done(&bytes);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (sodium_init() < 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        WITH(test_a_card_answers_for_each_of_its_identifiers),
        WITH(test_a_browser_finds_its_card_until_the_card_names_it_no_more),
        WITH(test_a_cache_with_cards_of_another_shape_asks_to_be_filled_anew),
        WITH(test_a_card_that_is_looked_up_makes_the_cache_as_late_as_it_is),
        WITH(test_a_card_of_a_hub_that_no_poll_has_asked_yet_is_not_kept),
        WITH(test_the_same_value_of_another_type_is_somebody_else),
        WITH(test_an_identifier_too_long_to_be_stored_is_nobody),
        WITH(test_a_newer_card_replaces_and_an_older_one_is_ignored),
        WITH(test_a_merge_takes_the_other_card_away),
        WITH(test_an_identifier_that_a_profile_lost_no_longer_finds_it),
        WITH(test_an_identifier_that_went_to_another_profile_stays_there),
        WITH(test_cursors_and_gate_survive_a_power_cut),
        WITH(test_a_failed_write_moves_no_cursor),
        WITH(test_a_damaged_card_is_refused_with_its_whole_reply),
        WITH(test_a_look_up_answered_late_does_not_bring_a_merged_card_back),
        WITH(test_a_profile_that_left_the_scope_is_removed_until_a_newer_card_comes),
        WITH(test_a_refill_replaces_the_cache_and_what_it_did_not_bring_is_swept),
        WITH(test_a_sweep_goes_through_a_large_cache_in_steps),
        WITH(test_the_store_tells_neither_identifiers_nor_ids_nor_the_gate),
        WITH(test_another_key_or_an_earlier_version_cannot_be_read),
        WITH(test_a_record_that_was_altered_or_moved_is_not_believed),
        WITH(test_each_new_cache_has_an_id_of_its_own_and_keeps_it),
        WITH(test_a_change_is_told_for_each_visitor_of_a_stored_card),
        WITH(test_random_orders_of_cards_end_with_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
