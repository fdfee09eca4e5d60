#include "hub/segment/catalog.h"

#include <stdlib.h>
#include "hub/profile/claims.h"
#include "hub/segment/catalog_internal.h"
#include "hub/segment/property_path.h"
#include "hub/trust/verdict.h"

/* Times ahead of now that one condition of one profile remembers; clients whose clocks run ahead
 * by more events than this lose the farthest. */
enum { FUTURE_TIMES_MAX = 256 };

static bool read_segment(const msgpack_object *object, struct segment *ret)
{
    int64_t id;
    int64_t version;
    int64_t edge_version = 0;
    ret->where = value_member_c(object, "where");
    if (!value_int(value_member_c(object, "id"), &id) ||
        !value_int(value_member_c(object, "version"), &version) ||
        !value_text(value_member_c(object, "key"), &ret->key) || ret->key.len > LIMIT_NAME_BYTES) {
        return false;
    }
    ret->id = (uint32_t)id;
    ret->version = (uint64_t)version;
    ret->edge = audience_read(value_member_c(object, "edge"));
    (void)value_int(value_member_c(object, "edgeVersion"), &edge_version);
    ret->edge_version = (uint64_t)edge_version;
    const msgpack_object *name = value_member_c(object, "name");
    if (name == NULL || !value_text(name, &ret->name) || ret->name.len > LIMIT_NAME_BYTES) {
        ret->name = slice_make(NULL, 0);
    }
    return true;
}

static bool read_catalog(struct catalog *c, const msgpack_object *root, struct error *err)
{
    const msgpack_object *segments = value_member_c(root, "segments");
    int64_t version;
    if (!value_int(value_member_c(root, "version"), &version) ||
        !value_is(segments, MSGPACK_OBJECT_ARRAY) || segments->via.array.size > LIMIT_SEGMENTS) {
        return error_set(err, ERROR_INVALID, "there are more than %d segments", LIMIT_SEGMENTS);
    }
    c->version = (uint64_t)version;
    c->segments = memory_allocate_zeroed(segments->via.array.size * sizeof *c->segments);
    for (uint32_t i = 0; i < segments->via.array.size; i++) {
        if (!read_segment(&segments->via.array.ptr[i], &c->segments[c->segment_count++])) {
            return error_set(err, ERROR_INVALID, "a segment has no id, version or key");
        }
    }
    return catalog_read_edge_traits(c, root, err) &&
           identity_rules_read(value_member_c(root, "rules"), &c->rules, err);
}

bool catalog_new(struct slice bytes, struct catalog **ret, struct catalog_error *where,
                 struct error *err)
{
    struct catalog *c = memory_allocate_zeroed(sizeof *c);
    msgpack_object root;
    *where = (struct catalog_error){.code = "invalid-segment"};
    buf_init(&c->bytes, SIZE_MAX / 2);
    buf_put_slice(&c->bytes, bytes);
    arena_init(&c->arena, 4096);
    bool made = msgpack_zone_init(&c->zone, 8192);
    ensure(made);
    if (!value_unpack(buf_slice(&c->bytes), &c->zone, &root, err) || !read_catalog(c, &root, err) ||
        !catalog_read_scopes(c, value_member_c(&root, "scopes"), where, err) ||
        !catalog_read_purchases(c, &root, where, err) ||
        !catalog_read_business_keys(c, &root, where, err) || !catalog_compile(c, where, err)) {
        catalog_free(&c);
        return false;
    }
    *ret = c;
    return true;
}

void catalog_free(struct catalog **catalog)
{
    struct catalog *c = *catalog;
    if (c == NULL) {
        return;
    }
    free(c->segments);
    free(c->conditions);
    arena_done(&c->arena);
    msgpack_zone_destroy(&c->zone);
    buf_done(&c->bytes);
    free(c);
    *catalog = NULL;
}

uint64_t catalog_version(const struct catalog *c)
{
    return c->version;
}

struct slice catalog_bytes(const struct catalog *c)
{
    return buf_slice(&c->bytes);
}

