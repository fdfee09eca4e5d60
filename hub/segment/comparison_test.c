/* The table of the segment language's comparisons: no coercion, dates as instants, text in NFC. */
#include "hub/segment/comparison.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"

struct parsed {
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
};

static void parse(struct parsed *p, const char *json)
{
    struct error err;
    buf_init(&p->bytes, 1024 * 1024);
    assert_true(msgpack_zone_init(&p->zone, 1024));
    if (!json_read_value(slice_text(json), &p->bytes, &p->zone, &p->object, &err)) {
        fail_msg("%s: %s", json, err.message);
    }
}

static void parsed_done(struct parsed *p)
{
    buf_done(&p->bytes);
    msgpack_zone_destroy(&p->zone);
}

#define E_ACUTE "\xc3\xa9"       /* one code point */
#define E_THEN_ACUTE "e\xcc\x81" /* the same, decomposed */

static const struct {
    const char *condition;
    const char *value; /* NULL: absent */
    bool holds;
} rows[] = {
    {"{\"eq\":5}", "5", true},
    {"{\"eq\":5}", "5.0", true},
    {"{\"eq\":5}", "5.1", false},
    {"{\"eq\":5}", "\"5\"", false},
    {"{\"eq\":\"5\"}", "5", false},
    {"{\"eq\":1}", "true", false},
    {"{\"eq\":true}", "1", false},
    {"{\"eq\":true}", "true", true},
    {"{\"eq\":true}", "false", false},
    {"{\"eq\":true}", "\"true\"", false},
    {"{\"eq\":0}", NULL, false},
    {"{\"eq\":0}", "null", false},
    {"{\"eq\":\"\"}", NULL, false},
    {"{\"eq\":\"\"}", "\"\"", true},
    {"{\"eq\":-1}", "-1", true},
    {"{\"eq\":18446744073709551615}", "-1", false},
    {"{\"eq\":\"A\"}", "\"a\"", false},
    {"{\"eq\":\"A\"}", "[\"A\"]", false},
    {"{\"eq\":\"A\"}", "{\"A\":1}", false},
    {"{\"eq\":\"" E_ACUTE "\"}", "\"" E_THEN_ACUTE "\"", true},
    {"{\"eq\":\"x" E_THEN_ACUTE "\"}", "\"x" E_ACUTE "\"", true},
    {"{\"eq\":\"e\"}", "\"" E_ACUTE "\"", false},
    /* Whole numbers are exact beyond what a double holds: they are ids too. */
    {"{\"eq\":9007199254740993}", "9007199254740993", true},
    {"{\"eq\":9007199254740993}", "9007199254740992", false},
    {"{\"gt\":9007199254740992}", "9007199254740993", true},
    {"{\"lt\":-9007199254740992}", "-9007199254740993", true},
    {"{\"eq\":18446744073709551615}", "18446744073709551614", false},
    {"{\"lt\":18446744073709551615}", "-5", true},
    {"{\"gt\":-5}", "18446744073709551615", true},
    {"{\"in\":[9007199254740993]}", "9007199254740992", false},

    {"{\"ne\":5}", "6", true},
    {"{\"ne\":5}", "5", false},
    {"{\"ne\":5}", "\"5\"", false},
    {"{\"ne\":5}", NULL, false},
    {"{\"ne\":5}", "null", false},
    {"{\"ne\":5}", "[5]", false},
    {"{\"ne\":\"a\"}", "\"b\"", true},
    {"{\"ne\":\"a\"}", "7", false},
    {"{\"ne\":true}", "false", true},
    {"{\"ne\":true}", "0", false},
    {"{\"ne\":\"" E_ACUTE "\"}", "\"" E_THEN_ACUTE "\"", false},

    {"{\"gt\":5}", "6", true},
    {"{\"gt\":5}", "5", false},
    {"{\"gt\":5}", "5.0001", true},
    {"{\"gt\":5}", "\"6\"", false},
    {"{\"gt\":5}", NULL, false},
    {"{\"gte\":5}", "5", true},
    {"{\"gte\":5}", "4.9", false},
    {"{\"lt\":5}", "-100", true},
    {"{\"lt\":5}", "5", false},
    {"{\"lt\":5}", NULL, false},
    {"{\"lt\":5}", "null", false},
    {"{\"lte\":5}", "5", true},
    {"{\"lte\":5}", "6", false},
    {"{\"gt\":\"a\"}", "\"b\"", true},
    {"{\"gt\":\"a\"}", "\"aa\"", true},
    {"{\"lt\":\"b\"}", "\"B\"", true}, /* by code point */
    {"{\"lt\":\"a\"}", "1", false},
    {"{\"gt\":true}", "true", false},
    {"{\"gte\":true}", "true", false},
    {"{\"gt\":false}", "true", false},

    /* Instants, whatever offset they are written with. */
    {"{\"eq\":\"2026-11-21T20:00:00Z\"}", "\"2026-11-21T21:00:00+01:00\"", true},
    {"{\"ne\":\"2026-11-21T20:00:00Z\"}", "\"2026-11-21T21:00:00+01:00\"", false},
    {"{\"eq\":\"2026-11-21T20:00:00Z\"}", "\"2026-11-21T20:00:00.000Z\"", true},
    {"{\"gt\":\"2026-11-21T20:00:00Z\"}", "\"2026-11-21T20:30:00+01:00\"", false},
    {"{\"lt\":\"2026-11-21T20:00:00Z\"}", "\"2026-11-21T20:30:00+01:00\"", true},
    {"{\"gte\":\"2026-11-21T20:00:00Z\"}", "\"2026-11-21T20:00:00.001Z\"", true},
    {"{\"lt\":\"2026-11-21T20:00:00Z\"}", "\"2026-11-21\"", true}, /* as text */
    {"{\"eq\":\"2026-11-21\"}", "\"2026-11-21T00:00:00Z\"", false},
    {"{\"eq\":\"2026-11-21T20:00:00Z\"}", "1795291200000", false},
    {"{\"in\":[\"2026-11-21T20:00:00Z\"]}", "\"2026-11-21T21:00:00+01:00\"", true},

    {"{\"in\":[\"a\",\"b\"]}", "\"b\"", true},
    {"{\"in\":[\"a\",\"b\"]}", "\"c\"", false},
    {"{\"in\":[\"1\",2]}", "1", false},
    {"{\"in\":[\"1\",2]}", "2", true},
    {"{\"in\":[\"1\",2,true]}", "true", true},
    {"{\"in\":[]}", "\"a\"", false},
    {"{\"in\":[\"a\"]}", NULL, false},
    {"{\"in\":[\"a\"]}", "null", false},
    {"{\"in\":[\"a\"]}", "[\"a\"]", false},
    {"{\"in\":[\"" E_ACUTE "\"]}", "\"" E_THEN_ACUTE "\"", true},

    {"{\"not_in\":[\"a\",\"b\"]}", "\"c\"", true},
    {"{\"not_in\":[\"a\",\"b\"]}", "\"b\"", false},
    {"{\"not_in\":[\"a\",\"b\"]}", NULL, false},
    {"{\"not_in\":[\"a\",\"b\"]}", "null", false},
    {"{\"not_in\":[\"a\",\"b\"]}", "7", false},
    {"{\"not_in\":[\"a\",7]}", "8", true},
    {"{\"not_in\":[\"a\",7]}", "7", false},
    {"{\"not_in\":[\"a\",7]}", "true", false},

    {"{\"contains\":\"bc\"}", "\"abcd\"", true},
    {"{\"contains\":\"bc\"}", "\"bdc\"", false},
    {"{\"contains\":\"\"}", "\"abc\"", true},
    {"{\"contains\":\"\"}", "\"\"", true},
    {"{\"contains\":\"a\"}", NULL, false},
    {"{\"contains\":\"1\"}", "21", false},
    {"{\"contains\":\"A\"}", "\"a\"", false},
    {"{\"contains\":\"" E_ACUTE "\"}", "\"caf" E_THEN_ACUTE "\"", true},
    {"{\"contains\":\"a\"}", "[\"b\",\"a\"]", false}, /* ask for x[] eq */
    {"{\"contains\":\"a\"}", "[\"ab\"]", false},
    {"{\"contains\":7}", "[1,7.0]", false},
    {"{\"contains\":7}", "[\"7\"]", false},
    {"{\"contains\":true}", "[1,true]", false},
    {"{\"contains\":\"a\"}", "[]", false},
    {"{\"contains\":\"a\"}", "{\"a\":1}", false},

    {"{\"starts_with\":\"ab\"}", "\"abc\"", true},
    {"{\"starts_with\":\"ab\"}", "\"ab\"", true},
    {"{\"starts_with\":\"abc\"}", "\"ab\"", false},
    {"{\"starts_with\":\"b\"}", "\"ab\"", false},
    {"{\"starts_with\":\"\"}", "\"ab\"", true},
    {"{\"starts_with\":\"1\"}", "12", false},
    {"{\"starts_with\":\"a\"}", "[\"a\"]", false},
    {"{\"starts_with\":\"a\"}", NULL, false},
    {"{\"starts_with\":\"" E_ACUTE "\"}", "\"" E_THEN_ACUTE "x\"", true},

    {"{\"exists\":true}", "0", true},
    {"{\"exists\":true}", "\"\"", true},
    {"{\"exists\":true}", "false", true},
    {"{\"exists\":true}", "[]", true},
    {"{\"exists\":true}", NULL, false},
    {"{\"exists\":true}", "null", false},
    {"{\"exists\":false}", NULL, true},
    {"{\"exists\":false}", "null", true},
    {"{\"exists\":false}", "0", false},
};

