/* Which profiles a collector keeps, and which events are purchases: the parts of the definitions
 * that decide what the edges get. */
#include "hub/segment/catalog_internal.h"
#include "hub/trust/verdict.h"

#include <stdlib.h>

/* "Order Completed" and "Order Refunded", where nothing else was defined. */
static const char *const default_purchases[] = {"Order Completed", "Order Refunded"};

static bool read_kind(struct slice text, enum scope_kind *ret)
{
    static const char *const names[] = {"seen", "segments", "everybody"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_is(text, names[i])) {
            *ret = (enum scope_kind)i;
            return true;
        }
    }
    return false;
}

static bool find_segment(const struct catalog *c, struct slice key, uint32_t *ret)
{
    for (size_t i = 0; i < c->segment_count; i++) {
        if (slice_equal(c->segments[i].key, key)) {
            *ret = c->segments[i].id;
            return true;
        }
    }
    return false;
}

static bool read_segments(struct catalog *c, struct slice id, const msgpack_object *keys,
                          struct catalog_scope *scope, struct error *err)
{
    if (!value_is(keys, MSGPACK_OBJECT_ARRAY) || keys->via.array.size == 0 ||
        keys->via.array.size > LIMIT_SEGMENTS) {
        return error_set(err, ERROR_INVALID,
                         "\"segments\" must be an array of 1 to %d keys of segments.",
                         LIMIT_SEGMENTS);
    }
    scope->segments = arena_allocate(&c->arena, keys->via.array.size * sizeof *scope->segments);
    for (uint32_t i = 0; i < keys->via.array.size; i++) {
        struct slice key = slice_text("");
        if (!value_text(&keys->via.array.ptr[i], &key) ||
            !find_segment(c, key, &scope->segments[scope->segment_count++])) {
            return error_set(err, ERROR_INVALID,
                             "The scope of collector %.*s names the segment \"%.*s\", which is "
                             "not there.",
                             SLICE_ARGS(id), SLICE_ARGS(key));
        }
    }
    return true;
}

/* {"collector":number, "id":text, "version":number, "scope":{"kind":text, "segments":[key…]}} */
static bool read_scope(struct catalog *c, const msgpack_object *object, struct catalog_scope *ret,
                       struct error *err)
{
    const msgpack_object *scope = value_member_c(object, "scope");
    struct slice kind;
    struct slice id = slice_text("");
    int64_t collector = 0;
    int64_t version = 0;
    *ret = (struct catalog_scope){0};
    if (!value_int(value_member_c(object, "collector"), &collector) ||
        !value_int(value_member_c(object, "version"), &version) ||
        !value_text(value_member_c(object, "id"), &id) ||
        !value_text(value_member_c(scope, "kind"), &kind) || !read_kind(kind, &ret->kind)) {
        return error_set(err, ERROR_INVALID,
                         "\"kind\" of a scope must be seen, segments or everybody.");
    }
    ret->collector = (uint32_t)collector;
    ret->version = (uint64_t)version;
    c->scopes_version = ret->version > c->scopes_version ? ret->version : c->scopes_version;
    return ret->kind != SCOPE_SEGMENTS ||
           read_segments(c, id, value_member_c(scope, "segments"), ret, err);
}

static int by_collector(const void *a, const void *b)
{
    const struct catalog_scope *x = a;
    const struct catalog_scope *y = b;
    return (x->collector > y->collector) - (x->collector < y->collector);
}

/* What all scopes together want, so that a profile is not compared with each. */
static void sum_up(struct catalog *c)
{
    c->wanted = arena_allocate(&c->arena, (c->segment_count + 1) * sizeof *c->wanted);
    for (size_t i = 0; i < c->scope_count; i++) {
        const struct catalog_scope *scope = &c->scopes[i];
        c->is_everybody_wanted = c->is_everybody_wanted || scope->kind == SCOPE_EVERYBODY;
        for (size_t s = 0; s < scope->segment_count; s++) {
            size_t at = 0;
            while (at < c->wanted_count && c->wanted[at] != scope->segments[s]) {
                at++;
            }
            c->wanted[at] = scope->segments[s];
            c->wanted_count += at == c->wanted_count;
        }
    }
}

bool catalog_read_scopes(struct catalog *c, const msgpack_object *scopes,
                         struct catalog_error *where, struct error *err)
{
    uint32_t count = value_is(scopes, MSGPACK_OBJECT_ARRAY) ? scopes->via.array.size : 0;
    c->scopes = arena_allocate(&c->arena, (count + 1) * sizeof *c->scopes);
    for (uint32_t i = 0; i < count; i++) {
        if (!read_scope(c, &scopes->via.array.ptr[i], &c->scopes[i], err)) {
            where->segment[0] = 0;
            snprintf(where->code, sizeof where->code, "invalid-scope");
            snprintf(where->field, sizeof where->field, "/scope");
            return false;
        }
        c->scope_count++;
    }
    qsort(c->scopes, c->scope_count, sizeof *c->scopes, by_collector);
    sum_up(c);
    return true;
}

