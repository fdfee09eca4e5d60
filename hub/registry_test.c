#include "hub/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hub/trust/source.h"
#include "shared/json.h"

struct fixture {
    struct store *store;
    struct eventlog *log;
    struct registry *registry;
    struct clock_fake clock;
    unsigned changes;
    struct catalog_error where;
    struct error err;
    struct buf bytes;
};

static void on_change(void *user)
{
    ((struct fixture *)user)->changes++;
}

static void open_all(struct fixture *f)
{
    assert_true(eventlog_open(f->store, &f->log, &f->err));
    if (!registry_open(f->log, &f->clock.clock, on_change, f, &f->registry, &f->err)) {
        fail_msg("%s", f->err.message);
    }
}

static void close_all(struct fixture *f)
{
    registry_close(&f->registry);
    eventlog_close(&f->log);
}

static void restart_after_power_cut(struct fixture *f)
{
    close_all(f);
    store_memory_crash(f->store);
    open_all(f);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    clock_fake_init(&f->clock, 1795292103120);
    buf_init(&f->bytes, 16 * 1024 * 1024);
    open_all(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    store_close(&f->store);
    buf_done(&f->bytes);
    free(f);
    return 0;
}

static bool put(struct fixture *f, enum registry_kind kind, const char *key, const char *json)
{
    struct buf body;
    buf_init(&body, 1024 * 1024);
    assert_int_equal(json_read(slice_text(json), &body), JSON_FINE);
    bool fine =
        registry_put(f->registry, kind, slice_text(key), buf_slice(&body), &f->where, &f->err);
    buf_done(&body);
    return fine;
}

static void must_put(struct fixture *f, enum registry_kind kind, const char *key, const char *json)
{
    if (!put(f, kind, key, json)) {
        fail_msg("%s %s: %s", key, json, f->err.message);
    }
}

static bool remove_entry(struct fixture *f, enum registry_kind kind, const char *key,
                         bool *ret_found)
{
    return registry_delete(f->registry, kind, slice_text(key), ret_found, &f->where, &f->err);
}

static struct registry_entry find(struct fixture *f, enum registry_kind kind, const char *key)
{
    struct registry_entry entry = {0};
    if (!registry_find(f->registry, kind, slice_text(key), &f->bytes, &entry)) {
        fail_msg("%s is not there", key);
    }
    return entry;
}

static bool has(struct fixture *f, enum registry_kind kind, const char *key)
{
    struct registry_entry entry;
    return registry_find(f->registry, kind, slice_text(key), &f->bytes, &entry);
}

/* Everything that others see: catalog, gate and the log's length, as one run of bytes. */
static void picture(struct fixture *f, struct buf *ret)
{
    uint64_t gate_version;
    buf_init(ret, 16 * 1024 * 1024);
    registry_catalog(f->registry, NULL, ret);
    registry_gate(f->registry, (struct registry_reader){0}, ret, &gate_version);
    buf_put_u64(ret, gate_version);
    buf_put_u64(ret, eventlog_next(f->log));
}

static void assert_picture(struct fixture *f, const struct buf *expected, const char *what)
{
    struct buf now;
    picture(f, &now);
    if (!slice_equal(buf_slice(&now), buf_slice(expected))) {
        fail_msg("%s changed something", what);
    }
    buf_done(&now);
}

static void test_a_new_registry_has_the_default_rules_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct catalog *catalog;
    assert_true(has(f, REGISTRY_RULES, "rules"));
    assert_false(has(f, REGISTRY_SEGMENT, "rules"));
    buf_clear(&f->bytes);
    registry_catalog(f->registry, NULL, &f->bytes);
    assert_true(catalog_new(buf_slice(&f->bytes), &catalog, &f->where, &f->err));
    assert_int_equal(catalog_segment_count(catalog), 0);
    assert_int_equal(catalog_rules(catalog)->count, 5);
    catalog_free(&catalog);
    assert_true(registry_gate_version(f->registry) > 0);
    assert_int_equal(eventlog_next(f->log), 1);
}

static void test_what_was_put_is_found_and_survives_a_power_cut(void **state)
{
    struct fixture *f = *state;
    must_put(f, REGISTRY_SOURCE, "web", "{\"name\":\"Shop\"}");
    must_put(f, REGISTRY_SEGMENT, "vip", "{\"name\":\"VIP\",\"where\":{\"known\":true}}");
    must_put(f, REGISTRY_TRAIT, "city", "{\"edge\":true}");
    must_put(f, REGISTRY_COLLECTOR, "till-1", "{\"key\":\"abc\"}");
    assert_int_equal(f->changes, 4);
    struct registry_entry before = find(f, REGISTRY_SEGMENT, "vip");
    assert_int_equal(before.at_ms, 1795292103120);
    struct buf expected;
    picture(f, &expected);
    restart_after_power_cut(f);
    assert_picture(f, &expected, "a restart");
    buf_done(&expected);
    struct registry_entry after = find(f, REGISTRY_SEGMENT, "vip");
    assert_true(slice_is(after.key, "vip"));
    assert_int_equal(after.id, before.id);
    assert_int_equal(after.version, before.version);
    assert_int_equal(after.at_ms, before.at_ms);
    assert_true(has(f, REGISTRY_SOURCE, "web"));
    assert_true(has(f, REGISTRY_COLLECTOR, "till-1"));
}