static void test_comparisons_hold_as_the_contract_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct parsed condition;
        struct parsed value;
        struct comparison comparison;
        struct error err;
        parse(&condition, rows[i].condition);
        if (!comparison_read(&condition.object, &comparison, &err)) {
            fail_msg("%s: %s", rows[i].condition, err.message);
        }
        if (rows[i].value != NULL) {
            parse(&value, rows[i].value);
        }
        bool holds = comparison_holds(&comparison, rows[i].value == NULL ? NULL : &value.object);
        if (holds != rows[i].holds) {
            fail_msg("%s with %s: %s", rows[i].condition,
                     rows[i].value == NULL ? "nothing" : rows[i].value, holds ? "holds" : "fails");
        }
        if (rows[i].value != NULL) {
            parsed_done(&value);
        }
        parsed_done(&condition);
    }
}

static void test_a_comparison_needs_exactly_one_operator_with_a_fitting_value(void **state)
{
    static const struct {
        const char *condition;
        bool fine;
    } conditions[] = {
        {"{\"eq\":1}", true},
        {"{\"trait\":\"x\",\"eq\":1,\"other\":2}", true}, /* others are the caller's */
        {"{}", false},
        {"{\"trait\":\"x\"}", false},
        {"{\"equals\":1}", false},
        {"{\"EQ\":1}", false},
        {"{\"eq\":1,\"ne\":2}", false},
        {"{\"gt\":1,\"lt\":2}", false},
        {"{\"eq\":null}", false},
        {"{\"eq\":[1]}", false},
        {"{\"eq\":{}}", false},
        {"{\"in\":\"a\"}", false},
        {"{\"in\":{}}", false},
        {"{\"in\":[[1]]}", false},
        {"{\"in\":[null]}", false},
        {"{\"in\":[]}", true},
        {"{\"not_in\":[1,\"a\",true]}", true},
        {"{\"exists\":1}", false},
        {"{\"exists\":\"true\"}", false},
        {"{\"exists\":null}", false},
        {"{\"starts_with\":1}", false},
        {"{\"contains\":[1]}", false},
        {"{\"contains\":1}", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        struct parsed condition;
        struct comparison comparison;
        struct error err = {0};
        parse(&condition, conditions[i].condition);
        bool fine = comparison_read(&condition.object, &comparison, &err);
        if (fine != conditions[i].fine || (!fine && err.kind != ERROR_INVALID)) {
            fail_msg("%s: %s", conditions[i].condition, fine ? "taken" : err.message);
        }
        parsed_done(&condition);
    }
}

static void test_operators_are_known_by_their_names(void **state)
{
    static const char *const names[OPS] = {
        "eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "contains", "starts_with", "exists"};
    (void)state;
    for (int i = 0; i < OPS; i++) {
        assert_int_equal(comparison_op_from(slice_text(names[i])), i);
    }
    assert_int_equal(comparison_op_from(slice_text("EQ")), OPS);
    assert_int_equal(comparison_op_from(slice_make(NULL, 0)), OPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparisons_hold_as_the_contract_says),
        cmocka_unit_test(test_a_comparison_needs_exactly_one_operator_with_a_fitting_value),
        cmocka_unit_test(test_operators_are_known_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
