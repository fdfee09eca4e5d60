/* What of a profile the edges may see. */
#include <stdlib.h>
#include "hub/segment/catalog_internal.h"

static int by_name(const void *a, const void *b)
{
    return slice_compare(((const struct edge_trait *)a)->name,
                         ((const struct edge_trait *)b)->name);
}

/* [name, audience, version], or of an earlier version the name alone. */
static bool read_trait(const msgpack_object *object, uint64_t version, struct edge_trait *ret)
{
    int64_t number;
    *ret = (struct edge_trait){.audience = AUDIENCE_ALL, .version = version};
    if (value_text(object, &ret->name)) {
        return true;
    }
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != 3 ||
        !value_text(&object->via.array.ptr[0], &ret->name) ||
        !value_int(&object->via.array.ptr[2], &number)) {
        return false;
    }
    ret->audience = audience_read(&object->via.array.ptr[1]);
    ret->version = (uint64_t)number;
    return true;
}

bool catalog_read_edge_traits(struct catalog *c, const msgpack_object *root, struct error *err)
{
    const msgpack_object *list = value_member_c(root, "edgeTraits");
    uint32_t count = value_is(list, MSGPACK_OBJECT_ARRAY) ? list->via.array.size : 0;
    int64_t version = 0;
    (void)value_int(value_member_c(root, "edgeTraitsVersion"), &version);
    c->edge_traits_version = (uint64_t)version;
    c->edge_traits = arena_allocate(&c->arena, (count + 1) * sizeof *c->edge_traits);
    for (uint32_t i = 0; i < count; i++) {
        if (!read_trait(&list->via.array.ptr[i], c->edge_traits_version,
                        &c->edge_traits[c->edge_trait_count++])) {
            return error_set(err, ERROR_INVALID, "a trait has no name, audience or version");
        }
    }
    qsort(c->edge_traits, c->edge_trait_count, sizeof *c->edge_traits, by_name);
    return true;
}

/* NULL: it is not defined. */
static const struct edge_trait *find_trait(const struct catalog *c, struct slice name)
{
    struct edge_trait wanted = {.name = name};
    return bsearch(&wanted, c->edge_traits, c->edge_trait_count, sizeof *c->edge_traits, by_name);
}

enum audience catalog_trait_audience(const struct catalog *c, struct slice trait)
{
    const struct edge_trait *found = find_trait(c, trait);
    return found == NULL ? AUDIENCE_NOBODY : found->audience;
}

static bool has_changed_segment(const struct catalog *c, const struct profile *profile)
{
    for (size_t i = 0; i < c->segment_count; i++) {
        if (c->segments[i].edge_version > profile->catalog_version &&
            profile_find_membership(profile, c->segments[i].id) != NULL) {
            return true;
        }
    }
    return false;
}

static bool has_changed_trait(const struct catalog *c, const struct profile *profile)
{
    for (size_t i = 0; i < c->edge_trait_count; i++) {
        if (c->edge_traits[i].version > profile->catalog_version &&
            profile_find_trait(profile, c->edge_traits[i].name) != NULL) {
            return true;
        }
    }
    return false;
}

bool catalog_is_card_stale(const struct catalog *c, const struct profile *profile)
{
    return c->edge_traits_version > profile->catalog_version || has_changed_segment(c, profile) ||
           has_changed_trait(c, profile);
}