static void test_only_what_decides_about_profiles_goes_into_the_log(void **state)
{
    struct fixture *f = *state;
    bool found;
    must_put(f, REGISTRY_PLAN, "shop", "{}");
    must_put(f, REGISTRY_COLLECTOR, "till-1", "{}");
    assert_int_equal(eventlog_next(f->log), 1);
    must_put(f, REGISTRY_SEGMENT, "vip", "{\"where\":{\"known\":true}}");
    assert_int_equal(eventlog_next(f->log), 2);
    must_put(f, REGISTRY_TRAIT, "city", "{}");
    assert_int_equal(eventlog_next(f->log), 2);
    must_put(f, REGISTRY_TRAIT, "city", "{\"edge\":[\"page\"]}");
    assert_int_equal(eventlog_next(f->log), 3);
    assert_true(remove_entry(f, REGISTRY_SEGMENT, "vip", &found));
    assert_true(found);
    assert_int_equal(eventlog_next(f->log), 4);

    struct eventlog_record record;
    struct catalog *catalog;
    msgpack_zone zone;
    assert_true(msgpack_zone_init(&zone, 1024));
    assert_true(eventlog_read(f->log, 2, &f->bytes, &zone, &record, &found, &f->err) && found);
    assert_int_equal(record.kind, EVENTLOG_CATALOG);
    assert_true(catalog_new(record.bytes, &catalog, &f->where, &f->err));
    assert_int_equal(catalog_segment_count(catalog), 1);
    catalog_free(&catalog);
    msgpack_zone_destroy(&zone);
}

static void test_a_source_goes_to_the_router_in_the_log_without_a_new_catalog_version(void **state)
{
    struct fixture *f = *state;
    struct eventlog_record record;
    msgpack_object roots[2];
    msgpack_zone zone;
    bool found;
    int64_t versions[2];
    must_put(f, REGISTRY_SEGMENT, "vip", "{\"where\":{\"known\":true}}");
    must_put(f, REGISTRY_SOURCE, "till", "{\"trust\":\"server\",\"open\":[\"email\"]}");
    assert_int_equal(eventlog_next(f->log), 3);
    assert_true(msgpack_zone_init(&zone, 1024));
    for (uint64_t i = 0; i < 2; i++) {
        buf_clear(&f->bytes);
        assert_true(eventlog_read(f->log, i + 1, &f->bytes, &zone, &record, &found, &f->err));
        assert_true(value_unpack(record.bytes, &zone, &roots[i], &f->err));
        assert_true(value_int(value_member_c(&roots[i], "version"), &versions[i]));
    }
    assert_int_equal(versions[0], versions[1]);
    struct source till = source_read(slice_text("till"),
                                     value_member_c(value_member_c(&roots[1], "sources"), "till"));
    assert_true(till.is_server);
    assert_true(source_is_open(&till, slice_text("email")));
    msgpack_zone_destroy(&zone);
}

static void test_a_write_key_is_that_of_one_source(void **state)
{
    struct fixture *f = *state;
    must_put(f, REGISTRY_SOURCE, "web", "{}");
    must_put(f, REGISTRY_SOURCE, "till", "{\"writeKeys\":[\"a\",\"b\"]}");
    assert_false(put(f, REGISTRY_SOURCE, "other", "{\"writeKeys\":[\"b\"]}"));
    assert_string_equal(f->where.code, "write-key-taken");
    assert_string_equal(f->where.field, "/writeKeys");
    assert_false(put(f, REGISTRY_SOURCE, "other", "{\"writeKeys\":[\"web\"]}"));
    must_put(f, REGISTRY_SOURCE, "till", "{\"writeKeys\":[\"a\"]}");
    must_put(f, REGISTRY_SOURCE, "other", "{\"writeKeys\":[\"b\"]}");
}

static void test_gates_find_a_source_by_each_of_its_keys_and_see_nothing_of_its_proofs(void **state)
{
    struct fixture *f = *state;
    msgpack_object root;
    msgpack_zone zone;
    uint64_t version;
    struct slice id;
    must_put(
        f, REGISTRY_SOURCE, "till",
        "{\"proof\":1,\"writeKeys\":[\"a\",\"b\"],\"trust\":\"server\",\"proof\":{\"keys\":[]}}");
    must_put(f, REGISTRY_SOURCE, "web", "{}");
    buf_clear(&f->bytes);
    registry_gate(f->registry, (struct registry_reader){0}, &f->bytes, &version);
    assert_true(msgpack_zone_init(&zone, 1024));
    assert_true(value_unpack(buf_slice(&f->bytes), &zone, &root, &f->err));
    const msgpack_object *sources = value_member_c(&root, "sources");
    assert_int_equal(sources->via.map.size, 3);
    for (int i = 0; i < 2; i++) {
        const msgpack_object *till = value_member_c(sources, i == 0 ? "a" : "b");
        assert_true(value_text(value_member_c(till, "id"), &id) && slice_is(id, "till"));
        assert_non_null(value_member_c(till, "trust"));
        assert_null(value_member_c(till, "writeKeys"));
        assert_null(value_member_c(till, "proof"));
    }
    assert_true(value_text(value_member_c(value_member_c(sources, "web"), "id"), &id));
    assert_true(slice_is(id, "web"));
    msgpack_zone_destroy(&zone);
}

