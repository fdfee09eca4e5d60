/* The registry's definitions as others see them: the catalog for partitions, the state for gates.
 */
#include <stdlib.h>
#include "hub/registry_internal.h"
#include "hub/trust/carriage.h"

/* Counts what the hub itself has added to the gate's state over time, so that collectors which have
 * the same definitions in an older shape get them once more: 1, the key of links; 2, ids and trust
 * of sources; 3, secret write keys as hashes; 4, countries of telephone numbers; 5, whom segments
 * and traits are shown to. */
enum { GATE_SHAPE = 5 };

static void pack_segment(msgpack_packer *k, const struct entry *e)
{
    msgpack_zone zone;
    msgpack_object root = registry_unpack(&e->body, &zone);
    const msgpack_object *where = value_member_c(&root, "where");
    const msgpack_object *name = value_member_c(&root, "name");
    msgpack_pack_map(k, name == NULL ? 6 : 7);
    if (name != NULL) {
        value_pack_cstr(k, "name");
        msgpack_pack_object(k, *name);
    }
    value_pack_cstr(k, "id");
    msgpack_pack_uint32(k, e->id);
    value_pack_cstr(k, "key");
    value_pack_text(k, buf_slice(&e->key));
    value_pack_cstr(k, "version");
    msgpack_pack_uint64(k, e->meaning_version);
    value_pack_cstr(k, "edge");
    audience_pack(k, audience_read(value_member_c(&root, "edge")));
    value_pack_cstr(k, "edgeVersion");
    msgpack_pack_uint64(k, e->edge_version);
    value_pack_cstr(k, "where");
    if (where == NULL) {
        msgpack_pack_nil(k);
    } else {
        msgpack_pack_object(k, *where);
    }
    msgpack_zone_destroy(&zone);
}

/* A member of a collector's definition; NULL: never set. */
static const msgpack_object *unpack_member(const struct entry *e, const char *name,
                                           msgpack_zone *zone, msgpack_object *ret_root)
{
    struct error err;
    bool made = msgpack_zone_init(zone, 1024);
    ensure(made);
    bool fine = value_unpack(buf_slice(&e->body), zone, ret_root, &err);
    return fine ? value_member_c(ret_root, name) : NULL;
}

static bool has_member(const struct entry *e, const char *name)
{
    msgpack_zone zone;
    msgpack_object root;
    bool has = unpack_member(e, name, &zone, &root) != NULL;
    msgpack_zone_destroy(&zone);
    return has;
}

bool registry_has_scope(const struct entry *e)
{
    return has_member(e, "scope");
}

bool registry_has_carriage(const struct entry *e)
{
    return has_member(e, "sources");
}

/* The scope of a collector as partitions see it: a revoked one gets nothing. */
static void pack_scope(msgpack_packer *k, const struct entry *e)
{
    msgpack_zone zone;
    msgpack_object root;
    int64_t revoked = 0;
    const msgpack_object *scope = unpack_member(e, "scope", &zone, &root);
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

/* One that may not carry all sources; NULL as packer only counts it. */
static size_t put_carrier(const struct entry *collector, msgpack_packer *k)
{
    msgpack_zone zone;
    msgpack_object root;
    const msgpack_object *list = unpack_member(collector, "sources", &zone, &root);
    bool is_bounded = !carriage_is_everything(list);
    if (is_bounded && k != NULL) {
        msgpack_pack_array(k, 2);
        msgpack_pack_uint32(k, collector->id);
        msgpack_pack_object(k, *list);
    }
    msgpack_zone_destroy(&zone);
    return is_bounded;
}

static size_t each_carrier(const struct registry *r, msgpack_packer *k)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == REGISTRY_COLLECTOR) {
            count += put_carrier(&r->entries[i], k);
        }
    }
    return count;
}

/* [[number, [source…]]…] of the collectors that may not carry all sources. */
static void put_carriers(const struct registry *r, msgpack_packer *k)
{
    value_pack_cstr(k, "carriers");
    msgpack_pack_array(k, each_carrier(r, NULL));
    (void)each_carrier(r, k);
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
        const msgpack_object *sources = value_member_c(&root, "sources");
        value_pack_cstr(k, "purchaseSources");
        if (sources == NULL) {
            msgpack_pack_array(k, 0);
        } else {
            msgpack_pack_object(k, *sources);
        }
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

struct source registry_source(const struct entry *e, msgpack_zone *zone, msgpack_object *ret_body)
{
    struct error err;
    bool fine = value_unpack(buf_slice(&e->body), zone, ret_body, &err);
    ensure(fine);
    return source_read(buf_slice(&e->key), ret_body);
}

static void put_member(msgpack_packer *k, const char *name, const msgpack_object *value)
{
    value_pack_cstr(k, name);
    if (value == NULL) {
        msgpack_pack_nil(k);
    } else {
        msgpack_pack_object(k, *value);
    }
}

/* A map of the definitions of one kind by their keys. */
static void put_kind(const struct registry *r, msgpack_packer *k, const char *name,
                     enum registry_kind kind, struct buf *out)
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
            buf_put_slice(out, buf_slice(&r->entries[i].body));
        }
    }
}

