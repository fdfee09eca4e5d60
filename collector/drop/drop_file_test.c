#include "collector/drop/drop_file.h"

#include <iconv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static const char csv_json[] =
    "{\"files\": \"a\", \"source\": \"s\", \"event\": {\"type\": \"track\","
    "\"event\": {\"column\": \"what\", \"required\": true}}}";
static const char lines_json[] = "{\"files\": \"a\", \"source\": \"s\", \"format\": \"ndjson\"}";

static struct mapping *mapping_of(const char *json)
{
    struct mapping *mapping = NULL;
    struct error err;
    if (!mapping_new(slice_text("till"), slice_text(json), &mapping, &err)) {
        fail_msg("%s", err.message);
    }
    return mapping;
}

static int file_with(struct slice contents)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(contents.data, 1, contents.len, file), contents.len);
    assert_int_equal(fflush(file), 0);
    int fd = dup(fileno(file));
    fclose(file);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* All rows from a position: "+LINE" for an event, "-LINE:fault" for another, and the events'
 * JSON behind. *from moves to the end of the first batch. */
static void read_rows(const char *json, struct slice contents, struct drop_position *from,
                      struct buf *rows, struct buf *events)
{
    struct mapping *mapping = mapping_of(json);
    struct drop_file *file;
    struct drop_batch batch;
    struct error err;
    bool is_first = true;
    drop_batch_init(&batch);
    if (!drop_file_open(file_with(contents), "file", mapping, *from, &file, &err)) {
        buf_put_format(rows, "!%s", err.message);
        drop_batch_done(&batch);
        mapping_free(&mapping);
        return;
    }
    do {
        assert_true(drop_file_read(file, &batch, &err));
        assert_true(batch.json.len <= LIMIT_REQUEST_BYTES);
        for (size_t i = 0; i < batch.row_count; i++) {
            const struct drop_row *row = &batch.rows[i];
            buf_put_format(rows, "%c%llu%s%.*s ", row->fault.len > 0 ? '-' : '+',
                           (unsigned long long)row->line, row->fault.len > 0 ? ":" : "",
                           (int)row->fault.len,
                           row->fault.len > 0 ? (const char *)row->fault.data : "");
        }
        buf_put_slice(events, buf_slice(&batch.json));
        *from = is_first ? batch.end : *from;
        is_first = false;
    } while (batch.row_count > 0);
    assert_true(!drop_file_has_places(file) || batch.end.offset == contents.len);
    drop_file_close(&file);
    drop_batch_done(&batch);
    mapping_free(&mapping);
}

static void check(const char *json, struct slice contents, const char *expected)
{
    struct drop_position from = {0, 0};
    struct buf rows;
    struct buf events;
    buf_init(&rows, 1024 * 1024);
    buf_init(&events, SIZE_MAX);
    read_rows(json, contents, &from, &rows, &events);
    buf_put_u8(&rows, 0);
    assert_string_equal((const char *)rows.data, expected);
    buf_done(&rows);
    buf_done(&events);
}

static void check_text(const char *json, const char *contents, const char *expected)
{
    check(json, slice_text(contents), expected);
}

static void rows_keep_their_lines_and_blank_ones_do_not_count(void **state)
{
    (void)state;
    check_text(csv_json, "what\na\n\n\"b\nc\"\r\n\r\nd", "+2 +4 +7 ");
    check_text(csv_json, "\xef\xbb\xbfwhat\r\na\r\n", "+2 ");
    check_text(csv_json, "\n\nwhat\na\n", "+4 ");
    check_text(csv_json, "what\n", "");
    check_text(csv_json, "", "");
    check_text(csv_json, "\xef\xbb\xbf", "");
    check_text(lines_json, "{}\n\n  {\"a\":1}\r\n{}", "+1 +3 +4 ");
}