/* The catalog as it stands; to be freed. */
static struct catalog *compile(struct fixture *f)
{
    struct catalog *catalog;
    buf_clear(&f->bytes);
    registry_catalog(f->registry, NULL, &f->bytes);
    assert_true(catalog_new(buf_slice(&f->bytes), &catalog, &f->where, &f->err));
    return catalog;
}

/* What a change of a segment or trait makes new: P for partitions, G for gates, M where it means
 * something else, so that states are filled in from timelines. */
static void
test_what_is_shown_to_whom_is_new_to_gates_and_where_it_begins_or_ends_to_partitions(void **state)
{
    static const struct {
        enum registry_kind kind;
        const char *json; /* NULL: deleted */
        const char *makes_new;
    } steps[] = {
        {REGISTRY_SEGMENT, "{\"where\":{\"known\":true}}", "PM"},
        {REGISTRY_SEGMENT, "{\"where\":{\"known\":true},\"name\":\"N\"}", ""},
        {REGISTRY_SEGMENT, "{\"where\":{\"known\":true},\"edge\":[\"page\"]}", "PG"},
        {REGISTRY_SEGMENT, "{\"where\":{\"known\":true},\"edge\":[\"page\",\"staff\"]}", "G"},
        {REGISTRY_SEGMENT, "{\"where\":{\"known\":true},\"edge\":[\"staff\"]}", "G"},
        {REGISTRY_SEGMENT, "{\"where\":{\"known\":true},\"edge\":[\"staff\"],\"name\":\"N\"}", "G"},
        {REGISTRY_SEGMENT, "{\"where\":{\"known\":false},\"edge\":[\"staff\"],\"name\":\"N\"}",
         "PM"},
        {REGISTRY_SEGMENT, "{\"where\":{\"known\":false},\"edge\":[]}", "PG"},
        {REGISTRY_SEGMENT, NULL, "PM"},
        {REGISTRY_TRAIT, "{}", ""},
        {REGISTRY_TRAIT, "{\"edge\":[\"staff\"]}", "PG"},
        {REGISTRY_TRAIT, "{\"edge\":true}", "G"}, /* as it was once stored: for all */
        {REGISTRY_TRAIT, NULL, "PG"},
    };
    struct fixture *f = *state;
    uint64_t meaning = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct catalog *before = compile(f);
        uint64_t gate_before = registry_gate_version(f->registry);
        bool found;
        char made_new[4] = "";
        if (steps[i].json == NULL) {
            assert_true(remove_entry(f, steps[i].kind, "a", &found) && found);
        } else {
            must_put(f, steps[i].kind, "a", steps[i].json);
        }
        struct catalog *after = compile(f);
        bool is_segment = steps[i].kind == REGISTRY_SEGMENT;
        uint64_t version = is_segment && steps[i].json != NULL
                               ? find(f, REGISTRY_SEGMENT, "a").meaning_version
                               : meaning + is_segment;
        strcat(made_new, catalog_version(after) > catalog_version(before) ? "P" : "");
        strcat(made_new, registry_gate_version(f->registry) > gate_before ? "G" : "");
        strcat(made_new, version > meaning ? "M" : "");
        if (strcmp(made_new, steps[i].makes_new) != 0) {
            fail_msg("step %zu: \"%s\", not \"%s\"", i, made_new, steps[i].makes_new);
        }
        meaning = version;
        catalog_free(&before);
        catalog_free(&after);
    }
}

/* As it lies in stores of versions before 0.2. */
static void make_older(struct fixture *f, const char *key)
{
    struct store_batch batch;
    bool found;
    buf_clear(&f->bytes);
    assert_true(store_get(f->store, NULL, slice_text(key), &f->bytes, &found, &f->err) && found);
    assert_int_equal(f->bytes.data[0], 0x96);
    f->bytes.data[0] = 0x94;
    store_batch_init(&batch);
    store_batch_put(&batch, slice_text(key), slice_make(f->bytes.data, f->bytes.len - 2));
    assert_true(store_write(f->store, &batch, true, &f->err));
    store_batch_done(&batch);
}

