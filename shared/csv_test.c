#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "shared/csv.h"

/* Cells joined by '|', records by a line end: enough to tell every case here apart. */
static void read_all(struct slice text, struct buf *ret)
{
    struct csv_record record;
    csv_record_init(&record);
    while (text.len > 0) {
        size_t used;
        enum csv_result result = csv_read(text, true, &record, &used);
        assert_int_not_equal(result, CSV_INCOMPLETE);
        assert_in_range(used, 1, text.len);
        if (result != CSV_RECORD) {
            buf_put_format(ret, "!%s", result == CSV_UNCLOSED ? "unclosed" : "stray");
        }
        for (size_t i = 0; result == CSV_RECORD && i < record.count; i++) {
            buf_put_format(ret, "%s", i > 0 ? "|" : "");
            buf_put_slice(ret, csv_cell(&record, i));
        }
        buf_put_u8(ret, '\n');
        text = slice_skip(text, used);
    }
    csv_record_done(&record);
}

static const struct {
    const char *what;
    const char *text;
    const char *expected;
} cases[] = {
    {"plain cells", "a,b,c\nd,e,f\n", "a|b|c\nd|e|f\n"},
    {"CRLF ends a line", "a,b\r\nc,d\r\n", "a|b\nc|d\n"},
    {"the last line needs no end", "a,b\nc,d", "a|b\nc|d\n"},
    {"empty cells stay", ",\na,,\n", "|\na||\n"},
    {"an empty line is one empty cell", "a\n\nb\n", "a\n\nb\n"},
    {"commas in quotes", "\"a,b\",c\n", "a,b|c\n"},
    {"line ends in quotes", "\"a\r\nb\",c\n", "a\r\nb|c\n"},
    {"doubled quotes", "\"say \"\"hi\"\"\",\"\"\"\"\n", "say \"hi\"|\"\n"},
    {"empty quotes", "\"\",\"\"\n", "|\n"},
    {"quotes at the end of the text", "a,\"b\"", "a|b\n"},
    {"spaces belong to the cell", " a , b \n", " a | b \n"},
    {"a lone CR is no line end", "a\rb,c\n", "a\rb|c\n"},
    {"UTF-8 passes", "Zo\xc3\xab,\"\xe2\x82\xac\"\n", "Zo\xc3\xab|\xe2\x82\xac\n"},
    {"a quote inside a plain cell", "a\"b,c\nd,e\n", "!stray\nd|e\n"},
    {"text behind a closing quote", "\"a\"b,c\nd,e\n", "!stray\nd|e\n"},
    {"a fault in a later line of a record", "\"a\nb\"c\nd\n", "!stray\nd\n"},
    {"an unclosed quote costs its line only", "a,\"b\nc,d\n", "!unclosed\nc|d\n"},
};

static void texts_are_split_as_rfc_4180_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf got;
        buf_init(&got, 4096);
        read_all(slice_text(cases[i].text), &got);
        buf_put_u8(&got, 0);
        if (strcmp((const char *)got.data, cases[i].expected) != 0) {
            fail_msg("%s: got %s", cases[i].what, (const char *)got.data);
        }
        buf_done(&got);
    }
}

static void other_delimiters_and_quotes_are_taken_literally(void **state)
{
    static const struct {
        char delimiter;
        char quote;
        const char *text;
        const char *second; /* cell */
    } dialects[] = {
        {';', '"', "a,b;\"c;\"\"d\"\"\"\n", "c;\"d\""},
        {'\t', '\'', "it,\"s\t'x''y\tz'\n", "x'y\tz"},
        {'|', 0, "a\"b|\"c\n", "\"c"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        struct csv_record record;
        size_t used;
        csv_record_init(&record);
        record.delimiter = dialects[i].delimiter;
        record.quote = dialects[i].quote;
        assert_int_equal(csv_read(slice_text(dialects[i].text), true, &record, &used), CSV_RECORD);
        assert_int_equal(record.count, 2);
        assert_true(slice_is(csv_cell(&record, 1), dialects[i].second));
        csv_record_done(&record);
    }
}

static void a_record_cut_anywhere_is_incomplete_and_never_wrong(void **state)
{
    static const char text[] = "a,\"b \"\"x\"\"\r\n, y\",,c\r\n";
    struct csv_record record;
    size_t used;
    (void)state;
    csv_record_init(&record);
    for (size_t len = 1; len < sizeof text - 1; len++) {
        /* In a buffer of its own, so that a read past the end is seen by the sanitizer. */
        uint8_t *copy = memory_allocate(len);
        memcpy(copy, text, len);
        enum csv_result result = csv_read(slice_make(copy, len), false, &record, &used);
        assert_int_equal(result, CSV_INCOMPLETE);
        assert_int_equal(used, 0);
        free(copy);
    }
    assert_int_equal(csv_read(slice_text(text), false, &record, &used), CSV_RECORD);
    assert_int_equal(used, sizeof text - 1);
    assert_int_equal(record.count, 4);
    assert_true(slice_is(csv_cell(&record, 1), "b \"x\"\r\n, y"));
    csv_record_done(&record);
}

static void any_bytes_are_used_up(void **state)
{
    static const char alphabet[] = {'a', ',', '"', '\r', '\n'};
    struct csv_record record;
    (void)state;
    csv_record_init(&record);
    for (unsigned n = 0; n < 78125; n++) { /* every text of seven such bytes */
        char text[7];
        unsigned rest = n;
        for (size_t i = 0; i < sizeof text; i++, rest /= 5) {
            text[i] = alphabet[rest % 5];
        }
        struct slice left = slice_make(text, sizeof text);
        while (left.len > 0) {
            size_t used;
            enum csv_result result = csv_read(left, true, &record, &used);
            assert_int_not_equal(result, CSV_INCOMPLETE);
            assert_in_range(used, 1, left.len);
            left = slice_skip(left, used);
        }
    }
    csv_record_done(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_split_as_rfc_4180_says),
        cmocka_unit_test(other_delimiters_and_quotes_are_taken_literally),
        cmocka_unit_test(a_record_cut_anywhere_is_incomplete_and_never_wrong),
        cmocka_unit_test(any_bytes_are_used_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
