#include "hub/trust/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hub/trust/judge.h"
#include "shared/json.h"

struct fixture {
    struct identity_rules rules;
    struct buf rules_bytes;
    struct buf sources_bytes;
    struct buf packed;
    struct buf verdict_bytes;
    msgpack_zone zone;
    struct arena arena;
    struct rand rand;
    struct trust_counts *counts;
    struct judge *judge;
};

static const char sources[] = "{\"web\":{},\"shop\":{\"trust\":\"server\"},"
                              "\"lax\":{\"open\":[\"user_id\"]}}";

static const msgpack_object *read(struct fixture *f, struct buf *bytes, const char *json)
{
    struct error err;
    msgpack_object *object = arena_allocate(&f->arena, sizeof *object);
    buf_init(bytes, 1024 * 1024);
    assert_int_equal(json_read(slice_text(json), bytes), JSON_FINE);
    assert_true(value_unpack(buf_slice(bytes), &f->zone, object, &err));
    return object;
}

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    struct error err;
    arena_init(&f->arena, 4096);
    assert_true(msgpack_zone_init(&f->zone, 4096));
    buf_init(&f->packed, 1024 * 1024);
    buf_init(&f->verdict_bytes, 64 * 1024);
    assert_true(
        identity_rules_read(read(f, &f->rules_bytes, identity_rules_default), &f->rules, &err));
    rand_seeded_init(&f->rand, 1);
    f->counts = trust_counts_new();
    f->judge = judge_new(&f->rand, f->counts);
    judge_define(f->judge, read(f, &f->sources_bytes, sources), &f->rules);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    judge_free(&f->judge);
    trust_counts_free(&f->counts);
    buf_done(&f->rules_bytes);
    buf_done(&f->sources_bytes);
    buf_done(&f->packed);
    buf_done(&f->verdict_bytes);
    msgpack_zone_destroy(&f->zone);
    arena_done(&f->arena);
    free(f);
    return 0;
}

/* Judge an event, write it with its verdict, and sort what is read back, as a partition does. */
static void sort(struct fixture *f, const char *source, const char *anonymous_id,
                 const char *user_id, const char *body, struct parties *ret)
{
    struct buf bytes;
    struct verdict verdict;
    struct event read_back;
    struct error err;
    buf_init(&bytes, 64 * 1024);
    assert_int_equal(json_read(slice_text(body), &bytes), JSON_FINE);
    struct event event = {.type = EVENT_IDENTIFY,
                          .timestamp_ms = 1000,
                          .received_ms = 2000,
                          .source = slice_text(source),
                          .message_id = slice_text("m"),
                          .anonymous_id = slice_text(anonymous_id),
                          .user_id = slice_text(user_id),
                          .body = arena_copy(&f->arena, buf_slice(&bytes))};
    buf_done(&bytes);
    buf_clear(&f->packed);
    event_pack(&event, &f->packed);
    judge_event(f->judge, &event, buf_slice(&f->packed), &f->verdict_bytes, &verdict);
    event_add_verdict(&f->packed, buf_slice(&f->verdict_bytes));
    assert_true(event_unpack(buf_slice(&f->packed), &f->zone, &read_back, &err));
    struct verdict stored = verdict_read(read_back.verdict);
    assert_int_equal(stored.is_server, verdict.is_server);
    assert_int_equal(verdict_is_server(read_back.verdict), verdict.is_server);
    verdict_sort(&stored, &f->rules, &read_back, &f->arena, ret);
}

static void put(struct buf *out, const char *what, const struct identifier *ids, size_t count)
{
    buf_put_format(out, "%s%s", out->len == 0 ? "" : " | ", what);
    for (size_t i = 0; i < count; i++) {
        buf_put_format(out, " %.*s:%.*s", SLICE_ARGS(ids[i].type), SLICE_ARGS(ids[i].value));
    }
}

