#include "hub/trust/source.h"

#include "shared/limits.h"

struct source source_read(struct slice id, const msgpack_object *definition)
{
    struct source source = {.id = id};
    struct slice trust;
    const msgpack_object *keys = value_member_c(definition, "writeKeys");
    const msgpack_object *open = value_member_c(definition, "open");
    source.is_server =
        value_text(value_member_c(definition, "trust"), &trust) && slice_is(trust, "server");
    source.write_keys = value_is(keys, MSGPACK_OBJECT_ARRAY) ? keys : NULL;
    source.open = value_is(open, MSGPACK_OBJECT_ARRAY) ? open : NULL;
    source.proof = value_member_c(definition, "proof");
    return source;
}

size_t source_key_count(const struct source *source)
{
    return source->write_keys == NULL ? 1 : source->write_keys->via.array.size;
}

struct slice source_key_at(const struct source *source, size_t at)
{
    struct slice key = source->id;
    if (source->write_keys != NULL) {
        (void)value_text(&source->write_keys->via.array.ptr[at], &key);
    }
    return key;
}

bool source_is_open(const struct source *source, struct slice type)
{
    bool found = false;
    for (uint32_t i = 0; source->open != NULL && !found && i < source->open->via.array.size; i++) {
        struct slice open;
        found = value_text(&source->open->via.array.ptr[i], &open) && slice_equal(open, type);
    }
    return found;
}

/* Absent, or an array of up to `max` different texts of 1 to 128 bytes. */
static bool is_texts(const msgpack_object *list, uint32_t min, uint32_t max)
{
    bool fine = list == NULL || (list->type == MSGPACK_OBJECT_ARRAY &&
                                 list->via.array.size >= min && list->via.array.size <= max);
    for (uint32_t i = 0; fine && list != NULL && i < list->via.array.size; i++) {
        struct slice text;
        fine = value_text(&list->via.array.ptr[i], &text) && text.len > 0 &&
               text.len <= LIMIT_NAME_BYTES;
        for (uint32_t j = 0; fine && j < i; j++) {
            struct slice other;
            fine = value_text(&list->via.array.ptr[j], &other) && !slice_equal(other, text);
        }
    }
    return fine;
}

const char *source_mistake(const msgpack_object *definition, const char **ret_field)
{
    const msgpack_object *trust = value_member_c(definition, "trust");
    struct slice text;
    *ret_field = "/trust";
    if (trust != NULL &&
        (!value_text(trust, &text) || (!slice_is(text, "client") && !slice_is(text, "server")))) {
        return "\"trust\" must be \"client\" (pages and apps, whose key is public) or \"server\".";
    }
    *ret_field = "/writeKeys";
    if (!is_texts(value_member_c(definition, "writeKeys"), 1, SOURCE_WRITE_KEYS_MAX)) {
        return "\"writeKeys\" must be an array of 1 to 16 different texts of up to 128 bytes.";
    }
    *ret_field = "/open";
    if (!is_texts(value_member_c(definition, "open"), 0, SOURCE_OPEN_MAX)) {
        return "\"open\" must be an array of up to 16 identifier types, such as \"user_id\".";
    }
    return NULL;
}
