/* The facts of a partition: small records about itself that are written with each commit, among
 * them the positions reached and the definitions in force. */
#include "hub/partition/internal.h"

#include "shared/json.h"

enum { VALUE_BYTES_MAX = 256 * 1024 * 1024 };

void partition_put_facts(struct partition *p)
{
    struct buf *out = &p->scratch;
    msgpack_packer k;
    struct key key = key_fact("stats");
    const struct partition_stats *s = &p->stats;
    const uint64_t figures[] = {
        s->profiles,       s->known,      s->events,          s->duplicates,       s->merges,
        s->refused_links,  s->backfilled, s->catalog_version, s->backfill_version, s->unidentified,
        s->scopes_version, s->format,     s->claims};
    buf_clear(out);
    value_packer_init(&k, out);
    msgpack_pack_array(&k, sizeof figures / sizeof *figures);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        msgpack_pack_uint64(&k, figures[i]);
    }
    view_put_only(&p->view, &key, buf_slice(out));

    buf_clear(out);
    msgpack_pack_array(&k, p->options.count * 2);
    for (uint32_t i = 0; i < p->options.count; i++) {
        msgpack_pack_uint64(&k, p->peers[i].next);
        msgpack_pack_uint64(&k, p->peers[i].oldest);
    }
    key = key_fact("out");
    view_put_only(&p->view, &key, buf_slice(out));

    buf_clear(out);
    msgpack_pack_array(&k, p->edge_count * 3);
    for (size_t i = 0; i < p->edge_count; i++) {
        msgpack_pack_uint32(&k, p->edges[i].collector);
        msgpack_pack_uint64(&k, p->edges[i].next);
        msgpack_pack_uint64(&k, p->edges[i].oldest);
    }
    key = key_fact("edges");
    view_put_only(&p->view, &key, buf_slice(out));

    buf_clear(out);
    msgpack_pack_array(&k, p->size_count * 2);
    for (size_t i = 0; i < p->size_count; i++) {
        msgpack_pack_uint32(&k, p->sizes[i].segment);
        msgpack_pack_uint64(&k, p->sizes[i].size);
    }
    key = key_fact("sizes");
    view_put_only(&p->view, &key, buf_slice(out));
    key = key_fact("backfill");
    view_put_only(&p->view, &key,
                  p->is_backfilling ? profile_id_slice(&p->backfill_at) : slice_make(NULL, 0));
}

/* An array of whole numbers, read from a fact; empty where there is none. */
struct figures {
    struct buf bytes;
    msgpack_zone zone;
    size_t count;
    const msgpack_object *at;
};

static bool figures_read(struct store *store, const struct store_snapshot *snapshot,
                         const char *name, struct figures *f, struct error *err)
{
    struct key key = key_fact(name);
    msgpack_object root;
    bool found = false;
    *f = (struct figures){0};
    buf_init(&f->bytes, VALUE_BYTES_MAX);
    bool made = msgpack_zone_init(&f->zone, 1024);
    ensure(made);
    if (!store_get(store, snapshot, key_slice(&key), &f->bytes, &found, err)) {
        return false;
    }
    if (found) {
        if (!value_unpack(buf_slice(&f->bytes), &f->zone, &root, err)) {
            return false;
        }
        f->count = root.type == MSGPACK_OBJECT_ARRAY ? root.via.array.size : 0;
        f->at = root.type == MSGPACK_OBJECT_ARRAY ? root.via.array.ptr : NULL;
    }
    return true;
}

static uint64_t figure(const struct figures *f, size_t i)
{
    int64_t value = 0;
    if (i < f->count) {
        (void)value_int(&f->at[i], &value);
    }
    return (uint64_t)value;
}

static void figures_done(struct figures *f)
{
    msgpack_zone_destroy(&f->zone);
    buf_done(&f->bytes);
}

bool partition_read_stats(struct store *store, const struct store_snapshot *snapshot,
                          struct partition_stats *ret, struct error *err)
{
    struct figures f;
    bool fine = figures_read(store, snapshot, "stats", &f, err);
    *ret = (struct partition_stats){.profiles = figure(&f, 0),
                                    .known = figure(&f, 1),
                                    .events = figure(&f, 2),
                                    .duplicates = figure(&f, 3),
                                    .merges = figure(&f, 4),
                                    .refused_links = figure(&f, 5),
                                    .backfilled = figure(&f, 6),
                                    .catalog_version = figure(&f, 7),
                                    .backfill_version = figure(&f, 8),
                                    .unidentified = figure(&f, 9),
                                    .scopes_version = figure(&f, 10),
                                    .format = figure(&f, 11),
                                    .claims = figure(&f, 12)};
    figures_done(&f);
    return fine;
}