const struct catalog_scope *catalog_scope_of(const struct catalog *c, uint32_t collector)
{
    struct catalog_scope wanted = {.collector = collector};
    return c->scope_count == 0
               ? NULL
               : bsearch(&wanted, c->scopes, c->scope_count, sizeof *c->scopes, by_collector);
}

uint64_t catalog_scopes_version(const struct catalog *c)
{
    return c->scopes_version;
}

bool catalog_is_known(const struct catalog *c, const struct profile *profile)
{
    for (size_t i = 0; i < profile->identifier_count; i++) {
        if (identity_rule_of(&c->rules, profile->identifiers[i].id.type).is_known) {
            return true;
        }
    }
    return false;
}

static bool holds(const struct catalog *c, bool everybody, size_t count, const uint32_t *segments,
                  const struct profile *profile)
{
    if (everybody && (profile->membership_count > 0 || catalog_is_known(c, profile))) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (profile_find_membership(profile, segments[i]) != NULL) {
            return true;
        }
    }
    return false;
}

bool catalog_scope_holds(const struct catalog *c, const struct catalog_scope *scope,
                         const struct profile *profile)
{
    return holds(c, scope->kind == SCOPE_EVERYBODY, scope->segment_count, scope->segments, profile);
}

bool catalog_is_in_a_wide_scope(const struct catalog *c, const struct profile *profile)
{
    return holds(c, c->is_everybody_wanted, c->wanted_count, c->wanted, profile);
}

bool catalog_read_purchases(struct catalog *c, const msgpack_object *root,
                            struct catalog_error *where, struct error *err)
{
    const msgpack_object *names = value_member_c(root, "purchaseEvents");
    int64_t version = 1;
    (void)value_int(value_member_c(root, "purchasesVersion"), &version);
    c->purchases_version = (uint64_t)version;
    bool fine = names == NULL ||
                (names->type == MSGPACK_OBJECT_ARRAY && names->via.array.size <= PURCHASES_MAX);
    c->purchase_count = 0;
    for (uint32_t i = 0; fine && names != NULL && i < names->via.array.size; i++) {
        struct slice *name = &c->purchases[c->purchase_count++];
        fine = value_text(&names->via.array.ptr[i], name) && name->len > 0 &&
               name->len <= LIMIT_NAME_BYTES;
    }
    const msgpack_object *sources = value_member_c(root, "purchaseSources");
    bool has_sources = value_is(sources, MSGPACK_OBJECT_ARRAY);
    c->purchase_sources = has_sources ? sources : NULL;
    if (sources != NULL && (!has_sources || sources->via.array.size > PURCHASES_MAX)) {
        snprintf(where->code, sizeof where->code, "invalid-purchases");
        snprintf(where->field, sizeof where->field, "/sources");
        return error_set(err, ERROR_INVALID, "\"sources\" must be an array of up to %d ids.",
                         PURCHASES_MAX);
    }
    if (!fine) {
        snprintf(where->code, sizeof where->code, "invalid-purchases");
        snprintf(where->field, sizeof where->field, "/events");
        return error_set(err, ERROR_INVALID,
                         "\"events\" must be an array of up to %d names of track events.",
                         PURCHASES_MAX);
    }
    size_t defaults = names == NULL ? sizeof default_purchases / sizeof *default_purchases : 0;
    for (size_t i = 0; i < defaults; i++) {
        c->purchases[c->purchase_count++] = slice_text(default_purchases[i]);
    }
    return true;
}

uint64_t catalog_purchases_version(const struct catalog *c)
{
    return c->purchases_version;
}

/* Money follows the source: what a page says was bought is its word, whoever proved to be there. */
static bool counts_as_money(const struct catalog *c, const struct event *event)
{
    const msgpack_object *sources = c->purchase_sources;
    bool counts = verdict_is_server(event->verdict);
    for (uint32_t i = 0; !counts && sources != NULL && i < sources->via.array.size; i++) {
        struct slice id;
        counts = value_text(&sources->via.array.ptr[i], &id) && slice_equal(id, event->source);
    }
    return counts;
}

bool catalog_is_purchase(const struct catalog *c, const struct event *event)
{
    for (size_t i = 0; event->type == EVENT_TRACK && i < c->purchase_count; i++) {
        if (slice_equal(event->name, c->purchases[i])) {
            return counts_as_money(c, event);
        }
    }
    return false;
}

size_t catalog_purchase_count(const struct catalog *c)
{
    return c->purchase_count;
}

struct slice catalog_purchase_at(const struct catalog *c, size_t at)
{
    return c->purchases[at];
}
