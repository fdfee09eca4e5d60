/* The registry's definitions as others see them: the catalog for partitions, the state for gates.
 */
#include <stdlib.h>
#include "hub/registry_internal.h"

/* Counts what the hub itself has added to the gate's state over time, so that collectors which have
 * the same definitions in an older shape get them once more: 1, the key of links. */
enum { GATE_SHAPE = 1 };

static void pack_segment(msgpack_packer *k, uint32_t id, struct slice key, uint64_t version,
                         const struct buf *body)
{
    struct error err;
    msgpack_zone zone;
    msgpack_object root;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool fine = value_unpack(buf_slice(body), &zone, &root, &err);
    ensure(fine);
    const msgpack_object *where = value_member_c(&root, "where");
    const msgpack_object *name = value_member_c(&root, "name");
    msgpack_pack_map(k, name == NULL ? 4 : 5);
    if (name != NULL) {
        value_pack_cstr(k, "name");
        msgpack_pack_object(k, *name);
    }
    value_pack_cstr(k, "id");
    msgpack_pack_uint32(k, id);
    value_pack_cstr(k, "key");
    value_pack_text(k, key);
    value_pack_cstr(k, "version");
    msgpack_pack_uint64(k, version);
    value_pack_cstr(k, "where");
    if (where == NULL) {
        msgpack_pack_nil(k);
    } else {
        msgpack_pack_object(k, *where);
    }
    msgpack_zone_destroy(&zone);
}

static bool is_edge_trait(const struct entry *e)
{
    struct error err;
    msgpack_zone zone;
    msgpack_object root;
    bool edge = false;
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    if (value_unpack(buf_slice(&e->body), &zone, &root, &err)) {
        (void)value_bool(value_member_c(&root, "edge"), &edge);
    }
    msgpack_zone_destroy(&zone);
    return edge;
}

/* NULL: never set. */
static const msgpack_object *unpack_scope(const struct entry *e, msgpack_zone *zone,
                                          msgpack_object *ret_root)
{
    struct error err;
    bool made = msgpack_zone_init(zone, 1024);
    ensure(made);
    bool fine = value_unpack(buf_slice(&e->body), zone, ret_root, &err);
    return fine ? value_member_c(ret_root, "scope") : NULL;
}

bool registry_has_scope(const struct entry *e)
{
    msgpack_zone zone;
    msgpack_object root;
    bool has = unpack_scope(e, &zone, &root) != NULL;
    msgpack_zone_destroy(&zone);
    return has;
}

/* The scope of a collector as partitions see it: a revoked one gets nothing. */
static void pack_scope(msgpack_packer *k, const struct entry *e)
{
    msgpack_zone zone;
    msgpack_object root;
    int64_t revoked = 0;
    const msgpack_object *scope = unpack_scope(e, &zone, &root);
    if (scope != NULL) {
        (void)value_int(value_member_c(&root, "revokedAt"), &revoked);
        msgpack_pack_map(k, 4);
        value_pack_cstr(k, "collector");
        msgpack_pack_uint32(k, e->id);
        value_pack_cstr(k, "id");
        value_pack_text(k, buf_slice(&e->key));
        value_pack_cstr(k, "version");
        msgpack_pack_uint64(k, e->version);
        value_pack_cstr(k, "scope");
        if (revoked > 0) {
            msgpack_pack_map(k, 1);
            value_pack_cstr(k, "kind");
            value_pack_cstr(k, "seen");
        } else {
            msgpack_pack_object(k, *scope);
        }
    }
    msgpack_zone_destroy(&zone);
}

static void put_scopes(const struct registry *r, msgpack_packer *k)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++) {
        count += r->entries[i].kind == REGISTRY_COLLECTOR && registry_has_scope(&r->entries[i]);
    }
    value_pack_cstr(k, "scopes");
    msgpack_pack_array(k, count);
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == REGISTRY_COLLECTOR) {
            pack_scope(k, &r->entries[i]);
        }
    }
}

/* Nothing where the defaults hold. */
static void put_purchases(const struct registry *r, msgpack_packer *k)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct entry *e = &r->entries[i];
        struct error err;
        msgpack_zone zone;
        msgpack_object root;
        if (e->kind != REGISTRY_PURCHASES) {
            continue;
        }
        bool made = msgpack_zone_init(&zone, 1024);
        ensure(made);
        bool fine = value_unpack(buf_slice(&e->body), &zone, &root, &err);
        ensure(fine);
        const msgpack_object *events = value_member_c(&root, "events");
        value_pack_cstr(k, "purchasesVersion");
        msgpack_pack_uint64(k, e->version);
        value_pack_cstr(k, "purchaseEvents");
        if (events == NULL) {
            msgpack_pack_nil(k);
        } else {
            msgpack_pack_object(k, *events);
        }
        msgpack_zone_destroy(&zone);
    }
}

