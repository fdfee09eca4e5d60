/* The key of the box: made once, read ever after, and never guessed at. */
#include "collector/edge/edge_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>
#include "shared/test_disk.h"

struct fixture {
    char folder[TEST_FOLDER_BYTES];
    char path[128];
    struct error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_folder_make(f->folder);
    snprintf(f->path, sizeof f->path, "%s/edge.key", f->folder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void test_a_key_is_made_for_this_user_alone_and_read_again(void **state)
{
    struct fixture *f = *state;
    uint8_t *first;
    uint8_t *second;
    struct stat st;
    assert_true(edge_key_read(f->path, &first, &f->err));
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(edge_key_read(f->path, &second, &f->err));
    assert_memory_equal(first, second, VAULT_SECRET_BYTES);
    assert_false(sodium_is_zero(first, VAULT_SECRET_BYTES));
    sodium_free(first);
    sodium_free(second);
}

static void test_a_key_may_be_written_by_hand(void **state)
{
    struct fixture *f = *state;
    uint8_t *key;
    write_file(f->path, "000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f\r\n");
    assert_true(edge_key_read(f->path, &key, &f->err));
    assert_int_equal(key[10], 10);
    assert_int_equal(key[31], 31);
    sodium_free(key);
}

static void test_a_file_that_is_no_key_is_left_alone_and_told(void **state)
{
    static const char *const texts[] = {
        "",
        "key",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g",
    };
    struct fixture *f = *state;
    uint8_t *key;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct stat st;
        write_file(f->path, texts[i]);
        assert_false(edge_key_read(f->path, &key, &f->err));
        assert_int_equal(f->err.kind, ERROR_INVALID);
        assert_non_null(strstr(f->err.message, f->path));
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_size, strlen(texts[i]));
    }
}

static void test_a_place_where_no_key_can_be_made_is_told(void **state)
{
    struct fixture *f = *state;
    char path[256];
    uint8_t *key;
    snprintf(path, sizeof path, "%s/missing/edge.key", f->folder);
    assert_false(edge_key_read(path, &key, &f->err));
    assert_non_null(strstr(f->err.message, "edge_key_file"));
    assert_false(edge_key_read(f->folder, &key, &f->err)); /* a folder is no key */
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_key_is_made_for_this_user_alone_and_read_again),
        WITH(test_a_key_may_be_written_by_hand),
        WITH(test_a_file_that_is_no_key_is_left_alone_and_told),
        WITH(test_a_place_where_no_key_can_be_made_is_told),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
