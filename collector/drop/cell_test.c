#include "collector/drop/cell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct slice yes[] = {{(const uint8_t *)"oui", 3}, {(const uint8_t *)"O", 1}};
static const struct slice no[] = {{(const uint8_t *)"non", 3}};

static struct cell_style french(const char *encoding)
{
    struct cell_style style = {
        .decimal = ',',
        .thousands = slice_text(" "),
        .true_words = yes,
        .true_count = 2,
        .false_words = no,
        .false_count = 1,
    };
    assert_true(cell_encoding_open(slice_text(encoding), &style.to_utf8));
    return style;
}

static void done(struct cell_style *style)
{
    if (style->to_utf8 != (iconv_t)-1) {
        iconv_close(style->to_utf8);
    }
}

/* The cell as JSON with a zero behind it; "" where it is refused. */
static const char *put(const struct cell_style *style, enum cell_type type, const char *format,
                       const char *cell, struct buf *out)
{
    struct error err;
    buf_clear(out);
    if (!cell_put(style, type, format, slice_text(cell), out, &err)) {
        assert_int_equal(out->len, 0);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
    buf_put_u8(out, 0);
    return (const char *)out->data;
}

static const struct {
    enum cell_type type;
    const char *format;
    const char *cell;
    const char *expected; /* "" : refused */
} cases[] = {
    {CELL_TEXT, NULL, "007", "\"007\""},
    {CELL_TEXT, NULL, "say \"hi\"\n\\", "\"say \\\"hi\\\"\\u000a\\\\\""},
    {CELL_NUMBER, NULL, "12", "12"},
    {CELL_NUMBER, NULL, "12,50", "12.50"},
    {CELL_NUMBER, NULL, "-1 234 567,5", "-1234567.5"},
    {CELL_NUMBER, NULL, "+3", "3"},
    {CELL_NUMBER, NULL, ",5", "0.5"},
    {CELL_NUMBER, NULL, "-,5", "-0.5"},
    {CELL_NUMBER, NULL, "007", "7"},
    {CELL_NUMBER, NULL, "-000", "-0"},
    {CELL_NUMBER, NULL, "0,007", "0.007"},
    {CELL_NUMBER, NULL, "12.50", ""},
    {CELL_NUMBER, NULL, "12,", ""},
    {CELL_NUMBER, NULL, "1 ", "1"},
    {CELL_NUMBER, NULL, "1  2", ""},
    {CELL_NUMBER, NULL, "12,5O", ""},
    {CELL_NUMBER, NULL, "1,2,3", ""},
    {CELL_NUMBER, NULL, "12 EUR", "12"},
    {CELL_NUMBER, NULL, "-", ""},
    {CELL_NUMBER, NULL, ",", ""},
    {CELL_NUMBER, NULL, "1e5", ""},
    {CELL_NUMBER, NULL, "1234567890123456789012345678901234567890123456789012345678901234567", ""},
    {CELL_INTEGER, NULL, "1 000", "1000"},
    {CELL_INTEGER, NULL, "1,0", ""},
    {CELL_BOOLEAN, NULL, "OUI", "true"},
    {CELL_BOOLEAN, NULL, "o", "true"},
    {CELL_BOOLEAN, NULL, "non", "false"},
    {CELL_BOOLEAN, NULL, "yes", ""},
    {CELL_DATE, "%d/%m/%Y", "21/11/2026", "\"2026-11-21T00:00:00.000Z\""},
    {CELL_DATE, NULL, "2026-11-21T20:15:03+01:00", "\"2026-11-21T19:15:03.000Z\""},
    {CELL_DATE, "epoch", "1795292103", "\"2026-11-21T20:15:03.000Z\""},
    {CELL_DATE, "epoch-ms", "1795292103120", "\"2026-11-21T20:15:03.120Z\""},
    {CELL_DATE, "epoch", "17952921031200000", ""},
    {CELL_DATE, "epoch", "-1", ""},
    {CELL_DATE, "%d/%m/%Y", "32/11/2026", ""},
};

static void cells_become_what_the_mapping_says_or_are_refused(void **state)
{
    struct cell_style style = french("utf-8");
    struct buf out;
    (void)state;
    buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = put(&style, cases[i].type, cases[i].format, cases[i].cell, &out);
        if (strcmp(got, cases[i].expected) != 0) {
            fail_msg("%s: got %s, not %s", cases[i].cell, got, cases[i].expected);
        }
    }
    buf_done(&out);
}

static void check_decoding(const char *encoding, const char *raw, const char *expected)
{
    struct cell_style style = french(encoding);
    struct buf scratch;
    struct slice text;
    struct error err;
    buf_init(&scratch, 4096);
    bool fine = cell_decode(&style, slice_text(raw), &scratch, &text, &err);
    if (fine != (expected != NULL) || (fine && !slice_is(text, expected))) {
        fail_msg("%s: %s", encoding, fine ? "decoded wrongly" : err.message);
    }
    buf_done(&scratch);
    done(&style);
}

static void cells_are_decoded_and_trimmed(void **state)
{
    (void)state;
    check_decoding("utf-8", " \t Zo\xc3\xab \r", "Zo\xc3\xab");
    check_decoding("utf-8", "   ", "");
    check_decoding("latin1", "Zo\xeb", "Zo\xc3\xab");
    check_decoding("iso-8859-15", "9 \xa4", "9 \xe2\x82\xac");
    check_decoding("windows-1252", "9 \x80", "9 \xe2\x82\xac");
    check_decoding("utf-8", "Zo\xeb", NULL);
    check_decoding("windows-1252", "a\x81", NULL);
    /* What was refused leaves nothing behind. */
    check_decoding("windows-1252", "\xe9", "\xc3\xa9");
}

static void unknown_encodings_are_refused(void **state)
{
    iconv_t encoding;
    (void)state;
    assert_false(cell_encoding_open(slice_text("utf-16"), &encoding));
    assert_false(cell_encoding_open(slice_text("UTF-8//IGNORE"), &encoding));
    assert_false(cell_encoding_open(slice_text(""), &encoding));
}

static void a_cell_that_does_not_fit_is_refused_whole(void **state)
{
    struct cell_style style = french("utf-8");
    struct error err;
    struct buf out;
    (void)state;
    buf_init(&out, 100);
    assert_false(
        cell_put(&style, CELL_TEXT, NULL, slice_text("twenty-six letters of text"), &out, &err));
    assert_int_equal(err.kind, ERROR_FULL);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_become_what_the_mapping_says_or_are_refused),
        cmocka_unit_test(cells_are_decoded_and_trimmed),
        cmocka_unit_test(unknown_encodings_are_refused),
        cmocka_unit_test(a_cell_that_does_not_fit_is_refused_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