const struct identity_rules *catalog_rules(const struct catalog *c)
{
    return &c->rules;
}

size_t catalog_segment_count(const struct catalog *c)
{
    return c->segment_count;
}

struct catalog_segment catalog_segment_at(const struct catalog *c, size_t at)
{
    const struct segment *s = &c->segments[at];
    return (struct catalog_segment){s->id, s->key, s->name, s->edge};
}

struct catalog_segment catalog_segment_of(const struct catalog *c, uint32_t id)
{
    for (size_t i = 0; i < c->segment_count; i++) {
        if (c->segments[i].id == id) {
            return catalog_segment_at(c, i);
        }
    }
    return (struct catalog_segment){0};
}

struct slice catalog_segment_key(const struct catalog *c, uint32_t id)
{
    return catalog_segment_of(c, id).key;
}

/* ---- Conditions over events ---- */

static bool tally_value(void *user, const msgpack_object *value)
{
    comparison_take(user, value);
    return true;
}

static bool where_holds(const struct where *where, const msgpack_object *map);

/* Looks for one element that is all that it must be. */
struct element_search {
    const struct where *where;
    bool found;
};

static bool try_element(void *user, const msgpack_object *element)
{
    struct element_search *s = user;
    bool fits = true;
    for (size_t i = 0; i < s->where->where_count && fits; i++) {
        fits = where_holds(&s->where->where[i], element);
    }
    s->found = s->found || fits;
    return !s->found;
}

static bool where_holds(const struct where *where, const msgpack_object *map)
{
    if (where->where_count > 0) {
        struct element_search search = {.where = where};
        (void)property_each(map, where->property, try_element, &search);
        return search.found;
    }
    struct comparison_tally tally = {.comparison = &where->comparison};
    (void)property_each(map, where->property, tally_value, &tally);
    return comparison_result(&tally);
}

/* The name of a page or screen, which `where` sees as a property where there is none of its name.
 */
static bool is_asked_for_name(const struct where *where, const struct event *event)
{
    bool is_view = event->type == EVENT_PAGE || event->type == EVENT_SCREEN;
    return is_view && event->name.len > 0 && where->where_count == 0 &&
           slice_is(where->property, "name") &&
           value_member_c(event_properties(event), "name") == NULL;
}

static bool event_holds(const struct where *where, const struct event *event)
{
    if (!is_asked_for_name(where, event)) {
        return where_holds(where, event_properties(event));
    }
    msgpack_object name = {.type = MSGPACK_OBJECT_STR};
    name.via.str.ptr = (const char *)event->name.data;
    name.via.str.size = (uint32_t)event->name.len;
    return comparison_holds(&where->comparison, &name);
}

static bool matches(const struct condition *k, const struct event *event)
{
    if (event->type != k->type || (k->by_name && !slice_equal(event->name, k->name)) ||
        event_is_withdrawal(event) || (k->from_server && !verdict_is_server(event->verdict))) {
        return false;
    }
    for (size_t i = 0; i < k->where_count; i++) {
        if (!event_holds(&k->where[i], event)) {
            return false;
        }
    }
    return true;
}

/* Within a window only the newest times up to now matter, without one only the oldest; times
 * ahead of now will count when now reaches them. */
static void prune(const struct condition *k, struct profile_state *state, int64_t now_ms)
{
    uint32_t past = state->count;
    while (past > 0 && state->times[past - 1] > now_ms) {
        past--;
    }
    uint32_t future = state->count - past;
    uint32_t future_kept = future < FUTURE_TIMES_MAX ? future : FUTURE_TIMES_MAX;
    uint32_t kept = past < (uint32_t)k->keep ? past : (uint32_t)k->keep;
    uint32_t from = k->within_ms > 0 ? past - kept : 0;
    memmove(state->times, state->times + from, kept * sizeof *state->times);
    memmove(state->times + kept, state->times + past, future_kept * sizeof *state->times);
    state->count = kept + future_kept;
}