static const char orders_json[] =
    "{\"files\": \"a\", \"source\": \"s\", \"delimiter\": \";\", \"decimal\": \",\","
    "\"messageId\": [\"No\"], \"event\": {\"type\": \"track\", \"event\": \"Order Completed\","
    "\"timestamp\": {\"column\": \"At\", \"as\": \"date\", \"format\": \"%d/%m/%Y\"},"
    "\"properties\": {\"total\": {\"column\": \"Total\", \"as\": \"number\"},"
    "\"item\": {\"column\": \"Item\"}},"
    "\"userId\": {\"column\": \"Who\"}}}";
#define HEADER "No;At;Who;Total;Item\n"

static void rows_as_spreadsheets_and_old_programs_write_them(void **state)
{
    (void)state;
    check_text(csv_json, "what;n\na;1\n;\n;;;\n \t;\nb;2\n", "!the header has no column \"what\"");
    check_text(csv_json, "sep=;\nwhat;n\na;1\nb;2\n", "+3 +4 ");
    check_text(csv_json, "\xef\xbb\xbfSEP=;\r\nwhat;n\r\na;1\r\n", "+3 ");
    check_text(csv_json, "\"sep=\t\"\nwhat\tn\na\t1\n", "+3 ");
    check_text(csv_json, "sep=\nwhat\na\n", "!the header has no column \"what\"");
    check_text(csv_json, "what,n\na,1\n,\n\" \",\"\"\nb,2\n,\n\x1a", "+2 +5 ");
    check_text(csv_json, "what,n\na,1\x1a\x1a\x1a", "+2 ");
    check_text(csv_json, "what,n\r\na,1\r\n\x1a\r\n", "+2 ");
    check_text(csv_json, "what,n\ra,1\r\rb,2\r", "+2 +4 ");
    check_text(csv_json, "sep=;\rwhat;n\ra;\"1\r2\"\rb;2", "+3 +5 ");
    check_text(csv_json, "what,n,\na,1,\nb,2\nc,3,,\nd,4,5\n",
               "+2 +3 +4 -5:the row has 3 cells, the header 2 ");
    check_text(csv_json, "what,n\n=\"007\",1\n\"=\"\"007\"\"\",1\n'007,1\n", "+2 +3 +4 ");
    check_text(lines_json, "{}\r{}\r\x1a", "+1 +2 ");
}

/* The events of a file, with an x for each id. */
static void check_events(const char *json, const char *contents, const char *expected)
{
    struct drop_position from = {0, 0};
    struct buf rows;
    struct buf events;
    buf_init(&rows, 1024 * 1024);
    buf_init(&events, SIZE_MAX);
    read_rows(json, slice_text(contents), &from, &rows, &events);
    buf_put_u8(&events, 0);
    char *text = (char *)events.data;
    static const char id[] = "{\"messageId\":\"";
    for (char *at = text; (at = strstr(at, id)) != NULL; at++) {
        char *behind = at + sizeof id - 1 + UUID_TEXT_BYTES;
        memmove(at + 1, behind + 1, strlen(behind));
    }
    text[strlen(text) - strlen("{\"batch\":[]}")] = 0; /* the batch without rows at the end */
    assert_string_equal(text, expected);
    buf_done(&rows);
    buf_done(&events);
}

