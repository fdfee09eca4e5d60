#include "hub/partition/view.h"

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
    struct view view;
    struct buf value;
    struct error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    view_init(&f->view, f->store);
    buf_init(&f->value, 4096);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    view_done(&f->view);
    store_close(&f->store);
    buf_done(&f->value);
    free(f);
    return 0;
}

static void put(struct fixture *f, const char *name, const char *value)
{
    struct key key = key_fact(name);
    view_put(&f->view, &key, slice_text(value));
}

static void drop(struct fixture *f, const char *name)
{
    struct key key = key_fact(name);
    view_delete(&f->view, &key);
}

static void commit(struct fixture *f)
{
    assert_true(view_commit(&f->view, &f->err));
}

/* NULL: there is none. */
static void assert_seen(struct fixture *f, const char *name, const char *value)
{
    struct key key = key_fact(name);
    bool found;
    assert_true(view_get(&f->view, &key, &f->value, &found, &f->err));
    if (found != (value != NULL) || (found && !slice_is(buf_slice(&f->value), value))) {
        fail_msg("%s is not %s", name, value == NULL ? "gone" : value);
    }
}

static void assert_stored(struct fixture *f, const char *name, const char *value)
{
    struct key key = key_fact(name);
    bool found;
    assert_true(store_get(f->store, NULL, key_slice(&key), &f->value, &found, &f->err));
    assert_int_equal(found, value != NULL);
    assert_true(value == NULL || slice_is(buf_slice(&f->value), value));
}

static void test_changes_are_seen_at_once_and_stored_with_the_commit(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    assert_seen(f, "a", "1");
    assert_stored(f, "a", NULL);
    put(f, "a", "2");
    put(f, "b", "");
    assert_seen(f, "a", "2");
    assert_seen(f, "b", "");
    commit(f);
    assert_stored(f, "a", "2");
    assert_seen(f, "b", "");
    drop(f, "a");
    assert_seen(f, "a", NULL);
    assert_stored(f, "a", "2");
    put(f, "a", "3");
    assert_seen(f, "a", "3");
    drop(f, "a");
    commit(f);
    assert_stored(f, "a", NULL);
    assert_seen(f, "a", NULL);
}

static void test_a_commit_survives_a_power_cut(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    commit(f);
    put(f, "b", "2");
    store_memory_crash(f->store);
    assert_stored(f, "a", "1");
    assert_stored(f, "b", NULL);
}

static void test_after_a_failed_commit_nothing_is_stored(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    put(f, "b", "2");
    store_memory_fail_write(f->store, 1);
    assert_false(view_commit(&f->view, &f->err));
    assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
    assert_stored(f, "a", NULL);
    assert_stored(f, "b", NULL);
}

static void test_what_is_never_read_back_is_stored_all_the_same(void **state)
{
    struct fixture *f = *state;
    struct key a = key_fact("a");
    struct key b = key_fact("b");
    put(f, "b", "old");
    commit(f);
    view_put_only(&f->view, &a, slice_text("1"));
    view_delete_only(&f->view, &b);
    commit(f);
    assert_stored(f, "a", "1");
    assert_stored(f, "b", NULL);
}

struct listing {
    char names[128];
    size_t count;
    size_t stop_at;
};

static bool list(void *user, struct slice key, struct slice value)
{
    struct listing *l = user;
    size_t len = strlen(l->names);
    snprintf(l->names + len, sizeof l->names - len, "%.*s=%.*s ", SLICE_ARGS(slice_skip(key, 1)),
             SLICE_ARGS(value));
    return ++l->count != l->stop_at;
}

static struct listing list_all(struct fixture *f, const char *prefix, size_t stop_at)
{
    struct listing l = {.stop_at = stop_at};
    struct key key = key_fact(prefix);
    assert_true(view_each(&f->view, key_slice(&key), list, &l, &f->err));
    return l;
}

static void test_listing_a_prefix_lays_the_changes_over_the_store(void **state)
{
    struct fixture *f = *state;
    put(f, "x1", "old");
    put(f, "x2", "old");
    put(f, "x3", "old");
    put(f, "y1", "other");
    commit(f);
    put(f, "x2", "new");
    drop(f, "x3");
    put(f, "x4", "new");
    drop(f, "x5");
    struct listing l = list_all(f, "x", 0);
    assert_int_equal(l.count, 3);
    assert_non_null(strstr(l.names, "x1=old "));
    assert_non_null(strstr(l.names, "x2=new "));
    assert_non_null(strstr(l.names, "x4=new "));
    assert_int_equal(list_all(f, "y", 0).count, 1);
    assert_int_equal(list_all(f, "z", 0).count, 0);
    assert_int_equal(list_all(f, "x", 1).count, 1);
    assert_int_equal(list_all(f, "x", 2).count, 2);
}

/* Enough keys that the table of the overlay grows. */
static void test_random_changes_are_those_of_a_naive_map(void **state)
{
    enum { NAMES = 6000, STEPS = 30000 };
    struct rand rand;
    int *values = calloc(NAMES, sizeof *values); /* 0: none */
    rand_seeded_init(&rand, 17);
    for (int i = 0; i < STEPS; i++) {
        int n = (int)rand_below(&rand, NAMES);
        char name[16];
        char text[16];
        snprintf(name, sizeof name, "n%d", n);
        snprintf(text, sizeof text, "%d", values[n]);
        if (rand_below(&rand, 3) == 0) {
            assert_seen(*state, name, values[n] == 0 ? NULL : text);
        } else if (rand_below(&rand, 3) == 0) {
            drop(*state, name);
            values[n] = 0;
        } else {
            values[n] = i + 1;
            snprintf(text, sizeof text, "%d", values[n]);
            put(*state, name, text);
        }
        if (i % 11000 == 10999) {
            commit(*state);
        }
    }
    for (int n = 0; n < NAMES; n++) {
        char name[16];
        char text[16];
        snprintf(name, sizeof name, "n%d", n);
        snprintf(text, sizeof text, "%d", values[n]);
        assert_seen(*state, name, values[n] == 0 ? NULL : text);
    }
    free(values);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_changes_are_seen_at_once_and_stored_with_the_commit),
        WITH(test_a_commit_survives_a_power_cut),
        WITH(test_after_a_failed_commit_nothing_is_stored),
        WITH(test_what_is_never_read_back_is_stored_all_the_same),
        WITH(test_listing_a_prefix_lays_the_changes_over_the_store),
        WITH(test_random_changes_are_those_of_a_naive_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
