#include "hub/partition/internal.h"

#include <stdlib.h>
#include "shared/json.h"

enum { TIMERS_A_TICK = 512, BACKFILL_A_TICK = 512, VALUE_BYTES_MAX = 256 * 1024 * 1024 };

/* ---- Facts: small records about the partition itself ---- */

static void put_facts(struct partition *p)
{
    struct buf *out = &p->scratch;
    msgpack_packer k;
    struct key key = key_fact("stats");
    const struct partition_stats *s = &p->stats;
    const uint64_t figures[] = {
        s->profiles,      s->known,      s->events,          s->duplicates,       s->merges,
        s->refused_links, s->backfilled, s->catalog_version, s->backfill_version, s->unidentified};
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
                                    .unidentified = figure(&f, 9)};
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

/* ---- Opening ---- */

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
    }
    key = key_fact("backfill");
    fine = fine && store_get(p->view.store, NULL, key_slice(&key), &bytes, &found, err);
    p->is_backfilling = fine && found && profile_id_from_slice(buf_slice(&bytes), &p->backfill_at);
    buf_done(&bytes);
    return fine;
}

static void find_next_timer(struct partition *p, int64_t from_ms)
{
    struct key key = key_timer(from_ms, (struct profile_id){0});
    struct store_iterator *it = store_iterator_open(p->view.store, NULL);
    store_iterator_seek(it, key_slice(&key));
    bool found = store_iterator_valid(it) && store_iterator_key(it).data[0] == 'w';
    p->next_timer_ms = found ? (int64_t)read_u64(store_iterator_key(it).data + 1) : INT64_MAX;
    store_iterator_close(&it);
}

bool partition_open(struct store *store, const struct partition_options *options,
                    const struct partition_listener *listener, struct partition **ret,
                    struct error *err)
{
    struct partition *p = memory_allocate_zeroed(sizeof *p);
    p->options = *options;
    p->listener = *listener;
    view_init(&p->view, store);
    p->cache = profile_cache_new(options->cache_bytes);
    p->timeline = timeline_new();
    p->hits = memory_allocate_zeroed(ROUTING_HITS * sizeof *p->hits);
    p->positions = memory_allocate_zeroed((options->count + 1) * sizeof *p->positions);
    p->peers = memory_allocate_zeroed(options->count * sizeof *p->peers);
    arena_init(&p->arena, 16 * 1024);
    buf_init(&p->scratch, VALUE_BYTES_MAX);
    buf_init(&p->outgoing, SIZE_MAX / 2);
    bool made = msgpack_zone_init(&p->zone, 64 * 1024);
    ensure(made);
    if (!partition_read_stats(store, NULL, &p->stats, err) || !load_positions(p, err) ||
        !load_outboxes(p, err) || !load_catalog(p, err)) {
        partition_close(&p);
        return error_add_context(err, "opening partition %u", options->index);
    }
    find_next_timer(p, 0);
    *ret = p;
    return true;
}

void partition_close(struct partition **partition)
{
    struct partition *p = *partition;
    if (p == NULL) {
        return;
    }
    while (p->local_first != NULL) {
        struct local_message *next = p->local_first->next;
        free(p->local_first);
        p->local_first = next;
    }
    profile_cache_free(&p->cache);
    timeline_free(&p->timeline);
    catalog_free(&p->catalog);
    view_done(&p->view);
    arena_done(&p->arena);
    msgpack_zone_destroy(&p->zone);
    buf_done(&p->scratch);
    buf_done(&p->outgoing);
    free(p->hits);
    free(p->positions);
    free(p->peers);
    free(p->edges);
    free(p->sizes);
    free(p);
    *partition = NULL;
}

/* ---- Messages ---- */

uint64_t partition_position(const struct partition *p, uint32_t source)
{
    return p->positions[source];
}

void partition_send(struct partition *p, uint32_t to, struct slice message)
{
    p->is_dirty = true;
    if (to == p->options.index) {
        struct local_message *local = memory_allocate(sizeof *local + message.len);
        uint8_t *bytes = (uint8_t *)(local + 1);
        memcpy(bytes, message.data, message.len);
        *local = (struct local_message){NULL, slice_make(bytes, message.len)};
        if (p->local_first == NULL) {
            p->local_first = local;
        } else {
            p->local_last->next = local;
        }
        p->local_last = local;
        return;
    }
    uint64_t sequence = p->peers[to].next++;
    struct key key = key_outbox(to, sequence);
    view_put_only(&p->view, &key, message);
    buf_put_u32(&p->outgoing, to);
    buf_put_u64(&p->outgoing, sequence);
    buf_put_u64(&p->outgoing, message.len);
    buf_put_slice(&p->outgoing, message);
}

