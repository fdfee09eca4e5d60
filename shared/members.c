#include "shared/members.h"

#include <ctype.h>
#include <stdio.h>
#include "shared/utf8.h"

enum { NAME_BYTES_MAX = 32, NAMES_MAX = 64, SHOWN_BYTES_MAX = 80 };

/* ---- The nearest name ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool is_same(uint8_t a, uint8_t b)
{
    return tolower(a) == tolower(b);
}

/* How many letters must be put in, taken out, replaced, or changed with their neighbour to make
 * the one of the other (Damerau). Both are at most NAME_BYTES_MAX long. */
static size_t distance(struct slice a, struct slice b)
{
    size_t rows[3][NAME_BYTES_MAX + 1];
    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t changed = above[j - 1] + !is_same(a.data[i - 1], b.data[j - 1]);
            row[j] = least(changed, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && is_same(a.data[i - 1], b.data[j - 2]) &&
                is_same(a.data[i - 2], b.data[j - 1])) {
                row[j] = least(row[j], second[j - 2] + 1);
            }
        }
    }
    return rows[a.len % 3][b.len];
}

/* NULL where none looks like it: more than a third of the letters are others. */
static const char *nearest(struct slice name, const char *const *known, size_t count)
{
    const char *found = NULL;
    size_t best = name.len / 3 + 1;
    for (size_t i = 0; i < count && name.len <= NAME_BYTES_MAX; i++) {
        struct slice other = slice_text(known[i]);
        size_t far = other.len <= NAME_BYTES_MAX ? distance(name, other) : SIZE_MAX;
        if (far < best) {
            best = far;
            found = known[i];
        }
    }
    return found;
}

void members_tell_unknown(struct slice name, const char *const *known, size_t count, char *ret,
                          size_t size)
{
    const char *meant = nearest(name, known, count);
    int shown = (int)utf8_cut(name, SHOWN_BYTES_MAX);
    if (meant != NULL) {
        snprintf(ret, size, "\"%.*s\" is not known here; did you mean \"%s\"?", shown,
                 (const char *)name.data, meant);
        return;
    }
    int len = snprintf(ret, size, "\"%.*s\" is not known here; known are", shown,
                       (const char *)name.data);
    for (size_t i = 0; i < count && (size_t)len < size; i++) {
        len += snprintf(ret + len, size - (size_t)len, "%s %s", i == 0 ? "" : ",", known[i]);
    }
    if ((size_t)len < size) {
        snprintf(ret + len, size - (size_t)len, ".");
    }
}

/* ---- Walking through a definition ---- */

struct place {
    struct members_mistake *mistake;
    size_t len; /* of its pointer */
};

/* One step further; the length to go back to is the old one. A name in a pointer writes ~ as ~0
 * and / as ~1. */
static struct place enter(struct place at, struct slice name)
{
    char *pointer = at.mistake->pointer;
    size_t room = sizeof at.mistake->pointer - 3;
    size_t len = at.len;
    if (len < room) {
        pointer[len++] = '/';
    }
    name.len = utf8_cut(name, (room - len) / 2);
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c == '~' || c == '/') {
            pointer[len++] = '~';
        }
        pointer[len++] = c == '~' ? '0' : c == '/' ? '1' : (char)c;
    }
    pointer[len] = 0;
    return (struct place){at.mistake, len};
}

static bool walk_object(struct place at, const msgpack_object *object, const struct member *table);

static bool walk_list(struct place at, const msgpack_object *list, const struct member *table)
{
    bool fine = true;
    for (uint32_t i = 0; fine && i < list->via.array.size; i++) {
        char index[12];
        snprintf(index, sizeof index, "%u", i);
        fine = walk_object(enter(at, slice_text(index)), &list->via.array.ptr[i], table);
    }
    return fine;
}

static bool walk_map(struct place at, const msgpack_object *map, const struct member *table)
{
    bool fine = true;
    for (uint32_t i = 0; fine && i < map->via.map.size; i++) {
        struct slice name = slice_text("");
        (void)value_text(&map->via.map.ptr[i].key, &name);
        fine = walk_object(enter(at, name), &map->via.map.ptr[i].val, table);
    }
    return fine;
}

static bool walk_value(struct place at, const msgpack_object *value, const struct member *member)
{
    if (member->of == NULL) {
        return true;
    }
    if (value->type == MSGPACK_OBJECT_ARRAY) {
        return walk_list(at, value, member->of);
    }
    return member->is_map && value->type == MSGPACK_OBJECT_MAP ? walk_map(at, value, member->of)
                                                               : walk_object(at, value, member->of);
}

static bool tell(struct place at, struct slice name, const struct member *table)
{
    const char *known[NAMES_MAX];
    size_t count = 0;
    for (; table[count].name != NULL && count < NAMES_MAX; count++) {
        known[count] = table[count].name;
    }
    (void)enter(at, name);
    at.mistake->is_unknown = true;
    members_tell_unknown(name, known, count, at.mistake->message, sizeof at.mistake->message);
    return false;
}

static bool has_type(struct place at, const msgpack_object *value, const struct member *member)
{
    static const char *const names[] = {
        [MEMBER_TYPE_TEXT] = "a text",
        [MEMBER_TYPE_FLAG] = "true or false",
        [MEMBER_TYPE_INTEGER] = "a whole number",
    };
    int64_t whole;
    bool fine = member->type == MEMBER_TYPE_TEXT      ? value->type == MSGPACK_OBJECT_STR
                : member->type == MEMBER_TYPE_FLAG    ? value->type == MSGPACK_OBJECT_BOOLEAN
                : member->type == MEMBER_TYPE_INTEGER ? value_int(value, &whole)
                                                      : true;
    if (!fine) {
        snprintf(at.mistake->message, sizeof at.mistake->message, "\"%s\" must be %s.",
                 member->name, names[member->type]);
    }
    return fine;
}

static bool walk_object(struct place at, const msgpack_object *object, const struct member *table)
{
    for (uint32_t i = 0; object->type == MSGPACK_OBJECT_MAP && i < object->via.map.size; i++) {
        const struct member *member = table;
        struct slice name = slice_text("");
        (void)value_text(&object->via.map.ptr[i].key, &name);
        while (member->name != NULL && !slice_is(name, member->name)) {
            member++;
        }
        if (member->name == NULL) {
            return tell(at, name, table);
        }
        const msgpack_object *value = &object->via.map.ptr[i].val;
        struct place inside = enter(at, name);
        if (!has_type(inside, value, member) || !walk_value(inside, value, member)) {
            return false;
        }
    }
    return true;
}

bool members_are_known(const msgpack_object *object, const struct member *table,
                       struct members_mistake *ret)
{
    *ret = (struct members_mistake){.pointer = ""};
    return walk_object((struct place){ret, 0}, object, table);
}
