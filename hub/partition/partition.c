#include "hub/partition/internal.h"

#include <stdlib.h>

enum { TIMERS_A_TICK = 512, BACKFILL_A_TICK = 512, VALUE_BYTES_MAX = 256 * 1024 * 1024 };

/* ---- Opening ---- */

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
    if (!partition_load_facts(p, err)) {
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

/* ---- Handling ---- */

uint64_t partition_position(const struct partition *p, uint32_t source)
{
    return p->positions[source];
}

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
    p->stats.scopes_version = catalog_scopes_version(catalog);
    /* Scopes alone change nothing in profiles: whoever's changed asks for a refill. */
    if (p->stats.catalog_version != catalog_version(catalog)) {
        p->stats.catalog_version = catalog_version(catalog);
        p->stats.backfilled = 0;
        p->is_backfilling = true;
        p->backfill_at = (struct profile_id){0};
    }
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
    struct edge_outbox *edge = partition_edge(p, (uint32_t)collector);
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
    case MESSAGE_RESERVE:
        return identity_on_reserve(p, &m, err);
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
        p->stats.format = PARTITION_FORMAT;
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
    partition_forget_delivered(p);
    partition_put_facts(p);
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