static void test_definitions_of_old_are_read_and_a_segment_is_shown_to_nobody(void **state)
{
    struct fixture *f = *state;
    uint64_t version;
    must_put(f, REGISTRY_SEGMENT, "vip", "{\"name\":\"Old\",\"where\":{\"known\":true}}");
    must_put(f, REGISTRY_TRAIT, "city", "{\"edge\":true}");
    must_put(f, REGISTRY_TRAIT, "salary", "{\"edge\":false}");
    make_older(f, "D\x03vip");
    make_older(f, "D\x04"
                  "city");
    restart_after_power_cut(f);
    struct registry_entry entry = find(f, REGISTRY_SEGMENT, "vip");
    assert_int_equal(entry.meaning_version, entry.version);
    struct catalog *catalog = compile(f);
    assert_int_equal(catalog_segment_at(catalog, 0).edge, AUDIENCE_NOBODY);
    assert_int_equal(catalog_trait_audience(catalog, slice_text("city")), AUDIENCE_ALL);
    assert_int_equal(catalog_trait_audience(catalog, slice_text("salary")), AUDIENCE_NOBODY);
    catalog_free(&catalog);
    buf_clear(&f->bytes);
    registry_gate(f->registry, (struct registry_reader){0}, &f->bytes, &version);
    assert_null(memmem(f->bytes.data, f->bytes.len, "Old", 3));
}

static void test_gates_are_told_what_somebody_may_see_and_nothing_of_the_rest(void **state)
{
    struct fixture *f = *state;
    uint64_t version;
    must_put(f, REGISTRY_SEGMENT, "hidden", "{\"where\":{\"known\":true},\"name\":\"Hidden\"}");
    must_put(f, REGISTRY_SEGMENT, "shown",
             "{\"where\":{\"known\":true},\"name\":\"Shown\",\"edge\":[\"staff\"]}");
    must_put(f, REGISTRY_TRAIT, "salary", "{\"edge\":[]}");
    must_put(f, REGISTRY_TRAIT, "city", "{\"edge\":true}");
    buf_clear(&f->bytes);
    registry_gate(f->registry, (struct registry_reader){0}, &f->bytes, &version);
    struct slice gate = buf_slice(&f->bytes);
    assert_null(memmem(gate.data, gate.len, "hidden", 6));
    assert_null(memmem(gate.data, gate.len, "Hidden", 6));
    assert_null(memmem(gate.data, gate.len, "salary", 6));
    assert_non_null(memmem(gate.data, gate.len,
                           "\xa5shown\x82\xa4"
                           "edge\x91\xa5staff",
                           19));
    assert_non_null(memmem(gate.data, gate.len,
                           "\xa4"
                           "city\x81\xa4"
                           "edge\x92\xa4page\xa5staff",
                           23));
}

static void test_a_scope_goes_to_partitions_in_the_log_without_a_new_catalog_version(void **state)
{
    struct fixture *f = *state;
    bool found;
    must_put(f, REGISTRY_SEGMENT, "vip", "{\"where\":{\"known\":true}}");
    struct catalog *before = compile(f);
    uint64_t records = eventlog_next(f->log);
    must_put(f, REGISTRY_COLLECTOR, "till-1",
             "{\"scope\":{\"kind\":\"segments\",\"segments\":[\"vip\"]}}");
    assert_int_equal(eventlog_next(f->log), records + 1);
    uint32_t id = find(f, REGISTRY_COLLECTOR, "till-1").id;
    struct catalog *after = compile(f);
    assert_int_equal(catalog_version(after), catalog_version(before));
    assert_true(catalog_scopes_version(after) > catalog_scopes_version(before));
    assert_null(catalog_scope_of(before, id));
    assert_int_equal(catalog_scope_of(after, id)->kind, SCOPE_SEGMENTS);
    assert_int_equal(catalog_scope_of(after, id)->segment_count, 1);
    catalog_free(&before);
    catalog_free(&after);

    assert_false(put(f, REGISTRY_COLLECTOR, "till-1",
                     "{\"scope\":{\"kind\":\"segments\",\"segments\":[\"none\"]}}"));
    assert_string_equal(f->where.code, "invalid-scope");
    assert_false(remove_entry(f, REGISTRY_SEGMENT, "vip", &found)); /* in use */
    must_put(f, REGISTRY_COLLECTOR, "till-1",
             "{\"revokedAt\":5,\"scope\":{\"kind\":\"everybody\"}}");
    after = compile(f);
    assert_int_equal(catalog_scope_of(after, id)->kind, SCOPE_SEEN);
    catalog_free(&after);
}

static void test_purchases_are_the_default_ones_until_they_are_defined(void **state)
{
    struct fixture *f = *state;
    struct event event = {.type = EVENT_TRACK, .name = slice_text("Order Completed")};
    struct catalog *catalog = compile(f);
    bool found;
    assert_true(catalog_is_purchase(catalog, &event));
    assert_int_equal(catalog_purchases_version(catalog), 1);
    event.type = EVENT_PAGE;
    assert_false(catalog_is_purchase(catalog, &event));
    event.type = EVENT_TRACK;
    catalog_free(&catalog);
    must_put(f, REGISTRY_PURCHASES, "purchases", "{\"events\":[\"Sale\"]}");
    catalog = compile(f);
    assert_false(catalog_is_purchase(catalog, &event));
    assert_true(catalog_purchases_version(catalog) > 1);
    catalog_free(&catalog);
    assert_false(put(f, REGISTRY_PURCHASES, "purchases", "{}"));
    assert_false(put(f, REGISTRY_PURCHASES, "purchases", "{\"events\":[\"\"]}"));
    assert_string_equal(f->where.code, "invalid-purchases");
    assert_true(remove_entry(f, REGISTRY_PURCHASES, "purchases", &found) && found);
    catalog = compile(f);
    assert_true(catalog_is_purchase(catalog, &event));
    catalog_free(&catalog);
}

