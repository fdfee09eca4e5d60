#include "hub/segment/property_path.h"

enum { BRACKETS = 2 };

static bool is_brackets(struct slice text, size_t at)
{
    return at + BRACKETS <= text.len && text.data[at] == '[' && text.data[at + 1] == ']';
}

size_t property_next_step(struct slice name, size_t from)
{
    size_t at = from;
    while (at < name.len && name.data[at] != '.' && !is_brackets(name, at)) {
        at++;
    }
    return at;
}

static bool visit_one(const msgpack_object *value, property_visit *visit, void *user)
{
    if (value->type != MSGPACK_OBJECT_NIL) {
        (void)visit(user, value);
    }
    return true;
}

struct stopping {
    property_visit *visit;
    void *user;
    bool is_stopped;
};

static bool visit_until_stopped(void *user, const msgpack_object *value)
{
    struct stopping *s = user;
    s->is_stopped = s->is_stopped || !s->visit(s->user, value);
    return !s->is_stopped;
}

static bool each_element(const msgpack_object *array, struct slice rest, property_visit *visit,
                         void *user)
{
    struct stopping s = {visit, user, false};
    for (uint32_t i = 0; i < array->via.array.size && !s.is_stopped; i++) {
        (void)property_each_behind(&array->via.array.ptr[i], rest, visit_until_stopped, &s);
    }
    return true;
}

bool property_each_behind(const msgpack_object *value, struct slice rest, property_visit *visit,
                          void *user)
{
    if (rest.len == 0) {
        return visit_one(value, visit, user);
    }
    if (rest.data[0] == '.') {
        return property_each(value, slice_skip(rest, 1), visit, user);
    }
    struct slice behind = is_brackets(rest, 0) ? slice_skip(rest, BRACKETS) : rest;
    bool is_step = behind.len == 0 || behind.data[0] == '.' || is_brackets(behind, 0);
    return behind.len < rest.len && is_step && value_is(value, MSGPACK_OBJECT_ARRAY) &&
           each_element(value, behind, visit, user);
}

bool property_each(const msgpack_object *map, struct slice name, property_visit *visit, void *user)
{
    const msgpack_object *own = value_member(map, name);
    if (own != NULL) {
        return visit_one(own, visit, user);
    }
    for (size_t at = property_next_step(name, 0); at < name.len;
         at = property_next_step(name, at + 1)) {
        const msgpack_object *inner = value_member(map, slice_make(name.data, at));
        if (inner != NULL && property_each_behind(inner, slice_skip(name, at), visit, user)) {
            return true;
        }
    }
    return false;
}
