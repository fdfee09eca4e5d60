#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* The library that tests are linked with leaves out the command. */
#include "hub/cli/columns.c"

static void read_row(struct slice text, struct csv_record *ret, size_t *ret_used)
{
    csv_record_init(ret);
    assert_int_equal(csv_read(text, true, ret, ret_used), CSV_RECORD);
}

/* The event of a header and one row, or "!" and the error. */
static void convert(const char *text, const char *text_columns, struct buf *ret)
{
    struct csv_record header;
    struct csv_record row;
    struct columns *columns;
    struct error err;
    size_t used;
    read_row(slice_text(text), &header, &used);
    if (columns_open(&header, text_columns, &columns, &err)) {
        read_row(slice_skip(slice_text(text), used), &row, &used);
        if (!columns_put_event(columns, &row, ret, &err)) {
            buf_put_format(ret, "!%s", err.message);
        }
        csv_record_done(&row);
        columns_close(&columns);
    } else {
        buf_put_format(ret, "!%s", err.message);
    }
    csv_record_done(&header);
    buf_put_u8(ret, 0);
}

static const struct {
    const char *text;
    const char *text_columns;
    const char *expected;
} cases[] = {
    {"type,event,userId\ntrack,Order,7\n", NULL,
     "{\"type\":\"track\",\"event\":\"Order\",\"userId\":\"7\"}"},
    {"type,properties.price,properties.sku,context.consent.categoryPreferences.ads\n"
     "track,19.90,007,true\n",
     NULL,
     "{\"type\":\"track\",\"properties\":{\"price\":19.9,\"sku\":\"007\"},"
     "\"context\":{\"consent\":{\"categoryPreferences\":{\"ads\":true}}}}"},
    {"p.a,q,p.b\n1,x,2\n", NULL, "{\"p\":{\"a\":1,\"b\":2},\"q\":\"x\"}"},
    {"a.b,c.d\n,1\n", NULL, "{\"c\":{\"d\":1}}"},
    {"a.b,c.d\n,\n", NULL, ""},
    {"a.b,c.d\n5\n", NULL, "{\"a\":{\"b\":5}}"},
    {"t.phone,t.loyalty_id,t.productId,t.id,t.n\n1,2,3,4,5\n", NULL,
     "{\"t\":{\"phone\":\"1\",\"loyalty_id\":\"2\",\"productId\":\"3\",\"id\":\"4\",\"n\":5}}"},
    {"p.ean,p.n\n12,12\n", "x,p.ean", "{\"p\":{\"ean\":\"12\",\"n\":12}}"},
    {"p.a,p.b,p.c,p.d,p.e,p.f\n-1,1e3,1.,.5,1e999,-0.25\n", NULL,
     "{\"p\":{\"a\":-1,\"b\":1000,\"c\":\"1.\",\"d\":\".5\",\"e\":\"1e999\",\"f\":-0.25}}"},
    {"p.a,p.b\n123456789012345678,1234567890123456789\n", NULL,
     "{\"p\":{\"a\":123456789012345678,\"b\":\"1234567890123456789\"}}"},
    {"p.a\n\"say \"\"hi\"\"\"\n", NULL, "{\"p\":{\"a\":\"say \\\"hi\\\"\"}}"},
    {"a,b\n1,2,3\n", NULL, "!the row has 3 cells, the header only 2"},
    {"a\n\xff\n", NULL, "!the row is not UTF-8"},
    {"a,a\n1,2\n", NULL,
     "!the header row: column 2: \"a\" is there twice, or is both a value and an object"},
    {"a.b,a\n1,2\n", NULL,
     "!the header row: column 2: \"a\" is there twice, or is both a value and an object"},
    {"a,a.b\n1,2\n", NULL,
     "!the header row: column 2: \"a.b\" is there twice, or is both a value and an object"},
    {"a..b\n1\n", NULL, "!the header row: column 1: \"a..b\" is no dotted name"},
    {"a.\n1\n", NULL, "!the header row: column 1: \"a.\" is no dotted name"},
    {"a,\n1,2\n", NULL, "!the header row: column 2 has no name in UTF-8"},
};

static void rows_become_events_as_their_header_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf got;
        buf_init(&got, 4096);
        convert(cases[i].text, cases[i].text_columns, &got);
        assert_string_equal((const char *)got.data, cases[i].expected);
        buf_done(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_events_as_their_header_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
