#include "hub/profile/purchases.h"

#include "shared/limits.h"

enum { ORDER_ID_BYTES_MAX = 128, CURRENCY_BYTES_MAX = 16, MEMBERS = 7 };

static struct slice text_of(const msgpack_object *properties, const char *name, size_t len_max)
{
    struct slice text = slice_make(NULL, 0);
    const msgpack_object *value = value_member_c(properties, name);
    if (value == NULL || !value_text(value, &text) || text.len > len_max) {
        return slice_make(NULL, 0);
    }
    return text;
}

struct profile_purchase purchases_read(const struct event *event)
{
    static const char *const amounts[] = {"total", "revenue", "value"};
    const msgpack_object *properties = event_properties(event);
    struct profile_purchase purchase = {
        .at_ms = event->timestamp_ms,
        .message_id = event->message_id,
        .name = event->name,
        .source = event->source,
    };
    for (size_t i = 0; properties != NULL && !purchase.has_total && i < 3; i++) {
        const msgpack_object *value = value_member_c(properties, amounts[i]);
        purchase.has_total = value != NULL && value_number(value, &purchase.total);
    }
    if (properties != NULL) {
        purchase.currency = text_of(properties, "currency", CURRENCY_BYTES_MAX);
        purchase.order_id = text_of(properties, "order_id", ORDER_ID_BYTES_MAX);
    }
    return purchase;
}

/* Newest first. */
static int compare(const struct profile_purchase *a, const struct profile_purchase *b)
{
    return a->at_ms != b->at_ms ? (a->at_ms < b->at_ms) - (a->at_ms > b->at_ms)
                                : slice_compare(b->message_id, a->message_id);
}

bool purchases_note(struct profile *p, const struct profile_purchase *purchase)
{
    size_t at = 0;
    while (at < p->purchase_count && compare(&p->purchases[at], purchase) < 0) {
        at++;
    }
    if (at == PURCHASES_KEPT ||
        (at < p->purchase_count && compare(&p->purchases[at], purchase) == 0)) {
        return false;
    }
    p->purchase_count += p->purchase_count < PURCHASES_KEPT;
    memmove(&p->purchases[at + 1], &p->purchases[at],
            (p->purchase_count - at - 1) * sizeof *p->purchases);
    p->purchases[at] = *purchase;
    p->purchases[at].message_id = arena_copy(&p->arena, purchase->message_id);
    p->purchases[at].name = arena_copy(&p->arena, purchase->name);
    p->purchases[at].source = arena_copy(&p->arena, purchase->source);
    p->purchases[at].currency = arena_copy(&p->arena, purchase->currency);
    p->purchases[at].order_id = arena_copy(&p->arena, purchase->order_id);
    return true;
}

void purchases_merge(struct profile *into, const struct profile *from)
{
    if (into->purchases_version != from->purchases_version) {
        into->purchases_version = PURCHASES_INCOMPLETE;
    }
    for (size_t i = 0; i < from->purchase_count; i++) {
        (void)purchases_note(into, &from->purchases[i]);
    }
}

static void pack_text(msgpack_packer *k, struct slice text)
{
    if (text.len == 0) {
        msgpack_pack_nil(k);
    } else {
        value_pack_text(k, text);
    }
}

void purchases_pack(const struct profile *p, msgpack_packer *k)
{
    msgpack_pack_array(k, 1 + p->purchase_count * MEMBERS);
    msgpack_pack_uint64(k, p->purchases_version);
    for (size_t i = 0; i < p->purchase_count; i++) {
        const struct profile_purchase *one = &p->purchases[i];
        msgpack_pack_int64(k, one->at_ms);
        value_pack_text(k, one->message_id);
        value_pack_text(k, one->name);
        value_pack_text(k, one->source);
        if (one->has_total) {
            msgpack_pack_double(k, one->total);
        } else {
            msgpack_pack_nil(k);
        }
        pack_text(k, one->currency);
        pack_text(k, one->order_id);
    }
}

static bool read_text(const msgpack_object *object, struct slice *ret)
{
    return object->type == MSGPACK_OBJECT_NIL || value_text(object, ret);
}

static bool read_one(const msgpack_object *m, struct profile_purchase *ret)
{
    ret->has_total = m[4].type != MSGPACK_OBJECT_NIL;
    return value_int(&m[0], &ret->at_ms) && value_text(&m[1], &ret->message_id) &&
           value_text(&m[2], &ret->name) && value_text(&m[3], &ret->source) &&
           (!ret->has_total || value_number(&m[4], &ret->total)) &&
           read_text(&m[5], &ret->currency) && read_text(&m[6], &ret->order_id);
}

bool purchases_unpack(const msgpack_object *array, struct profile *p)
{
    int64_t version;
    if (array->type != MSGPACK_OBJECT_ARRAY || array->via.array.size % MEMBERS != 1 ||
        !value_int(&array->via.array.ptr[0], &version) || version < 0) {
        return false;
    }
    p->purchases_version = (uint64_t)version;
    for (uint32_t i = 1; i < array->via.array.size; i += MEMBERS) {
        struct profile_purchase purchase = {0};
        if (!read_one(&array->via.array.ptr[i], &purchase)) {
            return false;
        }
        (void)purchases_note(p, &purchase);
    }
    return true;
}
