/* Both parsers by themselves: what simdjson refuses is read by yajl, so that what one of them does
 * wrong would not show in what json_read() makes. */
#include "shared/json_doc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "shared/buf.h"
#include "shared/json_tape.h"

enum { TAPE_DEPTH_MAX = 1024 };

static const char *const fine[] = {
    "0",
    " {} ",
    "[]",
    "\"text\"",
    "[null,true,false]",
    "[0,-1,9223372036854775807,-9223372036854775808,18446744073709551615]",
    "[1.0,0.1,-0.0,-2.5e-3,1e308,5e-324,1e-400]",
    "{\"a\":{\"b\":[1,{\"c\":\"\\u00e9\\ud83d\\ude00\\n\"},[]]},\"\":\"\",\"a\":2}",
    "[\"caf\xc3\xa9\",\"\\u0000\"]",
    "{\"type\":\"track\",\"event\":\"E\",\"properties\":{\"price\":12.5,\"items\":[{\"sku\":7}]}}",
};

/* What yajl makes of each: false where it is not JSON either. */
static const struct {
    const char *text;
    bool is_json;
} refused[] = {
    {"", false},
    {"{", false},
    {"[1,]", false},
    {"[01]", false},
    {"[1.]", false},
    {"{}x", false},
    {"{}\"x", false},
    {"{}\"x\\", false},
    {"{}any{[ thing\\", false},
    {"[\"\\x\"]", false},
    {"[1e400]", true},
    {"[18446744073709551616]", true},
    {"[-9223372036854775809]", true},
    {"[\"\xff\"]", true},
    {"[\"\\ud800\"]", true},
    {"[\"\\udc00\"]", true},
};

static void test_each_parser_takes_what_it_shall(void **state)
{
    struct json_parser *parser = json_parser_new();
    struct json_tape_reader *reader = json_tape_reader_new();
    const uint8_t *texts;
    struct json_doc doc;
    (void)state;
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        if (json_tape_read(reader, fine[i], strlen(fine[i]), &texts) == NULL ||
            !json_parse_slowly(parser, slice_text(fine[i]), &doc)) {
            fail_msg("%s", fine[i]);
        }
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (json_tape_read(reader, refused[i].text, strlen(refused[i].text), &texts) != NULL ||
            json_parse(parser, slice_text(refused[i].text), &doc) != refused[i].is_json) {
            fail_msg("%s", refused[i].text);
        }
    }
    json_tape_reader_free(&reader);
    json_parser_free(&parser);
}

static void test_both_parsers_make_the_same(void **state)
{
    struct json_parser *quick = json_parser_new();
    struct json_parser *slow = json_parser_new();
    struct json_doc a;
    struct json_doc b;
    (void)state;
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        assert_true(json_parse(quick, slice_text(fine[i]), &a));
        assert_true(json_parse_slowly(slow, slice_text(fine[i]), &b));
        size_t end = json_doc_next(&a, JSON_ROOT);
        assert_int_equal(end, json_doc_next(&b, JSON_ROOT));
        for (size_t at = JSON_ROOT; at < end; at++) {
            enum json_kind kind = json_doc_kind(&a, at);
            assert_int_equal(kind, json_doc_kind(&b, at));
            if (kind == JSON_TEXT) {
                assert_true(slice_equal(json_doc_text(&a, at), json_doc_text(&b, at)));
            } else {
                assert_true(a.words[at] == b.words[at]);
            }
            if (kind == JSON_INT || kind == JSON_UINT || kind == JSON_DOUBLE) {
                at++;
                assert_true(a.words[at] == b.words[at]);
            }
        }
    }
    json_parser_free(&quick);
    json_parser_free(&slow);
}

static void test_nothing_behind_the_text_is_touched_or_matters(void **state)
{
    static const char text[] = "{\"event\":\"E\",\"number\":123,\"list\":[1,2,\"three\"]}";
    enum { PAGE = 4096, DISTANCES = 100 };
    struct json_tape_reader *reader = json_tape_reader_new();
    const uint8_t *texts;
    uint8_t *pages =
        mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)state;
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
    for (size_t distance = 0; distance < DISTANCES; distance++) {
        uint8_t *at = pages + PAGE - distance - (sizeof text - 1);
        memset(at + sizeof text - 1, '9', distance);
        memcpy(at, text, sizeof text - 1);
        assert_non_null(json_tape_read(reader, at, sizeof text - 1, &texts));
        at[0] = '7'; /* behind which stands a quote, and nines */
        const uint64_t *words = json_tape_read(reader, at, 1, &texts);
        assert_true(words != NULL && words[JSON_ROOT + 1] == 7);
        at[sizeof text - 2] = '8';
        words = json_tape_read(reader, at + sizeof text - 2, 1, &texts);
        assert_true(words != NULL && words[JSON_ROOT + 1] == 8);
    }
    munmap(pages, 2 * PAGE);
    json_tape_reader_free(&reader);
}

static void test_deep_nesting_is_read_to_any_depth(void **state)
{
    struct json_parser *parser = json_parser_new();
    struct json_doc doc;
    char text[4 * TAPE_DEPTH_MAX];
    (void)state;
    for (size_t depth = TAPE_DEPTH_MAX - 1; depth <= TAPE_DEPTH_MAX + 2; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_true(json_parse(parser, slice_make(text, 2 * depth), &doc));
        assert_int_equal(json_doc_next(&doc, JSON_ROOT), JSON_ROOT + 2 * depth);
    }
    json_parser_free(&parser);
}

static double parse_many(const char *number, size_t bytes)
{
    struct json_parser *parser = json_parser_new();
    struct json_doc doc;
    struct timespec begin;
    struct timespec end;
    struct buf text;
    buf_init(&text, bytes + 256);
    buf_put_u8(&text, '[');
    while (text.len < bytes) {
        buf_put_format(&text, "%s,", number);
    }
    text.data[text.len - 1] = ']';
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    assert_true(json_parse(parser, buf_slice(&text), &doc));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    buf_done(&text);
    json_parser_free(&parser);
    return (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
}

/* simdjson alone takes a hundred times as long for these as for short numbers. */
static void test_no_number_costs_much_more_than_its_bytes(void **state)
{
    static const char *const rows[] = {
        "12345678901234567890e288",
        "1234567890.1234567890E-300",
        "-0.12345678901234567890123456789e-290",
    };
    enum { BYTES = 400000 };
    (void)state;
    double usual = parse_many("1.5", BYTES);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double took = parse_many(rows[i], BYTES);
        if (took > 30 * usual + 5) {
            fail_msg("%s took %.1f ms, others %.1f", rows[i], took, usual);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_parser_takes_what_it_shall),
        cmocka_unit_test(test_both_parsers_make_the_same),
        cmocka_unit_test(test_nothing_behind_the_text_is_touched_or_matters),
        cmocka_unit_test(test_deep_nesting_is_read_to_any_depth),
        cmocka_unit_test(test_no_number_costs_much_more_than_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
