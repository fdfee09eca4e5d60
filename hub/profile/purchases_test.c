/* The last purchases: which are kept, whatever the order, and what is read of an event. */
#include "hub/profile/purchases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"
#include "shared/rand.h"

static struct profile_id id_of(uint64_t n)
{
    return profile_id_make(1795292103120, 0, n);
}

static struct profile_purchase purchase_of(int64_t at_ms, const char *message_id)
{
    return (struct profile_purchase){.at_ms = at_ms,
                                     .message_id = slice_text(message_id),
                                     .name = slice_text("Order Completed"),
                                     .source = slice_text("pos"),
                                     .has_total = true,
                                     .total = (double)at_ms / 4,
                                     .currency = slice_text("EUR")};
}

/* The kept message ids, newest first. */
static void describe(const struct profile *p, char ret[64])
{
    size_t len = 0;
    ret[0] = 0;
    for (size_t i = 0; i < p->purchase_count; i++) {
        len +=
            (size_t)snprintf(ret + len, 64 - len, "%.*s ", SLICE_ARGS(p->purchases[i].message_id));
    }
}

static void assert_kept(const struct profile *p, const char *wanted)
{
    char kept[64];
    describe(p, kept);
    assert_string_equal(kept, wanted);
}

static void test_the_newest_are_kept_whatever_the_order(void **state)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rand rand;
        struct profile *p = profile_new(id_of(1));
        unsigned noted = 0;
        rand_seeded_init(&rand, seed);
        /* a and b at the same time: the greater message id counts as newer */
        while (noted != 0xff) {
            size_t i = rand_below(&rand, 8);
            struct profile_purchase one = purchase_of(i < 2 ? 100 : (int64_t)i * 100, ids[i]);
            (void)purchases_note(p, &one);
            noted |= 1U << i;
        }
        assert_kept(p, "h g f e d ");
        profile_free(&p);
    }
}

static void test_of_the_same_time_the_greater_message_is_newer_and_one_counts_once(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct profile_purchase a = purchase_of(100, "a");
    struct profile_purchase b = purchase_of(100, "b");
    (void)state;
    assert_true(purchases_note(p, &a));
    assert_true(purchases_note(p, &b));
    assert_false(purchases_note(p, &a));
    assert_kept(p, "b a ");
    profile_free(&p);
}

static void test_a_merge_keeps_the_newest_of_both(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct profile *q = profile_new(id_of(2));
    static const char *const ids[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct profile_purchase one = purchase_of(i, ids[i]);
        (void)purchases_note(i % 2 == 0 ? p : q, &one);
    }
    p->purchases_version = 3;
    q->purchases_version = 3;
    purchases_merge(p, q);
    assert_kept(p, "7 6 5 4 3 ");
    assert_int_equal(p->purchases_version, 3);
    q->purchases_version = 4;
    purchases_merge(p, q);
    assert_int_equal(p->purchases_version, PURCHASES_INCOMPLETE);
    profile_free(&q); /* nothing of p refers into it */
    assert_kept(p, "7 6 5 4 3 ");
    profile_free(&p);
}

static void test_packed_purchases_read_back_and_damage_is_refused(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct profile_purchase bare = {.at_ms = 5,
                                    .message_id = slice_text("m"),
                                    .name = slice_text("Order Refunded"),
                                    .source = slice_text("")};
    struct profile_purchase full = purchase_of(7, "n");
    struct profile *back;
    struct buf bytes;
    struct error err;
    (void)state;
    (void)purchases_note(p, &bare);
    (void)purchases_note(p, &full);
    p->purchases_version = 9;
    buf_init(&bytes, 64 * 1024);
    profile_pack(p, &bytes);
    assert_true(profile_unpack(buf_slice(&bytes), &back, &err));
    assert_kept(back, "n m ");
    assert_int_equal(back->purchases_version, 9);
    assert_true(back->purchases[0].has_total && back->purchases[0].total == 1.75);
    assert_true(slice_is(back->purchases[0].currency, "EUR"));
    assert_false(back->purchases[1].has_total);
    assert_int_equal(back->purchases[1].currency.len, 0);
    profile_free(&back);
    /* The array's head announces another length: 7 members a purchase and the version. */
    uint8_t *head = memmem(bytes.data, bytes.len, "\x9f\x09\x07", 3);
    assert_non_null(head);
    *head = 0x9e;
    assert_false(profile_unpack(buf_slice(&bytes), &back, &err));
    buf_done(&bytes);
    profile_free(&p);
}

static void test_a_profile_of_an_earlier_version_reads_with_incomplete_purchases(void **state)
{
    struct profile *p = profile_new(id_of(1));
    struct profile *back;
    struct buf bytes;
    struct error err;
    (void)state;
    p->version = 7;
    p->purchases_version = 1;
    buf_init(&bytes, 64 * 1024);
    profile_pack(p, &bytes);
    assert_memory_equal(bytes.data, "\xdc\x00\x15", 3); /* an array of 21 */
    bytes.data[2] = 0x12;
    bytes.len -= 10; /* no claims */
    bytes.len -= 3;  /* [1], and [] of where browsers were seen */
    assert_true(profile_unpack(buf_slice(&bytes), &back, &err));
    assert_int_equal(back->version, 7);
    assert_int_equal(back->purchases_version, PURCHASES_INCOMPLETE);
    profile_free(&back);
    buf_done(&bytes);
    profile_free(&p);
}

static void test_an_amount_is_read_from_total_revenue_or_value(void **state)
{
    static const struct {
        const char *properties;
        bool has_total;
        double total;
        const char *currency;
        const char *order_id;
    } rows[] = {
        {"{\"total\":80,\"revenue\":70}", true, 80, "", ""},
        {"{\"revenue\":70.5,\"currency\":\"EUR\"}", true, 70.5, "EUR", ""},
        {"{\"value\":1,\"order_id\":\"o-1\"}", true, 1, "", "o-1"},
        {"{\"total\":\"80\",\"currency\":7}", false, 0, "", ""},
        {"{}", false, 0, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        struct buf bytes;
        msgpack_zone zone;
        struct error err;
        struct event event = {.type = EVENT_TRACK, .timestamp_ms = 12};
        buf_init(&bytes, 4096);
        assert_true(msgpack_zone_init(&zone, 1024));
        snprintf(text, sizeof text, "{\"properties\":%s}", rows[i].properties);
        assert_int_equal(json_read(slice_text(text), &bytes), JSON_FINE);
        assert_true(value_unpack(buf_slice(&bytes), &zone, &event.body_map, &err));
        struct profile_purchase p = purchases_read(&event);
        assert_int_equal(p.at_ms, 12);
        assert_int_equal(p.has_total, rows[i].has_total);
        assert_true(p.total == rows[i].total);
        assert_true(slice_is(p.currency, rows[i].currency));
        assert_true(slice_is(p.order_id, rows[i].order_id));
        msgpack_zone_destroy(&zone);
        buf_done(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_are_kept_whatever_the_order),
        cmocka_unit_test(test_of_the_same_time_the_greater_message_is_newer_and_one_counts_once),
        cmocka_unit_test(test_a_merge_keeps_the_newest_of_both),
        cmocka_unit_test(test_packed_purchases_read_back_and_damage_is_refused),
        cmocka_unit_test(test_a_profile_of_an_earlier_version_reads_with_incomplete_purchases),
        cmocka_unit_test(test_an_amount_is_read_from_total_revenue_or_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
