/* The catalog: what it refuses and where, what conditions remember, and, against a naive recount of
 * random events, who is a member at every moment. */
#include "hub/segment/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"
#include "shared/rand.h"

struct definition {
    const char *key;
    uint64_t version;
    const char *where;
};

/* Definitions as registry_catalog() writes them. Ids count from 1. */
static bool compile(const struct definition *definitions, size_t count, uint64_t version,
                    struct catalog **ret, struct catalog_error *where, struct error *err)
{
    struct buf json;
    struct buf bytes;
    buf_init(&json, 8 * 1024 * 1024);
    buf_init(&bytes, 8 * 1024 * 1024);
    buf_put_format(&json, "{\"version\":%llu,\"rules\":", (unsigned long long)version);
    buf_put_slice(&json, slice_text(identity_rules_default));
    buf_put_format(&json, ",\"edgeTraits\":[[\"vip\",[\"staff\"],7],\"city\"],"
                          "\"edgeTraitsVersion\":3,\"segments\":[");
    for (size_t i = 0; i < count; i++) {
        buf_put_format(&json,
                       "%s{\"id\":%zu,\"key\":\"%s\",\"version\":%llu,\"where\":", i > 0 ? "," : "",
                       i + 1, definitions[i].key, (unsigned long long)definitions[i].version);
        buf_put_slice(&json, slice_text(definitions[i].where));
        buf_put_u8(&json, '}');
    }
    buf_put_format(&json, "]}");
    if (json_read(buf_slice(&json), &bytes) != JSON_FINE) {
        fail_msg("no JSON: %.*s", SLICE_ARGS(buf_slice(&json)));
    }
    bool fine = catalog_new(buf_slice(&bytes), ret, where, err);
    buf_done(&json);
    buf_done(&bytes);
    return fine;
}

static struct catalog *must_compile(const struct definition *definitions, size_t count,
                                    uint64_t version)
{
    struct catalog *catalog = NULL;
    struct catalog_error where;
    struct error err;
    if (!compile(definitions, count, version, &catalog, &where, &err)) {
        fail_msg("%s%s: %s", where.segment, where.field, err.message);
    }
    return catalog;
}

/* ---- What is refused ---- */

#define DEEP "{\"not\":{\"not\":{\"not\":{\"not\":{\"not\":"

static const struct {
    const char *where;
    const char *code;
    const char *field;
} mistakes[] = {
    {"null", "invalid-segment", "/where"},
    {"7", "invalid-segment", "/where"},
    {"[]", "invalid-segment", "/where"},
    {"{}", "invalid-segment", "/where"},
    {"{\"foo\":1}", "unknown-member", "/where/foo"},
    {"{\"all\":[]}", "invalid-segment", "/where/all"},
    {"{\"all\":{}}", "invalid-segment", "/where/all"},
    {"{\"all\":[{\"known\":true},7]}", "invalid-segment", "/where/all/1"},
    {"{\"any\":[{\"all\":[{\"known\":1}]}]}", "invalid-segment", "/where/any/0/all/0"},
    {"{\"not\":[]}", "invalid-segment", "/where/not"},
    {"{\"not\":{\"trait\":\"a\"}}", "invalid-segment", "/where/not"},
    {"{\"trait\":\"\",\"eq\":1}", "invalid-segment", "/where"},
    {"{\"trait\":7,\"eq\":1}", "invalid-segment", "/where"},
    {"{\"trait\":\"a\",\"eq\":1,\"ne\":2}", "invalid-segment", "/where"},
    {"{\"trait\":\"a\",\"is\":1}", "unknown-member", "/where/is"},
    {"{\"event\":\"\"}", "invalid-segment", "/where"},
    {"{\"event\":5}", "invalid-segment", "/where"},
    {"{\"type\":\"click\"}", "invalid-segment", "/where"},
    {"{\"event\":\"E\",\"where\":{}}", "invalid-segment", "/where/where"},
    {"{\"event\":\"E\",\"where\":[7]}", "invalid-segment", "/where/where/0"},
    {"{\"event\":\"E\",\"where\":[{\"property\":\"a\",\"eq\":1},{\"property\":\"a\"}]}",
     "invalid-segment", "/where/where/1"},
    {"{\"event\":\"E\",\"where\":[{\"eq\":1}]}", "invalid-segment", "/where/where/0"},
    {"{\"event\":\"E\",\"where\":[{\"property\":\"a\",\"where\":[{\"property\":\"b\",\"eq\":1}]}]}",
     "invalid-segment", "/where/where/0"},
    {"{\"event\":\"E\",\"where\":[{\"property\":\"a[]\",\"where\":[]}]}", "invalid-segment",
     "/where/where/0"},
    {"{\"event\":\"E\",\"where\":[{\"property\":\"a[]\",\"where\":[{\"property\":\"b\"}]}]}",
     "invalid-segment", "/where/where/0/where/0"},
    {"{\"event\":\"E\",\"where\":[{\"property\":\"a[]\",\"where\":[{\"property\":\"b\",\"eq\":1}],"
     "\"eq\":1}]}",
     "unknown-member", "/where/where/0/eq"},
    {"{\"event\":\"E\",\"within\":\"soon\"}", "invalid-segment", "/where/within"},
    {"{\"event\":\"E\",\"within\":60}", "invalid-segment", "/where/within"},
    {"{\"event\":\"E\",\"within\":\"0s\"}", "invalid-segment", "/where/within"},
    {"{\"event\":\"E\",\"within\":\"-1d\"}", "invalid-segment", "/where/within"},
    {"{\"event\":\"E\",\"count\":2}", "invalid-segment", "/where/count"},
    {"{\"event\":\"E\",\"count\":{}}", "invalid-segment", "/where/count"},
    {"{\"event\":\"E\",\"count\":{\"gte\":-1}}", "invalid-segment", "/where/count"},
    {"{\"event\":\"E\",\"count\":{\"gte\":1.5}}", "invalid-segment", "/where/count"},
    {"{\"event\":\"E\",\"count\":{\"gte\":1025}}", "invalid-segment", "/where/count"},
    {"{\"event\":\"E\",\"count\":{\"gte\":\"2\"}}", "invalid-segment", "/where/count"},
    {"{\"event\":\"E\",\"count\":{\"in\":[1]}}", "invalid-segment", "/where/count"},
    {"{\"event\":\"E\",\"count\":{\"exists\":true}}", "invalid-segment", "/where/count"},
    {"{\"known\":\"yes\"}", "invalid-segment", "/where"},
    {"{\"identifier\":\"email\"}", "invalid-segment", "/where"},
    {"{\"consent\":true}", "invalid-segment", "/where"},
    {"{\"segment\":7}", "invalid-segment", "/where"},
    {"{\"all\":[{\"segment\":\"nobody\"}]}", "unknown-segment", "/where/all/0"},
    {"{\"segment\":\"test\"}", "segment-cycle", "/where"},
    {DEEP DEEP DEEP DEEP "{\"known\":true}}}}}}}}}}}}}}}}}}}}}", "invalid-segment", NULL},
    /* What a person who writes it would take for something else. */
    {"{\"all\":[{\"known\":true}],\"any\":[{\"known\":false}]}", "invalid-segment", "/where"},
    {"{\"all\":[{\"known\":true}],\"within\":\"7d\"}", "unknown-member", "/where/within"},
    {"{\"not\":{\"known\":true},\"count\":{\"gte\":2}}", "unknown-member", "/where/count"},
    {"{\"event\":\"E\",\"type\":\"page\"}", "invalid-segment", "/where"},
    {"{\"event\":\"E\",\"gte\":2}", "unknown-member", "/where/gte"},
    {"{\"event\":\"E\",\"whithin\":\"7d\"}", "unknown-member", "/where/whithin"},
    {"{\"evnt\":\"E\"}", "unknown-member", "/where/evnt"},
    {"{\"count\":{\"gte\":2},\"evnt\":\"E\"}", "unknown-member", "/where/evnt"},
    {"{\"event\":\"E\",\"count\":{\"gtee\":2}}", "unknown-member", "/where/count/gtee"},
    {"{\"any\":[{\"event\":\"E\",\"where\":[{\"property\":\"a\",\"eq\":1,\"form\":\"server\"}]}]}",
     "unknown-member", "/where/any/0/where/0/form"},
    {"{\"within\":\"7d\"}", "invalid-segment", "/where"},
    {"{\"trait\":\"a\",\"equals\":1}", "unknown-member", "/where/equals"},
    {"{\"known\":true,\"consent\":\"a\"}", "invalid-segment", "/where"},
    {"{\"known\":true,\"eq\":1}", "unknown-member", "/where/eq"},
    {"{\"trait\":\"a\",\"eq\":1,\"event\":\"E\"}", "invalid-segment", "/where"},
};

