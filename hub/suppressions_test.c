#include "hub/suppressions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "shared/cursor.h"

struct fixture {
    struct store *store;
    struct eventlog *log;
    struct suppressions *list;
    struct clock_fake clock;
    uint8_t secret[SEAL_KEY_BYTES];
    unsigned changes;
    struct buf bytes;
    struct error err;
};

static void on_change(void *user)
{
    ((struct fixture *)user)->changes++;
}

static void open_all(struct fixture *f)
{
    assert_true(eventlog_open(f->store, &f->log, &f->err));
    assert_true(
        suppressions_open(f->log, f->secret, &f->clock.clock, on_change, f, &f->list, &f->err));
}

static void restart_after_power_cut(struct fixture *f)
{
    suppressions_close(&f->list);
    eventlog_close(&f->log);
    store_memory_crash(f->store);
    open_all(f);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    clock_fake_init(&f->clock, 1795292103120);
    buf_init(&f->bytes, 16 * 1024 * 1024);
    open_all(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    suppressions_close(&f->list);
    eventlog_close(&f->log);
    store_close(&f->store);
    buf_done(&f->bytes);
    free(f);
    return 0;
}

static struct suppression_hash hash_of_user(struct fixture *f, unsigned number)
{
    char value[32];
    snprintf(value, sizeof value, "u%u", number);
    return suppressions_hash(f->list,
                             (struct identifier){slice_text("user_id"), slice_text(value)});
}

/* Users from..to-1. */
static size_t change(struct fixture *f, bool add, unsigned from, unsigned to)
{
    struct suppression_hash hashes[SUPPRESSIONS_CHANGES_MAX];
    size_t count = 0;
    for (unsigned i = from; i < to; i++) {
        hashes[count++] = hash_of_user(f, i);
    }
    assert_true(
        suppressions_change(f->list, hashes, count, add, slice_text("why"), &count, &f->err));
    return count;
}

static bool refuses(struct fixture *f, unsigned number)
{
    static const struct suppression_types no_types;
    char value[32];
    struct arena arena;
    arena_init(&arena, 512);
    snprintf(value, sizeof value, "u%u", number);
    struct event event = {.user_id = slice_text(value), .body = slice_text("\x80")};
    bool refused = suppressions_refuse(f->list, &no_types, &event, &arena);
    arena_done(&arena);
    return refused;
}

static void test_changes_are_durable_when_they_are_made_and_counted_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(change(f, true, 0, 3), 3);
    assert_int_equal(change(f, true, 0, 4), 1);
    assert_int_equal(change(f, false, 1, 2), 1);
    assert_int_equal(change(f, false, 1, 2), 0);
    assert_int_equal(f->changes, 3);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(suppressions_version(f->list), 3);
        assert_int_equal(suppressions_count(f->list), 3);
        assert_true(refuses(f, 0) && refuses(f, 2) && refuses(f, 3));
        assert_false(refuses(f, 1) || refuses(f, 4));
        restart_after_power_cut(f);
    }
}

static void test_each_change_is_a_command_in_the_log_that_names_nobody(void **state)
{
    struct fixture *f = *state;
    struct eventlog_record record;
    msgpack_zone zone;
    bool found;
    assert_true(msgpack_zone_init(&zone, 1024));
    change(f, true, 0, 2);
    change(f, false, 0, 1);
    assert_int_equal(eventlog_next(f->log), 3);
    assert_true(eventlog_read(f->log, 1, &f->bytes, &zone, &record, &found, &f->err));
    assert_int_equal(record.kind, EVENTLOG_SUPPRESSION);
    struct cursor at = cursor_of(record.bytes);
    struct token token;
    assert_true(cursor_next(&at, &token) && token.count == 3);
    assert_true(cursor_next(&at, &token) && token.integer == 1);
    assert_true(cursor_next(&at, &token) && slice_is(token.text, "why"));
    assert_true(cursor_next(&at, &token));
    assert_int_equal(token.text.len, 2 * SUPPRESSION_CHANGE_BYTES);
    msgpack_zone_destroy(&zone);
}

static void test_a_change_that_cannot_be_stored_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct suppression_hash hash = hash_of_user(f, 1);
    size_t count;
    store_memory_fail_write(f->store, 1);
    assert_false(suppressions_change(f->list, &hash, 1, true, slice_text(""), &count, &f->err));
    assert_int_equal(count, 0);
    assert_int_equal(f->changes, 0);
    assert_false(refuses(f, 1));
    assert_int_equal(suppressions_version(f->list), 0);
}