static void test_versions_grow_and_only_gates_that_are_concerned_get_a_new_one(void **state)
{
    struct fixture *f = *state;
    uint64_t gate = registry_gate_version(f->registry);
    must_put(f, REGISTRY_SEGMENT, "a", "{\"where\":{\"known\":true}}");
    uint64_t first = find(f, REGISTRY_SEGMENT, "a").version;
    assert_int_equal(registry_gate_version(f->registry), gate);
    must_put(f, REGISTRY_SEGMENT, "b", "{\"where\":{\"known\":true}}");
    assert_true(find(f, REGISTRY_SEGMENT, "b").version > first);
    assert_int_equal(find(f, REGISTRY_SEGMENT, "a").version, first);
    must_put(f, REGISTRY_SEGMENT, "a", "{\"where\":{\"known\":false}}");
    assert_true(find(f, REGISTRY_SEGMENT, "a").version > find(f, REGISTRY_SEGMENT, "b").version);
    must_put(f, REGISTRY_SOURCE, "web", "{}");
    assert_true(registry_gate_version(f->registry) > gate);
    gate = registry_gate_version(f->registry);
    must_put(f, REGISTRY_RULES, "rules", identity_rules_default);
    assert_true(registry_gate_version(f->registry) > gate);
}

static void test_ids_are_never_given_twice(void **state)
{
    struct fixture *f = *state;
    bool found;
    must_put(f, REGISTRY_SEGMENT, "a", "{\"where\":{\"known\":true}}");
    uint32_t first = find(f, REGISTRY_SEGMENT, "a").id;
    must_put(f, REGISTRY_SEGMENT, "a", "{\"where\":{\"known\":false}}");
    assert_int_equal(find(f, REGISTRY_SEGMENT, "a").id, first);
    assert_true(remove_entry(f, REGISTRY_SEGMENT, "a", &found));
    restart_after_power_cut(f);
    must_put(f, REGISTRY_SEGMENT, "a", "{\"where\":{\"known\":true}}");
    assert_true(find(f, REGISTRY_SEGMENT, "a").id > first);
    assert_false(put(f, REGISTRY_SEGMENT, "wrong", "{\"where\":{}}"));
    uint64_t version = find(f, REGISTRY_SEGMENT, "a").version;
    must_put(f, REGISTRY_SEGMENT, "b", "{\"where\":{\"known\":true}}");
    assert_true(find(f, REGISTRY_SEGMENT, "b").version > version);
}

static const struct {
    enum registry_kind kind;
    const char *key;
    const char *json;
    const char *code;
} refused[] = {
    {REGISTRY_SEGMENT, "new", "{\"where\":{\"foo\":1}}", "unknown-member"},
    {REGISTRY_SEGMENT, "new", "{}", "invalid-segment"},
    {REGISTRY_SEGMENT, "new", "[]", "invalid-segment"},
    {REGISTRY_SEGMENT, "new", "{\"where\":{\"segment\":\"nobody\"}}", "unknown-segment"},
    {REGISTRY_SEGMENT, "new", "{\"where\":{\"segment\":\"new\"}}", "segment-cycle"},
    {REGISTRY_SEGMENT, "used", "{\"where\":{\"segment\":\"user\"}}", "segment-cycle"},
    {REGISTRY_SEGMENT, "used", "{\"where\":7}", "invalid-segment"},
    {REGISTRY_RULES, "rules", "{}", NULL},
    {REGISTRY_RULES, "rules", "{\"identifiers\":[{\"priority\":1}]}", NULL},
    {REGISTRY_RULES, "rules", "{\"identifiers\":[{\"type\":\"a\",\"normalizer\":\"x\"}]}", NULL},
    {REGISTRY_RULES, "rules", "{\"identifiers\":[{\"type\":\"a\",\"limit\":-1}]}", NULL},
    {REGISTRY_SEGMENT, "", "{\"where\":{\"known\":true}}", NULL},
};

static void test_a_refused_definition_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct buf before;
    must_put(f, REGISTRY_SEGMENT, "used", "{\"where\":{\"known\":true}}");
    must_put(f, REGISTRY_SEGMENT, "user", "{\"where\":{\"not\":{\"segment\":\"used\"}}}");
    unsigned changes = f->changes;
    picture(f, &before);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (put(f, refused[i].kind, refused[i].key, refused[i].json)) {
            fail_msg("%s %s is taken", refused[i].key, refused[i].json);
        }
        if (f->err.kind != ERROR_INVALID ||
            (refused[i].code != NULL && strcmp(f->where.code, refused[i].code) != 0)) {
            fail_msg("%s %s: %s %s", refused[i].key, refused[i].json, f->where.code,
                     f->err.message);
        }
        assert_picture(f, &before, refused[i].json);
    }
    assert_int_equal(f->changes, changes);
    restart_after_power_cut(f);
    assert_picture(f, &before, "a restart");
    buf_done(&before);
}