static void test_a_mistake_is_refused_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct definition definition = {"test", 1, mistakes[i].where};
        struct catalog *catalog = NULL;
        struct catalog_error where;
        struct error err;
        if (compile(&definition, 1, 1, &catalog, &where, &err)) {
            catalog_free(&catalog);
            fail_msg("%s is taken", mistakes[i].where);
        }
        if (err.kind != ERROR_INVALID || strcmp(where.code, mistakes[i].code) != 0 ||
            (mistakes[i].field != NULL && strcmp(where.field, mistakes[i].field) != 0)) {
            fail_msg("%s: %s at %s: %s", mistakes[i].where, where.code, where.field, err.message);
        }
        assert_string_equal(where.segment, "test");
    }
}

static void test_segments_that_use_each_other_in_a_circle_are_refused_with_their_names(void **state)
{
    static const struct definition circle[] = {
        {"a", 1, "{\"segment\":\"b\"}"},
        {"b", 1, "{\"all\":[{\"known\":true},{\"not\":{\"segment\":\"c\"}}]}"},
        {"c", 1, "{\"any\":[{\"segment\":\"a\"}]}"},
    };
    struct catalog *catalog = NULL;
    struct catalog_error where;
    struct error err;
    (void)state;
    assert_false(compile(circle, 3, 1, &catalog, &where, &err));
    assert_string_equal(where.code, "segment-cycle");
    assert_non_null(strstr(err.message, "a, b, c"));
    struct catalog *fine = must_compile((struct definition[]){{"a", 1, "{\"known\":true}"},
                                                              {"b", 1, "{\"segment\":\"a\"}"},
                                                              {"c", 1,
                                                               "{\"all\":[{\"segment\":"
                                                               "\"a\"},{\"segment\":"
                                                               "\"b\"}]}"}},
                                        3, 1);
    catalog_free(&fine);
}

static void test_definitions_that_multiply_are_refused_in_time(void **state)
{
    struct definition definitions[7] = {{"s0", 1, "{\"trait\":\"a\",\"eq\":1}"}};
    struct catalog *catalog = NULL;
    struct catalog_error where;
    struct error err;
    char keys[7][8];
    struct buf wheres[7];
    (void)state;
    for (int i = 1; i < 7; i++) {
        snprintf(keys[i], sizeof keys[i], "s%d", i);
        buf_init(&wheres[i], LIMIT_SEGMENT_JSON_BYTES);
        buf_put_format(&wheres[i], "{\"any\":[");
        for (int n = 0; n < 50; n++) {
            buf_put_format(&wheres[i], "%s{\"segment\":\"s%d\"}", n > 0 ? "," : "", i - 1);
        }
        buf_put_format(&wheres[i], "]}");
        buf_put_u8(&wheres[i], 0);
        definitions[i] = (struct definition){keys[i], 1, (const char *)wheres[i].data};
    }
    assert_false(compile(definitions, 7, 1, &catalog, &where, &err));
    assert_string_equal(where.code, "segment-too-large");
    for (int i = 1; i < 7; i++) {
        buf_done(&wheres[i]);
    }
}

