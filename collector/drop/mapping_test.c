#include "collector/drop/mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "shared/error.h"

static struct mapping *mapping_of(const char *json)
{
    struct mapping *mapping = NULL;
    struct error err;
    if (!mapping_new(slice_text("till"), slice_text(json), &mapping, &err)) {
        fail_msg("%s", err.message);
    }
    return mapping;
}

static const struct {
    const char *json;
    const char *expected; /* at the beginning of the error */
} wrong[] = {
    {"{\n\"files\": \"a\",\n", "till.mapping:3: this is no JSON"},
    {"[]", "till.mapping:1: a mapping is a JSON object"},
    {"{}", "till.mapping:1: files: is missing"},
    {"{\"files\": \"a\"}", "till.mapping:1: source: is missing"},
    {"{\"files\": \"a\",\n\"source\": \"s\"}", "till.mapping:1: \"event\" is missing"},
    {"{\"files\": \"../a\", \"source\": \"s\"}", "till.mapping:1: files: must be the name"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"colour\": 1}",
     "till.mapping:2: colour: \"colour\" is not known here"},
    {"{\"files\": \"a\", \"sorce\": \"s\"}",
     "till.mapping:1: sorce: \"sorce\" is not known here; did you mean \"source\"?"},
    {"{\"files\": \"a\", \"source\": \"s\",\"event\": {\"type\": \"page\","
     "\"d\": {\"column\": 1, \"fromat\": \"%d\"}}}",
     "till.mapping:1: event.d.fromat: \"fromat\" is not known here; did you mean \"format\"?"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"format\": \"xml\"}",
     "till.mapping:2: format: must be"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"delimiter\": \";;\"}", "till.mapping:2: delimiter:"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"quote\": \",\"}", "till.mapping:2: quote:"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"encoding\": \"ebcdic\"}",
     "till.mapping:2: encoding:"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"decimal\": \"x\"}", "till.mapping:2: decimal:"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"thousands\": \".\"}", "till.mapping:2: thousands:"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"zone\": \"Paris\"}", "till.mapping:2: zone:"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"true\": []}", "till.mapping:2: true:"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"header\": 1}", "till.mapping:2: header:"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"messageId\": \"a\"}", "till.mapping:2: messageId:"},
    {"{\"files\": \"a\", \"source\": \"s\", \"event\": {\"type\": \"page\", \"p\":"
     "{\"each_line\": {\"a\": 1}}}}",
     "till.mapping:1: \"each_line\" belongs to csv, and needs \"messageId\""},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"event\": {}}",
     "till.mapping:2: event: must be an event"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"event\": {\"type\": \"dance\"}}",
     "till.mapping:2: event: \"type\" is none"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"event\": {\"type\": \"page\", \"messageId\": 1}}",
     "till.mapping:2: event: name the columns"},
    {"{\"files\": \"a\", \"source\": \"s\",\n\"event\": {\"type\": \"page\",\n\"properties\": "
     "{\"as\": 1,\n"
     "\"total\": {\"column\": \"T\",\n\"as\": \"money\"}}}}",
     "till.mapping:5: event.properties.total.as: must be text, number"},
    {"{\"files\": \"a\", \"source\": \"s\",\"event\": {\"type\": \"page\","
     "\"d\": {\"column\": \"T\", \"format\": \"%d/%m/%Y\"}}}",
     "till.mapping:1: event.d: format belongs"},
    {"{\"files\": \"a\", \"source\": \"s\",\"event\": {\"type\": \"page\","
     "\"d\": {\"column\": \"T\", \"as\": \"date\", \"format\": \"%s\"}}}",
     "till.mapping:1: event.d.format: must be epoch"},
    {"{\"files\": \"a\", \"source\": \"s\",\"event\": {\"type\": \"page\","
     "\"d\": {\"column\": 0}}}",
     "till.mapping:1: event.d.column: columns are counted"},
    {"{\"files\": \"a\", \"source\": \"s\",\"header\": false, \"event\": {\"type\": \"page\","
     "\"d\": {\"column\": \"T\"}}}",
     "till.mapping:1: event.d.column: without a header"},
};