static void test_what_another_segment_uses_cannot_be_deleted(void **state)
{
    struct fixture *f = *state;
    struct buf before;
    bool found;
    must_put(f, REGISTRY_SEGMENT, "used", "{\"where\":{\"known\":true}}");
    must_put(f, REGISTRY_SEGMENT, "user", "{\"where\":{\"all\":[{\"segment\":\"used\"}]}}");
    picture(f, &before);
    assert_false(remove_entry(f, REGISTRY_SEGMENT, "used", &found));
    assert_int_equal(f->err.kind, ERROR_INVALID);
    assert_string_equal(f->where.segment, "user");
    assert_string_equal(f->where.field, "/where/all/0");
    assert_picture(f, &before, "a refused deletion");
    buf_done(&before);
    assert_true(remove_entry(f, REGISTRY_SEGMENT, "user", &found));
    assert_true(remove_entry(f, REGISTRY_SEGMENT, "used", &found));
    assert_true(found);
    assert_false(has(f, REGISTRY_SEGMENT, "used"));
    restart_after_power_cut(f);
    assert_false(has(f, REGISTRY_SEGMENT, "used"));
}

static void test_deleting_what_is_not_there_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct buf before;
    bool found = true;
    picture(f, &before);
    assert_true(remove_entry(f, REGISTRY_SEGMENT, "nobody", &found));
    assert_false(found);
    assert_int_equal(f->changes, 0);
    assert_picture(f, &before, "deleting nothing");
    buf_done(&before);
}

static void test_the_rules_cannot_be_deleted(void **state)
{
    struct fixture *f = *state;
    struct buf before;
    bool found;
    picture(f, &before);
    assert_false(remove_entry(f, REGISTRY_RULES, "rules", &found));
    assert_picture(f, &before, "deleting the rules");
    buf_done(&before);
}

static void test_a_failed_write_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct buf before;
    bool found;
    must_put(f, REGISTRY_SEGMENT, "a", "{\"where\":{\"known\":true}}");
    must_put(f, REGISTRY_SOURCE, "web", "{}");
    unsigned changes = f->changes;
    picture(f, &before);
    static const char *const keys[] = {"a", "b"};
    for (size_t i = 0; i < 2; i++) {
        store_memory_fail_write(f->store, 1);
        assert_false(put(f, REGISTRY_SEGMENT, keys[i], "{\"where\":{\"known\":false}}"));
        assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
        assert_picture(f, &before, "a failed write");
    }
    store_memory_fail_write(f->store, 1);
    assert_false(remove_entry(f, REGISTRY_SEGMENT, "a", &found));
    assert_picture(f, &before, "a failed deletion");
    store_memory_fail_write(f->store, 1);
    assert_false(put(f, REGISTRY_SOURCE, "shop", "{}"));
    assert_picture(f, &before, "a failed source");
    assert_int_equal(f->changes, changes);
    buf_done(&before);
}

static void test_a_preview_is_compiled_beside_the_others_and_stays_out(void **state)
{
    struct fixture *f = *state;
    struct buf json;
    struct buf before;
    msgpack_zone zone;
    msgpack_object where;
    struct catalog *catalog;
    must_put(f, REGISTRY_SEGMENT, "a", "{\"where\":{\"known\":true}}");
    picture(f, &before);
    buf_init(&json, 4096);
    assert_true(msgpack_zone_init(&zone, 1024));
    assert_true(json_read_value(slice_text("{\"not\":{\"segment\":\"a\"}}"), &json, &zone, &where,
                                &f->err));
    buf_clear(&f->bytes);
    registry_catalog(f->registry, &where, &f->bytes);
    assert_true(catalog_new(buf_slice(&f->bytes), &catalog, &f->where, &f->err));
    assert_int_equal(catalog_segment_count(catalog), 2);
    assert_true(slice_is(catalog_segment_at(catalog, 1).key, "preview"));
    catalog_free(&catalog);
    assert_picture(f, &before, "a preview");
    msgpack_zone_destroy(&zone);
    buf_done(&json);
    buf_done(&before);
}

static bool count_entry(void *user, const struct registry_entry *entry)
{
    assert_int_equal(entry->kind, REGISTRY_SOURCE);
    return ++*(int *)user < 2;
}

static void test_entries_of_one_kind_come_in_order_until_stopped(void **state)
{
    struct fixture *f = *state;
    int count = 0;
    must_put(f, REGISTRY_SOURCE, "c", "{}");
    must_put(f, REGISTRY_SOURCE, "a", "{}");
    must_put(f, REGISTRY_SOURCE, "b", "{}");
    must_put(f, REGISTRY_COLLECTOR, "a", "{}");
    registry_each(f->registry, REGISTRY_SOURCE, count_entry, &count);
    assert_int_equal(count, 2);
}

