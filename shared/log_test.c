#include "shared/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* What is written on standard error meanwhile, at most `size` - 1 bytes. */
static void catch_line(const char *name, char *ret, size_t size)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int before = dup(STDERR_FILENO);
    assert_true(before >= 0);
    dup2(ends[1], STDERR_FILENO);
    log_info("name-heard", "Somebody came. name=%s", name);
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    ssize_t len = read(ends[0], ret, size - 1);
    close(ends[0]);
    assert_true(len > 0);
    ret[len] = 0;
}

static void test_a_name_cannot_write_a_line_of_its_own(void **state)
{
    char line[2048];
    (void)state;
    catch_line("jane\n2026-11-21T20:15:03.120Z info  ready  \x1b[2J\x7f h\xc3\xa9", line,
               sizeof line);
    assert_non_null(strstr(line,
                           " info  name-heard  Somebody came. name=jane?2026-11-21T20:15:03.120Z "
                           "info  ready  ?[2J? h\xc3\xa9\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_a_long_line_is_cut_and_still_ends(void **state)
{
    char line[2048];
    char name[3000];
    (void)state;
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    catch_line(name, line, sizeof line);
    assert_true(strlen(line) <= 1024);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_a_hash_is_the_same_for_the_same_and_tells_nothing(void **state)
{
    (void)state;
    struct log_hash jane = log_hash(slice_text("jane@example.com"));
    assert_string_equal(jane.text, log_hash(slice_text("jane@example.com")).text);
    assert_string_not_equal(jane.text, log_hash(slice_text("john@example.com")).text);
    assert_null(strstr(jane.text, "jane"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_cannot_write_a_line_of_its_own),
        cmocka_unit_test(test_a_long_line_is_cut_and_still_ends),
        cmocka_unit_test(test_a_hash_is_the_same_for_the_same_and_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