bool partition_redeliver(struct partition *p, uint32_t to, uint64_t after, struct error *err)
{
    struct key key = key_outbox(to, after + 1);
    struct slice prefix = key_prefix(&key, KEY_PREFIX_NUMBER);
    struct store_iterator *it = store_iterator_open(p->view.store, NULL);
    for (store_iterator_seek(it, key_slice(&key));
         store_iterator_valid(it) && slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        uint64_t sequence = read_u64(store_iterator_key(it).data + KEY_PREFIX_NUMBER);
        p->listener.message(p->listener.user, to, sequence, store_iterator_value(it));
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

void partition_delivered(struct partition *p, uint32_t to, uint64_t position)
{
    p->peers[to].delivered = position;
}

static void forget_delivered(struct partition *p)
{
    for (uint32_t i = 0; i < p->options.count; i++) {
        struct peer_outbox *peer = &p->peers[i];
        for (; peer->oldest <= peer->delivered && peer->oldest < peer->next; peer->oldest++) {
            struct key key = key_outbox(i, peer->oldest);
            view_delete_only(&p->view, &key);
        }
    }
}

void partition_write_event(struct buf *out, uint32_t collector, struct slice event)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 4);
    msgpack_pack_int(&k, MESSAGE_EVENT);
    msgpack_pack_uint32(&k, collector);
    value_pack_bin(&k, event);
    msgpack_pack_array(&k, 0);
}

void partition_write_define(struct buf *out, struct slice catalog)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 2);
    msgpack_pack_int(&k, MESSAGE_DEFINE);
    value_pack_bin(&k, catalog);
}

void partition_write_mark(struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 1);
    msgpack_pack_int(&k, MESSAGE_MARK);
}

void partition_write_edge_ack(struct buf *out, uint32_t collector, uint64_t sequence)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 3);
    msgpack_pack_int(&k, MESSAGE_EDGE_ACK);
    msgpack_pack_uint32(&k, collector);
    msgpack_pack_uint64(&k, sequence);
}

void partition_write_interest(struct buf *out, struct profile_id profile, uint32_t collector)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 3);
    msgpack_pack_int(&k, MESSAGE_INTEREST);
    value_pack_bin(&k, profile_id_slice(&profile));
    msgpack_pack_uint32(&k, collector);
}

/* ---- Profiles ---- */

bool partition_redirect(struct partition *p, struct profile_id id, bool *ret_found,
                        struct profile_id *ret, struct error *err)
{
    struct key key = key_redirect(id);
    struct buf value;
    buf_init(&value, 64);
    bool fine = view_get(&p->view, &key, &value, ret_found, err);
    *ret_found = fine && *ret_found && profile_id_from_slice(buf_slice(&value), ret);
    buf_done(&value);
    return fine;
}

bool partition_is_known(const struct partition *p, const struct profile *profile)
{
    for (size_t i = 0; i < profile->identifier_count; i++) {
        if (identity_rule_of(catalog_rules(p->catalog), profile->identifiers[i].id.type).is_known) {
            return true;
        }
    }
    return false;
}

struct rebuild {
    struct partition *partition;
    struct profile *profile;
    struct buf event;
    struct error *err;
    bool fine;
    bool noted;
};

static bool rebuild_event(void *user, struct slice key, struct slice value)
{
    struct rebuild *r = user;
    struct event event;
    msgpack_zone zone;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    (void)key;
    r->fine = timeline_decompress(r->partition->timeline, value, &r->event, r->err) &&
              event_unpack(buf_slice(&r->event), &zone, &event, r->err);
    if (r->fine) {
        r->noted = catalog_rebuild_event(r->partition->catalog, r->profile, &event,
                                         r->partition->now_ms) ||
                   r->noted;
    }
    msgpack_zone_destroy(&zone);
    return r->fine;
}

static bool rebuild(struct partition *p, struct profile *profile, bool *ret_noted,
                    struct error *err)
{
    struct rebuild r = {.partition = p, .profile = profile, .err = err, .fine = true};
    struct key key = key_timeline(profile->id, 0, 0);
    buf_init(&r.event, LIMIT_EVENT_BYTES * 4);
    catalog_rebuild_begin(p->catalog, profile);
    bool fine =
        view_each(&p->view, key_prefix(&key, KEY_PREFIX_PROFILE), rebuild_event, &r, err) && r.fine;
    buf_done(&r.event);
    *ret_noted = r.noted;
    return fine;
}