static void note(const struct condition *k, struct profile *profile, const struct event *event,
                 int64_t now_ms)
{
    struct profile_state *state = profile_make_state(profile, k->id);
    profile_state_add(profile, state, event->timestamp_ms);
    prune(k, state, now_ms);
}

bool catalog_note_event(const struct catalog *c, struct profile *profile, const struct event *event,
                        int64_t now_ms)
{
    bool noted = false;
    for (size_t i = 0; i < c->condition_count; i++) {
        if (matches(&c->conditions[i], event)) {
            note(&c->conditions[i], profile, event, now_ms);
            noted = true;
        }
    }
    return noted;
}

static const struct condition *find_condition(const struct catalog *c, uint64_t id)
{
    for (size_t i = 0; i < c->condition_count; i++) {
        if (c->conditions[i].id == id) {
            return &c->conditions[i];
        }
    }
    return NULL;
}

void catalog_prune(const struct catalog *c, struct profile *profile, int64_t now_ms)
{
    for (size_t i = profile->state_count; i-- > 0;) {
        const struct condition *k = find_condition(c, profile->states[i].condition);
        if (k == NULL) {
            profile_drop_state(profile, profile->states[i].condition);
        } else {
            prune(k, &profile->states[i], now_ms);
        }
    }
}

bool catalog_needs_rebuild(const struct catalog *c, const struct profile *profile)
{
    for (size_t i = 0; i < c->condition_count; i++) {
        if (c->conditions[i].version > profile->catalog_version) {
            return true;
        }
    }
    return false;
}

void catalog_rebuild_begin(const struct catalog *c, struct profile *profile)
{
    for (size_t i = 0; i < c->condition_count; i++) {
        if (c->conditions[i].version > profile->catalog_version) {
            profile_drop_state(profile, c->conditions[i].id);
        }
    }
}

bool catalog_rebuild_event(const struct catalog *c, struct profile *profile,
                           const struct event *event, int64_t now_ms)
{
    bool noted = false;
    for (size_t i = 0; i < c->condition_count; i++) {
        if (c->conditions[i].version > profile->catalog_version &&
            matches(&c->conditions[i], event)) {
            note(&c->conditions[i], profile, event, now_ms);
            noted = true;
        }
    }
    return noted;
}

/* ---- Evaluation ---- */

/* How many of the times count at this moment, and when that may change next. */
static int64_t count_at(const struct condition *k, const struct profile_state *state,
                        int64_t now_ms, int64_t *timer_ms)
{
    int64_t count = 0;
    for (uint32_t i = 0; state != NULL && i < state->count; i++) {
        int64_t at = state->times[i];
        int64_t change = 0;
        if (at > now_ms) {
            change = at;
        } else if (k->within_ms == 0) {
            count++;
        } else if (at > now_ms - k->within_ms) {
            count++;
            change = at + k->within_ms;
        }
        if (change > 0 && (*timer_ms == 0 || change < *timer_ms)) {
            *timer_ms = change;
        }
    }
    return count;
}

static bool count_holds(const struct comparison *comparison, int64_t count)
{
    msgpack_object value = {.type = MSGPACK_OBJECT_POSITIVE_INTEGER, .via.u64 = (uint64_t)count};
    return comparison_holds(comparison, &value);
}

static bool trait_holds(const struct node *node, const struct profile *profile)
{
    struct slice name = node->name;
    bool is_claimed;
    const struct profile_trait *trait = profile_effective_trait(profile, name, &is_claimed);
    struct comparison_tally tally = {.comparison = &node->comparison};
    size_t at = trait == NULL ? 0 : name.len;
    /* A name is first looked for as it stands, then as a way into an object or array. */
    while (trait == NULL && at < name.len) {
        struct slice part = slice_make(name.data, property_next_step(name, at + 1));
        at = part.len;
        trait = at < name.len ? profile_effective_trait(profile, part, &is_claimed) : NULL;
    }
    if (trait == NULL) {
        return comparison_result(&tally);
    }
    msgpack_zone zone;
    msgpack_object value;
    struct error err;
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    bool fine = value_unpack(trait->value, &zone, &value, &err);
    ensure(fine);
    (void)property_each_behind(&value, slice_skip(name, at), tally_value, &tally);
    msgpack_zone_destroy(&zone);
    return comparison_result(&tally);
}

