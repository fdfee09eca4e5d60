/* To whom definitions are shown at the edge, and whom a change of one concerns. */
#include "hub/registry_internal.h"

msgpack_object registry_unpack(const struct buf *body, msgpack_zone *zone)
{
    struct error err;
    msgpack_object root;
    bool made = msgpack_zone_init(zone, 4096);
    ensure(made);
    bool fine = value_unpack(buf_slice(body), zone, &root, &err);
    ensure(fine);
    return root;
}

enum audience registry_audience(const struct entry *e)
{
    msgpack_zone zone;
    msgpack_object root = registry_unpack(&e->body, &zone);
    enum audience audience = audience_read(value_member_c(&root, "edge"));
    msgpack_zone_destroy(&zone);
    return audience;
}

static bool is_same(const msgpack_object *a, const msgpack_object *b)
{
    return a == b || (a != NULL && b != NULL && msgpack_object_equal(*a, *b));
}

/* Of a segment or trait; nil: there is none. */
static struct change compare(enum registry_kind kind, const msgpack_object *old,
                             const msgpack_object *body)
{
    bool is_replaced = old->type == MSGPACK_OBJECT_MAP && body->type == MSGPACK_OBJECT_MAP;
    enum audience before = audience_read(value_member_c(old, "edge"));
    enum audience after = audience_read(value_member_c(body, "edge"));
    struct change change = {0};
    change.is_meaning =
        kind == REGISTRY_SEGMENT &&
        !(is_replaced && is_same(value_member_c(old, "where"), value_member_c(body, "where")));
    change.is_visibility = (before == AUDIENCE_NOBODY) != (after == AUDIENCE_NOBODY);
    change.partitions = change.is_meaning || change.is_visibility;
    change.gates =
        before != after || (after != AUDIENCE_NOBODY &&
                            !is_same(value_member_c(old, "name"), value_member_c(body, "name")));
    return change;
}

struct change registry_compare(enum registry_kind kind, const struct buf *old,
                               const struct buf *body)
{
    static const msgpack_object nothing = {.type = MSGPACK_OBJECT_NIL};
    msgpack_zone old_zone;
    msgpack_zone zone;
    if (kind != REGISTRY_SEGMENT && kind != REGISTRY_TRAIT) {
        bool is_rules = kind == REGISTRY_RULES;
        return (struct change){
            .partitions = is_rules || kind == REGISTRY_BUSINESS_KEY || kind == REGISTRY_PURCHASES,
            .router = kind == REGISTRY_SOURCE,
            .gates = is_rules || kind == REGISTRY_SOURCE || kind == REGISTRY_PLAN,
            .is_meaning = true,
        };
    }
    msgpack_object old_root = old == NULL ? nothing : registry_unpack(old, &old_zone);
    msgpack_object root = body == NULL ? nothing : registry_unpack(body, &zone);
    struct change change = compare(kind, &old_root, &root);
    if (old != NULL) {
        msgpack_zone_destroy(&old_zone);
    }
    if (body != NULL) {
        msgpack_zone_destroy(&zone);
    }
    return change;
}

static bool is_shown(const struct entry *e, enum registry_kind kind)
{
    return e->kind == kind && registry_audience(e) != AUDIENCE_NOBODY;
}

static void pack_shown(const struct entry *e, msgpack_packer *k)
{
    msgpack_zone zone;
    msgpack_object root = registry_unpack(&e->body, &zone);
    const msgpack_object *name = value_member_c(&root, "name");
    value_pack_text(k, buf_slice(&e->key));
    msgpack_pack_map(k, name == NULL ? 1 : 2);
    value_pack_cstr(k, "edge");
    audience_pack(k, audience_read(value_member_c(&root, "edge")));
    if (name != NULL) {
        value_pack_cstr(k, "name");
        msgpack_pack_object(k, *name);
    }
    msgpack_zone_destroy(&zone);
}

void registry_pack_shown(const struct registry *r, enum registry_kind kind, msgpack_packer *k)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++) {
        count += is_shown(&r->entries[i], kind);
    }
    msgpack_pack_map(k, count);
    for (size_t i = 0; i < r->count; i++) {
        if (is_shown(&r->entries[i], kind)) {
            pack_shown(&r->entries[i], k);
        }
    }
}
