#include "collector/gate/shown.h"

#include <stdlib.h>

static int by_key(const void *a, const void *b)
{
    return slice_compare(((const struct shown_one *)a)->key, ((const struct shown_one *)b)->key);
}

struct shown shown_read(const msgpack_object *map)
{
    uint32_t size = value_is(map, MSGPACK_OBJECT_MAP) ? map->via.map.size : 0;
    struct shown shown = {.all = memory_allocate_zeroed((size + 1) * sizeof *shown.all)};
    for (uint32_t i = 0; i < size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        struct shown_one *one = &shown.all[shown.count];
        const msgpack_object *name = value_member_c(&kv->val, "name");
        if (!value_text(&kv->key, &one->key)) {
            continue;
        }
        one->audience = audience_read(value_member_c(&kv->val, "edge"));
        one->name = slice_make(NULL, 0);
        if (name != NULL) {
            (void)value_text(name, &one->name);
        }
        shown.count++;
    }
    qsort(shown.all, shown.count, sizeof *shown.all, by_key);
    return shown;
}

void shown_done(struct shown *shown)
{
    free(shown->all);
    *shown = (struct shown){0};
}

const struct shown_one *shown_find(const struct shown *shown, struct slice key,
                                   enum audience audience)
{
    struct shown_one wanted = {.key = key};
    const struct shown_one *found =
        shown->count == 0 ? NULL
                          : bsearch(&wanted, shown->all, shown->count, sizeof *shown->all, by_key);
    return found != NULL && (found->audience & audience) != 0 ? found : NULL;
}
