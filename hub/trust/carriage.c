#include "hub/trust/carriage.h"

#include "shared/limits.h"

static bool names(const msgpack_object *list, struct slice wanted)
{
    bool found = false;
    for (uint32_t i = 0; !found && i < list->via.array.size; i++) {
        struct slice text;
        found = value_text(&list->via.array.ptr[i], &text) && slice_equal(text, wanted);
    }
    return found;
}

bool carriage_is_everything(const msgpack_object *list)
{
    return !value_is(list, MSGPACK_OBJECT_ARRAY) || names(list, slice_text("*"));
}

bool carriage_has(const msgpack_object *list, struct slice source)
{
    return carriage_is_everything(list) || names(list, source);
}

const char *carriage_mistake(const msgpack_object *list)
{
    bool fine = list->type == MSGPACK_OBJECT_ARRAY && list->via.array.size <= CARRIAGE_SOURCES_MAX;
    for (uint32_t i = 0; fine && i < list->via.array.size; i++) {
        struct slice text;
        fine = value_text(&list->via.array.ptr[i], &text) && text.len > 0 &&
               text.len <= LIMIT_NAME_BYTES;
    }
    return fine ? NULL
                : "\"sources\" must be an array of up to 256 ids of sources, or [\"*\"] for all.";
}
