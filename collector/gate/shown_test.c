#include "collector/gate/shown.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "shared/json.h"

struct fixture {
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object map;
    struct shown shown;
};

static void read_shown(struct fixture *f, const char *json)
{
    struct error err;
    buf_init(&f->bytes, 64 * 1024);
    assert_true(msgpack_zone_init(&f->zone, 1024));
    assert_int_equal(json_read(slice_text(json), &f->bytes), JSON_FINE);
    assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &f->map, &err));
    f->shown = shown_read(&f->map);
}

static void done(struct fixture *f)
{
    shown_done(&f->shown);
    msgpack_zone_destroy(&f->zone);
    buf_done(&f->bytes);
}

static bool is_shown(const struct fixture *f, const char *key, enum audience audience)
{
    return shown_find(&f->shown, slice_text(key), audience) != NULL;
}

static void test_each_is_shown_to_its_audience_and_what_is_not_named_to_nobody(void **state)
{
    struct fixture f;
    (void)state;
    read_shown(&f, "{\"s\":{\"edge\":[\"staff\"],\"name\":\"Staff\"},\"p\":{\"edge\":[\"page\"]},"
                   "\"both\":{\"edge\":[\"page\",\"staff\"]},\"none\":{\"edge\":[]}}");
    assert_true(is_shown(&f, "p", AUDIENCE_PAGE) && !is_shown(&f, "p", AUDIENCE_STAFF));
    assert_true(!is_shown(&f, "s", AUDIENCE_PAGE) && is_shown(&f, "s", AUDIENCE_STAFF));
    assert_true(is_shown(&f, "both", AUDIENCE_PAGE) && is_shown(&f, "both", AUDIENCE_STAFF));
    assert_false(is_shown(&f, "none", AUDIENCE_PAGE) || is_shown(&f, "none", AUDIENCE_STAFF));
    assert_false(is_shown(&f, "bot", AUDIENCE_PAGE) || is_shown(&f, "", AUDIENCE_STAFF));
    assert_true(slice_is(shown_find(&f.shown, slice_text("s"), AUDIENCE_STAFF)->name, "Staff"));
    assert_int_equal(shown_find(&f.shown, slice_text("p"), AUDIENCE_PAGE)->name.len, 0);
    done(&f);
}

static void test_what_cannot_be_read_shows_nothing(void **state)
{
    static const char *const rows[] = {"[]",
                                       "7",
                                       "{\"a\":7}",
                                       "{\"a\":{\"edge\":\"page\"}}",
                                       "{\"a\":{\"edge\":[\"crowd\",7]}}",
                                       "{\"a\":{}}"};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        read_shown(&f, rows[i]);
        assert_false(is_shown(&f, "a", AUDIENCE_ALL));
        done(&f);
    }
    struct shown none = shown_read(NULL);
    assert_null(shown_find(&none, slice_text("a"), AUDIENCE_ALL));
    shown_done(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_shown_to_its_audience_and_what_is_not_named_to_nobody),
        cmocka_unit_test(test_what_cannot_be_read_shows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
