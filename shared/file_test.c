#include "shared/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/test_disk.h"

struct fixture {
    char dir[TEST_FOLDER_BYTES];
    int folder;
    struct buf text;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_folder_make(f->dir);
    f->folder = open(f->dir, O_RDONLY | O_DIRECTORY);
    buf_init(&f->text, 16);
    *state = f;
    return f->folder < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    unlinkat(f->folder, "a", 0);
    unlinkat(f->folder, "b", 0);
    close(f->folder);
    buf_done(&f->text);
    int rv = rmdir(f->dir); /* fails where a temporary file is left */
    free(f);
    return rv;
}

static void what_is_written_is_read_back(void **state)
{
    struct fixture *f = *state;
    struct error err;
    bool found = true;
    assert_true(file_load(f->folder, "a", &f->text, &found, &err));
    assert_false(found);
    assert_true(file_replace(f->folder, "a", 0640, slice_text("one"), &err));
    assert_true(file_replace(f->folder, "a", 0640, slice_text("two"), &err));
    assert_true(file_load(f->folder, "a", &f->text, &found, &err));
    assert_true(found && slice_is(buf_slice(&f->text), "two"));
    assert_true(file_remove(f->folder, "a", &err));
    assert_true(file_remove(f->folder, "a", &err));
    assert_true(file_load(f->folder, "a", &f->text, &found, &err));
    assert_false(found);
}

static void too_much_links_and_folders_are_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;
    bool found;
    assert_true(file_replace(f->folder, "a", 0640, slice_text("more than sixteen bytes"), &err));
    assert_false(file_load(f->folder, "a", &f->text, &found, &err));
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_int_equal(symlinkat("a", f->folder, "b"), 0);
    assert_false(file_load(f->folder, "b", &f->text, &found, &err));
    assert_false(file_load(f->folder, ".", &f->text, &found, &err));
    assert_int_equal(err.kind, ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_much_links_and_folders_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