static void test_bytes_that_are_no_definitions_are_refused(void **state)
{
    static const char *const rows[] = {"\xc1", "\x80", "\x81\xa7version\x01", ""};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct catalog *catalog = NULL;
        struct catalog_error where;
        struct error err;
        assert_false(catalog_new(slice_text(rows[i]), &catalog, &where, &err));
        assert_null(catalog);
    }
}

static void test_a_catalog_knows_its_segments_and_traits_for_the_edge(void **state)
{
    static const struct definition two[] = {{"a", 1, "{\"known\":true}"},
                                            {"b", 2, "{\"known\":false}"}};
    struct catalog *c = must_compile(two, 2, 9);
    (void)state;
    assert_int_equal(catalog_version(c), 9);
    assert_int_equal(catalog_segment_count(c), 2);
    assert_int_equal(catalog_segment_at(c, 1).id, 2);
    assert_true(slice_is(catalog_segment_key(c, 2), "b"));
    assert_int_equal(catalog_segment_key(c, 3).len, 0);
    assert_int_equal(catalog_trait_audience(c, slice_text("vip")), AUDIENCE_STAFF);
    assert_int_equal(catalog_trait_audience(c, slice_text("city")), AUDIENCE_ALL); /* of old */
    assert_int_equal(catalog_trait_audience(c, slice_text("salary")), AUDIENCE_NOBODY);
    assert_int_equal(catalog_segment_of(c, 1).edge, AUDIENCE_NOBODY);
    catalog_free(&c);
}

static void
test_a_card_is_stale_where_what_the_profile_has_began_or_ceased_to_be_shown(void **state)
{
    /* Shown since 5 and hidden since 6; the trait "vip" shown since 7; a shown one deleted at 3. */
    static const struct definition two[] = {
        {"a", 1, "{\"known\":true},\"edge\":[\"page\"],\"edgeVersion\":5"},
        {"b", 1, "{\"known\":true},\"edge\":[],\"edgeVersion\":6"}};
    static const struct {
        uint64_t follows;
        uint32_t segment; /* 0: none */
        const char *trait;
        bool is_stale;
    } rows[] = {
        {2, 0, "x", true},    {3, 0, "x", false},    {3, 1, "x", true},  {4, 1, "x", true},
        {5, 1, "x", false},   {5, 2, "x", true},     {6, 2, "x", false}, {6, 0, "vip", true},
        {7, 0, "vip", false}, {3, 0, "city", false},
    };
    struct catalog *c = must_compile(two, 2, 9);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct profile *p = profile_new(profile_id_make(1, 2, 3));
        struct profile_trait trait = {.name = slice_text(rows[i].trait),
                                      .value = slice_text("\xc3")};
        p->catalog_version = rows[i].follows;
        (void)profile_set_trait(p, &trait);
        if (rows[i].segment > 0) {
            profile_enter(p, rows[i].segment, 1);
        }
        if (catalog_is_card_stale(c, p) != rows[i].is_stale) {
            fail_msg("row %zu", i);
        }
        profile_free(&p);
    }
    catalog_free(&c);
}

/* ---- What conditions remember ---- */

/* An event with up to one property, packed and read back as a partition sees it. */
struct made_event {
    struct buf bytes;
    struct buf body;
    msgpack_zone zone;
    struct event event;
};

static void make_event(struct made_event *m, enum event_type type, const char *name,
                       const char *body_json, int64_t at_ms, const char *message_id)
{
    struct error err;
    buf_init(&m->bytes, 64 * 1024);
    buf_init(&m->body, 64 * 1024);
    assert_true(msgpack_zone_init(&m->zone, 1024));
    assert_int_equal(json_read(slice_text(body_json), &m->body), JSON_FINE);
    event_pack(&(struct event){.type = type,
                               .timestamp_ms = at_ms,
                               .received_ms = at_ms,
                               .source = slice_text("web"),
                               .message_id = slice_text(message_id),
                               .anonymous_id = slice_text("a"),
                               .name = slice_text(name),
                               .body = buf_slice(&m->body)},
               &m->bytes);
    assert_true(event_unpack(buf_slice(&m->bytes), &m->zone, &m->event, &err));
}

static void made_event_done(struct made_event *m)
{
    buf_done(&m->bytes);
    buf_done(&m->body);
    msgpack_zone_destroy(&m->zone);
}

static bool note(const struct catalog *c, struct profile *p, enum event_type type, const char *name,
                 const char *body, int64_t at_ms, int64_t now_ms)
{
    struct made_event m;
    make_event(&m, type, name, body, at_ms, "m");
    bool noted = catalog_note_event(c, p, &m.event, now_ms);
    made_event_done(&m);
    return noted;
}

static struct profile *new_profile(uint64_t catalog_version)
{
    struct profile *p = profile_new(profile_id_make(1, 0, 1));
    p->catalog_version = catalog_version;
    return p;
}

