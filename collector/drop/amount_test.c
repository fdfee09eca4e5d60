#include "collector/drop/amount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NBSP "\xc2\xa0"
#define NARROW "\xe2\x80\xaf"
#define MINUS "\xe2\x88\x92"
#define EURO "\xe2\x82\xac"

static const struct {
    const char *text;
    char decimal;
    const char *thousands;
    const char *expected; /* NULL: no number */
} cases[] = {
    /* groups of three, or of India */
    {"1.234,50", ',', ".", "1234.50"},
    {"1.234.567,5", ',', ".", "1234567.5"},
    {"12.500", ',', ".", "12500"},
    {"12.50", ',', ".", NULL},
    {"9.9", ',', ".", NULL},
    {"1.23.4", ',', ".", NULL},
    {"1.2345", ',', ".", NULL},
    {"1234.567", ',', ".", NULL},
    {".123", ',', ".", NULL},
    {"1..234", ',', ".", NULL},
    {"1.234.", ',', ".", NULL},
    {"1,234.50", '.', ",", "1234.50"},
    {"12,34,567.89", '.', ",", "1234567.89"},
    {"1,00,000", '.', ",", "100000"},
    {"12,34,56", '.', ",", NULL},
    {"1,23,456,789", '.', ",", NULL},
    {"123,45,678", '.', ",", NULL},
    {"1,234,50", '.', ",", NULL},
    {"1,234", '.', "", NULL},
    {"1.234,5", '.', ",", NULL},
    {"1.234.567", '.', ",", NULL},
    {"1,5,", ',', "", NULL},
    /* spaces and apostrophes, whatever the mapping says */
    {"1 234,50", ',', " ", "1234.50"},
    {"1" NBSP "234" NBSP "567,50", ',', " ", "1234567.50"},
    {"1" NARROW "234,50", ',', "", "1234.50"},
    {"1'234.50", '.', "", "1234.50"},
    {"1\xe2\x80\x99"
     "234.50",
     '.', "'", "1234.50"},
    {"1 23", ',', " ", NULL},
    {"1  234", ',', " ", NULL},
    {"12 34", ',', "", NULL},
    {"1 234'567", ',', "", NULL},
    {"1 234.567", ',', ".", NULL},
    {"12_345", '.', "_", "12345"},
    /* signs */
    {"-5", '.', "", "-5"},
    {"5-", '.', "", "-5"},
    {MINUS "5,25", ',', "", "-5.25"},
    {"5,25" MINUS, ',', "", "-5.25"},
    {"\xe2\x80\x93 5", ',', "", "-5"},
    {"(12,50)", ',', "", "-12.50"},
    {"( 1.234,50 " EURO ")", ',', ".", "-1234.50"},
    {"+7", '.', "", "7"},
    {"7+", '.', "", "7"},
    {"-5-", '.', "", NULL},
    {"(-5)", '.', "", NULL},
    {"(5", '.', "", NULL},
    {"5)", '.', "", NULL},
    {"--5", '.', "", NULL},
    {"5-3", '.', "", NULL},
    /* no cents */
    {"12,-", ',', "", "12"},
    {"12.--", '.', "", "12"},
    {"12.\xe2\x80\x93", '.', "", "12"},
    {"1'250.\xe2\x80\x94 CHF", '.', "", "1250"},
    {"-12,- " EURO, ',', "", "-12"},
    {"12,---", ',', "", NULL},
    {"12,", ',', "", NULL},
    /* currencies */
    {"12,50 " EURO, ',', "", "12.50"},
    {EURO "12,50", ',', "", "12.50"},
    {"-" EURO "12,50", ',', "", "-12.50"},
    {EURO " -12,50", ',', "", "-12.50"},
    {"12,50" NBSP EURO, ',', "", "12.50"},
    {"$1,234.50", '.', ",", "1234.50"},
    {"US$ 5", '.', "", "5"},
    {"R$ 1.234,50", ',', ".", "1234.50"},
    {"CHF 1'234.50", '.', "'", "1234.50"},
    {"12.50EUR", '.', "", "12.50"},
    {"EUR12.50-", '.', "", "-12.50"},
    {"\xc2\xa3"
     "9.99",
     '.', "", "9.99"},
    {"1 234,50 z\xc5\x82", ',', " ", "1234.50"},
    {"199 kr.", ',', "", "199"},
    {"\xe2\x82\xb9"
     "12,34,567",
     '.', ",", "1234567"},
    {"EUR 5 " EURO, ',', "", NULL},
    {"12 XYZ", '.', "", NULL},
    {"12 EURO", '.', "", NULL},
    {"50\xc2\xa2", '.', "", NULL},
    {"5k", '.', "", NULL},
    {"5%", '.', "", NULL},
    {"5 CR", '.', "", NULL},
    /* scripts */
    {"\xd9\xa1\xd9\xac\xd9\xa2\xd9\xa3\xd9\xa4\xd9\xab\xd9\xa5", '.', "", "1234.5"},
    {"\xdb\xb1\xdb\xb2", '.', "", "12"},
    {"\xef\xbc\x91\xef\xbc\x92\xef\xbc\x8e\xef\xbc\x95", '.', "", "12.5"},
    {"\xe2\x80\x8f"
     "12\xe2\x80\x8e",
     '.', "", "12"},
    /* the rest */
    {"007", '.', "", "7"},
    {"-000", '.', "", "-0"},
    {",5", ',', "", "0.5"},
    {"-,5", ',', "", "-0.5"},
    {"0,005", ',', "", "0.005"},
    {"0.050.000", ',', ".", "50000"},
    {"1,23E+05", ',', "", NULL},
    {"1E5", '.', "", NULL},
    {"", '.', "", NULL},
    {"-", '.', "", NULL},
    {EURO, '.', "", NULL},
    {"()", '.', "", NULL},
    {".", '.', "", NULL},
    {"12:50", '.', "", NULL},
    {"1/2", '.', "", NULL},
    {"abc", '.', "", NULL},
    {"\xff", '.', "", NULL},
    {"11111111112222222222333333333344444444445555555555666666666677777", '.', "", NULL},
};

static void an_amount_is_the_number_that_was_meant_or_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct amount amount;
        const char *wrong = amount_read(slice_text(cases[i].text), cases[i].decimal,
                                        slice_text(cases[i].thousands), &amount);
        struct slice got = wrong == NULL ? slice_make(amount.text, amount.len) : slice_text("");
        if (!slice_is(got, cases[i].expected == NULL ? "" : cases[i].expected)) {
            fail_msg("\"%s\" (%c %s) became \"%.*s\"", cases[i].text, cases[i].decimal,
                     cases[i].thousands, SLICE_ARGS(got));
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_amount_is_the_number_that_was_meant_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
