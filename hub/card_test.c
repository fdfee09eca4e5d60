/* Cards: what of a profile goes to whom. */
#include "hub/card.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "shared/json.h"

enum { WEB = 3, TILL = 4 };

struct fixture {
    struct catalog *catalog;
    struct profile *profile;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
    struct wire_card card;
    struct error err;
};

static void define(struct fixture *f, const char *rules, const char *more)
{
    struct buf json;
    struct buf bytes;
    struct catalog_error where;
    buf_init(&json, 64 * 1024);
    buf_init(&bytes, 64 * 1024);
    buf_put_format(&json, "{\"version\":1,\"rules\":");
    buf_put_slice(&json, slice_text(rules));
    buf_put_format(&json, ",%s}", more);
    assert_int_equal(json_read(buf_slice(&json), &bytes), JSON_FINE);
    catalog_free(&f->catalog);
    if (!catalog_new(buf_slice(&bytes), &f->catalog, &where, &f->err)) {
        fail_msg("%s: %s", where.field, f->err.message);
    }
    buf_done(&json);
    buf_done(&bytes);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    bool is_new;
    buf_init(&f->bytes, LIMIT_WIRE_BYTES);
    assert_true(msgpack_zone_init(&f->zone, 4096));
    f->profile = profile_new(profile_id_make(1, 2, 3));
    (void)profile_make_interest(f->profile, WEB, &is_new);
    (void)profile_make_interest(f->profile, TILL, &is_new);
    define(f, identity_rules_default, "\"segments\":[]");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    catalog_free(&f->catalog);
    profile_free(&f->profile);
    buf_done(&f->bytes);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static void see(struct fixture *f, const char *type, const char *value, int64_t at_ms)
{
    (void)profile_see_identifier(
        f->profile, (struct identifier){slice_text(type), slice_text(value)}, at_ms, at_ms);
}

static void see_browser(struct fixture *f, uint32_t collector, const char *value, int64_t at_ms)
{
    see(f, "anonymous_id", value, at_ms);
    struct profile_identifier *id = profile_find_identifier(
        f->profile, (struct identifier){slice_text("anonymous_id"), slice_text(value)});
    (void)profile_see_at(f->profile, id, collector);
    profile_prove_identifier(f->profile, id->id, at_ms);
}

static void write_card(struct fixture *f, uint32_t collector, enum card_shape shape)
{
    buf_clear(&f->bytes);
    msgpack_zone_clear(&f->zone);
    card_write(f->profile, f->catalog, (struct card_reader){collector, shape}, 1000, &f->bytes);
    assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &f->object, &f->err));
    assert_true(wire_read_card(&f->object, &f->card));
}

/* What finds the card, in its order. */
static void assert_found_by(struct fixture *f, const char *wanted)
{
    struct buf text;
    struct identifier id;
    buf_init(&text, 64 * 1024);
    for (size_t i = 0; wire_card_identifier(&f->card, i, &id); i++) {
        buf_put_format(&text, "%s%.*s:%.*s", i > 0 ? " " : "", SLICE_ARGS(id.type),
                       SLICE_ARGS(id.value));
    }
    if (!slice_is(buf_slice(&text), wanted)) {
        fail_msg("%.*s, not %s", SLICE_ARGS(buf_slice(&text)), wanted);
    }
    buf_done(&text);
}

