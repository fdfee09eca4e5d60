#include "shared/tracking_plan.h"

#include <stdlib.h>
#include "shared/arena.h"
#include "shared/cursor.h"
#include "shared/limits.h"
#include "shared/members.h"

struct planned {
    struct slice name;
    uint32_t root;
    bool is_checked; /* it has a schema */
};

struct tracking_plan {
    struct schema *schema;
    struct arena arena; /* of the names */
    enum plan_verdict unplanned;
    enum plan_verdict violations;
    size_t count;
    struct planned *events; /* by name */
};

static int compare_events(const void *a, const void *b)
{
    return slice_compare(((const struct planned *)a)->name, ((const struct planned *)b)->name);
}

struct action {
    const char *name;
    enum plan_verdict verdict;
};

/* Read one of the two members that say what happens; the first action is the default. */
static bool read_action(const msgpack_object *definition, const char *member,
                        const struct action actions[3], enum plan_verdict *ret,
                        struct schema_place *where, struct error *err)
{
    const msgpack_object *value = value_member_c(definition, member);
    struct slice name;
    *ret = actions[0].verdict;
    for (size_t i = 0; value_text(value, &name) && i < 3; i++) {
        if (slice_is(name, actions[i].name)) {
            *ret = actions[i].verdict;
            return true;
        }
    }
    if (value == NULL) {
        return true;
    }
    schema_place_enter(where, slice_text(member));
    return error_set(err, ERROR_INVALID, "\"%s\" must be %s, %s or %s.", member, actions[0].name,
                     actions[1].name, actions[2].name);
}

/* What only people read. */
static bool is_for_people(struct slice name)
{
    return slice_is(name, "name") || slice_is(name, "title") || slice_is(name, "description");
}

static bool has_only(const msgpack_object *map, const char *const *names, size_t count,
                     struct schema_place *where, struct error *err)
{
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        struct slice name = slice_make(NULL, 0);
        bool known = false;
        (void)value_text(&map->via.map.ptr[i].key, &name);
        for (size_t n = 0; n < count; n++) {
            known = known || slice_is(name, names[n]);
        }
        if (!known) {
            char text[240];
            members_tell_unknown(name, names, count, text, sizeof text);
            schema_place_enter(where, name);
            where->names_unknown = true;
            return error_set(err, ERROR_INVALID, "%s", text);
        }
        if (is_for_people(name) && map->via.map.ptr[i].val.type != MSGPACK_OBJECT_STR) {
            schema_place_enter(where, name);
            return error_set(err, ERROR_INVALID, "\"%.*s\" must be a text.", SLICE_ARGS(name));
        }
    }
    return true;
}

static bool read_event(struct tracking_plan *plan, const msgpack_object_kv *kv,
                       struct schema_place *where, struct error *err)
{
    static const char *const names[] = {"properties", "title", "description"};
    struct planned *event = &plan->events[plan->count];
    struct slice name;
    if (!value_text(&kv->key, &name) || name.len == 0 || name.len > LIMIT_EVENT_BYTES / 8) {
        return error_set(err, ERROR_INVALID, "An event's name must be a text.");
    }
    schema_place_enter(where, name);
    if (kv->val.type != MSGPACK_OBJECT_MAP) {
        return error_set(err, ERROR_INVALID, "An event must be an object with \"properties\".");
    }
    if (!has_only(&kv->val, names, sizeof names / sizeof *names, where, err)) {
        return false;
    }
    const msgpack_object *properties = value_member_c(&kv->val, "properties");
    event->name = arena_copy(&plan->arena, name);
    event->is_checked = properties != NULL;
    plan->count++;
    schema_place_enter(where, slice_text("properties"));
    return properties == NULL || schema_add(plan->schema, properties, where, &event->root, err);
}

