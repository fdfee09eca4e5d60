#include "shared/phone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct {
    const char *country;
    const char *value;
    const char *normal;
} cases[] = {
    /* with the country in the number, in every spelling */
    {"", "+33 6 12 34 56 78", "+33612345678"},
    {"", "0033612345678", "+33612345678"},
    {"", "00 33 (0)6 12 34 56 78", "+33612345678"},
    {"", "+33 (0)6 12 34 56 78", "+33612345678"},
    {"", "+33(0)612345678", "+33612345678"},
    {"", "+33 0612345678", "+33612345678"},
    {"", "(+33) 6.12.34.56.78", "+33612345678"},
    {"",
     "\xef\xbc\x8b"
     "33612345678",
     "+33612345678"},
    {"",
     "\xef\xbc\x8b\xef\xbc\x93\xef\xbc\x93\xef\xbc\x96"
     "12345678",
     "+33612345678"},
    {"",
     "+\xd9\xa3\xd9\xa3"
     "612345678",
     "+33612345678"},
    {"", "tel:+33-6-12-34-56-78", "+33612345678"},
    {"", "+33 6 12 34 56 78 ext. 12", "+33612345678"},
    {"", "+33612345678;ext=12", "+33612345678"},
    {"", "+1 (212) 555-0123 x45", "+12125550123"},
    {"", "+39 06 1234 5678", "+390612345678"}, /* Italy keeps its zero */
    {"", "+36 06 30 123 4567", "+36301234567"},
    {"", "+999 0123", "+9990123"}, /* a code that the table lacks */
    {"FR", "+41 79 123 45 67", "+41791234567"},
    {"FR", "0041 79 123 45 67", "+41791234567"},
    {"US", "011 33 6 12 34 56 78", "+33612345678"},
    /* national, of a country that is known */
    {"FR", "06 12 34 56 78", "+33612345678"},
    {"FR", "06.12.34.56.78", "+33612345678"},
    {"FR", "612345678", "+33612345678"}, /* the zero that a spreadsheet took */
    {"FR", "33612345678", "+33612345678"},
    {"fr", "0612345678", "+33612345678"},
    {"DE", "0151 23456789", "+4915123456789"},
    {"DE", "4915123456789", "+4915123456789"},
    {"GB", "07911 123456", "+447911123456"},
    {"IT", "06 1234 5678", "+390612345678"},
    {"IT", "391 234 5678", "+393912345678"},
    {"IT", "393912345678", "+393912345678"},
    {"ES", "612 34 56 78", "+34612345678"},
    {"ES", "34612345678", "+34612345678"},
    {"US", "(212) 555-0123", "+12125550123"},
    {"US", "1-212-555-0123", "+12125550123"},
    {"RU", "8 912 345-67-89", "+79123456789"},
    {"HU", "06 30 123 4567", "+36301234567"},
    {"IN", "098765 43210", "+919876543210"},
    {"CH", "079 123 45 67", "+41791234567"},
    {"DK", "12 34 56 78", "+4512345678"},
    /* what does not fit stays what it is */
    {"", "06 12 34 56 78", "0612345678"},
    {"", "33612345678", "33612345678"},
    {"FR", "3631", "3631"},
    {"FR", "0612", "0612"},
    {"FR", "061234567890123", "061234567890123"},
    {"XX", "0612345678", "0612345678"},
    {"", "00 33", "0033"},
    {"DE", "49 0123 765", "+49123765"},
    {"DE", "0000 0000", "00000000"},
    {"DE", "+49 000 0000", "+490000000"},
    /* no numbers */
    {"FR", "", ""},
    {"FR", "unknown", ""},
    {"FR", "+", ""},
    {"", "+123456789012345678901", ""},
    {"", "11111111112222222222333333333344444444445555555555666666666677777", ""},
};

static void every_spelling_of_a_number_becomes_one(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, 256);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t country = phone_country_from(slice_text(cases[i].country));
        struct slice once = phone_normalize(slice_text(cases[i].value), country, &arena);
        if (!slice_is(once, cases[i].normal)) {
            fail_msg("%s \"%s\" became \"%.*s\"", cases[i].country, cases[i].value,
                     SLICE_ARGS(once));
        }
        struct slice twice = phone_normalize(once, country, &arena);
        if (!slice_equal(once, twice)) {
            fail_msg("%s \"%s\" became \"%.*s\", then \"%.*s\"", cases[i].country, cases[i].value,
                     SLICE_ARGS(once), SLICE_ARGS(twice));
        }
    }
    arena_done(&arena);
}

static void countries_have_two_letters_in_any_case(void **state)
{
    (void)state;
    assert_int_equal(phone_country_from(slice_text("FR")), phone_country_from(slice_text("fR")));
    assert_int_not_equal(phone_country_from(slice_text("FR")), 0);
    assert_int_equal(phone_country_from(slice_text("F")), 0);
    assert_int_equal(phone_country_from(slice_text("FRA")), 0);
    assert_int_equal(phone_country_from(slice_text("QQ")), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_of_a_number_becomes_one),
        cmocka_unit_test(countries_have_two_letters_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