bool partition_read_outbox(struct store *store, uint32_t collector, uint64_t *ret_oldest,
                           uint64_t *ret_last, struct error *err)
{
    struct figures f;
    bool fine = figures_read(store, NULL, "edges", &f, err);
    *ret_oldest = 1;
    *ret_last = 0;
    for (size_t i = 0; i + 2 < f.count; i += 3) {
        if (figure(&f, i) == collector) {
            *ret_last = figure(&f, i + 1) - 1;
            *ret_oldest = figure(&f, i + 2);
        }
    }
    figures_done(&f);
    return fine;
}

bool partition_read_size(struct store *store, const struct store_snapshot *snapshot,
                         uint32_t segment, uint64_t *ret, struct error *err)
{
    struct figures f;
    bool fine = figures_read(store, snapshot, "sizes", &f, err);
    *ret = 0;
    for (size_t i = 0; i + 1 < f.count; i += 2) {
        if (figure(&f, i) == segment) {
            *ret = figure(&f, i + 1);
        }
    }
    figures_done(&f);
    return fine;
}

static bool load_positions(struct partition *p, struct error *err)
{
    struct buf value;
    bool fine = true;
    buf_init(&value, 64);
    for (uint32_t i = 0; fine && i <= p->options.count; i++) {
        struct key key = key_position(i);
        bool found;
        fine = store_get(p->view.store, NULL, key_slice(&key), &value, &found, err);
        p->positions[i] = fine && found && value.len == 8 ? read_u64(value.data) : 0;
    }
    buf_done(&value);
    return fine;
}

static bool load_outboxes(struct partition *p, struct error *err)
{
    struct figures f;
    bool fine = figures_read(p->view.store, NULL, "out", &f, err);
    for (uint32_t i = 0; i < p->options.count; i++) {
        p->peers[i].next = f.count > 0 ? figure(&f, 2 * (size_t)i) : 1;
        p->peers[i].oldest = f.count > 0 ? figure(&f, 2 * (size_t)i + 1) : 1;
    }
    figures_done(&f);
    if (!fine || !figures_read(p->view.store, NULL, "edges", &f, err)) {
        return false;
    }
    p->edge_count = f.count / 3;
    p->edges = memory_allocate_zeroed(p->edge_count * sizeof *p->edges);
    for (size_t i = 0; i < p->edge_count; i++) {
        p->edges[i] = (struct edge_outbox){(uint32_t)figure(&f, 3 * i), figure(&f, 3 * i + 1),
                                           figure(&f, 3 * i + 2), false};
    }
    figures_done(&f);
    fine = figures_read(p->view.store, NULL, "sizes", &f, err);
    p->size_count = f.count / 2;
    p->sizes = memory_allocate_zeroed(p->size_count * sizeof *p->sizes);
    for (size_t i = 0; i < p->size_count; i++) {
        p->sizes[i] = (struct segment_size){(uint32_t)figure(&f, 2 * i), figure(&f, 2 * i + 1)};
    }
    figures_done(&f);
    return fine;
}

/* Before the first definition there are no segments, and the default identity rules. */
static void put_default_catalog(struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_map(&k, 3);
    value_pack_cstr(&k, "version");
    msgpack_pack_int(&k, 0);
    value_pack_cstr(&k, "segments");
    msgpack_pack_array(&k, 0);
    value_pack_cstr(&k, "rules");
    enum json_fault fault = json_read(slice_text(identity_rules_default), out);
    ensure(fault == JSON_FINE);
}

static bool load_catalog(struct partition *p, struct error *err)
{
    struct key key = key_fact("catalog");
    struct buf bytes;
    struct catalog_error where;
    bool found = false;
    buf_init(&bytes, VALUE_BYTES_MAX);
    bool fine = store_get(p->view.store, NULL, key_slice(&key), &bytes, &found, err);
    if (fine && !found) {
        put_default_catalog(&bytes);
    }
    fine = fine && catalog_new(buf_slice(&bytes), &p->catalog, &where, err);
    if (fine) {
        p->stats.catalog_version = catalog_version(p->catalog);
        p->stats.scopes_version = catalog_scopes_version(p->catalog);
    }
    key = key_fact("backfill");
    fine = fine && store_get(p->view.store, NULL, key_slice(&key), &bytes, &found, err);
    p->is_backfilling = fine && found && profile_id_from_slice(buf_slice(&bytes), &p->backfill_at);
    buf_done(&bytes);
    return fine;
}

/* Profiles that an earlier version stored lack what this one keeps: a backfill fills it in. */
static void begin_upgrade(struct partition *p)
{
    if (p->stats.profiles > 0 && p->stats.format < PARTITION_FORMAT && !p->is_backfilling) {
        p->is_backfilling = true;
        p->stats.backfilled = 0;
    } else if (p->stats.profiles == 0) {
        p->stats.format = PARTITION_FORMAT;
    }
}

bool partition_load_facts(struct partition *p, struct error *err)
{
    bool fine = partition_read_stats(p->view.store, NULL, &p->stats, err) &&
                load_positions(p, err) && load_outboxes(p, err) && load_catalog(p, err);
    if (fine) {
        begin_upgrade(p);
    }
    return fine;
}