static bool read_events(struct tracking_plan *plan, const msgpack_object *events,
                        struct schema_place *where, struct error *err)
{
    schema_place_enter(where, slice_text("events"));
    if (!value_is(events, MSGPACK_OBJECT_MAP) || events->via.map.size > TRACKING_PLAN_EVENTS_MAX) {
        return error_set(err, ERROR_INVALID, "\"events\" must be an object of up to %d events.",
                         TRACKING_PLAN_EVENTS_MAX);
    }
    plan->events = memory_allocate_zeroed((events->via.map.size + 1) * sizeof *plan->events);
    struct schema_place here = *where;
    for (uint32_t i = 0; i < events->via.map.size; i++) {
        *where = here;
        if (!read_event(plan, &events->via.map.ptr[i], where, err)) {
            return false;
        }
    }
    qsort(plan->events, plan->count, sizeof *plan->events, compare_events);
    return true;
}

static bool read_plan(struct tracking_plan *plan, const msgpack_object *definition,
                      struct schema_place *where, struct error *err)
{
    static const char *const names[] = {"key",    "name",      "description",
                                        "events", "unplanned", "violations"};
    static const struct action unplanned[3] = {
        {"allow", PLAN_FINE}, {"flag", PLAN_FLAG}, {"quarantine", PLAN_QUARANTINE}};
    static const struct action violations[3] = {
        {"flag", PLAN_FLAG}, {"quarantine", PLAN_QUARANTINE}, {"refuse", PLAN_REFUSE}};
    if (!value_is(definition, MSGPACK_OBJECT_MAP)) {
        return error_set(err, ERROR_INVALID, "A tracking plan must be an object.");
    }
    return has_only(definition, names, sizeof names / sizeof *names, where, err) &&
           read_action(definition, "unplanned", unplanned, &plan->unplanned, where, err) &&
           read_action(definition, "violations", violations, &plan->violations, where, err) &&
           read_events(plan, value_member_c(definition, "events"), where, err);
}

bool tracking_plan_new(const msgpack_object *definition, struct tracking_plan **ret,
                       struct schema_place *where, struct error *err)
{
    struct tracking_plan *plan = memory_allocate_zeroed(sizeof *plan);
    plan->schema = schema_new();
    arena_init(&plan->arena, 1024);
    *where = (struct schema_place){.pointer = ""};
    if (!read_plan(plan, definition, where, err)) {
        tracking_plan_free(&plan);
        return false;
    }
    *ret = plan;
    return true;
}

void tracking_plan_free(struct tracking_plan **plan)
{
    if (*plan != NULL) {
        schema_free(&(*plan)->schema);
        arena_done(&(*plan)->arena);
        free((*plan)->events);
        free(*plan);
        *plan = NULL;
    }
}

enum plan_verdict tracking_plan_check(const struct tracking_plan *plan, struct slice name,
                                      struct slice body, struct schema_violations *ret)
{
    static const uint8_t no_properties[] = {0x80};
    struct planned wanted = {.name = name};
    const struct planned *event = plan->count == 0 ? NULL
                                                   : bsearch(&wanted, plan->events, plan->count,
                                                             sizeof wanted, compare_events);
    struct cursor at;
    ret->count = 0;
    if (event == NULL) {
        if (plan->unplanned != PLAN_FINE) {
            schema_violations_add(ret, "/event", "unplanned");
        }
        return plan->unplanned;
    }
    if (!event->is_checked) {
        return PLAN_FINE;
    }
    struct slice properties = slice_make(no_properties, sizeof no_properties);
    if (cursor_member(cursor_of(body), "properties", &at)) {
        struct cursor end = at;
        properties =
            cursor_skip(&end) ? slice_make(at.at, (size_t)(end.at - at.at)) : slice_make(NULL, 0);
        /* null is as if absent */
        if (properties.len == 1 && properties.data[0] == 0xc0) {
            properties = slice_make(no_properties, sizeof no_properties);
        }
    }
    schema_check(plan->schema, event->root, properties, slice_text("/properties"), ret);
    return ret->count == 0 ? PLAN_FINE : plan->violations;
}
