#include "shared/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void test_context_goes_before_a_text_that_is_cut_only_where_it_no_longer_fits(void **state)
{
    struct error err;
    char text[sizeof err.message];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    error_set(&err, ERROR_FULL, "%.200s", text);
    error_add_context(&err, "place");
    assert_int_equal(err.kind, ERROR_FULL);
    assert_int_equal(strlen(err.message), strlen("place: ") + 200);
    error_set(&err, ERROR_FULL, "%s", text);
    error_add_context(&err, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_string_not_equal(strstr(err.message, ": "), ": ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_context_goes_before_a_text_that_is_cut_only_where_it_no_longer_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
