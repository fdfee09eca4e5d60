#include "shared/audience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "shared/json.h"

/* NULL: absent. */
static const struct {
    const char *edge;
    enum audience audience;
    int at;              /* of the mistake */
    const char *mistake; /* how its sentence begins; NULL: fine */
} rows[] = {
    {NULL, AUDIENCE_NOBODY, -1, NULL},
    {"[]", AUDIENCE_NOBODY, -1, NULL},
    {"[\"page\"]", AUDIENCE_PAGE, -1, NULL},
    {"[\"staff\"]", AUDIENCE_STAFF, -1, NULL},
    {"[\"page\",\"staff\"]", AUDIENCE_ALL, -1, NULL},
    {"[\"staff\",\"page\"]", AUDIENCE_ALL, -1, NULL},
    {"true", AUDIENCE_ALL, -1, "\"edge\" must be a list"}, /* as it was stored once */
    {"false", AUDIENCE_NOBODY, -1, "\"edge\" must be a list"},
    {"null", AUDIENCE_NOBODY, -1, "\"edge\" must be a list"},
    {"\"page\"", AUDIENCE_NOBODY, -1, "\"edge\" must be a list"},
    {"{\"page\":true}", AUDIENCE_NOBODY, -1, "\"edge\" must be a list"},
    {"[\"pages\"]", AUDIENCE_NOBODY, 0, "\"pages\" is no audience"},
    {"[\"staff\",\"Page\"]", AUDIENCE_STAFF, 1, "\"Page\" is no audience"},
    {"[\"page\",true]", AUDIENCE_PAGE, 1, "\"\" is no audience"},
    {"[\"page\",\"staff\",\"page\"]", AUDIENCE_ALL, 2, "\"edge\" names the same audience twice"},
};

static void test_an_audience_is_read_and_what_is_wrong_with_it_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf bytes;
        msgpack_zone zone;
        msgpack_object object;
        struct error err = {0};
        int at = 7;
        buf_init(&bytes, 1024);
        assert_true(msgpack_zone_init(&zone, 1024));
        if (rows[i].edge != NULL) {
            assert_int_equal(json_read(slice_text(rows[i].edge), &bytes), JSON_FINE);
            assert_true(value_unpack(buf_slice(&bytes), &zone, &object, &err));
        }
        const msgpack_object *edge = rows[i].edge == NULL ? NULL : &object;
        bool fine = audience_check(edge, &at, &err);
        if (audience_read(edge) != rows[i].audience || fine != (rows[i].mistake == NULL) ||
            at != rows[i].at ||
            (!fine && !slice_starts_with(slice_text(err.message), slice_text(rows[i].mistake)))) {
            fail_msg("%s: audience %d, at %d, %s", rows[i].edge, (int)audience_read(edge), at,
                     fine ? "fine" : err.message);
        }
        msgpack_zone_destroy(&zone);
        buf_done(&bytes);
    }
}

static void test_an_audience_reads_back_as_it_was_packed(void **state)
{
    (void)state;
    for (int audience = AUDIENCE_NOBODY; audience <= AUDIENCE_ALL; audience++) {
        struct buf bytes;
        msgpack_packer packer;
        msgpack_zone zone;
        msgpack_object object;
        struct error err;
        int at;
        buf_init(&bytes, 1024);
        assert_true(msgpack_zone_init(&zone, 1024));
        value_packer_init(&packer, &bytes);
        audience_pack(&packer, (enum audience)audience);
        assert_true(value_unpack(buf_slice(&bytes), &zone, &object, &err));
        assert_true(audience_check(&object, &at, &err));
        assert_int_equal(audience_read(&object), audience);
        msgpack_zone_destroy(&zone);
        buf_done(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_audience_is_read_and_what_is_wrong_with_it_is_said),
        cmocka_unit_test(test_an_audience_reads_back_as_it_was_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
