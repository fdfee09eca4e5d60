#include "collector/gate/withdrawal.h"

#include "collector/request/body.h"
#include "shared/uuid.h"

#define NAME(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
static const struct slice external_ids_names[] = {NAME("context"), NAME("externalIds")};
static const struct body_path external_ids_path = {external_ids_names, 2};

/* Of a category given twice the last counts. */
static bool is_last(const struct request_event *e, size_t at)
{
    for (size_t i = at + 1; i < e->preference_count; i++) {
        if (slice_equal(e->preferences[i].category, e->preferences[at].category)) {
            return false;
        }
    }
    return true;
}

static void put_preferences(msgpack_packer *k, const struct request_event *e)
{
    size_t count = 0;
    for (size_t i = 0; i < e->preference_count; i++) {
        count += is_last(e, i);
    }
    msgpack_pack_map(k, count);
    for (size_t i = 0; i < e->preference_count; i++) {
        if (!is_last(e, i)) {
            continue;
        }
        value_pack_text(k, e->preferences[i].category);
        if (e->preferences[i].granted) {
            msgpack_pack_true(k);
        } else {
            msgpack_pack_false(k);
        }
    }
}

static void put_consent(msgpack_packer *k, const struct request_event *e)
{
    msgpack_pack_map(k, e->objects ? 2 : 1);
    if (e->objects) {
        value_pack_cstr(k, "gpc");
        msgpack_pack_true(k);
    }
    value_pack_cstr(k, "categoryPreferences");
    put_preferences(k, e);
}

static struct slice make_body(const struct request_event *e, struct arena *arena)
{
    struct buf out;
    struct slice ids;
    msgpack_packer k;
    bool has_ids = body_get(e->event.body, external_ids_path, &ids);
    buf_init(&out, (size_t)2 * LIMIT_EVENT_BYTES);
    value_packer_init(&k, &out);
    msgpack_pack_map(&k, 1);
    value_pack_cstr(&k, "context");
    msgpack_pack_map(&k, has_ids ? 2 : 1);
    value_pack_cstr(&k, "consent");
    put_consent(&k, e);
    if (has_ids) {
        value_pack_cstr(&k, "externalIds");
        buf_put_slice(&out, ids);
    }
    struct slice body = arena_copy(arena, buf_slice(&out));
    buf_done(&out);
    return body;
}

void withdrawal_make(struct visit *visit, struct request_event *e, struct rand *rand)
{
    uint8_t uuid[UUID_BYTES];
    bool has_id = e->event.user_id.len > 0 || e->event.anonymous_id.len > 0 || e->has_external_id;
    if (!has_id || e->preference_count == 0) {
        return;
    }
    struct slice body = make_body(e, visit->arena);
    if (body.len > LIMIT_EVENT_BYTES || !visit_grow(visit, e->event.body.len, body.len)) {
        return;
    }
    char *text = arena_allocate(visit->arena, UUID_TEXT_BYTES);
    uuid_random(rand, uuid);
    uuid_format(uuid, text);
    e->event.message_id = slice_make(text, UUID_TEXT_BYTES);
    e->event.type = EVENT_IDENTIFY;
    e->event.name = slice_text(event_withdrawal_name);
    e->event.body = body;
    e->is_withdrawal = true;
}