/* Definitions changed since this profile was last looked at: fill in what new conditions would
 * have remembered, from its timeline. A profile that they do not concern is not written again: its
 * stored version stays behind, and the same is done once more when it is needed. */
static bool bring_up_to_date(struct partition *p, struct profile *profile, struct error *err)
{
    size_t states = profile->state_count;
    bool noted = false;
    if (profile->catalog_version == catalog_version(p->catalog)) {
        return true;
    }
    if (catalog_needs_rebuild(p->catalog, profile) && !rebuild(p, profile, &noted, err)) {
        return false;
    }
    bool card_changed = catalog_edge_traits_version(p->catalog) > profile->catalog_version;
    catalog_prune(p->catalog, profile, p->now_ms);
    profile->catalog_version = catalog_version(p->catalog);
    if (noted || profile->state_count != states) {
        partition_changed(p, profile);
    }
    return partition_settle(p, profile, (struct catalog_touch){.everything = true}, card_changed,
                            err);
}

bool partition_load(struct partition *p, struct profile_id id, struct profile **ret,
                    struct error *err)
{
    struct key key = key_profile(id);
    bool found = true;
    *ret = profile_cache_find(p->cache, id);
    if (*ret == NULL) {
        if (!view_get(&p->view, &key, &p->scratch, &found, err) ||
            (found && !profile_unpack(buf_slice(&p->scratch), ret, err))) {
            return error_add_context(err, "loading a profile");
        }
        if (!found) {
            return true;
        }
        profile_cache_add(p->cache, *ret, arena_size(&(*ret)->arena) + sizeof **ret);
    }
    return bring_up_to_date(p, *ret, err);
}

void partition_changed(struct partition *p, struct profile *profile)
{
    profile_cache_mark_dirty(p->cache, profile->id);
    p->is_dirty = true;
}

void partition_set_timer(struct partition *p, struct profile *profile, int64_t due_ms)
{
    if (profile->timer_ms == due_ms) {
        return;
    }
    if (profile->timer_ms > 0) {
        struct key old = key_timer(profile->timer_ms, profile->id);
        view_delete_only(&p->view, &old);
    }
    profile->timer_ms = due_ms;
    if (due_ms > 0) {
        struct key key = key_timer(due_ms, profile->id);
        view_put_only(&p->view, &key, slice_make(NULL, 0));
        p->next_timer_ms = due_ms < p->next_timer_ms ? due_ms : p->next_timer_ms;
    }
    partition_changed(p, profile);
}

void partition_count_member(struct partition *p, uint32_t segment, int change)
{
    size_t i = 0;
    while (i < p->size_count && p->sizes[i].segment != segment) {
        i++;
    }
    if (i == p->size_count) {
        p->sizes = memory_resize(p->sizes, (p->size_count + 1) * sizeof *p->sizes);
        p->sizes[p->size_count++] = (struct segment_size){segment, 0};
    }
    p->sizes[i].size += (uint64_t)(int64_t)change;
}

static struct edge_outbox *edge_of(struct partition *p, uint32_t collector)
{
    for (size_t i = 0; i < p->edge_count; i++) {
        if (p->edges[i].collector == collector) {
            return &p->edges[i];
        }
    }
    p->edges = memory_resize(p->edges, (p->edge_count + 1) * sizeof *p->edges);
    p->edges[p->edge_count] = (struct edge_outbox){.collector = collector, .next = 1, .oldest = 1};
    return &p->edges[p->edge_count++];
}

/* A profile stands in an outbox once, at the place of its last change, so that the outbox of a
 * collector that is away for days stays bounded. */
void partition_tell_edges(struct partition *p, struct profile *profile)
{
    for (size_t i = 0; i < profile->interest_count; i++) {
        struct profile_interest *interest = &profile->interests[i];
        struct edge_outbox *edge = edge_of(p, interest->collector);
        if (interest->sequence >= edge->oldest) {
            struct key old = key_edge(interest->collector, interest->sequence);
            view_delete_only(&p->view, &old);
        }
        interest->sequence = edge->next++;
        struct key key = key_edge(interest->collector, interest->sequence);
        view_put_only(&p->view, &key, profile_id_slice(&profile->id));
        edge->is_new = true;
    }
    partition_changed(p, profile);
}