static void a_wrong_mapping_is_named_by_file_line_and_member(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mapping *mapping = NULL;
        struct error err = {.kind = ERROR_NONE};
        assert_false(mapping_new(slice_text("till"), slice_text(wrong[i].json), &mapping, &err));
        assert_int_equal(err.kind, ERROR_INVALID);
        if (strncmp(err.message, wrong[i].expected, strlen(wrong[i].expected)) != 0) {
            fail_msg("%s\ngot      %s\nexpected %s", wrong[i].json, err.message, wrong[i].expected);
        }
    }
}

/* Rows of CSV with their header, as events joined by line ends; faults as "!column: reason". */
static void put_csv(struct mapping *mapping, const char *csv, struct buf *ret)
{
    struct csv_record record;
    struct error err;
    struct slice text = slice_text(csv);
    uint64_t line = 1;
    csv_record_init(&record);
    mapping_prepare(mapping, &record);
    while (text.len > 0) {
        size_t used;
        struct slice column;
        assert_int_equal(csv_read(text, true, &record, &used), CSV_RECORD);
        struct mapping_row row = {slice_text("file"), line, slice_make(text.data, used)};
        text = slice_skip(text, used);
        if (line++ == 1 && mapping_has_header(mapping)) {
            if (!mapping_bind(mapping, &record, &err)) {
                buf_put_format(ret, "!%s\n", err.message);
            }
        } else if (!mapping_put_lines(mapping, (struct mapping_lines){&record, 1}, &row, ret,
                                      &column, &err)) {
            buf_put_format(ret, "!%.*s: %s\n", SLICE_ARGS(column), err.message);
        } else {
            buf_put_u8(ret, '\n');
        }
    }
    csv_record_done(&record);
    buf_put_u8(ret, 0);
}

/* The message ids are not looked at: those letters become one 'x'. */
static void without_ids(struct buf *text)
{
    static const char start[] = "{\"messageId\":\"";
    char *at = (char *)text->data;
    while ((at = strstr(at, start)) != NULL) {
        at += sizeof start - 1;
        memmove(at + 1, at + UUID_TEXT_BYTES, strlen(at + UUID_TEXT_BYTES) + 1);
        at[0] = 'x';
    }
}

static void check_csv(const char *json, const char *csv, const char *expected)
{
    struct mapping *mapping = mapping_of(json);
    struct buf got;
    buf_init(&got, 64 * 1024);
    put_csv(mapping, csv, &got);
    without_ids(&got);
    assert_string_equal((const char *)got.data, expected);
    buf_done(&got);
    mapping_free(&mapping);
}

static void the_holes_of_the_event_are_filled_from_the_row(void **state)
{
    (void)state;
    check_csv("{\"files\": \"a\", \"source\": \"s\", \"delimiter\": \";\", \"decimal\": \",\","
              "\"event\": {\"type\": \"track\", \"event\": {\"column\": \"What\"},"
              "\"properties\": {\"total\": {\"column\": \"Sum\", \"as\": \"number\"},"
              "\"shop\": \"Lyon \\\"1\\\"\", \"n\": 1.5, \"on\": true, \"none\": null}}}",
              " What ;Sum\nBought;9,90\n\"Say \"\"hi\"\"\";3\n",
              "{\"messageId\":\"x\",\"type\":\"track\",\"event\":\"Bought\",\"properties\":"
              "{\"total\":9.90,\"shop\":\"Lyon \\\"1\\\"\",\"n\":1.5,\"on\":true,\"none\":null}}\n"
              "{\"messageId\":\"x\",\"type\":\"track\",\"event\":\"Say \\\"hi\\\"\",\"properties\":"
              "{\"total\":3,\"shop\":\"Lyon \\\"1\\\"\",\"n\":1.5,\"on\":true,\"none\":null}}\n");
}