/* What a collector does, from the version that it has. Returns the bytes that came. */
static size_t follow(struct fixture *f, struct suppression_set *set, uint64_t *version)
{
    size_t bytes = 0;
    for (;;) {
        buf_clear(&f->bytes);
        assert_true(suppressions_write_changes(f->list, *version, &f->bytes, version, &f->err));
        if (f->bytes.len == 0) {
            return bytes;
        }
        assert_in_range(f->bytes.len, SUPPRESSION_KEY_BYTES + 1, 300 * 1024);
        bytes += f->bytes.len;
        suppression_set_key(set, f->bytes.data);
        assert_true(
            suppression_set_apply(set, slice_skip(buf_slice(&f->bytes), SUPPRESSION_KEY_BYTES)));
    }
}

static void test_who_follows_has_the_list_and_gets_each_change_once(void **state)
{
    struct fixture *f = *state;
    struct suppression_set *set = suppression_set_new();
    uint64_t version = 0;
    for (unsigned i = 0; i < 40000; i += SUPPRESSIONS_CHANGES_MAX) {
        change(f, true, i, i + SUPPRESSIONS_CHANGES_MAX);
    }
    assert_in_range(follow(f, set, &version), 40000 * 17, 40000 * 17 + 1000);
    assert_int_equal(suppression_set_count(set), 40000);
    change(f, false, 7, 8);
    change(f, true, 50000, 50002);
    assert_int_equal(follow(f, set, &version),
                     SUPPRESSION_KEY_BYTES + 3 * SUPPRESSION_CHANGE_BYTES);
    assert_int_equal(suppression_set_count(set), 40001);
    assert_int_equal(version, suppressions_version(f->list));
    assert_true(suppression_set_has(set, hash_of_user(f, 50001)));
    assert_false(suppression_set_has(set, hash_of_user(f, 7)));
    struct suppression_hash hash =
        suppression_hash_of(set, (struct identifier){slice_text("user_id"), slice_text("u8")});
    assert_true(suppression_set_has(set, hash)); /* under the hub's key */
    version += 100;                              /* the hub was restored from an old copy */
    (void)follow(f, set, &version);
    assert_int_equal(version, suppressions_version(f->list));
    assert_int_equal(suppression_set_count(set), 40001);
    suppression_set_free(&set);
}

static void test_another_hub_has_another_key(void **state)
{
    struct fixture *f = *state;
    struct suppression_hash before = hash_of_user(f, 1);
    f->secret[0] = 1;
    restart_after_power_cut(f);
    struct suppression_hash after = hash_of_user(f, 1);
    assert_memory_not_equal(before.bytes, after.bytes, sizeof before.bytes);
}

struct listing {
    size_t count;
    size_t limit;
    struct suppression_hash last;
};

static bool list_entry(void *user, const struct suppression_entry *entry)
{
    struct listing *l = user;
    assert_true(l->count == 0 || memcmp(l->last.bytes, entry->hash.bytes, 16) < 0);
    assert_true(slice_is(entry->reason, "why"));
    assert_int_equal(entry->at_ms, 1795292103120);
    l->last = entry->hash;
    return ++l->count < l->limit;
}

static void test_the_list_is_told_in_pages(void **state)
{
    struct fixture *f = *state;
    struct listing l = {.limit = 4};
    struct suppression_entry entry;
    bool found;
    change(f, true, 0, 10);
    change(f, false, 3, 4);
    assert_true(
        suppressions_each(f->list, (struct suppression_hash){{0}}, list_entry, &l, &f->err));
    assert_int_equal(l.count, 4);
    l.limit = 100;
    assert_true(suppressions_each(f->list, l.last, list_entry, &l, &f->err));
    assert_int_equal(l.count, 9);
    assert_true(suppressions_find(f->list, hash_of_user(f, 2), &f->bytes, &entry, &found, &f->err));
    assert_true(found && slice_is(entry.reason, "why"));
    assert_true(suppressions_find(f->list, hash_of_user(f, 3), &f->bytes, &entry, &found, &f->err));
    assert_false(found);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_changes_are_durable_when_they_are_made_and_counted_once),
        WITH(test_each_change_is_a_command_in_the_log_that_names_nobody),
        WITH(test_a_change_that_cannot_be_stored_changes_nothing),
        WITH(test_who_follows_has_the_list_and_gets_each_change_once),
        WITH(test_another_hub_has_another_key),
        WITH(test_the_list_is_told_in_pages),
    };
    return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
