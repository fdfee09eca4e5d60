#include "shared/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct settings {
    char name[CONFIG_TEXT_BYTES];
    int64_t workers;
    int64_t spool_bytes;
    int64_t idle_ms;
    int64_t verbose;
};

static const struct config_row rows[] = {
    {"name", CONFIG_TEXT, offsetof(struct settings, name), "store", 0, 0, "What it is called."},
    {"workers", CONFIG_NUMBER, offsetof(struct settings, workers), "2", 1, 64, "Threads."},
    {"spool-bytes", CONFIG_BYTES, offsetof(struct settings, spool_bytes), "64MiB", 4096, INT64_MAX,
     "How much may wait."},
    {"idle", CONFIG_DURATION, offsetof(struct settings, idle_ms), "30s", 1000, 86400000,
     "How long a connection may say nothing."},
    {"verbose", CONFIG_FLAG, offsetof(struct settings, verbose), "no", 0, 0, "Say more."},
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool read_text(const char *text, struct settings *settings, struct error *err)
{
    return config_read_text(rows, ROWS, "test.conf", slice_text(text), settings, err);
}

static void test_defaults_are_those_of_the_rows(void **state)
{
    struct settings s;
    (void)state;
    memset(&s, 0xff, sizeof s);
    config_defaults(rows, ROWS, &s);
    assert_string_equal(s.name, "store");
    assert_int_equal(s.workers, 2);
    assert_int_equal(s.spool_bytes, 64 * 1024 * 1024);
    assert_int_equal(s.idle_ms, 30000);
    assert_int_equal(s.verbose, 0);
}

static void test_a_file_sets_what_it_names_and_leaves_the_rest(void **state)
{
    struct settings s;
    struct error err;
    (void)state;
    config_defaults(rows, ROWS, &s);
    assert_true(read_text("# the store in Lyon\n"
                          "\n"
                          "  name =  Lyon, rue # 5 \t\r\n"
                          "workers=7\n"
                          "\t# verbose = yes\n"
                          "idle = 2m",
                          &s, &err));
    assert_string_equal(s.name, "Lyon, rue # 5");
    assert_int_equal(s.workers, 7);
    assert_int_equal(s.idle_ms, 120000);
    assert_int_equal(s.spool_bytes, 64 * 1024 * 1024);
    assert_int_equal(s.verbose, 0);
}

static void test_a_later_line_wins_and_a_value_may_hold_an_equals_sign(void **state)
{
    struct settings s;
    struct error err;
    (void)state;
    config_defaults(rows, ROWS, &s);
    assert_true(read_text("workers = 3\nname = a\nworkers = 4\nname = b=c\n", &s, &err));
    assert_int_equal(s.workers, 4);
    assert_string_equal(s.name, "b=c");
    assert_true(read_text("name =\n", &s, &err));
    assert_string_equal(s.name, "");
}

static void test_units_are_understood(void **state)
{
    static const struct {
        const char *line;
        int64_t bytes; /* -1: refused */
    } cases[] = {
        {"spool-bytes = 4096", 4096},
        {"spool-bytes = 4KiB", 4096},
        {"spool-bytes = 5 MiB", 5 * 1024 * 1024},
        {"spool-bytes = 2GiB", 2LL * 1024 * 1024 * 1024},
        {"spool-bytes = 3TiB", 3LL * 1024 * 1024 * 1024 * 1024},
        {"spool-bytes = 8388607TiB", 8388607LL * 1024 * 1024 * 1024 * 1024},
        {"spool-bytes = 8388608TiB", -1},
        {"spool-bytes = 9223372036854775807", INT64_MAX},
        {"spool-bytes = 9223372036854775808", -1},
        {"spool-bytes = 99999999999999999999", -1},
        {"spool-bytes = 4kb", -1},
        {"spool-bytes = 4kib", -1},
        {"spool-bytes = 4.5MiB", -1},
        {"spool-bytes = -4096", -1},
        {"spool-bytes = +4096", -1},
        {"spool-bytes = KiB", -1},
        {"spool-bytes =", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s = {.spool_bytes = -1};
        struct error err;
        bool read = read_text(cases[i].line, &s, &err);
        if (read != (cases[i].bytes >= 0) || s.spool_bytes != cases[i].bytes) {
            fail_msg("%s: read=%d value=%lld", cases[i].line, read, (long long)s.spool_bytes);
        }
    }
}

static void test_flags_take_the_usual_words(void **state)
{
    static const struct {
        const char *line;
        int64_t value;
    } cases[] = {
        {"verbose = yes", 1}, {"verbose = true", 1},  {"verbose = on", 1},
        {"verbose = no", 0},  {"verbose = false", 0}, {"verbose = off", 0},
    };
    struct error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s = {.verbose = 7};
        assert_true(read_text(cases[i].line, &s, &err));
        assert_int_equal(s.verbose, cases[i].value);
    }
}

static void test_errors_name_the_file_and_the_line(void **state)
{
    static const struct {
        const char *text;
        const char *start; /* of the error */
        const char *part;
    } cases[] = {
        {"wrokers = 2\n", "test.conf:1: ", "wrokers"},
        {"# x\n\nworkers = 2\nwrokers = 2\n", "test.conf:4: ", "unknown setting \"wrokers\""},
        {"workers\n", "test.conf:1: ", "name = value"},
        {"\n= 5\n", "test.conf:2: ", "unknown setting \"\""},
        {"workers = many\n", "test.conf:1: ", "workers takes a whole number, not \"many\""},
        {"workers = 0\n", "test.conf:1: ", "workers is 0, outside 1 to 64"},
        {"workers = 65", "test.conf:1: ", "workers is 65, outside 1 to 64"},
        {"idle = 0s\n", "test.conf:1: ", "idle takes a duration"},
        {"idle = 30\n", "test.conf:1: ", "30s, 15m, 12h or 7d"},
        {"idle = 2d\n", "test.conf:1: ", "1000 to 86400000 milliseconds"},
        {"spool-bytes = 1\n", "test.conf:1: ", "spool-bytes is 1, outside 4096"},
        {"verbose = maybe\n", "test.conf:1: ", "yes or no"},
        {"Workers = 2\n", "test.conf:1: ", "unknown setting"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s;
        struct error err;
        config_defaults(rows, ROWS, &s);
        assert_false(read_text(cases[i].text, &s, &err));
        assert_int_equal(err.kind, ERROR_INVALID);
        if (strncmp(err.message, cases[i].start, strlen(cases[i].start)) != 0 ||
            strstr(err.message, cases[i].part) == NULL) {
            fail_msg("row %zu: %s", i, err.message);
        }
        assert_int_equal(s.workers, 2);
    }
}

static void test_a_text_that_is_too_long_is_refused_and_the_longest_is_kept(void **state)
{
    struct settings s;
    struct error err;
    char line[CONFIG_TEXT_BYTES + 16] = "name = ";
    (void)state;
    memset(line + 7, 'x', CONFIG_TEXT_BYTES - 1);
    config_defaults(rows, ROWS, &s);
    assert_true(read_text(line, &s, &err));
    assert_int_equal(strlen(s.name), CONFIG_TEXT_BYTES - 1);
    line[7 + CONFIG_TEXT_BYTES - 1] = 'x';
    assert_false(read_text(line, &s, &err));
}

static void test_arguments_override_and_the_first_that_is_no_option_ends_them(void **state)
{
    char a0[] = "program", a1[] = "--workers", a2[] = "9", a3[] = "--name=a=b", a4[] = "--verbose",
         a5[] = "yes", a6[] = "send", a7[] = "--workers";
    char *argv[] = {a0, a1, a2, a3, a4, a5, a6, a7, NULL};
    struct settings s;
    struct error err;
    int used = 0;
    (void)state;
    config_defaults(rows, ROWS, &s);
    assert_true(config_read_arguments(rows, ROWS, 8, argv, &s, &used, &err));
    assert_int_equal(used, 6);
    assert_int_equal(s.workers, 9);
    assert_string_equal(s.name, "a=b");
    assert_int_equal(s.verbose, 1);
    assert_true(config_read_arguments(rows, ROWS, 1, argv, &s, &used, &err));
    assert_int_equal(used, 1);
}

static void test_wrong_arguments_are_refused(void **state)
{
    static const char *const cases[][2] = {
        {"--wrokers=2", "unknown option --wrokers"},
        {"--workers", "--workers needs a value"},
        {"--workers=0", "outside 1 to 64"},
        {"--config=/nowhere/at/all.conf", "/nowhere/at/all.conf: "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char program[] = "program";
        char argument[64];
        char *argv[] = {program, argument, NULL};
        struct settings s;
        struct error err;
        int used;
        snprintf(argument, sizeof argument, "%s", cases[i][0]);
        config_defaults(rows, ROWS, &s);
        assert_false(config_read_arguments(rows, ROWS, 2, argv, &s, &used, &err));
        assert_int_equal(err.kind, ERROR_INVALID);
        if (strstr(err.message, cases[i][1]) == NULL) {
            fail_msg("%s: %s", cases[i][0], err.message);
        }
    }
}

static void test_a_file_is_read_and_a_folder_is_not(void **state)
{
    char path[] = "/tmp/tributary-config-XXXXXX";
    char program[] = "program";
    char option[] = "--config";
    char *argv[] = {program, option, path, NULL};
    struct settings s;
    struct error err;
    int used;
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "workers = 5\nnope = 1\n", 21), 21);
    config_defaults(rows, ROWS, &s);
    assert_false(config_read_arguments(rows, ROWS, 3, argv, &s, &used, &err));
    assert_int_equal(strncmp(err.message, path, strlen(path)), 0);
    assert_int_equal(strncmp(err.message + strlen(path), ":2: ", 4), 0);
    assert_int_equal(ftruncate(fd, 12), 0);
    assert_true(config_read_arguments(rows, ROWS, 3, argv, &s, &used, &err));
    assert_int_equal(s.workers, 5);
    assert_int_equal(used, 3);
    assert_int_equal(ftruncate(fd, 1024 * 1024 + 1), 0);
    assert_false(config_read_file(rows, ROWS, path, &s, &err));
    close(fd);
    unlink(path);
    assert_false(config_read_file(rows, ROWS, path, &s, &err));
    assert_false(config_read_file(rows, ROWS, "/tmp", &s, &err));
    assert_int_equal(err.kind, ERROR_INVALID);
}

static void test_what_is_printed_reads_back_as_the_same_settings(void **state)
{
    struct settings s;
    struct settings back;
    struct error err;
    char *text = NULL;
    size_t len = 0;
    (void)state;
    config_defaults(rows, ROWS, &s);
    assert_true(read_text("name = Lyon\nworkers = 3\nspool-bytes = 7777\nidle = 2h\nverbose=on\n",
                          &s, &err));
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    config_print(rows, ROWS, &s, out);
    fclose(out);
    config_defaults(rows, ROWS, &back);
    assert_true(config_read_text(rows, ROWS, "x", slice_make(text, len), &back, &err));
    assert_string_equal(back.name, s.name);
    assert_int_equal(back.workers, s.workers);
    assert_int_equal(back.spool_bytes, s.spool_bytes);
    assert_int_equal(back.idle_ms, s.idle_ms);
    assert_int_equal(back.verbose, s.verbose);
    assert_non_null(strstr(text, "# How much may wait.\n# a size such as 512KiB, 64MiB or 2GiB, "));
    assert_non_null(strstr(text, "\nspool-bytes = 7777\n"));
    assert_non_null(strstr(text, "\nidle = 2h\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_those_of_the_rows),
        cmocka_unit_test(test_a_file_sets_what_it_names_and_leaves_the_rest),
        cmocka_unit_test(test_a_later_line_wins_and_a_value_may_hold_an_equals_sign),
        cmocka_unit_test(test_units_are_understood),
        cmocka_unit_test(test_flags_take_the_usual_words),
        cmocka_unit_test(test_errors_name_the_file_and_the_line),
        cmocka_unit_test(test_a_text_that_is_too_long_is_refused_and_the_longest_is_kept),
        cmocka_unit_test(test_arguments_override_and_the_first_that_is_no_option_ends_them),
        cmocka_unit_test(test_wrong_arguments_are_refused),
        cmocka_unit_test(test_a_file_is_read_and_a_folder_is_not),
        cmocka_unit_test(test_what_is_printed_reads_back_as_the_same_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