static void lines_of_one_order_are_one_event(void **state)
{
    (void)state;
    check_events(orders_json, HEADER "1;20/11/2026;u;30,00;Cup\n1;;;;Plate\n\n1;;;;\n2;;v;1;\n",
                 "{\"batch\":[{,\"type\":\"track\",\"event\":\"Order Completed\","
                 "\"timestamp\":\"2026-11-20T00:00:00.000Z\",\"properties\":{\"total\":30.00,"
                 "\"item\":\"Cup\",\"products\":[{\"item\":\"Cup\"},{\"item\":\"Plate\"}]},"
                 "\"userId\":\"u\"},{,\"type\":\"track\",\"event\":\"Order Completed\","
                 "\"properties\":{\"total\":1},\"userId\":\"v\"}]}");
    check_events(
        "{\"files\": \"a\", \"source\": \"s\", \"messageId\": [\"No\"], \"event\": "
        "{\"type\": \"track\", \"event\": \"Order Completed\", \"properties\": {\"products\":"
        "{\"each_line\": {\"sku\": {\"column\": \"Sku\"}, \"price\": {\"column\": \"Price\","
        "\"as\": \"number\"}, \"kind\": {\"of\": \"cup\"}}},"
        "\"total\": {\"column\": \"Total\", \"as\": \"number\"}}}}",
        "No,Total,Sku,Price\n1,30,A,10\n1,30,B,20\n2,,C,\n",
        "{\"batch\":[{,\"type\":\"track\",\"event\":\"Order Completed\",\"properties\":{"
        "\"products\":[{\"sku\":\"A\",\"price\":10,\"kind\":{\"of\":\"cup\"}},"
        "{\"sku\":\"B\",\"price\":20,\"kind\":{\"of\":\"cup\"}}],\"total\":30}},"
        "{,\"type\":\"track\",\"event\":\"Order Completed\",\"properties\":{"
        "\"products\":[{\"sku\":\"C\",\"kind\":{\"of\":\"cup\"}}]}}]}");
}

/* Money that is swallowed is worse than a row that is named. */
static void a_number_that_comes_again_is_another_order_or_is_named(void **state)
{
    (void)state;
    check_text(orders_json, HEADER "1;20/11/2026;u;30;Cup\n1;21/11/2026;u;30;Cup\n", "+2 +3 ");
    check_text(orders_json, HEADER "1;20/11/2026;u;30;Cup\n2;;v;1;\n1;20/11/2026;u;30;Cup\n",
               "+2 +3 +4 "); /* the very same line: the hub counts it once */
    check_text(orders_json, HEADER "1;20/11/2026;u;30;Cup\n1;20/11/2026;;45;\n",
               "+2 -3:its columns of messageId, and its time, are those of line 2, which says "
               "something else: it would not be counted ");
    check_text(orders_json, HEADER "1;;u;30;Cup\n1;;v;;Plate\n",
               "+2 -3:its columns of messageId, and its time, are those of line 2, which says "
               "something else: it would not be counted ");
    check_text(orders_json, HEADER "1;;u;30;Cup\n1;;;;a;b\n2;;u;1;\n",
               "+2 -3:the row has 6 cells, the header 5 +4 ");
}

static void a_batch_never_ends_inside_an_order(void **state)
{
    struct buf text;
    struct buf rows;
    struct buf events;
    (void)state;
    buf_init(&text, SIZE_MAX);
    buf_put_slice(&text, slice_text(HEADER));
    for (int i = 0; i < DROP_BATCH_ROWS + 10; i++) {
        buf_put_format(&text, "%d;;u;30;Cup\n%d;;;;Plate\n%d;;;;Pot\n", i, i, i);
    }
    struct drop_position from = {0, 0};
    buf_init(&rows, SIZE_MAX);
    buf_init(&events, SIZE_MAX);
    read_rows(orders_json, buf_slice(&text), &from, &rows, &events);
    assert_int_equal(from.line, 2 + 3 * DROP_BATCH_ROWS); /* the first line of the next order */
    buf_clear(&rows);
    struct drop_position ignored = from;
    read_rows(orders_json, buf_slice(&text), &ignored, &rows, &events);
    buf_put_u8(&rows, 0);
    char start[32];
    snprintf(start, sizeof start, "+%d +%d ", 2 + 3 * DROP_BATCH_ROWS, 5 + 3 * DROP_BATCH_ROWS);
    assert_memory_equal(rows.data, start, strlen(start));
    buf_done(&text);
    buf_done(&rows);
    buf_done(&events);
}