/* What the router needs to judge events: of each source its trust, what is open, and its proofs. */
static void put_sources_of_router(const struct registry *r, msgpack_packer *k)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++) {
        count += r->entries[i].kind == REGISTRY_SOURCE;
    }
    value_pack_cstr(k, "sources");
    msgpack_pack_map(k, count);
    for (size_t i = 0; i < r->count; i++) {
        msgpack_zone zone;
        msgpack_object body;
        if (r->entries[i].kind != REGISTRY_SOURCE) {
            continue;
        }
        bool made = msgpack_zone_init(&zone, 1024);
        ensure(made);
        struct source source = registry_source(&r->entries[i], &zone, &body);
        value_pack_text(k, source.id);
        msgpack_pack_map(k, 5);
        value_pack_cstr(k, "at");
        msgpack_pack_int64(k, r->entries[i].at_ms);
        put_member(k, "consent", value_member_c(&body, "consent"));
        value_pack_cstr(k, "trust");
        value_pack_cstr(k, source.is_server ? "server" : "client");
        put_member(k, "open", source.open);
        put_member(k, "proof", source.proof);
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
        traits += r->entries[i].kind == REGISTRY_TRAIT;
    }
    msgpack_pack_map(&k, registry_has(r, REGISTRY_PURCHASES) ? 12 : 9);
    value_pack_cstr(&k, "version");
    msgpack_pack_uint64(&k, r->catalog_version);
    value_pack_cstr(&k, "edgeTraitsVersion");
    msgpack_pack_uint64(&k, r->traits_version);
    value_pack_cstr(&k, "segments");
    msgpack_pack_array(&k, segments);
    for (size_t i = 0; i < r->count; i++) {
        const struct entry *e = &r->entries[i];
        if (e->kind == REGISTRY_SEGMENT) {
            pack_segment(&k, e);
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
        const struct entry *e = &r->entries[i];
        if (e->kind == REGISTRY_TRAIT) {
            msgpack_pack_array(&k, 3);
            value_pack_text(&k, buf_slice(&e->key));
            audience_pack(&k, registry_audience(e));
            msgpack_pack_uint64(&k, e->edge_version);
        }
    }
    put_scopes(r, &k);
    put_carriers(r, &k);
    put_sources_of_router(r, &k);
    put_kind(r, &k, "businessKeys", REGISTRY_BUSINESS_KEY, out);
    put_purchases(r, &k);
    value_pack_cstr(&k, "rules");
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == REGISTRY_RULES) {
            buf_put_slice(out, buf_slice(&r->entries[i].body));
        }
    }
}

/* What gates need of the identity rules. */
static void put_rules(msgpack_packer *k, const struct entry *rules)
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
    const msgpack_object *phone = value_member_c(&root, "phone");
    value_pack_cstr(k, "me_for");
    msgpack_pack_int64(k, read->me_for_ms);
    value_pack_cstr(k, "normalizers");
    msgpack_pack_map(k, read->count);
    for (size_t i = 0; i < read->count; i++) {
        value_pack_text(k, read->rules[i].type);
        msgpack_pack_int(k, (int)read->rules[i].normalizer);
    }
    value_pack_cstr(k, "phone");
    if (phone == NULL) {
        msgpack_pack_nil(k);
    } else {
        msgpack_pack_object(k, *phone);
    }
    msgpack_zone_destroy(&zone);
    free(read);
}

static bool is_hidden_from_gates(const msgpack_object *name)
{
    static const char *const hidden[] = {"id", "key", "writeKeys", "proof"};
    struct slice text;
    bool is_hidden = !value_text(name, &text);
    for (size_t i = 0; !is_hidden && i < sizeof hidden / sizeof *hidden; i++) {
        is_hidden = slice_is(text, hidden[i]);
    }
    return is_hidden;
}

/* A source as gates see it: what concerns the hub alone, and its keys, stay here. */
static void put_source(msgpack_packer *k, const struct source *source, const msgpack_object *body)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < body->via.map.size; i++) {
        count += !is_hidden_from_gates(&body->via.map.ptr[i].key);
    }
    msgpack_pack_map(k, count + 1);
    value_pack_cstr(k, "id");
    value_pack_text(k, source->id);
    for (uint32_t i = 0; i < body->via.map.size; i++) {
        const msgpack_object_kv *kv = &body->via.map.ptr[i];
        if (!is_hidden_from_gates(&kv->key)) {
            msgpack_pack_object(k, kv->key);
            msgpack_pack_object(k, kv->val);
        }
    }
}

/* What one reader gets of the sources. */
struct gate_view {
    const struct registry *r;
    const msgpack_object *carriage; /* of the collector; NULL: all */
    bool hashes_keys;
    bool has_client; /* after view_sources(): one of them is a page or an app */
    size_t count;    /* likewise, of the sources */
    struct source *sources;
    msgpack_object *bodies;
    msgpack_zone zone;
};