static void empty_cells_leave_their_members_out_and_whole_elements_of_lists(void **state)
{
    (void)state;
    check_csv("{\"files\": \"a\", \"source\": \"s\", \"event\": {\"type\": \"identify\","
              "\"traits\": {\"email\": {\"column\": \"e\"}, \"city\": \"Lyon\"},"
              "\"context\": {\"externalIds\": [{\"type\": \"card\", \"id\": {\"column\": \"c\"}},"
              "{\"type\": \"email\", \"id\": {\"column\": \"e\"}}]}}}",
              "e,c\n,7\na@b, \n",
              "{\"messageId\":\"x\",\"type\":\"identify\",\"traits\":{\"city\":\"Lyon\"},"
              "\"context\":{\"externalIds\":[{\"type\":\"card\",\"id\":\"7\"}]}}\n"
              "{\"messageId\":\"x\",\"type\":\"identify\",\"traits\":{\"email\":\"a@b\","
              "\"city\":\"Lyon\"},\"context\":{\"externalIds\":[{\"type\":\"email\","
              "\"id\":\"a@b\"}]}}\n");
}

static void a_row_that_is_wrong_names_the_column_and_leaves_nothing(void **state)
{
    (void)state;
    check_csv("{\"files\": \"a\", \"source\": \"s\", \"event\": {\"type\": \"track\","
              "\"event\": {\"column\": \"what\", \"required\": true},"
              "\"n\": {\"column\": \"n\", \"as\": \"integer\"}}}",
              "what,n\n,1\na,x\na\nb,2,x\nb,2\nb,2,\n",
              "!what: this is required and empty\n"
              "!n: this is no number with the mapping's marks; '.' stands before its decimals\n"
              "!: the row has 1 cells, the header 2\n"
              "!: the row has 3 cells, the header 2\n"
              "{\"messageId\":\"x\",\"type\":\"track\",\"event\":\"b\",\"n\":2}\n"
              "{\"messageId\":\"x\",\"type\":\"track\",\"event\":\"b\",\"n\":2}\n");
}

static void columns_that_the_header_lacks_are_named(void **state)
{
    (void)state;
    check_csv("{\"files\": \"a\", \"source\": \"s\", \"event\": {\"type\": \"track\","
              "\"event\": {\"column\": \"What\"}}}",
              "what,n\n", "!the header has no column \"What\"\n");
    check_csv("{\"files\": \"a\", \"source\": \"s\", \"event\": {\"type\": \"track\","
              "\"event\": {\"column\": 3}}}",
              "what,n\n", "!the header has only 2 columns, not 3\n");
}

static void without_a_header_columns_are_counted(void **state)
{
    (void)state;
    check_csv("{\"files\": \"a\", \"source\": \"s\", \"header\": false, \"delimiter\": \"tab\","
              "\"quote\": \"\", \"event\": {\"type\": \"track\", \"event\": {\"column\": 2}}}",
              "a\t5\" pipe\nb\n",
              "{\"messageId\":\"x\",\"type\":\"track\",\"event\":\"5\\\" pipe\"}\n"
              "!2: the row has only 1 cells\n");
}

static void put_line(struct mapping *mapping, const char *line, uint64_t number, struct buf *ret)
{
    struct mapping_row row = {slice_text("file"), number, slice_text(line)};
    struct slice column;
    struct error err;
    if (!mapping_put_line(mapping, &row, ret, &column, &err)) {
        buf_put_format(ret, "!%.*s: %s", SLICE_ARGS(column), err.message);
    }
}

static void check_line(const char *json, const char *line, const char *expected)
{
    struct mapping *mapping = mapping_of(json);
    struct buf got;
    buf_init(&got, 64 * 1024);
    put_line(mapping, line, 1, &got);
    buf_put_u8(&got, 0);
    without_ids(&got);
    assert_string_equal((const char *)got.data, expected);
    buf_done(&got);
    mapping_free(&mapping);
}