struct settling {
    struct partition *partition;
    struct profile *profile;
    bool changed;
};

static void on_membership(void *user, uint32_t segment, bool is_member)
{
    struct settling *s = user;
    struct key key = key_member(segment, s->profile->id);
    s->changed = true;
    if (is_member) {
        uint8_t since[8];
        struct buf value = {.data = since, .capacity = 8, .len_max = 8};
        buf_put_u64(&value, (uint64_t)s->partition->now_ms);
        view_put_only(&s->partition->view, &key, buf_slice(&value));
    } else {
        view_delete_only(&s->partition->view, &key);
    }
    partition_count_member(s->partition, segment, is_member ? 1 : -1);
}

/* Memberships in segments that are gone. */
static void drop_stale_memberships(struct settling *s)
{
    struct profile *profile = s->profile;
    for (size_t i = profile->membership_count; i-- > 0;) {
        uint32_t segment = profile->memberships[i].segment;
        if (catalog_segment_key(s->partition->catalog, segment).len == 0) {
            profile_leave(profile, segment);
            on_membership(s, segment, false);
        }
    }
}

bool partition_settle(struct partition *p, struct profile *profile, struct catalog_touch touch,
                      bool card_changed, struct error *err)
{
    struct settling s = {.partition = p, .profile = profile};
    int64_t timer = 0;
    (void)err;
    if (touch.everything) {
        drop_stale_memberships(&s);
    }
    catalog_evaluate(p->catalog, profile, touch, p->now_ms, on_membership, &s, &timer);
    /* Part of the segments was looked at: an earlier timer of another stays. It may fire early,
     * which does no harm. */
    if (!touch.everything && profile->timer_ms > 0 && (timer == 0 || profile->timer_ms < timer)) {
        timer = profile->timer_ms;
    }
    partition_set_timer(p, profile, timer);
    bool is_of_interest = profile->membership_count > 0 || partition_is_known(p, profile);
    if (s.changed || card_changed) {
        profile->version++;
        if (s.changed || is_of_interest) {
            partition_tell_edges(p, profile);
        }
        partition_changed(p, profile);
    }
    return true;
}

/* ---- Handling ---- */

static bool define(struct partition *p, const msgpack_object *m, struct error *err)
{
    struct slice bytes;
    struct catalog *catalog;
    struct catalog_error where;
    struct key key = key_fact("catalog");
    if (m->via.array.size != 2 || !value_bin(&m->via.array.ptr[1], &bytes) ||
        !catalog_new(bytes, &catalog, &where, err)) {
        return error_set(err, ERROR_CORRUPT, "a definition in the log does not compile");
    }
    catalog_free(&p->catalog);
    p->catalog = catalog;
    view_put_only(&p->view, &key, bytes);
    p->stats.catalog_version = catalog_version(catalog);
    p->stats.backfilled = 0;
    p->is_backfilling = true;
    p->backfill_at = (struct profile_id){0};
    return true;
}

