#include "hub/api/source_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"

static const struct {
    const char *source;
    const char *field; /* of the mistake; NULL: there is none */
} sources[] = {
    {"{}", NULL},
    {"{\"name\":1,\"other\":[]}", NULL},
    {"{\"consent\":{\"required\":[\"analytics\"],\"exempt\":false,\"gpc\":[\"marketing\"]}}", NULL},
    {"{\"consent\":{\"required\":[],\"gpc\":[]}}", NULL},
    {"{\"bots\":\"keep\",\"ip\":\"truncate\",\"rate\":{\"events_per_second\":0.5}}", NULL},
    {"{\"bots\":\"refuse\",\"ip\":\"as_sent\",\"rate\":{\"events_per_second\":9,\"burst\":1}}",
     NULL},
    {"{\"ip\":\"keep\"}", NULL},
    {"{\"ip\":\"drop\"}", NULL},
    {"{\"consent\":true}", "/consent"},
    {"{\"consent\":{\"required\":\"analytics\"}}", "/consent/required"},
    {"{\"consent\":{\"required\":[1]}}", "/consent/required"},
    {"{\"consent\":{\"required\":[\"\"]}}", "/consent/required"},
    {"{\"consent\":{\"exempt\":\"yes\"}}", "/consent/exempt"},
    {"{\"consent\":{\"gpc\":true}}", "/consent/gpc"},
    {"{\"consent\":{\"gpc\":[null]}}", "/consent/gpc"},
    {"{\"consent\":{\"gpc\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\","
     "\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]}}",
     "/consent/gpc"},
    {"{\"bots\":true}", "/bots"},
    {"{\"bots\":\"drop\"}", "/bots"},
    {"{\"ip\":null}", "/ip"},
    {"{\"ip\":\"Keep\"}", "/ip"},
    {"{\"rate\":10}", "/rate"},
    {"{\"rate\":{}}", "/rate/events_per_second"},
    {"{\"rate\":{\"events_per_second\":0}}", "/rate/events_per_second"},
    {"{\"rate\":{\"events_per_second\":-1}}", "/rate/events_per_second"},
    {"{\"rate\":{\"events_per_second\":\"10\"}}", "/rate/events_per_second"},
    {"{\"rate\":{\"events_per_second\":1e7}}", "/rate/events_per_second"},
    {"{\"rate\":{\"events_per_second\":10,\"burst\":0}}", "/rate/burst"},
    {"{\"rate\":{\"events_per_second\":10,\"burst\":\"1\"}}", "/rate/burst"},
};

static void test_the_member_that_is_wrong_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        msgpack_zone zone;
        msgpack_object source;
        struct buf bytes;
        struct error err;
        const char *field = NULL;
        buf_init(&bytes, 4096);
        assert_true(msgpack_zone_init(&zone, 4096));
        assert_true(json_read_value(slice_text(sources[i].source), &bytes, &zone, &source, &err));
        const char *mistake = source_rules_mistake(&source, &field);
        if ((mistake != NULL) != (sources[i].field != NULL) ||
            (mistake != NULL && strcmp(field, sources[i].field) != 0)) {
            fail_msg("%s: %s at %s", sources[i].source, mistake == NULL ? "fine" : mistake, field);
        }
        msgpack_zone_destroy(&zone);
        buf_done(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_member_that_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