static void lines_keep_their_own_message_ids(void **state)
{
    static const char whole[] = "{\"files\": \"a\", \"source\": \"s\", \"format\": \"ndjson\"}";
    struct mapping *mapping = mapping_of(whole);
    struct buf got;
    (void)state;
    buf_init(&got, 4096);
    put_line(mapping, "{ \"messageId\":\"m\", \"a\":1e2}", 1, &got);
    assert_true(slice_is(buf_slice(&got), "{ \"messageId\":\"m\", \"a\":1e2}"));
    mapping_free(&mapping);
    buf_done(&got);
    check_line(whole, "{\"a\":[1.5,{}],\"messageId\":null}",
               "{\"messageId\":\"x\",\"a\":[1.5,{}]}");
    check_line(whole, "{\"messageId\":\"\"}", "{\"messageId\":\"x\"}");
    check_line(whole, "{}", "{\"messageId\":\"x\"}");
    check_line(whole, "[]", "!: the line is no JSON object");
    check_line(whole, "{},{}", "!: the line is no JSON");
}

static void members_of_lines_fill_an_event(void **state)
{
    static const char holes[] =
        "{\"files\": \"a\", \"source\": \"s\", \"format\": \"ndjson\", \"event\": {"
        "\"type\": \"track\", \"a\": {\"column\": \"x.y\"}, \"b\": {\"column\": \"n\", \"as\": "
        "\"text\"}, \"c\": {\"column\": \"n\", \"as\": \"integer\"}}}";
    (void)state;
    check_line(holes, "{\"x\":{\"y\":[1,\"a\"]},\"n\":5}",
               "{\"messageId\":\"x\",\"type\":\"track\",\"a\":[1,\"a\"],\"b\":\"5\",\"c\":5}");
    check_line(holes, "{\"x\":{\"y\":null},\"n\":\"07\"}",
               "{\"messageId\":\"x\",\"type\":\"track\",\"b\":\"07\",\"c\":7}");
    check_line(holes, "{\"n\":5.5}", "!n: this is no whole number");
}

static void id_of(struct mapping *mapping, const char *file, uint64_t line, const char *bytes,
                  char ret[UUID_TEXT_BYTES + 1])
{
    struct csv_record record;
    struct buf out;
    struct slice column;
    struct error err;
    size_t used;
    csv_record_init(&record);
    buf_init(&out, 4096);
    assert_int_equal(csv_read(slice_text("a,b\n"), true, &record, &used), CSV_RECORD);
    assert_true(mapping_bind(mapping, &record, &err));
    assert_int_equal(csv_read(slice_text(bytes), true, &record, &used), CSV_RECORD);
    struct mapping_row row = {slice_text(file), line, slice_text(bytes)};
    if (!mapping_put_lines(mapping, (struct mapping_lines){&record, 1}, &row, &out, &column,
                           &err)) {
        ret[0] = 0;
    } else {
        memcpy(ret, out.data + strlen("{\"messageId\":\""), UUID_TEXT_BYTES);
        ret[UUID_TEXT_BYTES] = 0;
    }
    buf_done(&out);
    csv_record_done(&record);
}

static void the_same_row_has_the_same_id_and_no_other_row_has_it(void **state)
{
    static const char json[] =
        "{\"files\": \"a\", \"source\": \"s\", \"event\": {\"type\": \"page\"}}";
    struct mapping *mapping = mapping_of(json);
    char ids[5][UUID_TEXT_BYTES + 1];
    (void)state;
    id_of(mapping, "f", 2, "1,2", ids[0]);
    id_of(mapping, "f", 2, "1,2", ids[1]);
    assert_string_equal(ids[0], ids[1]);
    /* stored: never change how ids are derived, or files put back would count twice */
    assert_string_equal(ids[0], "3a5f76ea-58d9-8449-9ac2-9ee0badc2b66");
    id_of(mapping, "f", 3, "1,2", ids[1]);
    id_of(mapping, "f", 2, "1,3", ids[2]);
    id_of(mapping, "g", 2, "1,2", ids[3]);
    id_of(mapping, "f2", 1, "1,2", ids[4]);
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(ids[i], ids[j]);
        }
    }
    mapping_free(&mapping);
}

