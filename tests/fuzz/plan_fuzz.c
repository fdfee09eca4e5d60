/* Tracking plans and the checks that read events in place. The input is two MessagePack values
 * after another: a definition, and the body of an event; bytes in any other shape are tried too.
 */
#include "collector/gate/plan.h"
#include "shared/cursor.h"
#include "shared/suppression.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_violations(const struct schema_violations *found)
{
    ensure(found->count <= SCHEMA_VIOLATIONS_MAX);
    for (size_t i = 0; i < found->count; i++) {
        ensure(strlen(found->list[i].pointer) < SCHEMA_POINTER_BYTES);
        ensure(found->list[i].rule != NULL);
    }
}

static void check_body(const struct tracking_plan *plan, struct slice body)
{
    static const char *const names[] = {"Sold", "", "e"};
    struct schema_violations found;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        enum plan_verdict verdict = tracking_plan_check(plan, slice_text(names[i]), body, &found);
        ensure((verdict == PLAN_FINE) == (found.count == 0));
        check_violations(&found);
    }
}

/* Suppression walks the same bytes; nothing on the list may be what is found. */
static void check_suppression(struct slice body)
{
    static const uint8_t change[SUPPRESSION_CHANGE_BYTES] = {1, 2, 3};
    static const enum event_type types[] = {EVENT_TRACK, EVENT_IDENTIFY, EVENT_ALIAS};
    struct suppression_types rules = {.count = 1};
    struct suppression_set *set = suppression_set_new();
    struct arena arena;
    arena_init(&arena, 512);
    rules.types[0].type = slice_text("email");
    rules.types[0].normalizer = NORMALIZE_EMAIL;
    ensure(suppression_set_apply(set, slice_make(change, sizeof change)));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct event event = {.type = types[i], .body = body};
        ensure(!suppression_set_matches(set, &rules, &event, &arena));
    }
    arena_done(&arena);
    suppression_set_free(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor at = cursor_of(slice_make(data, size));
    struct tracking_plan *plan = NULL;
    struct schema_place where;
    struct error err;
    msgpack_zone zone;
    msgpack_object definition;
    bool split = cursor_skip(&at);
    struct slice first = split ? slice_make(data, (size_t)(at.at - data)) : slice_make(data, size);
    struct slice rest = split ? slice_make(at.at, (size_t)(at.end - at.at)) : first;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    check_suppression(rest);
    if (value_unpack(first, &zone, &definition, &err)) {
        if (tracking_plan_new(&definition, &plan, &where, &err)) {
            check_body(plan, rest);
            check_body(plan, first);
        } else {
            ensure(err.kind == ERROR_INVALID);
            ensure(strlen(where.pointer) < sizeof where.pointer);
        }
    }
    tracking_plan_free(&plan);
    msgpack_zone_destroy(&zone);
    return 0;
}