static void test_a_source_names_a_tracking_plan_that_is_there_and_the_plan_stays(void **state)
{
    struct fixture *f = *state;
    bool found;
    uint64_t before = registry_gate_version(f->registry);
    assert_false(put(f, REGISTRY_SOURCE, "web", "{\"tracking_plan\":\"shop\"}"));
    assert_int_equal(f->err.kind, ERROR_INVALID);
    assert_string_equal(f->where.code, "unknown-tracking-plan");
    assert_string_equal(f->where.field, "/tracking_plan");
    must_put(f, REGISTRY_PLAN, "shop", "{\"events\":{}}");
    must_put(f, REGISTRY_SOURCE, "web", "{\"tracking_plan\":\"shop\"}");
    assert_int_equal(registry_gate_version(f->registry), before + 2);
    assert_false(remove_entry(f, REGISTRY_PLAN, "shop", &found));
    assert_int_equal(f->err.kind, ERROR_INVALID);
    restart_after_power_cut(f);
    must_put(f, REGISTRY_SOURCE, "web", "{}");
    assert_true(remove_entry(f, REGISTRY_PLAN, "shop", &found) && found);
}

static void test_what_gates_get_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct buf body;
    bool found;
    buf_init(&body, 1024 * 1024);
    buf_put_format(&body, "{\"name\":\"");
    for (int i = 0; i < 900000; i++) {
        buf_put_u8(&body, 'x');
    }
    buf_put_format(&body, "\"}");
    buf_put_u8(&body, 0);
    must_put(f, REGISTRY_SOURCE, "a", (const char *)body.data);
    must_put(f, REGISTRY_PLAN, "b", (const char *)body.data);
    assert_false(put(f, REGISTRY_SOURCE, "c", (const char *)body.data));
    assert_string_equal(f->where.code, "definitions-too-large");
    must_put(f, REGISTRY_TRAIT, "d", (const char *)body.data); /* gates do not get it */
    assert_true(remove_entry(f, REGISTRY_SOURCE, "a", &found));
    must_put(f, REGISTRY_SOURCE, "c", (const char *)body.data);
    buf_done(&body);
}

static void test_gates_do_not_get_the_keys_of_proofs(void **state)
{
    struct fixture *f = *state;
    uint64_t version;
    must_put(f, REGISTRY_SOURCE, "web",
             "{\"name\":\"Shop\",\"proof\":{\"keys\":[{\"kid\":\"k\",\"alg\":\"HS256\","
             "\"key\":\"0123456789abcdef0123456789abcdef\"}]},\"bots\":\"keep\"}");
    must_put(f, REGISTRY_PLAN, "shop", "{\"name\":\"proof\"}");
    buf_clear(&f->bytes);
    registry_gate(f->registry, (struct registry_reader){0}, &f->bytes, &version);
    assert_null(memmem(f->bytes.data, f->bytes.len, "0123456789abcdef", 16));
    msgpack_object root;
    msgpack_zone zone;
    assert_true(msgpack_zone_init(&zone, 1024));
    assert_true(value_unpack(buf_slice(&f->bytes), &zone, &root, &f->err));
    const msgpack_object *web = value_member_c(value_member_c(&root, "sources"), "web");
    assert_int_equal(web->via.map.size, 3);
    assert_non_null(value_member_c(web, "id"));
    assert_non_null(value_member_c(web, "bots"));
    msgpack_zone_destroy(&zone);
}

static void read_link_key(struct fixture *f, uint8_t ret[32])
{
    msgpack_zone zone;
    msgpack_object root;
    struct slice key;
    uint64_t version;
    bool made = msgpack_zone_init(&zone, 1024);
    assert_true(made);
    buf_clear(&f->bytes);
    registry_gate(f->registry, (struct registry_reader){0}, &f->bytes, &version);
    assert_true(value_unpack(buf_slice(&f->bytes), &zone, &root, &f->err));
    assert_true(value_bin(value_member_c(&root, "link_key"), &key));
    assert_int_equal(key.len, 32);
    memcpy(ret, key.data, 32);
    msgpack_zone_destroy(&zone);
}

static void test_gates_get_the_hubs_own_key_of_links(void **state)
{
    struct fixture *f = *state;
    uint8_t secret[SEAL_KEY_BYTES] = {1};
    uint8_t first[32];
    must_put(f, REGISTRY_SOURCE, "web", "{}");
    uint8_t second[32];
    registry_set_link_key(f->registry, secret);
    read_link_key(f, first);
    read_link_key(f, second);
    assert_memory_equal(first, second, 32);
    assert_memory_not_equal(first, secret, 32);
    secret[0] = 2;
    registry_set_link_key(f->registry, secret);
    read_link_key(f, second);
    assert_memory_not_equal(first, second, 32);
}

/* The gate of a collector, unpacked into the zone. */
static msgpack_object gate_for(struct fixture *f, struct registry_reader reader, msgpack_zone *zone)
{
    msgpack_object root;
    uint64_t version;
    buf_clear(&f->bytes);
    registry_gate(f->registry, reader, &f->bytes, &version);
    msgpack_zone_clear(zone);
    assert_true(value_unpack(buf_slice(&f->bytes), zone, &root, &f->err));
    return root;
}

