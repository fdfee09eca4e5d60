#include "collector/gate/suppression.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "collector/edge/edge.h"

struct fixture {
    struct store *store;
    struct edge *edge;
    struct suppression *list;
    struct suppression_set *hashes; /* for their hashes alone */
    struct arena arena;
    struct buf bytes;
    msgpack_object no_cards;
    struct wire_poll_reply reply;
    struct error err;
};

static const uint8_t key[SUPPRESSION_KEY_BYTES] = {7};
static const uint8_t box_key[VAULT_SECRET_BYTES] = {9};

static void open_all(struct fixture *f)
{
    assert_true(edge_open(f->store, box_key, &f->edge, &f->err));
    assert_true(suppression_open(f->store, edge_vault(f->edge), &f->list, &f->err));
}

static void close_all(struct fixture *f)
{
    suppression_close(&f->list);
    edge_close(&f->edge);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    f->hashes = suppression_set_new();
    suppression_set_key(f->hashes, key);
    arena_init(&f->arena, 4096);
    buf_init(&f->bytes, 1024 * 1024);
    f->no_cards.type = MSGPACK_OBJECT_ARRAY;
    open_all(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    store_close(&f->store);
    suppression_set_free(&f->hashes);
    arena_done(&f->arena);
    buf_done(&f->bytes);
    free(f);
    return 0;
}

/* What the hub would send: '+' and '-' before user ids. */
static const struct wire_poll_reply *reply_of(struct fixture *f, uint64_t version,
                                              const char *const *changes)
{
    buf_clear(&f->bytes);
    buf_put(&f->bytes, key, sizeof key);
    for (; *changes != NULL; changes++) {
        struct suppression_hash hash = suppression_hash_of(
            f->hashes, (struct identifier){slice_text("user_id"), slice_text(*changes + 1)});
        buf_put_u8(&f->bytes, (*changes)[0] == '+');
        buf_put(&f->bytes, hash.bytes, sizeof hash.bytes);
    }
    f->reply = (struct wire_poll_reply){.cards = &f->no_cards,
                                        .suppression_version = version,
                                        .suppressions = buf_slice(&f->bytes)};
    return &f->reply;
}

/* As the downlink does it. */
static bool take(struct fixture *f, uint64_t version, const char *const *changes)
{
    const struct wire_poll_reply *reply = reply_of(f, version, changes);
    bool fine = edge_apply(f->edge, reply, &f->err);
    if (fine) {
        suppression_apply(f->list, reply);
    }
    return fine;
}

static bool refuses(struct fixture *f, const char *user_id)
{
    static const struct suppression_types no_types;
    struct event event = {.user_id = slice_text(user_id), .body = slice_text("\x80")};
    return suppression_refuses(f->list, &no_types, &event, &f->arena);
}

#define CHANGES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_changes_take_effect_and_survive_a_power_cut(void **state)
{
    struct fixture *f = *state;
    assert_false(refuses(f, "u1"));
    assert_true(take(f, 3, CHANGES("+u1", "+u2", "+u3")));
    assert_true(take(f, 4, CHANGES("-u2", "+u4", "-u4")));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(suppression_version(f->list), 4);
        assert_int_equal(suppression_count(f->list), 2);
        assert_true(refuses(f, "u1") && refuses(f, "u3"));
        assert_false(refuses(f, "u2") || refuses(f, "u4"));
        close_all(f);
        store_memory_crash(f->store);
        open_all(f);
    }
}

static void test_what_could_not_be_stored_is_not_in_force_and_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    assert_true(take(f, 1, CHANGES("+u1")));
    store_memory_fail_write(f->store, 1);
    assert_false(take(f, 2, CHANGES("+u2")));
    assert_int_equal(suppression_version(f->list), 1);
    assert_false(refuses(f, "u2"));
    assert_true(take(f, 2, CHANGES("+u2")));
    assert_true(refuses(f, "u2"));
}

static void test_a_damaged_answer_is_refused_whole(void **state)
{
    struct fixture *f = *state;
    const struct wire_poll_reply *reply = reply_of(f, 1, CHANGES("+u1"));
    f->reply.suppressions.len--;
    assert_false(edge_apply(f->edge, reply, &f->err));
    assert_int_equal(f->err.kind, ERROR_CORRUPT);
    f->reply.suppressions.len = SUPPRESSION_KEY_BYTES - 1;
    assert_false(edge_apply(f->edge, reply, &f->err));
    (void)reply_of(f, 1, CHANGES("+u1"));
    f->bytes.data[SUPPRESSION_KEY_BYTES] = 2; /* neither added nor removed */
    assert_false(edge_apply(f->edge, reply, &f->err));
    close_all(f);
    open_all(f);
    assert_int_equal(suppression_count(f->list), 0);
}

static void test_an_answer_without_changes_leaves_everything(void **state)
{
    struct fixture *f = *state;
    assert_true(take(f, 1, CHANGES("+u1")));
    f->reply = (struct wire_poll_reply){.cards = &f->no_cards, .is_short = true};
    assert_true(edge_apply(f->edge, &f->reply, &f->err));
    suppression_apply(f->list, &f->reply);
    assert_int_equal(suppression_version(f->list), 1);
    assert_true(refuses(f, "u1"));
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_changes_take_effect_and_survive_a_power_cut),
        WITH(test_what_could_not_be_stored_is_not_in_force_and_is_asked_for_again),
        WITH(test_a_damaged_answer_is_refused_whole),
        WITH(test_an_answer_without_changes_leaves_everything),
    };
    return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