static void view_sources(struct gate_view *v, struct registry_reader reader)
{
    const struct registry *r = v->r;
    msgpack_object root;
    bool made = msgpack_zone_init(&v->zone, 16 * 1024);
    ensure(made);
    for (size_t i = 0; reader.collector != 0 && i < r->count; i++) {
        const struct entry *e = &r->entries[i];
        struct error err;
        if (e->kind == REGISTRY_COLLECTOR && e->id == reader.collector &&
            value_unpack(buf_slice(&e->body), &v->zone, &root, &err)) {
            v->carriage = value_member_c(&root, "sources");
        }
    }
    v->hashes_keys = r->has_link_key && !reader.knows_secret_keys;
    v->sources = memory_allocate(r->count * sizeof *v->sources + 1);
    v->bodies = memory_allocate(r->count * sizeof *v->bodies + 1);
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == REGISTRY_SOURCE &&
            carriage_has(v->carriage, buf_slice(&r->entries[i].key))) {
            v->sources[v->count] = registry_source(&r->entries[i], &v->zone, &v->bodies[v->count]);
            v->has_client = v->has_client || !v->sources[v->count].is_server;
            v->count++;
        }
    }
}

static void view_done(struct gate_view *v)
{
    free(v->sources);
    free(v->bodies);
    msgpack_zone_destroy(&v->zone);
}

/* Each source, once for each of its write keys: those whose keys are as they are, or as hashes. */
static void put_sources_of_gates(const struct gate_view *v, bool hashed, msgpack_packer *k)
{
    size_t count = 0;
    for (size_t i = 0; i < v->count; i++) {
        bool is_here = (v->hashes_keys && v->sources[i].is_server) == hashed;
        count += is_here ? source_key_count(&v->sources[i]) : 0;
    }
    value_pack_cstr(k, hashed ? "secret_sources" : "sources");
    msgpack_pack_map(k, count);
    for (size_t i = 0; i < v->count; i++) {
        const struct source *source = &v->sources[i];
        bool is_here = (v->hashes_keys && source->is_server) == hashed;
        for (size_t n = 0; is_here && n < source_key_count(source); n++) {
            struct slice key = source_key_at(source, n);
            if (hashed) {
                struct write_key_hash hash = write_key_hash(v->r->key_salt, key);
                value_pack_bin(k, slice_make(hash.bytes, sizeof hash.bytes));
            } else {
                value_pack_text(k, key);
            }
            put_source(k, source, &v->bodies[i]);
        }
    }
}

/* All tracking plans, or those that these sources name. */
static void put_plans(const struct gate_view *v, msgpack_packer *k, struct buf *out)
{
    size_t count = 0;
    value_pack_cstr(k, "tracking_plans");
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < v->r->count; i++) {
            const struct entry *e = &v->r->entries[i];
            bool is_named = e->kind == REGISTRY_PLAN && carriage_is_everything(v->carriage);
            for (size_t s = 0; e->kind == REGISTRY_PLAN && !is_named && s < v->count; s++) {
                struct slice plan;
                is_named = value_text(value_member_c(&v->bodies[s], "tracking_plan"), &plan) &&
                           slice_equal(plan, buf_slice(&e->key));
            }
            count += pass == 0 && is_named;
            if (pass == 1 && is_named) {
                value_pack_text(k, buf_slice(&e->key));
                buf_put_slice(out, buf_slice(&e->body));
            }
        }
        if (pass == 0) {
            msgpack_pack_map(k, count);
        }
    }
}

void registry_pack_gate(const struct registry *r, struct registry_reader reader, struct buf *out)
{
    msgpack_packer k;
    struct gate_view v = {.r = r};
    view_sources(&v, reader);
    bool has_link_key = r->has_link_key && v.has_client;
    value_packer_init(&k, out);
    msgpack_pack_map(&k, 9 + (size_t)has_link_key + 2 * (size_t)v.hashes_keys);
    value_pack_cstr(&k, "version");
    msgpack_pack_uint64(&k, registry_pack_gate_version(r));
    value_pack_cstr(&k, "made");
    msgpack_pack_int64(&k, clock_now_ms(r->clock));
    if (has_link_key) {
        value_pack_cstr(&k, "link_key");
        value_pack_bin(&k, slice_make(r->link_key, sizeof r->link_key));
    }
    put_sources_of_gates(&v, false, &k);
    if (v.hashes_keys) {
        put_sources_of_gates(&v, true, &k);
        value_pack_cstr(&k, "key_salt");
        value_pack_bin(&k, slice_make(r->key_salt, sizeof r->key_salt));
    }
    put_plans(&v, &k, out);
    value_pack_cstr(&k, "segments");
    registry_pack_shown(r, REGISTRY_SEGMENT, &k);
    value_pack_cstr(&k, "traits");
    registry_pack_shown(r, REGISTRY_TRAIT, &k);
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].kind == REGISTRY_RULES) {
            put_rules(&k, &r->entries[i]);
        }
    }
    view_done(&v);
}

uint64_t registry_pack_gate_version(const struct registry *r)
{
    return r->gate_version + GATE_SHAPE;
}