static uint32_t size_of(const msgpack_object *root, const char *member)
{
    const msgpack_object *map = value_member_c(root, member);
    return map == NULL ? 0 : map->via.map.size;
}

static void test_a_collector_gets_what_its_sources_need_and_no_secret(void **state)
{
    struct fixture *f = *state;
    uint8_t secret[SEAL_KEY_BYTES] = {1};
    msgpack_zone zone;
    assert_true(msgpack_zone_init(&zone, 4096));
    registry_set_link_key(f->registry, secret);
    must_put(f, REGISTRY_PLAN, "shop", "{\"events\":{\"Sold\":{}}}");
    must_put(f, REGISTRY_PLAN, "pos", "{\"events\":{\"Sold\":{}}}");
    must_put(f, REGISTRY_SOURCE, "web", "{\"tracking_plan\":\"shop\"}");
    must_put(f, REGISTRY_SOURCE, "pos",
             "{\"trust\":\"server\",\"writeKeys\":[\"hush-1\",\"hush-2\"],"
             "\"tracking_plan\":\"pos\"}");
    uint64_t before = registry_gate_version(f->registry);
    uint64_t records = eventlog_next(f->log);
    must_put(f, REGISTRY_COLLECTOR, "box", "{\"sources\":[\"pos\"]}");
    assert_true(registry_gate_version(f->registry) > before); /* its gate is another one */
    assert_int_equal(eventlog_next(f->log), records + 1); /* and what the router takes from it */
    struct registry_reader box = {.collector = find(f, REGISTRY_COLLECTOR, "box").id};

    msgpack_object root = gate_for(f, box, &zone);
    assert_int_equal(size_of(&root, "sources"), 0);
    assert_int_equal(size_of(&root, "secret_sources"), 2); /* one for each key */
    assert_int_equal(size_of(&root, "tracking_plans"), 1);
    assert_non_null(value_member_c(value_member_c(&root, "tracking_plans"), "pos"));
    assert_null(value_member_c(&root, "link_key"));
    assert_null(memmem(f->bytes.data, f->bytes.len, "hush", 4));
    assert_null(memmem(f->bytes.data, f->bytes.len, "web", 3));

    root = gate_for(f, (struct registry_reader){0}, &zone);
    assert_int_equal(size_of(&root, "sources"), 1);
    assert_int_equal(size_of(&root, "secret_sources"), 2);
    assert_int_equal(size_of(&root, "tracking_plans"), 2);
    assert_non_null(value_member_c(&root, "link_key"));
    assert_null(memmem(f->bytes.data, f->bytes.len, "hush", 4));

    box.knows_secret_keys = true; /* an earlier version cannot compare hashes */
    root = gate_for(f, box, &zone);
    assert_int_equal(size_of(&root, "sources"), 2);
    assert_non_null(value_member_c(value_member_c(&root, "sources"), "hush-1"));
    assert_null(value_member_c(value_member_c(&root, "sources"), "web"));
    msgpack_zone_destroy(&zone);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_new_registry_has_the_default_rules_and_nothing_else),
        WITH(test_what_was_put_is_found_and_survives_a_power_cut),
        WITH(test_only_what_decides_about_profiles_goes_into_the_log),
        WITH(test_a_source_goes_to_the_router_in_the_log_without_a_new_catalog_version),
        WITH(test_a_write_key_is_that_of_one_source),
        WITH(test_gates_find_a_source_by_each_of_its_keys_and_see_nothing_of_its_proofs),
        WITH(test_a_scope_goes_to_partitions_in_the_log_without_a_new_catalog_version),
        WITH(test_purchases_are_the_default_ones_until_they_are_defined),
        WITH(test_versions_grow_and_only_gates_that_are_concerned_get_a_new_one),
        WITH(test_ids_are_never_given_twice),
        WITH(test_what_is_shown_to_whom_is_new_to_gates_and_where_it_begins_or_ends_to_partitions),
        WITH(test_definitions_of_old_are_read_and_a_segment_is_shown_to_nobody),
        WITH(test_gates_are_told_what_somebody_may_see_and_nothing_of_the_rest),
        WITH(test_a_refused_definition_changes_nothing),
        WITH(test_what_another_segment_uses_cannot_be_deleted),
        WITH(test_deleting_what_is_not_there_changes_nothing),
        WITH(test_the_rules_cannot_be_deleted),
        WITH(test_a_failed_write_changes_nothing),
        WITH(test_a_source_names_a_tracking_plan_that_is_there_and_the_plan_stays),
        WITH(test_what_gates_get_is_bounded),
        WITH(test_gates_do_not_get_the_keys_of_proofs),
        WITH(test_gates_get_the_hubs_own_key_of_links),
        WITH(test_a_collector_gets_what_its_sources_need_and_no_secret),
        WITH(test_a_preview_is_compiled_beside_the_others_and_stays_out),
        WITH(test_entries_of_one_kind_come_in_order_until_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