void registry_pack_catalog(const struct registry *r, const msgpack_object *preview, struct buf *out)
{
    msgpack_packer k;
    size_t segments = preview != NULL;
    size_t traits = 0;
    value_packer_init(&k, out);
    for (size_t i = 0; i < r->count; i++) {
        segments += r->entries[i].kind == REGISTRY_SEGMENT;
        traits += r->entries[i].kind == REGISTRY_TRAIT && is_edge_trait(&r->entries[i]);
    }
    msgpack_pack_map(&k, registry_has(r, REGISTRY_PURCHASES) ? 8 : 6);
    value_pack_cstr(&k, "version");
    msgpack_pack_uint64(&k, r->catalog_version);
    value_pack_cstr(&k, "edgeTraitsVersion");
    msgpack_pack_uint64(&k, r->traits_version);
    value_pack_cstr(&k, "segments");
    msgpack_pack_array(&k, segments);
    for (size_t i = 0; i < r->count; i++) {
        const struct entry *e = &r->entries[i];
        if (e->kind == REGISTRY_SEGMENT) {
            pack_segment(&k, e->id, buf_slice(&e->key), e->version, &e->body);
        }
    }
    if (preview != NULL) {
        msgpack_pack_map(&k, 4);
        value_pack_cstr(&k, "id");
        msgpack_pack_uint32(&k, UINT32_MAX);
        value_pack_cstr(&k, "key");
        value_pack_cstr(&k, "preview");
        value_pack_cstr(&k, "version");
        msgpack_pack_uint64(&k, INT64_MAX);
        value_pack_cstr(&k, "where");
        msgpack_pack_object(&k, *preview);
    }
    value_pack_cstr(&k, "edgeTraits");
    msgpack_pack_array(&k, traits);
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == REGISTRY_TRAIT && is_edge_trait(&r->entries[i])) {
            value_pack_text(&k, buf_slice(&r->entries[i].key));
        }
    }
    put_scopes(r, &k);
    put_purchases(r, &k);
    value_pack_cstr(&k, "rules");
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == REGISTRY_RULES) {
            buf_put_slice(out, buf_slice(&r->entries[i].body));
        }
    }
}

static void put_normalizers(msgpack_packer *k, const struct entry *rules)
{
    struct error err;
    msgpack_zone zone;
    msgpack_object root;
    struct identity_rules *read = memory_allocate_zeroed(sizeof *read);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool fine = value_unpack(buf_slice(&rules->body), &zone, &root, &err) &&
                identity_rules_read(&root, read, &err);
    ensure(fine);
    msgpack_pack_map(k, read->count);
    for (size_t i = 0; i < read->count; i++) {
        value_pack_text(k, read->rules[i].type);
        msgpack_pack_int(k, (int)read->rules[i].normalizer);
    }
    msgpack_zone_destroy(&zone);
    free(read);
}

/* The keys of proofs concern the hub alone. */
static bool is_hidden(enum registry_kind kind, const msgpack_object *name)
{
    struct slice text;
    return kind == REGISTRY_SOURCE && value_text(name, &text) && slice_is(text, "proof");
}

/* A definition as gates see it. */
static void put_body(msgpack_packer *k, const struct entry *e)
{
    struct error err;
    msgpack_zone zone;
    msgpack_object body;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool fine = value_unpack(buf_slice(&e->body), &zone, &body, &err);
    ensure(fine);
    uint32_t shown = 0;
    for (uint32_t i = 0; i < body.via.map.size; i++) {
        if (!is_hidden(e->kind, &body.via.map.ptr[i].key)) {
            body.via.map.ptr[shown++] = body.via.map.ptr[i];
        }
    }
    body.via.map.size = shown;
    msgpack_pack_object(k, body);
    msgpack_zone_destroy(&zone);
}

/* A map of the definitions of one kind by their keys. */
static void put_kind(const struct registry *r, msgpack_packer *k, const char *name,
                     enum registry_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++) {
        count += r->entries[i].kind == kind;
    }
    value_pack_cstr(k, name);
    msgpack_pack_map(k, count);
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == kind) {
            value_pack_text(k, buf_slice(&r->entries[i].key));
            put_body(k, &r->entries[i]);
        }
    }
}

void registry_pack_gate(const struct registry *r, struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_map(&k, r->has_link_key ? 6 : 5);
    value_pack_cstr(&k, "version");
    msgpack_pack_uint64(&k, registry_pack_gate_version(r));
    value_pack_cstr(&k, "made");
    msgpack_pack_int64(&k, clock_now_ms(r->clock));
    if (r->has_link_key) {
        value_pack_cstr(&k, "link_key");
        value_pack_bin(&k, slice_make(r->link_key, sizeof r->link_key));
    }
    put_kind(r, &k, "sources", REGISTRY_SOURCE);
    put_kind(r, &k, "tracking_plans", REGISTRY_PLAN);
    value_pack_cstr(&k, "normalizers");
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == REGISTRY_RULES) {
            put_normalizers(&k, &r->entries[i]);
        }
    }
}

uint64_t registry_pack_gate_version(const struct registry *r)
{
    return r->gate_version + GATE_SHAPE;
}