static void test_equal_conditions_are_shared_and_different_ones_are_not(void **state)
{
    static const struct definition shared[] = {
        {"a", 1, "{\"event\":\"E\",\"within\":\"7d\",\"count\":{\"gte\":2}}"},
        {"b", 1, "{\"not\":{\"event\":\"E\",\"count\":{\"gte\":2},\"within\":\"168h\"}}"},
        {"c", 1, "{\"any\":[{\"known\":true},{\"segment\":\"a\"}]}"},
    };
    static const struct definition different[] = {
        {"a", 1, "{\"event\":\"page\"}"},
        {"b", 1, "{\"type\":\"page\"}"},
        {"c", 1, "{\"event\":\"page\",\"within\":\"7d\"}"},
        {"d", 1, "{\"event\":\"page\",\"where\":[{\"property\":\"p\",\"eq\":1}]}"},
        {"e", 1, "{\"event\":\"page\",\"where\":[{\"property\":\"p\",\"eq\":\"1\"}]}"},
    };
    (void)state;
    struct catalog *c = must_compile(shared, 3, 1);
    struct profile *p = new_profile(1);
    assert_true(note(c, p, EVENT_TRACK, "E", "{}", 1000, 1000));
    assert_int_equal(p->state_count, 1);
    profile_free(&p);
    catalog_free(&c);
    c = must_compile(different, 5, 1);
    p = new_profile(1);
    assert_true(note(c, p, EVENT_TRACK, "page", "{\"properties\":{\"p\":1}}", 1000, 1000));
    assert_int_equal(p->state_count, 3); /* a, c and d */
    assert_true(note(c, p, EVENT_PAGE, "page", "{}", 1000, 1000));
    assert_int_equal(p->state_count, 4);
    profile_free(&p);
    catalog_free(&c);
}

static void test_no_more_times_are_kept_than_the_answer_needs(void **state)
{
    static const struct definition two[] = {
        {"ever", 1, "{\"event\":\"E\",\"count\":{\"gte\":3}}"},
        {"window", 1, "{\"event\":\"E\",\"within\":\"1h\",\"count\":{\"eq\":2}}"},
    };
    struct catalog *c = must_compile(two, 2, 1);
    struct profile *p = new_profile(1);
    (void)state;
    for (int64_t i = 0; i < 1000; i++) {
        (void)note(c, p, EVENT_TRACK, "E", "{}", 1000 + i, 1000 + i);
    }
    assert_int_equal(p->state_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_in_range(p->states[i].count, 3, 4);
        assert_in_range(p->states[i].capacity, 3, 16);
    }
    profile_free(&p);
    catalog_free(&c);
}