static bool is_known(const struct catalog *c, const struct profile *profile)
{
    for (size_t i = 0; i < profile->identifier_count; i++) {
        if (identity_rule_of(&c->rules, profile->identifiers[i].id.type).is_known) {
            return true;
        }
    }
    return false;
}

/* The person's word. A visitor who is nobody yet has given none, and is the device. */
static bool has_consent(const struct catalog *c, const struct profile *profile,
                        struct slice category)
{
    for (size_t i = 0; i < profile->consent_count; i++) {
        if (slice_equal(profile->consents[i].category, category)) {
            return profile->consents[i].granted;
        }
    }
    const struct profile_consent *latest = devices_latest_consent(profile, category);
    return latest != NULL && latest->granted && !catalog_is_known(c, profile);
}

struct evaluation {
    const struct catalog *catalog;
    const struct profile *profile;
    int64_t now_ms;
    int64_t timer_ms;
};

/* Every branch is looked at, also when the result is clear, because each may have a timer. */
static bool holds(struct evaluation *e, const struct node *node)
{
    bool result = node->kind == NODE_ALL;
    switch (node->kind) {
    case NODE_ALL:
        for (const struct node *child = node->child; child != NULL; child = child->next) {
            result = holds(e, child) && result;
        }
        return result;
    case NODE_ANY:
        for (const struct node *child = node->child; child != NULL; child = child->next) {
            result = holds(e, child) || result;
        }
        return result;
    case NODE_NOT:
        return !holds(e, node->child);
    case NODE_TRAIT:
        return trait_holds(node, e->profile);
    case NODE_COUNT: {
        const struct condition *k = &e->catalog->conditions[node->condition];
        int64_t count = count_at(k, profile_find_state(e->profile, k->id), e->now_ms, &e->timer_ms);
        return count_holds(&node->comparison, count);
    }
    case NODE_KNOWN:
        return is_known(e->catalog, e->profile) == node->wanted;
    case NODE_IDENTIFIER:
        return (profile_count_identifiers(e->profile, node->name) > 0) == node->wanted;
    case NODE_CLAIM:
        return (claims_find(e->profile, node->name) != NULL) == node->wanted;
    case NODE_CONSENT:
        return has_consent(e->catalog, e->profile, node->name);
    }
    return false;
}

static bool is_touched(const struct segment *segment, struct catalog_touch touch)
{
    return touch.everything || (touch.conditions && segment->depends.conditions) ||
           (touch.traits && segment->depends.traits) ||
           (touch.identifiers && segment->depends.identifiers) ||
           (touch.consents && segment->depends.consents) ||
           (touch.claims && segment->depends.claims);
}

void catalog_evaluate(const struct catalog *c, struct profile *profile, struct catalog_touch touch,
                      int64_t now_ms, void (*changed)(void *user, uint32_t segment, bool is_member),
                      void *user, int64_t *ret_timer_ms)
{
    struct evaluation e = {.catalog = c, .profile = profile, .now_ms = now_ms};
    for (size_t i = 0; i < c->segment_count; i++) {
        const struct segment *segment = &c->segments[i];
        if (!is_touched(segment, touch)) {
            continue;
        }
        bool was_member = profile_find_membership(profile, segment->id) != NULL;
        bool is_member = holds(&e, segment->root);
        if (is_member && !was_member) {
            profile_enter(profile, segment->id, now_ms);
        } else if (!is_member && was_member) {
            profile_leave(profile, segment->id);
        }
        if (is_member != was_member) {
            changed(user, segment->id, is_member);
        }
    }
    *ret_timer_ms = e.timer_ms;
}

bool catalog_holds(const struct catalog *c, size_t segment_at, const struct profile *profile,
                   int64_t now_ms)
{
    struct evaluation e = {.catalog = c, .profile = profile, .now_ms = now_ms};
    return holds(&e, c->segments[segment_at].root);
}
