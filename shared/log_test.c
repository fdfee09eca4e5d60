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

static void test_of_each_kind_some_lines_are_written_a_minute_and_the_others_counted(void **state)
{
    struct log_limit limit = {0};
    uint64_t left_out;
    (void)state;
    for (int minute = 0; minute < 3; minute++) {
        int64_t start = 1000 + (int64_t)minute * LOG_LIMIT_MS;
        for (int i = 0; i < 1000; i++) {
            bool may = log_limit_admit(&limit, start + i, &left_out);
            assert_int_equal(may, i < LOG_LINES_MAX);
            assert_int_equal(left_out, i == 0 && minute > 0 ? 1000 - LOG_LINES_MAX : 0);
        }
    }
}

static void test_lines_that_are_rare_are_all_written(void **state)
{
    struct log_limit limit = {0};
    uint64_t left_out;
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_true(log_limit_admit(&limit, (int64_t)i * LOG_LIMIT_MS / 4, &left_out));
        assert_int_equal(left_out, 0);
    }
}

/* What `write` puts on standard error. */
static size_t lines_of(void (*write_lines)(void), char *text, size_t size)
{
    char path[] = "/tmp/tributary-log-XXXXXX";
    int file = mkstemp(path);
    int kept = dup(STDERR_FILENO);
    assert_true(file >= 0 && kept >= 0 && dup2(file, STDERR_FILENO) >= 0);
    write_lines();
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    ssize_t len = pread(file, text, size - 1, 0);
    assert_true(len >= 0);
    text[len] = 0;
    close(file);
    close(kept);
    unlink(path);
    size_t lines = 0;
    for (ssize_t i = 0; i < len; i++) {
        lines += text[i] == '\n';
    }
    return lines;
}

static void write_many(void)
{
    for (int i = 0; i < 1000; i++) {
        log_warn_limited("stranger", "Somebody knocked. n=%d", i);
        log_error_limited("other", "Another kind. n=%d", i);
    }
}

static void test_a_thousand_lines_of_two_kinds_become_ten(void **state)
{
    char text[16384];
    (void)state;
    assert_int_equal(lines_of(write_many, text, sizeof text), 2 * LOG_LINES_MAX);
    assert_non_null(strstr(text, "warn  stranger  Somebody knocked. n=4\n"));
    assert_non_null(strstr(text, "error other  Another kind. n=0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_cannot_write_a_line_of_its_own),
        cmocka_unit_test(test_a_long_line_is_cut_and_still_ends),
        cmocka_unit_test(test_of_each_kind_some_lines_are_written_a_minute_and_the_others_counted),
        cmocka_unit_test(test_lines_that_are_rare_are_all_written),
        cmocka_unit_test(test_a_thousand_lines_of_two_kinds_become_ten),
        cmocka_unit_test(test_a_hash_is_the_same_for_the_same_and_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