static void test_where_sees_properties_traits_and_the_name_of_a_page(void **state)
{
    static const struct {
        const char *where;
        enum event_type type;
        const char *name;
        const char *body;
        bool matches;
    } rows[] = {
        {"{\"event\":\"E\",\"where\":[{\"property\":\"a\",\"eq\":1}]}", EVENT_TRACK, "E",
         "{\"properties\":{\"a\":1}}", true},
        {"{\"event\":\"E\",\"where\":[{\"property\":\"a\",\"eq\":1}]}", EVENT_TRACK, "E",
         "{\"properties\":{\"a\":2}}", false},
        {"{\"event\":\"E\",\"where\":[{\"property\":\"a\",\"eq\":1}]}", EVENT_TRACK, "E",
         "{\"a\":1}", false},
        {"{\"event\":\"E\",\"where\":[{\"property\":\"a.b\",\"eq\":1}]}", EVENT_TRACK, "E",
         "{\"properties\":{\"a\":{\"b\":1}}}", true},
        {"{\"event\":\"E\",\"where\":[{\"property\":\"a.b\",\"eq\":1}]}", EVENT_TRACK, "E",
         "{\"properties\":{\"a.b\":1,\"a\":{\"b\":2}}}", true},
        {"{\"event\":\"E\",\"where\":[{\"property\":\"a\",\"exists\":false}]}", EVENT_TRACK, "E",
         "{}", true},
        {"{\"event\":\"E\",\"where\":[{\"property\":\"a\",\"gt\":1},{\"property\":\"a\","
         "\"lt\":3}]}",
         EVENT_TRACK, "E", "{\"properties\":{\"a\":2}}", true},
        {"{\"event\":\"e\"}", EVENT_TRACK, "E", "{}", false},
        {"{\"event\":\"page\"}", EVENT_PAGE, "page", "{}", false},
        {"{\"type\":\"page\",\"where\":[{\"property\":\"name\",\"eq\":\"Home\"}]}", EVENT_PAGE,
         "Home", "{}", true},
        {"{\"type\":\"screen\",\"where\":[{\"property\":\"name\",\"eq\":\"Home\"}]}", EVENT_PAGE,
         "Home", "{}", false},
        {"{\"type\":\"track\"}", EVENT_TRACK, "anything", "{}", true},
        {"{\"type\":\"page\",\"where\":[{\"property\":\"name\",\"eq\":\"p\"}]}", EVENT_PAGE, "Home",
         "{\"properties\":{\"name\":\"p\"}}", true},
        {"{\"type\":\"identify\",\"where\":[{\"property\":\"plan\",\"eq\":\"pro\"}]}",
         EVENT_IDENTIFY, "", "{\"traits\":{\"plan\":\"pro\"}}", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct definition definition = {"test", 1, rows[i].where};
        struct catalog *c = must_compile(&definition, 1, 1);
        struct profile *p = new_profile(1);
        if (note(c, p, rows[i].type, rows[i].name, rows[i].body, 5, 5) != rows[i].matches) {
            fail_msg("%s with %s", rows[i].where, rows[i].body);
        }
        profile_free(&p);
        catalog_free(&c);
    }
}

/* The same table is asked of the naive evaluation, in tests/e2e/naive.test.mjs. */
static void test_elements_of_arrays_are_asked_one_by_one_or_for_all_at_once(void **state)
{
    static const char body[] =
        "{\"properties\":{\"tags\":[\"a\",\"b\"],\"empty\":[],\"nulls\":[null],\"mixed\":[1,\"a\","
        "null,true],\"products\":[{\"id\":\"A\",\"price\":10,\"tags\":[\"x\"]},{\"id\":\"B\","
        "\"price\":\"20\",\"tags\":[\"y\",\"z\"]},{\"price\":null}],\"one\":{\"list\":[{\"n\":1}]},"
        "\"odd.name\":1,\"odd[]\":\"own\",\"grid\":[[1,2],[3]]}}";
    static const struct {
        const char *where;
        bool matches;
    } rows[] = {
        {"[{\"property\":\"products[].id\",\"eq\":\"A\"}]", true},
        {"[{\"property\":\"products[].id\",\"eq\":\"C\"}]", false},
        {"[{\"property\":\"products[].id\",\"in\":[\"C\",\"B\"]}]", true},
        {"[{\"property\":\"products[].id\",\"ne\":\"A\"}]", false},
        {"[{\"property\":\"products[].id\",\"ne\":\"C\"}]", true},
        {"[{\"property\":\"products[].id\",\"ne\":1}]", false},
        {"[{\"property\":\"products[].id\",\"not_in\":[\"A\",\"C\"]}]", false},
        {"[{\"property\":\"products[].id\",\"not_in\":[\"C\",\"D\"]}]", true},
        {"[{\"property\":\"products[].id\",\"not_in\":[1]}]", false},
        {"[{\"property\":\"products[].price\",\"gte\":10}]", true},
        {"[{\"property\":\"products[].price\",\"gt\":10}]", false},
        {"[{\"property\":\"products[].price\",\"eq\":\"20\"}]", true},
        {"[{\"property\":\"products[].missing\",\"exists\":false}]", true},
        {"[{\"property\":\"products[].id\",\"exists\":false}]", false},
        {"[{\"property\":\"products[].id\",\"exists\":true}]", true},
        {"[{\"property\":\"products[].id\",\"starts_with\":\"B\"}]", true},
        {"[{\"property\":\"products[].tags[]\",\"eq\":\"z\"}]", true},
        {"[{\"property\":\"products[].tags[]\",\"contains\":\"y\"}]", true},
        {"[{\"property\":\"products[].tags\",\"exists\":true}]", true},
        {"[{\"property\":\"products[].tags\",\"contains\":\"x\"}]", false},
        {"[{\"property\":\"products.id\",\"exists\":false}]", true},
        {"[{\"property\":\"products\",\"exists\":true}]", true},
        {"[{\"property\":\"products\",\"eq\":\"A\"}]", false},
        {"[{\"property\":\"products[]\",\"exists\":true}]", true},
        {"[{\"property\":\"tags\",\"contains\":\"a\"}]", false},
        {"[{\"property\":\"tags[]\",\"eq\":\"a\"}]", true},
        {"[{\"property\":\"empty[]\",\"exists\":false}]", true},
        {"[{\"property\":\"empty[]\",\"ne\":\"a\"}]", false},
        {"[{\"property\":\"nulls[]\",\"exists\":false}]", true},
        {"[{\"property\":\"mixed[]\",\"eq\":true}]", true},
        {"[{\"property\":\"mixed[]\",\"ne\":\"b\"}]", true},
        {"[{\"property\":\"mixed[]\",\"ne\":2}]", true},
        {"[{\"property\":\"mixed[]\",\"ne\":1}]", false},
        {"[{\"property\":\"one[]\",\"exists\":false}]", true},
        {"[{\"property\":\"one.list[].n\",\"eq\":1}]", true},
        {"[{\"property\":\"odd.name\",\"eq\":1}]", true},
        {"[{\"property\":\"odd[]\",\"eq\":\"own\"}]", true},
        {"[{\"property\":\"grid[][]\",\"eq\":3}]", true},
        {"[{\"property\":\"grid[]\",\"eq\":3}]", false},
        {"[{\"property\":\"products[]id\",\"exists\":false}]", true},
        {"[{\"property\":\"products[].id\",\"eq\":\"A\"},{\"property\":\"products[].price\",\"eq\":"
         "\"20\"}]",
         true},
        {"[{\"property\":\"products[]\",\"where\":[{\"property\":\"id\",\"eq\":\"A\"},{"
         "\"property\":\"price\",\"eq\":\"20\"}]}]",
         false},
        {"[{\"property\":\"products[]\",\"where\":[{\"property\":\"id\",\"eq\":\"A\"},{"
         "\"property\":\"price\",\"lt\":11}]}]",
         true},
        {"[{\"property\":\"products[]\",\"where\":[{\"property\":\"id\",\"exists\":false}]}]",
         true},
        {"[{\"property\":\"products[]\",\"where\":[{\"property\":\"tags[]\",\"eq\":\"z\"},{"
         "\"property\":\"id\",\"eq\":\"B\"}]}]",
         true},
        {"[{\"property\":\"products[]\",\"where\":[{\"property\":\"tags[]\",\"eq\":\"z\"},{"
         "\"property\":\"id\",\"eq\":\"A\"}]}]",
         false},
        {"[{\"property\":\"empty[]\",\"where\":[{\"property\":\"id\",\"exists\":false}]}]", false},
        {"[{\"property\":\"one.list[]\",\"where\":[{\"property\":\"n\",\"gt\":0}]}]", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char where[512];
        snprintf(where, sizeof where, "{\"event\":\"E\",\"where\":%s}", rows[i].where);
        struct definition definition = {"test", 1, where};
        struct catalog *c = must_compile(&definition, 1, 1);
        struct profile *p = new_profile(1);
        if (note(c, p, EVENT_TRACK, "E", body, 5, 5) != rows[i].matches) {
            fail_msg("%s", rows[i].where);
        }
        profile_free(&p);
        catalog_free(&c);
    }
}

/* ---- New definitions ---- */

#define BOUGHT "{\"event\":\"Bought\"}"

static void assert_rebuild(const struct definition *definitions, size_t count, uint64_t version,
                           uint64_t profile_version, bool expected)
{
    struct catalog *c = must_compile(definitions, count, version);
    struct profile *p = new_profile(profile_version);
    assert_int_equal(catalog_needs_rebuild(c, p), expected);
    profile_free(&p);
    catalog_free(&c);
}

static void test_only_conditions_newer_than_the_profile_are_rebuilt(void **state)
{
    (void)state;
    assert_rebuild((struct definition[]){{"a", 5, BOUGHT}}, 1, 5, 4, true);
    assert_rebuild((struct definition[]){{"a", 5, BOUGHT}}, 1, 9, 5, false);
    assert_rebuild((struct definition[]){{"a", 5, "{\"known\":true}"}}, 1, 5, 4, false);
    /* b is new, but a has had the same condition since 3. */
    assert_rebuild((struct definition[]){{"a", 3, BOUGHT}, {"b", 7, BOUGHT}}, 2, 7, 6, false);
}

static void test_a_changed_segment_is_filled_in_also_where_another_uses_it(void **state)
{
    (void)state;
    /* b is old and did not change, but what it uses did. */
    assert_rebuild((struct definition[]){{"a", 10, BOUGHT}, {"b", 3, "{\"segment\":\"a\"}"}}, 2, 10,
                   9, true);
    assert_rebuild((struct definition[]){{"b", 3, "{\"not\":{\"segment\":\"z\"}}"},
                                         {"z", 10, "{\"any\":[" BOUGHT "]}"}},
                   2, 10, 9, true);
    assert_rebuild((struct definition[]){{"a", 4, BOUGHT}, {"b", 3, "{\"segment\":\"a\"}"}}, 2, 10,
                   9, false);
}

/* ---- Against a naive recount ---- */

enum {
    SEGMENTS = 6,
    EVENTS = 40,
    NAMES = 3,
    SPAN_MS = 120000,
    NODES = 256,
    START_MS = 1795292000000 % 1000000000, /* any moment */
};

enum naive_kind { N_ALL, N_ANY, N_NOT, N_COUNT, N_TRAIT, N_SEGMENT };

struct naive_node {
    enum naive_kind kind;
    int children[3];
    int child_count;
    int name;   /* of the event; NAMES: a page */
    int wanted; /* of its property or of the trait; -1: any */
    int64_t within_ms;
    enum comparison_op op;
    int number;
    int segment;
};

struct naive_event {
    int name;
    int value;
    bool sets_trait; /* an identify, which sets the trait to `value` */
    int64_t at_ms;
};

struct world {
    uint64_t seed;
    struct rand rand;
    struct naive_node nodes[NODES];
    int node_count;
    int roots[SEGMENTS];
    struct buf wheres[SEGMENTS];
    struct definition definitions[SEGMENTS];
    char keys[SEGMENTS][8];
    struct catalog *catalog;
    struct naive_event events[EVENTS];
    size_t arrived; /* events[0 … arrived) are known */
};

static const char *const op_names[] = {"eq", "ne", "gt", "gte", "lt", "lte"};
static const char *const event_names[NAMES] = {"A", "B", "C"};

static int draw(struct world *w, int bound)
{
    return (int)rand_below(&w->rand, (uint64_t)bound);
}

/* A random condition, as a node and as JSON. */
static int grow(struct world *w, struct buf *json, int segment, int depth)
{
    int index = w->node_count++;
    struct naive_node *n = &w->nodes[index];
    assert_true(w->node_count < NODES);
    *n = (struct naive_node){.wanted = -1};
    int choice = draw(w, depth == 0 ? 5 : 9);
    if (choice < 4) {
        int name = draw(w, NAMES + 1);
        int seconds[] = {0, 0, 5, 20, 60};
        n->kind = N_COUNT;
        n->name = name;
        n->wanted = draw(w, 3) == 0 ? draw(w, 3) : -1;
        n->within_ms = (int64_t)seconds[draw(w, 5)] * 1000;
        n->op = (enum comparison_op)draw(w, 6);
        n->number = draw(w, 4);
        buf_put_format(json, name == NAMES ? "{\"type\":\"page\"" : "{\"event\":\"%s\"",
                       event_names[name % NAMES]);
        if (n->wanted >= 0) {
            buf_put_format(json, ",\"where\":[{\"property\":\"v\",\"eq\":%d}]", n->wanted);
        }
        if (n->within_ms > 0) {
            buf_put_format(json, ",\"within\":\"%llds\"", (long long)n->within_ms / 1000);
        }
        buf_put_format(json, ",\"count\":{\"%s\":%d}}", op_names[n->op], n->number);
    } else if (choice == 4 && segment > 0 && depth > 0) {
        n->kind = N_SEGMENT;
        n->segment = draw(w, segment);
        buf_put_format(json, "{\"segment\":\"s%d\"}", n->segment);
    } else if (choice == 4) {
        n->kind = N_TRAIT;
        n->wanted = draw(w, 3);
        buf_put_format(json, "{\"trait\":\"t\",\"eq\":%d}", n->wanted);
    } else if (choice == 5) {
        n->kind = N_NOT;
        n->child_count = 1;
        buf_put_format(json, "{\"not\":");
        n->children[0] = grow(w, json, segment, depth - 1);
        buf_put_format(json, "}");
    } else {
        n->kind = choice == 6 ? N_ANY : N_ALL;
        n->child_count = 1 + draw(w, 3);
        buf_put_format(json, "{\"%s\":[", choice == 6 ? "any" : "all");
        for (int i = 0; i < n->child_count; i++) {
            buf_put_format(json, "%s", i > 0 ? "," : "");
            n->children[i] = grow(w, json, segment, depth - 1);
        }
        buf_put_format(json, "]}");
    }
    return index;
}

static void begin_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed};
    rand_seeded_init(&w->rand, seed);
    for (int i = 0; i < SEGMENTS; i++) {
        buf_init(&w->wheres[i], LIMIT_SEGMENT_JSON_BYTES);
        w->roots[i] = grow(w, &w->wheres[i], i, 2);
        buf_put_u8(&w->wheres[i], 0);
        snprintf(w->keys[i], sizeof w->keys[i], "s%d", i);
        w->definitions[i] = (struct definition){w->keys[i], 1, (const char *)w->wheres[i].data};
    }
    w->catalog = must_compile(w->definitions, SEGMENTS, 1);
    for (int i = 0; i < EVENTS; i++) {
        /* Whole seconds make many ends of windows fall together. */
        int64_t at = draw(w, SPAN_MS);
        at = draw(w, 2) == 0 ? at / 1000 * 1000 : at;
        w->events[i] =
            (struct naive_event){draw(w, NAMES + 1), draw(w, 3), draw(w, 6) == 0, START_MS + at};
    }
}