static void test_facts_and_claims_are_told_apart_by_source_and_evidence(void **state)
{
    static const struct {
        const char *source;
        const char *anonymous_id;
        const char *user_id;
        const char *body;
        const char *wanted;
    } table[] = {
        {"web", "a", "u", "{\"traits\":{\"email\":\"E@x.org\"}}",
         "facts anonymous_id:a | claims user_id:u email:e@x.org"},
        {"web", "", "u", "{}", "facts | claims user_id:u"},
        {"web", "a", "",
         "{\"context\":{\"externalIds\":[{\"type\":\"anonymous_id\",\"id\":\"b\"}]}}",
         "facts anonymous_id:a | claims anonymous_id:b"},
        {"nobody", "a", "u", "{}", "facts anonymous_id:a | claims user_id:u"},
        {"lax", "a", "u", "{\"traits\":{\"email\":\"e@x.org\"}}",
         "facts anonymous_id:a user_id:u | claims email:e@x.org"},
        {"shop", "a", "u", "{\"traits\":{\"email\":\"e@x.org\"}}",
         "facts anonymous_id:a user_id:u email:e@x.org | claims"},
        {"shop", "a", "", "{}", "facts anonymous_id:a | claims"},
        {"shop", "a", "", "{\"traits\":{\"email\":\"e@x.org\"}}",
         "facts email:e@x.org | claims | bystander anonymous_id:a"},
        {"shop", "a", "guest", "{\"traits\":{\"email\":\"e@x.org\"}}",
         "facts email:e@x.org | claims | bystander anonymous_id:a"},
        {"shop", "a", "",
         "{\"traits\":{\"email\":\"e@x.org\"},\"context\":{\"authenticated\":true}}",
         "facts anonymous_id:a email:e@x.org | claims"},
        {"web", "a", "",
         "{\"context\":{\"authenticated\":true,\"externalIds\":[{\"type\":\"seat\","
         "\"id\":\"x\"}]}}",
         "facts anonymous_id:a | claims"},
        {"web", "a", "u", "{\"context\":{\"proof\":\"a.b.c\"}}",
         "facts anonymous_id:a | claims user_id:u"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct parties parties;
        struct buf text;
        buf_init(&text, 4096);
        sort(f, table[i].source, table[i].anonymous_id, table[i].user_id, table[i].body, &parties);
        put(&text, "facts", parties.facts, parties.fact_count);
        put(&text, "claims", parties.claims, parties.claim_count);
        if (parties.bystander.value.len > 0) {
            put(&text, "bystander", &parties.bystander, 1);
        }
        if (!slice_is(buf_slice(&text), table[i].wanted)) {
            fail_msg("%zu: %.*s, not %s", i, SLICE_ARGS(buf_slice(&text)), table[i].wanted);
        }
        buf_done(&text);
    }
}

static void test_events_of_earlier_versions_are_facts_and_noise_is_a_client(void **state)
{
    struct verdict old = verdict_read(NULL);
    msgpack_object noise = {.type = MSGPACK_OBJECT_BOOLEAN};
    (void)state;
    assert_true(old.is_server && old.is_authenticated);
    assert_true(verdict_is_server(NULL));
    struct verdict v = verdict_read(&noise);
    assert_false(v.is_server || v.is_authenticated || v.count > 0);
    assert_false(verdict_is_server(&noise));
}

static void test_a_verdict_is_read_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    struct error err;
    msgpack_object object;
    struct verdict v = {.fault = PROOF_EXPIRED, .kid = slice_text("k"), .count = 2};
    v.facts[0].id = (struct identifier){slice_text("user_id"), slice_text("u")};
    v.facts[0].kind = EVIDENCE_PROOF;
    v.facts[1].id = (struct identifier){slice_text("email"), slice_text("")};
    v.facts[1].kind = EVIDENCE_OPEN;
    buf_clear(&f->verdict_bytes);
    verdict_pack(&v, &f->verdict_bytes);
    assert_true(value_unpack(buf_slice(&f->verdict_bytes), &f->zone, &object, &err));
    struct verdict back = verdict_read(&object);
    assert_int_equal(back.fault, PROOF_EXPIRED);
    assert_true(slice_is(back.kid, "k"));
    assert_int_equal(back.count, 2);
    assert_true(slice_is(back.facts[0].id.value, "u"));
    assert_int_equal(back.facts[0].kind, EVIDENCE_PROOF);
    assert_int_equal(back.facts[1].id.value.len, 0);
    assert_string_equal(evidence_name(back.facts[1].kind), "open");
    /* Most verdicts are a byte. */
    buf_clear(&f->verdict_bytes);
    verdict_pack(&(struct verdict){.is_server = true}, &f->verdict_bytes);
    assert_int_equal(f->verdict_bytes.len, 1);
}

static void test_a_wrong_proof_is_counted_with_its_source(void **state)
{
    struct fixture *f = *state;
    struct parties parties;
    sort(f, "web", "a", "u", "{\"context\":{\"proof\":\"a.b.c\"}}", &parties);
    struct trust_figures figures = trust_counts_of(f->counts, slice_text("web"));
    assert_int_equal(figures.proven, 0);
    assert_int_equal(trust_invalid(&figures), 1);
}

static void test_a_seat_is_one_person_at_one_browser(void **state)
{
    struct fixture *f = *state;
    struct identifier bob = {slice_text("user_id"), slice_text("bob")};
    struct identifier bobby = {slice_text("user_id"), slice_text("bobby")};
    struct identifier seat = identity_seat(slice_text("a"), bob, &f->arena);
    assert_true(slice_equal(seat.value, identity_seat(slice_text("a"), bob, &f->arena).value));
    assert_false(slice_equal(seat.value, identity_seat(slice_text("a"), bobby, &f->arena).value));
    assert_false(slice_equal(seat.value, identity_seat(slice_text("b"), bob, &f->arena).value));
    assert_false(identity_rule_of(&f->rules, seat.type).is_known);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_facts_and_claims_are_told_apart_by_source_and_evidence),
        WITH(test_events_of_earlier_versions_are_facts_and_noise_is_a_client),
        WITH(test_a_verdict_is_read_as_it_was_written),
        WITH(test_a_wrong_proof_is_counted_with_its_source),
        WITH(test_a_seat_is_one_person_at_one_browser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
