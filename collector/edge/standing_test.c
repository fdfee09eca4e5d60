#include "collector/edge/standing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/buf.h"

struct fixture {
    struct clock_fake clock;
    struct standing *standing;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    clock_fake_init(&f->clock, 1795292000000);
    f->standing = standing_new(&f->clock.clock);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    standing_free(&f->standing);
    free(f);
    return 0;
}

static void assert_code(struct fixture *f, const char *code)
{
    struct standing_refusal refusal = standing_refusal(f->standing);
    if (code == NULL) {
        assert_null(refusal.code);
    } else {
        assert_non_null(refusal.code);
        assert_string_equal(refusal.code, code);
        assert_non_null(refusal.message);
    }
}

static void test_refusals_are_believed_and_so_is_their_end(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum wire_status told;
        const char *code;
    } steps[] = {
        {WIRE_STORED, NULL},
        {WIRE_REVOKED, "collector-revoked"},
        {WIRE_DAMAGED, NULL}, /* of one that it takes */
        {WIRE_REPLACED, "collector-replaced"},
        {WIRE_REVOKED, "collector-replaced"}, /* a block's answer knows no better */
        {WIRE_REPLAYED, NULL},
        {WIRE_REVOKED, "collector-revoked"},
        {WIRE_REPLACED, "collector-replaced"},
    };
    assert_code(f, NULL);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        standing_note(f->standing, steps[i].told);
        assert_code(f, steps[i].code);
    }
}

/* How many lines are written meanwhile. */
static unsigned lines_of(struct fixture *f, enum wire_status told, unsigned seconds)
{
    char text[4096] = {0};
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    assert_non_null(file);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    for (unsigned i = 0; i < 2 * seconds; i++) {
        standing_note(f->standing, told);
        f->clock.ms += 500;
    }
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    unsigned lines = 0;
    for (size_t i = 0; i < len; i++) {
        lines += text[i] == '\n';
    }
    return lines;
}

static void test_a_refused_collector_says_so_once_a_minute(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(lines_of(f, WIRE_STORED, 300), 0);
    assert_int_equal(lines_of(f, WIRE_REVOKED, 300), 5);
    assert_int_equal(lines_of(f, WIRE_STORED, 300), 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refusals_are_believed_and_so_is_their_end),
        TEST(test_a_refused_collector_says_so_once_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