/* The text in UTF-16 with its mark, as spreadsheets save it. */
static void put_utf16(const char *utf8, bool is_little, struct buf *ret)
{
    iconv_t to = iconv_open(is_little ? "UTF-16LE" : "UTF-16BE", "UTF-8");
    char out[4096];
    char *in = (char *)(uintptr_t)utf8;
    char *at = out;
    size_t left = strlen(utf8);
    size_t room = sizeof out;
    assert_int_equal(iconv(to, &in, &left, &at, &room), 0);
    iconv_close(to);
    buf_put(ret, is_little ? "\xff\xfe" : "\xfe\xff", 2);
    buf_put(ret, out, (size_t)(at - out));
}

static void a_file_in_utf16_is_read_whatever_the_order_of_its_bytes(void **state)
{
    static const char text[] = "what\tn\r\nZo\xc3\xab\t1\r\n\xf0\x9f\x98\x80\t2\r\n";
    static const char json[] = "{\"files\": \"a\", \"source\": \"s\", \"delimiter\": \"tab\", "
                               "\"event\": {\"type\": \"track\","
                               "\"event\": {\"column\": \"what\", \"required\": true}}}";
    (void)state;
    for (int little = 0; little < 2; little++) {
        struct drop_position from = {0, 0};
        struct buf file;
        struct buf rows;
        struct buf events;
        buf_init(&file, 65536);
        buf_init(&rows, 65536);
        buf_init(&events, SIZE_MAX);
        put_utf16(text, little != 0, &file);
        buf_put(&file, little != 0 ? "\x3d\xd8" : "\xd8\x3d", 2); /* half a character at the end */
        read_rows(json, buf_slice(&file), &from, &rows, &events);
        buf_put_u8(&rows, 0);
        buf_put_u8(&events, 0);
        assert_string_equal((const char *)rows.data, "+2 +3 -4:the row has 1 cells, the header 2 ");
        assert_non_null(strstr((const char *)events.data, "\"Zo\xc3\xab\""));
        assert_non_null(strstr((const char *)events.data, "\"\xf0\x9f\x98\x80\""));
        buf_done(&file);
        buf_done(&rows);
        buf_done(&events);
    }
}

static void a_wrong_row_costs_no_other(void **state)
{
    (void)state;
    check_text(csv_json, "what\na\n \nb,c\nd\n", "+2 -4:the row has 2 cells, the header 1 +5 ");
    check(csv_json, slice_make("what\na\0\nb\n", 10), "-2:the row has a zero byte +3 ");
    check_text(lines_json, "{}\n{\n[]\n{}",
               "+1 -2:the line is no JSON -3:the line is no JSON object +4 ");
}

static void a_file_that_cannot_be_read_at_all_is_refused(void **state)
{
    (void)state;
    check(csv_json, slice_make("\xff\xfew\0h\0", 6), "!the header has no column \"what\"");
    check_text(csv_json, "that\na\n", "!the header has no column \"what\"");
    check_text(csv_json, "wh\"at\na\n",
               "!the header cannot be read: a quote stands where none may; a cell with quotes in "
               "it is quoted as a whole, and its own quotes are doubled");
}

/* `before`, then `count` times 'x', then `behind`. */
static void put_long(struct buf *text, const char *before, size_t count, const char *behind)
{
    buf_put_slice(text, slice_text(before));
    assert_true(buf_reserve(text, count));
    memset(text->data + text->len, 'x', count);
    text->len += count;
    buf_put_slice(text, slice_text(behind));
}

