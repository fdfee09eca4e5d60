#include "hub/trust/proof_secrets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEY(kid, alg, key) "{\"kid\":\"" kid "\",\"alg\":\"" alg "\",\"key\":" key "}"
#define SOURCE(keys) "{\"name\":\"Shop\",\"proof\":{\"keys\":[" keys "],\"bind\":\"optional\"}}"
#define WORD "\"(secret)\""

struct json {
    msgpack_zone zone;
    struct buf bytes;
    msgpack_object value;
};

static void read_text(struct json *json, const char *text)
{
    struct error err;
    buf_init(&json->bytes, 65536);
    assert_true(msgpack_zone_init(&json->zone, 4096));
    assert_true(json_read_value(slice_text(text), &json->bytes, &json->zone, &json->value, &err));
}

static void done(struct json *json)
{
    msgpack_zone_destroy(&json->zone);
    buf_done(&json->bytes);
}

static const struct {
    const char *proof;
    const char *shown;
} hidden[] = {
    {"{\"keys\":[" KEY("a", "HS256", "\"0123\"") "]}", "{\"keys\":[" KEY("a", "HS256", WORD) "]}"},
    {"{\"keys\":[" KEY("a", "HS256", "{\"kty\":\"oct\",\"k\":\"AAAA\"}") "],\"bind\":\"optional\"}",
     "{\"keys\":[" KEY("a", "HS256", WORD) "],\"bind\":\"optional\"}"},
    {"{\"keys\":[" KEY("a", "EdDSA", "\"AAAA\"") "," KEY("b", "RS256", "{\"n\":\"1\"}") "]}",
     "{\"keys\":[" KEY("a", "EdDSA", "\"AAAA\"") "," KEY("b", "RS256", "{\"n\":\"1\"}") "]}"},
    /* As a version stored it that did not look: nothing that may be a secret is shown. */
    {"{\"keys\":[\"0123\",{\"secret\":\"0123\"}," KEY("a", "XS256", "\"0123\"") "]}",
     "{\"keys\":[" WORD ",{\"secret\":" WORD "}," KEY("a", "XS256", WORD) "]}"},
    {"\"0123\"", "{}"},
    {"{\"keys\":\"0123\",\"other\":\"0123\"}", "{}"},
};

static void test_secrets_are_not_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        struct json json;
        struct json_writer w;
        struct buf out;
        buf_init(&out, 65536);
        read_text(&json, hidden[i].proof);
        json_writer_init(&w, &out);
        proof_write_hidden(&w, &json.value);
        if (!slice_is(buf_slice(&out), hidden[i].shown)) {
            fail_msg("%s: %.*s", hidden[i].proof, SLICE_ARGS(buf_slice(&out)));
        }
        done(&json);
        buf_done(&out);
    }
}

static const struct {
    const char *put;
    const char *before; /* NULL: the source is new */
    const char *kept;
} restored[] = {
    {SOURCE(KEY("a", "HS256", WORD)), SOURCE(KEY("a", "HS256", "\"0123\"")),
     SOURCE(KEY("a", "HS256", "\"0123\""))},
    {SOURCE(KEY("b", "HS256", "\"4567\"") "," KEY("a", "HS256", WORD)),
     SOURCE(KEY("a", "HS256", "\"0123\"") "," KEY("b", "HS256", "\"89ab\"")),
     SOURCE(KEY("b", "HS256", "\"4567\"") "," KEY("a", "HS256", "\"0123\""))},
    {SOURCE(KEY("a", "HS256", WORD)), SOURCE(KEY("a", "HS256", "{\"k\":\"AAAA\"}")),
     SOURCE(KEY("a", "HS256", "{\"k\":\"AAAA\"}"))},
    /* There is nothing to keep. */
    {SOURCE(KEY("a", "HS256", WORD)), NULL, SOURCE(KEY("a", "HS256", WORD))},
    {SOURCE(KEY("a", "HS256", WORD)), "{}", SOURCE(KEY("a", "HS256", WORD))},
    {SOURCE(KEY("a", "HS256", WORD)), SOURCE(KEY("b", "HS256", "\"0123\"")),
     SOURCE(KEY("a", "HS256", WORD))},
    {SOURCE(KEY("a", "HS256", WORD)), SOURCE(KEY("a", "EdDSA", "\"AAAA\"")),
     SOURCE(KEY("a", "HS256", WORD))},
    {SOURCE("{\"key\":" WORD "}"), SOURCE("{\"key\":\"0123\"}"), SOURCE("{\"key\":" WORD "}")},
};

static void test_a_secret_that_was_hidden_is_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof restored / sizeof *restored; i++) {
        struct json put;
        struct json before;
        struct json kept;
        struct buf out;
        buf_init(&out, 65536);
        read_text(&put, restored[i].put);
        read_text(&before, restored[i].before == NULL ? "{}" : restored[i].before);
        read_text(&kept, restored[i].kept);
        assert_true(proof_has_hidden(&put.value));
        proof_restore_hidden(&put.value, restored[i].before == NULL ? NULL : &before.value, &out);
        msgpack_object result;
        struct error err;
        assert_true(value_unpack(buf_slice(&out), &put.zone, &result, &err));
        if (!msgpack_object_equal(result, kept.value)) {
            fail_msg("restored %zu", i);
        }
        done(&put);
        done(&before);
        done(&kept);
        buf_done(&out);
    }
}

static void test_what_hides_nothing_is_told(void **state)
{
    (void)state;
    static const char *const sources[] = {"{}", "{\"proof\":1}", "{\"proof\":{\"keys\":1}}",
                                          SOURCE(""), SOURCE(KEY("a", "HS256", "\"0123\""))};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct json json;
        read_text(&json, sources[i]);
        assert_false(proof_has_hidden(&json.value));
        done(&json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secrets_are_not_shown),
        cmocka_unit_test(test_a_secret_that_was_hidden_is_kept),
        cmocka_unit_test(test_what_hides_nothing_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