static void end_world(struct world *w)
{
    for (int i = 0; i < SEGMENTS; i++) {
        buf_done(&w->wheres[i]);
    }
    catalog_free(&w->catalog);
}

/* The trait's value by the newest event; of two at the same time, the later in the list, whose
 * message id is greater. */
static int naive_trait(const struct world *w)
{
    const struct naive_event *newest = NULL;
    for (size_t i = 0; i < w->arrived; i++) {
        const struct naive_event *e = &w->events[i];
        if (e->sets_trait && (newest == NULL || e->at_ms >= newest->at_ms)) {
            newest = e;
        }
    }
    return newest == NULL ? -1 : newest->value;
}

static bool naive_holds(const struct world *w, int index, int64_t now_ms)
{
    const struct naive_node *n = &w->nodes[index];
    int count = 0;
    switch (n->kind) {
    case N_ALL:
        for (int i = 0; i < n->child_count; i++) {
            if (!naive_holds(w, n->children[i], now_ms)) {
                return false;
            }
        }
        return true;
    case N_ANY:
        for (int i = 0; i < n->child_count; i++) {
            if (naive_holds(w, n->children[i], now_ms)) {
                return true;
            }
        }
        return false;
    case N_NOT:
        return !naive_holds(w, n->children[0], now_ms);
    case N_TRAIT:
        return naive_trait(w) == n->wanted;
    case N_SEGMENT:
        return naive_holds(w, w->roots[n->segment], now_ms);
    case N_COUNT:
        break;
    }
    for (size_t i = 0; i < w->arrived; i++) {
        const struct naive_event *e = &w->events[i];
        count += !e->sets_trait && e->name == n->name && (n->wanted < 0 || n->wanted == e->value) &&
                 e->at_ms <= now_ms && (n->within_ms == 0 || e->at_ms > now_ms - n->within_ms);
    }
    const bool results[] = {count == n->number, count != n->number, count > n->number,
                            count >= n->number, count < n->number,  count <= n->number};
    return results[n->op];
}