static void columns_of_the_message_id_make_it_whatever_the_file(void **state)
{
    struct mapping *mapping = mapping_of("{\"files\": \"a\", \"source\": \"s\", \"messageId\": "
                                         "[\"a\", \"b\"], \"event\": {\"type\": \"page\"}}");
    char ids[5][UUID_TEXT_BYTES + 1];
    (void)state;
    id_of(mapping, "f", 2, "1,2", ids[0]);
    id_of(mapping, "g", 7, "\"1\", 2 ", ids[1]);
    assert_string_equal(ids[0], ids[1]);
    id_of(mapping, "f", 2, "12,", ids[2]);
    id_of(mapping, "f", 2, ",12", ids[3]);
    assert_string_not_equal(ids[0], ids[2]);
    assert_string_not_equal(ids[2], ids[3]);
    id_of(mapping, "f", 2, ",", ids[4]);
    assert_string_equal(ids[4], "");
    mapping_free(&mapping);
}

/* Tills begin their numbers again. */
static void the_time_of_the_event_is_part_of_the_message_id(void **state)
{
    struct mapping *mapping =
        mapping_of("{\"files\": \"a\", \"source\": \"s\", \"messageId\": [\"a\"], \"event\": "
                   "{\"type\": \"page\", \"timestamp\": {\"column\": \"b\"}}}");
    char ids[3][UUID_TEXT_BYTES + 1];
    (void)state;
    id_of(mapping, "f", 2, "1,2026-11-20T10:00:00Z", ids[0]);
    id_of(mapping, "g", 7, "1, 2026-11-20T10:00:00Z ", ids[1]);
    id_of(mapping, "f", 2, "1,2026-11-21T10:00:00Z", ids[2]);
    assert_string_equal(ids[0], ids[1]);
    assert_string_not_equal(ids[0], ids[2]);
    mapping_free(&mapping);
}

static void files_are_matched_by_their_pattern(void **state)
{
    struct mapping *mapping = mapping_of("{\"files\": \"orders*.csv\", \"source\": \"s\","
                                         "\"event\": {\"type\": \"page\"}}");
    (void)state;
    assert_true(mapping_matches(mapping, "orders-2026.csv"));
    assert_true(mapping_matches(mapping, "orders.csv"));
    assert_false(mapping_matches(mapping, "Orders.csv"));
    assert_false(mapping_matches(mapping, "orders.csv.gz"));
    assert_true(slice_is(mapping_name(mapping), "till"));
    assert_true(slice_is(mapping_source(mapping), "s"));
    mapping_free(&mapping);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_mapping_is_named_by_file_line_and_member),
        cmocka_unit_test(the_holes_of_the_event_are_filled_from_the_row),
        cmocka_unit_test(empty_cells_leave_their_members_out_and_whole_elements_of_lists),
        cmocka_unit_test(a_row_that_is_wrong_names_the_column_and_leaves_nothing),
        cmocka_unit_test(columns_that_the_header_lacks_are_named),
        cmocka_unit_test(without_a_header_columns_are_counted),
        cmocka_unit_test(lines_keep_their_own_message_ids),
        cmocka_unit_test(members_of_lines_fill_an_event),
        cmocka_unit_test(the_same_row_has_the_same_id_and_no_other_row_has_it),
        cmocka_unit_test(columns_of_the_message_id_make_it_whatever_the_file),
        cmocka_unit_test(the_time_of_the_event_is_part_of_the_message_id),
        cmocka_unit_test(files_are_matched_by_their_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