static void rows_without_end_are_passed_over_in_bounded_memory(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, SIZE_MAX);
    put_long(&text, "what\na\n", 10 * 1024 * 1024, "\nb\n");
    check(csv_json, buf_slice(&text),
          "+2 -3:the row is longer than 128 KiB, or a quote in it is not closed +4 ");
    buf_clear(&text);
    put_long(&text, "{}\n", DROP_ROW_BYTES_MAX + 1, "\n{}");
    check(lines_json, buf_slice(&text), "+1 -2:the row is longer than 128 KiB +3 ");
    buf_clear(&text);
    put_long(&text, "{}\n", 1024 * 1024, "");
    check(lines_json, buf_slice(&text), "+1 -2:the row is longer than 128 KiB ");
    /* An open quote costs its own line, though everything behind it looks like one cell. */
    buf_clear(&text);
    put_long(&text, "what\na\n\"b\n", 100 * 1024, "\n");
    put_long(&text, "", 100 * 1024, "\nc\n");
    check(csv_json, buf_slice(&text),
          "+2 -3:the row is longer than 128 KiB, or a quote in it is not closed "
          "-4:the row makes an event that is too large -5:the row makes an event that is too large "
          "+6 ");
    buf_done(&text);
}

static void an_event_too_large_for_a_batch_is_refused_and_others_fit(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, SIZE_MAX);
    /* Each of its bytes takes six in JSON; the batch before it is nearly full. */
    buf_put_slice(&text, slice_text("what\n"));
    for (int i = 0; i < 7; i++) {
        put_long(&text, "", 36 * 1024, "\n");
    }
    buf_put_u8(&text, '"');
    for (int i = 0; i < 60 * 1024; i++) {
        buf_put_u8(&text, 1);
    }
    buf_put_slice(&text, slice_text("\"\nb\n"));
    check(csv_json, buf_slice(&text),
          "+2 +3 +4 +5 +6 +7 +8 -9:the row makes an event that is too large +10 ");
    buf_done(&text);
}

static void reading_goes_on_where_a_batch_has_ended(void **state)
{
    enum { ROWS = 2500 };
    struct drop_position from = {0, 0};
    struct buf text;
    struct buf rows;
    struct buf events;
    struct buf rest;
    struct buf rest_events;
    (void)state;
    buf_init(&text, SIZE_MAX);
    buf_init(&rows, SIZE_MAX);
    buf_init(&events, SIZE_MAX);
    buf_init(&rest, SIZE_MAX);
    buf_init(&rest_events, SIZE_MAX);
    buf_put_slice(&text, slice_text("\xef\xbb\xbfwhat\r\n"));
    for (int i = 0; i < ROWS; i++) {
        buf_put_format(&text, "\"event\n%d\"\r\n", i);
    }
    read_rows(csv_json, buf_slice(&text), &from, &rows, &events);
    assert_int_equal(from.line, 2 + 2 * DROP_BATCH_ROWS);
    struct drop_position again = from;
    read_rows(csv_json, buf_slice(&text), &again, &rest, &rest_events);
    /* The same rows with the same message ids. */
    assert_true(rest_events.len < events.len);
    assert_memory_equal(events.data + events.len - rest_events.len, rest_events.data,
                        rest_events.len);
    assert_memory_equal(rows.data + rows.len - rest.len, rest.data, rest.len);
    buf_done(&text);
    buf_done(&rows);
    buf_done(&events);
    buf_done(&rest);
    buf_done(&rest_events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_keep_their_lines_and_blank_ones_do_not_count),
        cmocka_unit_test(rows_as_spreadsheets_and_old_programs_write_them),
        cmocka_unit_test(lines_of_one_order_are_one_event),
        cmocka_unit_test(a_number_that_comes_again_is_another_order_or_is_named),
        cmocka_unit_test(a_batch_never_ends_inside_an_order),
        cmocka_unit_test(a_file_in_utf16_is_read_whatever_the_order_of_its_bytes),
        cmocka_unit_test(a_wrong_row_costs_no_other),
        cmocka_unit_test(a_file_that_cannot_be_read_at_all_is_refused),
        cmocka_unit_test(rows_without_end_are_passed_over_in_bounded_memory),
        cmocka_unit_test(an_event_too_large_for_a_batch_is_refused_and_others_fit),
        cmocka_unit_test(reading_goes_on_where_a_batch_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