/* A profile as a partition keeps it: events are noted, timers fire at their moment. */
struct live {
    struct profile *profile;
    int64_t now_ms;
    int64_t timer_ms;
};

static void on_change(void *user, uint32_t segment, bool is_member)
{
    struct live *live = user;
    assert_int_equal(profile_find_membership(live->profile, segment) != NULL, is_member);
}

static void settle(const struct world *w, struct live *live, struct catalog_touch touch)
{
    int64_t timer;
    catalog_evaluate(w->catalog, live->profile, touch, live->now_ms, on_change, live, &timer);
    bool keeps = !touch.everything && live->timer_ms > 0 && (timer == 0 || live->timer_ms < timer);
    live->timer_ms = keeps ? live->timer_ms : timer;
    if (live->timer_ms != 0 && live->timer_ms <= live->now_ms && touch.everything) {
        fail_msg("seed=%llu: a timer at %lld, which is not after now", (unsigned long long)w->seed,
                 (long long)live->timer_ms);
    }
}

static void advance(const struct world *w, struct live *live, int64_t to_ms)
{
    while (live->timer_ms > 0 && live->timer_ms <= to_ms) {
        live->now_ms = live->timer_ms;
        live->timer_ms = 0;
        settle(w, live, (struct catalog_touch){.everything = true});
    }
    live->now_ms = to_ms;
}

static void check(const struct world *w, const struct live *live, const char *when)
{
    for (int i = 0; i < SEGMENTS; i++) {
        bool is_member = profile_find_membership(live->profile, (uint32_t)i + 1) != NULL;
        bool expected = naive_holds(w, w->roots[i], live->now_ms);
        bool asked = catalog_holds(w->catalog, (size_t)i, live->profile, live->now_ms);
        if (is_member != expected || asked != expected) {
            fail_msg("seed=%llu %s now=%lld after %zu events: member of s%d %s: %d, asked %d, not "
                     "%d",
                     (unsigned long long)w->seed, when, (long long)(live->now_ms - START_MS),
                     w->arrived, i, w->definitions[i].where, is_member, asked, expected);
        }
    }
}

static void make_naive(const struct world *w, size_t i, struct made_event *m)
{
    const struct naive_event *e = &w->events[i];
    char body[64];
    char id[16];
    snprintf(body, sizeof body, "{\"%s\":{\"%s\":%d}}", e->sets_trait ? "traits" : "properties",
             e->sets_trait ? "t" : "v", e->value);
    snprintf(id, sizeof id, "m%04zu", i);
    make_event(m,
               e->sets_trait      ? EVENT_IDENTIFY
               : e->name == NAMES ? EVENT_PAGE
                                  : EVENT_TRACK,
               e->sets_trait || e->name == NAMES ? "" : event_names[e->name], body, e->at_ms, id);
}

static void take_event(const struct world *w, struct live *live, size_t i)
{
    struct made_event m;
    struct catalog_touch touch = {.everything = live->profile->event_count++ == 0};
    make_naive(w, i, &m);
    if (w->events[i].sets_trait) {
        uint8_t value = (uint8_t)w->events[i].value; /* a small number in MessagePack */
        touch.traits = profile_set_trait(live->profile,
                                         &(struct profile_trait){.name = slice_text("t"),
                                                                 .value = slice_make(&value, 1),
                                                                 .at_ms = m.event.timestamp_ms,
                                                                 .message_id = m.event.message_id,
                                                                 .source = slice_text("web")});
    }
    touch.conditions = catalog_note_event(w->catalog, live->profile, &m.event, live->now_ms);
    settle(w, live, touch);
    made_event_done(&m);
}

