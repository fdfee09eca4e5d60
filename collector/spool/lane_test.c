#include "collector/spool/lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static enum lane lane_of(const struct lanes *lanes, enum event_type type, const char *name)
{
    struct event event = {.type = type, .name = slice_text(name)};
    return lanes_of(lanes, &event);
}

static void test_purchases_and_identities_go_first_and_views_last(void **state)
{
    struct lanes *lanes = lanes_new(" Order Completed ,Order Refunded,,", "Heartbeat");
    (void)state;
    assert_int_equal(lane_of(lanes, EVENT_TRACK, "Order Completed"), LANE_HIGH);
    assert_int_equal(lane_of(lanes, EVENT_TRACK, "Order Refunded"), LANE_HIGH);
    assert_int_equal(lane_of(lanes, EVENT_IDENTIFY, ""), LANE_HIGH);
    assert_int_equal(lane_of(lanes, EVENT_ALIAS, ""), LANE_HIGH);
    assert_int_equal(lane_of(lanes, EVENT_GROUP, ""), LANE_HIGH);
    assert_int_equal(lane_of(lanes, EVENT_TRACK, "Product Viewed"), LANE_NORMAL);
    assert_int_equal(lane_of(lanes, EVENT_TRACK, "Order"), LANE_NORMAL);
    assert_int_equal(lane_of(lanes, EVENT_TRACK, ""), LANE_NORMAL);
    assert_int_equal(lane_of(lanes, EVENT_TRACK, "Heartbeat"), LANE_LOW);
    assert_int_equal(lane_of(lanes, EVENT_PAGE, "Order Completed"), LANE_LOW);
    assert_int_equal(lane_of(lanes, EVENT_SCREEN, ""), LANE_LOW);
    lanes_free(&lanes);
}

static void test_a_name_in_both_lists_is_high(void **state)
{
    struct lanes *lanes = lanes_new("A", "A, B");
    (void)state;
    assert_int_equal(lane_of(lanes, EVENT_TRACK, "A"), LANE_HIGH);
    assert_int_equal(lane_of(lanes, EVENT_TRACK, "B"), LANE_LOW);
    lanes_free(&lanes);
}

static void test_empty_lists_name_nothing(void **state)
{
    struct lanes *lanes = lanes_new("", " , ");
    (void)state;
    assert_int_equal(lane_of(lanes, EVENT_TRACK, ""), LANE_NORMAL);
    assert_int_equal(lane_of(lanes, EVENT_TRACK, "Order Completed"), LANE_NORMAL);
    lanes_free(&lanes);
}

static void test_without_lanes_everything_is_normal(void **state)
{
    (void)state;
    assert_int_equal(lane_of(NULL, EVENT_IDENTIFY, ""), LANE_NORMAL);
    assert_int_equal(lane_of(NULL, EVENT_PAGE, ""), LANE_NORMAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_purchases_and_identities_go_first_and_views_last),
        cmocka_unit_test(test_a_name_in_both_lists_is_high),
        cmocka_unit_test(test_empty_lists_name_nothing),
        cmocka_unit_test(test_without_lanes_everything_is_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