static void test_a_card_names_the_browsers_that_its_collector_has_seen(void **state)
{
    struct fixture *f = *state;
    int64_t ms = 0;
    see_browser(f, WEB, "a-1", 10);
    see_browser(f, TILL, "a-2", 20);
    see_browser(f, WEB, "a-3", 30);
    see(f, "email", "jane@example.com", 5);
    write_card(f, WEB, CARD_BROWSERS);
    assert_found_by(f, "email:jane@example.com anonymous_id:a-3 anonymous_id:a-1");
    assert_true(wire_card_evidence(&f->card, slice_text("a-1"), &ms));
    assert_int_equal(ms, card_evidence_at(f->profile, slice_text("a-1")));
    write_card(f, TILL, CARD_BROWSERS);
    assert_found_by(f, "email:jane@example.com anonymous_id:a-2");
    write_card(f, 99, CARD_BROWSERS);
    assert_found_by(f, "email:jane@example.com");
    assert_true(card_has_browser(f->profile, WEB, slice_text("a-1")));
    assert_false(card_has_browser(f->profile, WEB, slice_text("a-2")));
    assert_false(card_has_browser(f->profile, WEB, slice_text("a-9")));
    assert_false(card_has_browser(f->profile, 99, slice_text("a-1")));
}

static void test_a_browser_at_which_another_was_proven_is_evidently_nobodys(void **state)
{
    struct fixture *f = *state;
    const struct identifier tablet = {slice_text("anonymous_id"), slice_text("tablet")};
    const struct {
        bool is_other;
        int64_t at_ms;
        int64_t evident_ms;
    } events[] = {{false, 10, 10}, {true, 20, 0},  {false, 30, 30}, {true, 15, 30},
                  {true, 30, 0},   {false, 25, 0}, {false, 31, 31}};
    int64_t ms = -1;
    see_browser(f, WEB, "tablet", 5);
    see(f, "email", "jane@example.com", 5);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        (events[i].is_other ? profile_part_identifier
                            : profile_prove_identifier)(f->profile, tablet, events[i].at_ms);
        assert_int_equal(card_evidence_at(f->profile, tablet.value), events[i].evident_ms);
        write_card(f, WEB, CARD_BROWSERS);
        assert_true(wire_card_evidence(&f->card, tablet.value, &ms));
        assert_int_equal(ms, events[i].evident_ms);
    }
}

static void test_an_older_collector_gets_its_own_browsers_among_the_identifiers(void **state)
{
    struct fixture *f = *state;
    see_browser(f, WEB, "a-1", 10);
    see_browser(f, TILL, "a-2", 20);
    see(f, "email", "jane@example.com", 5);
    write_card(f, WEB, CARD_NAMED);
    assert_int_equal(f->object.via.array.size, CARD_MEMBERS - 1);
    assert_null(f->card.browsers);
    assert_found_by(f, "email:jane@example.com anonymous_id:a-1");
    write_card(f, WEB, CARD_FIRST);
    assert_int_equal(f->object.via.array.size, CARD_MEMBERS - 2);
    assert_null(f->card.purchases);
    assert_found_by(f, "email:jane@example.com anonymous_id:a-1");
}

/* A person with a new browser at each visit. */
static void test_of_many_browsers_a_card_names_the_latest(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "a-%d", i);
        see_browser(f, WEB, name, i);
    }
    see(f, "email", "jane@example.com", 5);
    see_browser(f, TILL, "till", 1);
    write_card(f, WEB, CARD_BROWSERS);
    assert_int_equal(f->card.browsers->via.array.size, CARD_BROWSERS_MAX);
    assert_int_equal(f->card.identifiers->via.array.size, 1);
    assert_true(f->bytes.len < 2048);
    for (int i = 0; i < 300; i++) {
        int64_t ms;
        snprintf(name, sizeof name, "a-%d", i);
        bool is_named = wire_card_evidence(&f->card, slice_text(name), &ms);
        assert_int_equal(is_named, i >= 300 - CARD_BROWSERS_MAX);
        assert_int_equal(is_named, card_has_browser(f->profile, WEB, slice_text(name)));
    }
    see_browser(f, WEB, "a-0", 1000); /* it comes again */
    assert_true(card_has_browser(f->profile, WEB, slice_text("a-0")));
    assert_true(card_has_browser(f->profile, TILL, slice_text("till")));
}