static int compare_moments(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Look just before, at and after every moment at which a recount could change. */
static void walk_through_the_ends(const struct world *w, struct live *live, int64_t until_ms)
{
    static const int64_t windows[] = {0, 5000, 20000, 60000};
    int64_t moments[EVENTS * 12];
    size_t count = 0;
    for (size_t i = 0; i < w->arrived; i++) {
        for (int n = 0; n < 12; n++) {
            int64_t at = w->events[i].at_ms + windows[n / 3] + n % 3 - 1;
            if (at >= live->now_ms && at <= until_ms) {
                moments[count++] = at;
            }
        }
    }
    qsort(moments, count, sizeof *moments, compare_moments);
    for (size_t i = 0; i < count; i++) {
        advance(w, live, moments[i]);
        check(w, live, "at an end");
    }
    advance(w, live, until_ms);
}

static void test_membership_equals_a_naive_recount_at_every_moment(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world *w = memory_allocate(sizeof *w);
        begin_world(w, seed);
        struct live live = {new_profile(1), START_MS + draw(w, 60000), 0};
        while (w->arrived < EVENTS) {
            w->arrived++;
            take_event(w, &live, w->arrived - 1);
            check(w, &live, "on an event");
            walk_through_the_ends(w, &live, live.now_ms + draw(w, 8000));
        }
        walk_through_the_ends(w, &live, live.now_ms + 3 * SPAN_MS);
        check(w, &live, "in the end");
        assert_true(live.timer_ms == 0);
        profile_free(&live.profile);
        end_world(w);
        free(w);
    }
}

static void test_two_profiles_merged_are_as_one_that_saw_all_events(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world *w = memory_allocate(sizeof *w);
        begin_world(w, seed);
        struct live a = {new_profile(1), START_MS + draw(w, 60000), 0};
        struct live b = {new_profile(1), a.now_ms, 0};
        for (size_t i = 0; i < EVENTS; i++) {
            struct live *one = draw(w, 2) == 0 ? &a : &b;
            take_event(w, one, i);
            int64_t now = one->now_ms + draw(w, 6000);
            advance(w, &a, now);
            advance(w, &b, now);
        }
        w->arrived = EVENTS;
        profile_merge(a.profile, b.profile);
        catalog_prune(w->catalog, a.profile, a.now_ms);
        settle(w, &a, (struct catalog_touch){.everything = true});
        check(w, &a, "after the merge");
        walk_through_the_ends(w, &a, a.now_ms + 3 * SPAN_MS);
        profile_free(&a.profile);
        profile_free(&b.profile);
        end_world(w);
        free(w);
    }
}

static void assert_same_states(const struct world *w, const struct profile *a,
                               const struct profile *b)
{
    assert_int_equal(a->state_count, b->state_count);
    for (size_t i = 0; i < a->state_count; i++) {
        const struct profile_state *x = &a->states[i];
        const struct profile_state *y = profile_find_state(b, x->condition);
        if (y == NULL || x->count != y->count ||
            memcmp(x->times, y->times, x->count * sizeof *x->times) != 0) {
            fail_msg("seed=%llu: a state differs", (unsigned long long)w->seed);
        }
    }
}

static void test_states_rebuilt_from_the_timeline_equal_those_kept_live(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world *w = memory_allocate(sizeof *w);
        begin_world(w, seed);
        struct live live = {new_profile(1), START_MS + draw(w, 60000), 0};
        for (w->arrived = 1; w->arrived <= EVENTS; w->arrived++) {
            take_event(w, &live, w->arrived - 1);
            advance(w, &live, live.now_ms + draw(w, 4000));
        }
        w->arrived = EVENTS;
        struct profile *rebuilt = new_profile(0);
        assert_true(w->node_count == 0 || catalog_needs_rebuild(w->catalog, rebuilt) ||
                    live.profile->state_count == 0);
        catalog_rebuild_begin(w->catalog, rebuilt);
        size_t offset = (size_t)draw(w, EVENTS);
        for (size_t i = 0; i < EVENTS; i++) {
            struct made_event m;
            make_naive(w, (i * 7 + offset) % EVENTS, &m); /* in another order */
            catalog_rebuild_event(w->catalog, rebuilt, &m.event, live.now_ms);
            made_event_done(&m);
        }
        catalog_prune(w->catalog, rebuilt, live.now_ms);
        catalog_prune(w->catalog, live.profile, live.now_ms);
        assert_same_states(w, live.profile, rebuilt);
        profile_free(&live.profile);
        profile_free(&rebuilt);
        end_world(w);
        free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mistake_is_refused_with_its_place),
        cmocka_unit_test(
            test_segments_that_use_each_other_in_a_circle_are_refused_with_their_names),
        cmocka_unit_test(test_definitions_that_multiply_are_refused_in_time),
        cmocka_unit_test(test_bytes_that_are_no_definitions_are_refused),
        cmocka_unit_test(test_a_catalog_knows_its_segments_and_traits_for_the_edge),
        cmocka_unit_test(
            test_a_card_is_stale_where_what_the_profile_has_began_or_ceased_to_be_shown),
        cmocka_unit_test(test_equal_conditions_are_shared_and_different_ones_are_not),
        cmocka_unit_test(test_no_more_times_are_kept_than_the_answer_needs),
        cmocka_unit_test(test_where_sees_properties_traits_and_the_name_of_a_page),
        cmocka_unit_test(test_elements_of_arrays_are_asked_one_by_one_or_for_all_at_once),
        cmocka_unit_test(test_only_conditions_newer_than_the_profile_are_rebuilt),
        cmocka_unit_test(test_a_changed_segment_is_filled_in_also_where_another_uses_it),
        cmocka_unit_test(test_membership_equals_a_naive_recount_at_every_moment),
        cmocka_unit_test(test_two_profiles_merged_are_as_one_that_saw_all_events),
        cmocka_unit_test(test_states_rebuilt_from_the_timeline_equal_those_kept_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
