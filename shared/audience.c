#include "shared/audience.h"

/* By bit. */
static const char *const names[] = {"page", "staff"};
enum { NAMES = sizeof names / sizeof *names };

const char *audience_name(size_t at)
{
    return at < NAMES ? names[at] : NULL;
}

/* Nobody where it is the name of none. */
static enum audience audience_of(const msgpack_object *name)
{
    struct slice text;
    for (size_t i = 0; value_text(name, &text) && i < NAMES; i++) {
        if (slice_is(text, names[i])) {
            return (enum audience)(1u << i);
        }
    }
    return AUDIENCE_NOBODY;
}

enum audience audience_read(const msgpack_object *edge)
{
    unsigned audience = AUDIENCE_NOBODY;
    bool is_true = false;
    if (edge != NULL && value_bool(edge, &is_true)) {
        return is_true ? AUDIENCE_ALL : AUDIENCE_NOBODY;
    }
    for (uint32_t i = 0; value_is(edge, MSGPACK_OBJECT_ARRAY) && i < edge->via.array.size; i++) {
        audience |= audience_of(&edge->via.array.ptr[i]);
    }
    return (enum audience)audience;
}

bool audience_check(const msgpack_object *edge, int *ret_at, struct error *err)
{
    unsigned seen = AUDIENCE_NOBODY;
    *ret_at = -1;
    if (edge != NULL && edge->type != MSGPACK_OBJECT_ARRAY) {
        return error_set(err, ERROR_INVALID,
                         "\"edge\" must be a list of those to whom it is shown, of \"page\" and "
                         "\"staff\"; [] is nobody.");
    }
    for (uint32_t i = 0; edge != NULL && i < edge->via.array.size; i++) {
        enum audience one = audience_of(&edge->via.array.ptr[i]);
        *ret_at = (int)i;
        if (one == AUDIENCE_NOBODY) {
            struct slice text = slice_text("");
            (void)value_text(&edge->via.array.ptr[i], &text);
            return error_set(err, ERROR_INVALID,
                             "\"%.*s\" is no audience; there are \"page\" and \"staff\".",
                             text.len > 64 ? 64 : (int)text.len, (const char *)text.data);
        }
        if ((seen & one) != 0) {
            return error_set(err, ERROR_INVALID, "\"edge\" names the same audience twice.");
        }
        seen |= one;
    }
    *ret_at = -1;
    return true;
}

void audience_pack(msgpack_packer *packer, enum audience audience)
{
    size_t count = 0;
    for (size_t i = 0; i < NAMES; i++) {
        count += audience >> i & 1;
    }
    msgpack_pack_array(packer, count);
    for (size_t i = 0; i < NAMES; i++) {
        if ((audience >> i & 1) != 0) {
            value_pack_cstr(packer, names[i]);
        }
    }
}