static void test_what_names_a_person_is_kept_before_what_does_not(void **state)
{
    struct fixture *f = *state;
    char value[32];
    struct identifier id;
    define(f, "{\"identifiers\":[{\"type\":\"device\",\"known\":false}]}", "\"segments\":[]");
    see(f, "email", "jane@example.com", 1);
    for (int i = 0; i < CARD_IDENTIFIERS_MAX; i++) {
        snprintf(value, sizeof value, "d-%d", i);
        see(f, "device", value, 100 + i);
    }
    write_card(f, WEB, CARD_BROWSERS);
    assert_int_equal(f->card.identifiers->via.array.size, CARD_IDENTIFIERS_MAX);
    assert_true(wire_card_identifier(&f->card, 0, &id) && slice_is(id.type, "email"));
    assert_true(wire_card_identifier(&f->card, CARD_IDENTIFIERS_MAX - 1, &id));
    assert_true(slice_is(id.value, "d-1")); /* the earliest seen is left out */
}

static const char four[] =
    "\"segments\":["
    "{\"id\":1,\"key\":\"p\",\"version\":1,\"where\":{\"known\":true},\"edge\":[\"page\"]},"
    "{\"id\":2,\"key\":\"s\",\"version\":1,\"where\":{\"known\":true},\"edge\":[\"staff\"]},"
    "{\"id\":3,\"key\":\"ps\",\"version\":1,\"name\":\"Both\",\"where\":{\"known\":true},"
    "\"edge\":[\"page\",\"staff\"]},"
    "{\"id\":4,\"key\":\"none\",\"version\":1,\"where\":{\"known\":true}}],"
    "\"edgeTraits\":[[\"tp\",[\"page\"],1],[\"tps\",[\"page\",\"staff\"],1],[\"tnone\",[],1]]";

static bool is_in(const struct fixture *f, const char *text)
{
    return memmem(f->bytes.data, f->bytes.len, text, strlen(text)) != NULL;
}

static void test_what_is_shown_to_nobody_does_not_go_to_the_edge(void **state)
{
    struct fixture *f = *state;
    static const char *const traits[] = {"tp", "tps", "tnone", "undefined"};
    define(f, identity_rules_default, four);
    for (uint32_t segment = 1; segment <= 4; segment++) {
        profile_enter(f->profile, segment, 5);
    }
    for (size_t i = 0; i < 4; i++) {
        struct profile_trait trait = {.name = slice_text(traits[i]), .value = slice_text("\x2a")};
        (void)profile_set_trait(f->profile, &trait);
    }
    write_card(f, WEB, CARD_BROWSERS);
    assert_int_equal(f->card.segments->via.array.size, 3);
    assert_int_equal(f->card.segments->via.array.ptr[0].via.array.size, 2);
    assert_int_equal(f->card.traits->via.map.size, 2);
    assert_false(is_in(f, "none") || is_in(f, "tnone") || is_in(f, "undefined"));
    assert_false(is_in(f, "Both")); /* names are the gate's */

    /* One that shows all that it has to everybody gets what everybody may see. */
    write_card(f, WEB, CARD_NAMED);
    assert_int_equal(f->card.segments->via.array.size, 1);
    assert_int_equal(f->card.traits->via.map.size, 1);
    assert_true(is_in(f, "ps") && is_in(f, "Both") && is_in(f, "tps"));
    write_card(f, WEB, CARD_FIRST);
    assert_int_equal(f->card.segments->via.array.size, 1);
    assert_false(is_in(f, "Both"));
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_card_names_the_browsers_that_its_collector_has_seen),
        WITH(test_a_browser_at_which_another_was_proven_is_evidently_nobodys),
        WITH(test_an_older_collector_gets_its_own_browsers_among_the_identifiers),
        WITH(test_of_many_browsers_a_card_names_the_latest),
        WITH(test_what_is_shown_to_nobody_does_not_go_to_the_edge),
        WITH(test_what_names_a_person_is_kept_before_what_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