static bool edge_ack(struct partition *p, const msgpack_object *m, struct error *err)
{
    int64_t collector = 0;
    int64_t acknowledged = 0;
    if (m->via.array.size != 3 || !value_int(&m->via.array.ptr[1], &collector) ||
        !value_int(&m->via.array.ptr[2], &acknowledged)) {
        return error_set(err, ERROR_CORRUPT, "an acknowledgement is damaged");
    }
    struct edge_outbox *edge = edge_of(p, (uint32_t)collector);
    struct key key = key_edge(edge->collector, edge->oldest);
    struct slice prefix = key_prefix(&key, KEY_PREFIX_NUMBER);
    struct store_iterator *it = store_iterator_open(p->view.store, NULL);
    for (store_iterator_seek(it, key_slice(&key));
         store_iterator_valid(it) && slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        uint64_t sequence = read_u64(store_iterator_key(it).data + KEY_PREFIX_NUMBER);
        if (sequence > (uint64_t)acknowledged) {
            break;
        }
        struct key acked = key_edge(edge->collector, sequence);
        view_delete_only(&p->view, &acked);
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    if ((uint64_t)acknowledged >= edge->oldest && (uint64_t)acknowledged < edge->next) {
        edge->oldest = (uint64_t)acknowledged + 1;
    }
    return fine;
}

static bool add_interest(struct partition *p, const msgpack_object *m, struct error *err)
{
    struct slice bytes;
    struct profile_id id;
    struct profile *profile;
    int64_t collector;
    bool is_new;
    if (m->via.array.size != 3 || !value_bin(&m->via.array.ptr[1], &bytes) ||
        !profile_id_from_slice(bytes, &id) || !value_int(&m->via.array.ptr[2], &collector)) {
        return error_set(err, ERROR_CORRUPT, "an interest is damaged");
    }
    if (!partition_load(p, id, &profile, err)) {
        return false;
    }
    if (profile != NULL) {
        (void)profile_make_interest(profile, (uint32_t)collector, &is_new);
        partition_changed(p, profile);
        /* The card that was looked up may be older than this moment: send the present one. */
        if (is_new) {
            partition_tell_edges(p, profile);
        }
    }
    return true;
}

static bool dispatch(struct partition *p, struct slice message, struct error *err)
{
    msgpack_object m;
    int64_t type;
    arena_clear(&p->arena);
    msgpack_zone_clear(&p->zone);
    if (!value_unpack(message, &p->zone, &m, err) || m.type != MSGPACK_OBJECT_ARRAY ||
        m.via.array.size == 0 || !value_int(&m.via.array.ptr[0], &type)) {
        return error_set(err, ERROR_CORRUPT, "a message to partition %u is damaged",
                         p->options.index);
    }
    switch ((enum message_type)type) {
    case MESSAGE_EVENT:
        return apply_event(p, &m, true, err);
    case MESSAGE_ROUTE:
        return apply_event(p, &m, false, err);
    case MESSAGE_APPLY:
        return apply_to_profile(p, &m, message, err);
    case MESSAGE_CLAIM:
        return identity_on_claim(p, &m, err);
    case MESSAGE_MERGE:
        return identity_on_merge(p, &m, message, err);
    case MESSAGE_PROPOSE:
        return identity_on_propose(p, &m, message, err);
    case MESSAGE_ACCEPTED:
        return identity_on_accepted(p, &m, err);
    case MESSAGE_REFUSED:
        return identity_on_refused(p, &m, err);
    case MESSAGE_ABSORB:
        return identity_on_absorb(p, &m, message, err);
    case MESSAGE_REPOINT:
        return identity_on_repoint(p, &m, err);
    case MESSAGE_DEFINE:
        return define(p, &m, err);
    case MESSAGE_EDGE_ACK:
        return edge_ack(p, &m, err);
    case MESSAGE_INTEREST:
        return add_interest(p, &m, err);
    case MESSAGE_MARK:
        return true;
    }
    return error_set(err, ERROR_CORRUPT, "a message of unknown type %lld", (long long)type);
}

/* Messages to itself are part of the same commit. */
static bool drain_local(struct partition *p, struct error *err)
{
    bool fine = true;
    while (fine && p->local_first != NULL) {
        struct local_message *local = p->local_first;
        p->local_first = local->next;
        fine = dispatch(p, local->bytes, err);
        free(local);
    }
    return fine;
}

bool partition_handle(struct partition *p, int32_t source, uint64_t position, struct slice message,
                      int64_t now_ms, struct error *err)
{
    if (source >= 0) {
        if (position <= p->positions[source]) {
            return true;
        }
        p->positions[source] = position;
    }
    p->is_dirty = true;
    p->now_ms = now_ms > p->now_ms ? now_ms : p->now_ms;
    return dispatch(p, message, err) && drain_local(p, err);
}

static bool fire_timers(struct partition *p, bool *ret_more, struct error *err)
{
    struct profile_id due[TIMERS_A_TICK];
    size_t count = 0;
    struct key key = key_timer(p->next_timer_ms, (struct profile_id){0});
    struct store_iterator *it = store_iterator_open(p->view.store, NULL);
    for (store_iterator_seek(it, key_slice(&key));
         count < TIMERS_A_TICK && store_iterator_valid(it) &&
         store_iterator_key(it).data[0] == 'w' &&
         (int64_t)read_u64(store_iterator_key(it).data + 1) <= p->now_ms;
         store_iterator_next(it)) {
        struct slice found = store_iterator_key(it);
        due[count] = key_profile_at(found, 9);
        struct key fired = key_timer((int64_t)read_u64(found.data + 1), due[count]);
        view_delete_only(&p->view, &fired);
        count++;
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    for (size_t i = 0; fine && i < count; i++) {
        struct profile *profile;
        fine = partition_load(p, due[i], &profile, err);
        if (fine && profile != NULL) {
            profile->timer_ms = 0;
            partition_changed(p, profile);
            fine = partition_settle(p, profile, (struct catalog_touch){.everything = true}, false,
                                    err);
        }
    }
    if (fine && count == 0) {
        /* The timer was taken back: without this the partition would be asked again at once. */
        find_next_timer(p, p->next_timer_ms);
    }
    p->is_dirty = p->is_dirty || count > 0;
    *ret_more = *ret_more || count == TIMERS_A_TICK;
    return fine;
}

static bool backfill(struct partition *p, bool *ret_more, struct error *err)
{
    struct profile_id found[BACKFILL_A_TICK];
    size_t count = 0;
    struct key key = key_profile(p->backfill_at);
    struct store_iterator *it = store_iterator_open(p->view.store, NULL);
    for (store_iterator_seek(it, key_slice(&key));
         count < BACKFILL_A_TICK && store_iterator_valid(it) &&
         store_iterator_key(it).data[0] == 'p';
         store_iterator_next(it)) {
        found[count++] = key_profile_at(store_iterator_key(it), 1);
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    for (size_t i = 0; fine && i < count; i++) {
        struct profile *profile;
        fine = partition_load(p, found[i], &profile, err);
        fine = fine && drain_local(p, err);
    }
    p->is_dirty = true;
    p->stats.backfilled += count;
    if (count == BACKFILL_A_TICK) {
        p->backfill_at = found[count - 1]; /* looked at twice, which does no harm */
        *ret_more = true;
    } else {
        p->is_backfilling = false;
        p->stats.backfill_version = p->stats.catalog_version;
    }
    return fine;
}

bool partition_tick(struct partition *p, int64_t now_ms, bool *ret_more, struct error *err)
{
    ensure(!p->is_dirty); /* timers and profiles are read from the store */
    p->now_ms = now_ms > p->now_ms ? now_ms : p->now_ms;
    *ret_more = false;
    if (p->next_timer_ms <= p->now_ms && !fire_timers(p, ret_more, err)) {
        return false;
    }
    return !p->is_backfilling || backfill(p, ret_more, err);
}

int64_t partition_next_timer(const struct partition *p)
{
    return p->is_backfilling ? 0 : p->next_timer_ms;
}

/* ---- Commit ---- */

bool partition_is_dirty(const struct partition *p)
{
    return p->is_dirty;
}

static size_t write_profile(void *user, struct profile *profile)
{
    struct partition *p = user;
    struct key key = key_profile(profile->id);
    buf_clear(&p->scratch);
    profile_pack(profile, &p->scratch);
    view_put_only(&p->view, &key, buf_slice(&p->scratch));
    profile_compact(profile, buf_slice(&p->scratch));
    return arena_size(&profile->arena) + sizeof *profile;
}

static void tell_listener(struct partition *p)
{
    for (size_t at = 0; at < p->outgoing.len;) {
        const uint8_t *head = p->outgoing.data + at;
        uint64_t len = read_u64(head + 12);
        p->listener.message(p->listener.user, read_u32(head), read_u64(head + 4),
                            slice_make(head + 20, len));
        at += 20 + len;
    }
    buf_clear(&p->outgoing);
    for (size_t i = 0; i < p->edge_count; i++) {
        if (p->edges[i].is_new) {
            p->edges[i].is_new = false;
            p->listener.edge(p->listener.user, p->edges[i].collector);
        }
    }
}

bool partition_commit(struct partition *p, struct error *err)
{
    profile_cache_write(p->cache, write_profile, p);
    for (uint32_t i = 0; i <= p->options.count; i++) {
        uint8_t bytes[8];
        struct buf value = {.data = bytes, .capacity = 8, .len_max = 8};
        struct key key = key_position(i);
        buf_put_u64(&value, p->positions[i]);
        view_put_only(&p->view, &key, buf_slice(&value));
    }
    forget_delivered(p);
    put_facts(p);
    if (!view_commit(&p->view, err)) {
        return error_add_context(err, "committing partition %u", p->options.index);
    }
    p->is_dirty = false;
    if (p->next_timer_ms <= p->now_ms) {
        find_next_timer(p, p->next_timer_ms);
    }
    tell_listener(p);
    profile_cache_shrink(p->cache);
    return true;
}

struct slice partition_catalog(const struct partition *p)
{
    return catalog_bytes(p->catalog);
}
