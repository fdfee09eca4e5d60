/* Profiles in their partition: loading them up to date, settling them after a change, telling the
 * edges. */
#include "hub/partition/business_keys.h"

#include "hub/profile/purchases.h"

bool partition_is_known(const struct partition *p, const struct profile *profile)
{
    return catalog_is_known(p->catalog, profile);
}

bool partition_note_purchase(struct partition *p, struct profile *profile,
                             const struct event *event)
{
    if (!catalog_is_purchase(p->catalog, event)) {
        return false;
    }
    struct profile_purchase purchase = purchases_read(event);
    return purchases_note(profile, &purchase);
}

struct rebuild {
    struct partition *partition;
    struct profile *profile;
    struct buf event;
    struct error *err;
    bool fine;
    bool noted;
};

/* But for one in whose place another counts. */
static bool note_again(struct rebuild *r, const struct event *event)
{
    bool repeats = false;
    if (r->profile->keyed_count > 0 &&
        !business_keys_repeats(r->partition, r->profile, event, &repeats, r->err)) {
        return false;
    }
    if (!repeats) {
        r->noted =
            catalog_rebuild_event(r->partition->catalog, r->profile, event, r->partition->now_ms) ||
            r->noted;
        (void)partition_note_purchase(r->partition, r->profile, event);
    }
    return true;
}

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
        r->fine = note_again(r, &event);
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

/* Where other business keys are defined now, what counts is put together anew if any event has, or
 * had, one. */
static bool decide_anew(struct partition *p, struct profile *profile, struct error *err)
{
    uint64_t before = profile->keyed_count;
    if (profile->keys_id == catalog_business_keys_id(p->catalog)) {
        return true;
    }
    if (!business_keys_decide(p, profile, err)) {
        return false;
    }
    if (before + profile->keyed_count > 0) {
        profile->catalog_version = 0;
        profile->purchases_version = PURCHASES_INCOMPLETE;
    }
    partition_changed(p, profile);
    return true;
}

/* Definitions changed since this profile was last looked at: fill in what new conditions would
 * have remembered, from its timeline. A profile that they do not concern is not written again: its
 * stored version stays behind, and the same is done once more when it is needed. */
static bool bring_up_to_date(struct partition *p, struct profile *profile, struct error *err)
{
    size_t states = profile->state_count;
    bool noted = false;
    if (!decide_anew(p, profile, err)) {
        return false;
    }
    bool knows_purchases = profile->purchases_version == catalog_purchases_version(p->catalog);
    bool had_purchases = profile->purchase_count > 0;
    if (profile->catalog_version == catalog_version(p->catalog) && knows_purchases) {
        return true;
    }
    profile->purchase_count = knows_purchases ? profile->purchase_count : 0;
    if ((!knows_purchases || catalog_needs_rebuild(p->catalog, profile)) &&
        !rebuild(p, profile, &noted, err)) {
        return false;
    }
    bool card_changed = catalog_is_card_stale(p->catalog, profile) ||
                        (!knows_purchases && (had_purchases || profile->purchase_count > 0));
    catalog_prune(p->catalog, profile, p->now_ms);
    profile->catalog_version = catalog_version(p->catalog);
    profile->purchases_version = catalog_purchases_version(p->catalog);
    if (noted || profile->state_count != states || !knows_purchases) {
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

bool partition_put_together(struct partition *p, struct profile *profile, struct error *err)
{
    profile->catalog_version = 0;
    profile->purchases_version = PURCHASES_INCOMPLETE;
    return business_keys_decide(p, profile, err) && bring_up_to_date(p, profile, err);
}

void partition_list_claims(const struct profile *profile, struct claim_list *ret)
{
    ret->count = profile->claim_count;
    if (ret->count > 0) {
        memcpy(ret->claims, profile->claims, ret->count * sizeof *ret->claims);
    }
}

static bool is_among(const struct profile_claim *claim, const struct profile_claim *list,
                     size_t count)
{
    bool found = false;
    for (size_t i = 0; !found && i < count; i++) {
        found = list[i].by_server == claim->by_server &&
                slice_equal(list[i].id.value, claim->id.value) &&
                slice_equal(list[i].id.type, claim->id.type);
    }
    return found;
}

/* A server's claim and the visitor's own of the same identifier have one key. */
bool partition_index_claims(struct partition *p, const struct profile *profile,
                            const struct claim_list *before)
{
    bool changed = false;
    for (size_t i = 0; i < before->count; i++) {
        const struct profile_claim *claim = &before->claims[i];
        if (!is_among(claim, profile->claims, profile->claim_count)) {
            p->stats.claims--;
            changed = true;
            if (!claims_have(profile, claim->id)) {
                struct key key = key_claim(claim->id, profile->id);
                view_delete_only(&p->view, &key);
            }
        }
    }
    for (size_t i = 0; i < profile->claim_count; i++) {
        const struct profile_claim *claim = &profile->claims[i];
        if (!is_among(claim, before->claims, before->count)) {
            struct key key = key_claim(claim->id, profile->id);
            view_put_only(&p->view, &key, slice_make(NULL, 0));
            p->stats.claims++;
            changed = true;
        }
    }
    return changed;
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

struct edge_outbox *partition_edge(struct partition *p, uint32_t collector)
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
static void put_in_outbox(struct partition *p, const struct profile *profile,
                          struct profile_interest *interest)
{
    struct edge_outbox *edge = partition_edge(p, interest->collector);
    if (interest->sequence >= edge->oldest) {
        struct key old = key_edge(interest->collector, interest->sequence);
        view_delete_only(&p->view, &old);
    }
    interest->sequence = edge->next++;
    struct key key = key_edge(interest->collector, interest->sequence);
    view_put_only(&p->view, &key, profile_id_slice(&profile->id));
    edge->is_new = true;
}

void partition_tell_edges(struct partition *p, struct profile *profile)
{
    partition_share(p, profile);
    for (size_t i = 0; i < profile->interest_count; i++) {
        const struct catalog_scope *scope =
            catalog_scope_of(p->catalog, profile->interests[i].collector);
        /* A collector with a wide scope reads the shared outbox. */
        if (scope == NULL || scope->kind == SCOPE_SEEN) {
            put_in_outbox(p, profile, &profile->interests[i]);
        }
    }
    partition_changed(p, profile);
}

void partition_share(struct partition *p, struct profile *profile)
{
    bool is_new;
    if (catalog_is_in_a_wide_scope(p->catalog, profile)) {
        (void)profile_make_interest(profile, SHARED_OUTBOX, &is_new);
    }
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
    partition_share(p, profile);
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
        if (s.changed || is_of_interest || profile_was_told(profile)) {
            partition_tell_edges(p, profile);
        }
        partition_changed(p, profile);
    }
    return true;
}

static bool find_redirect(struct partition *p, struct profile_id id, struct profile_id *ret,
                          struct error *err)
{
    struct key key = key_redirect(id);
    struct buf value;
    bool found = false;
    buf_init(&value, 64);
    bool fine = view_get(&p->view, &key, &value, &found, err);
    if (!fine || !found || !profile_id_from_slice(buf_slice(&value), ret)) {
        *ret = id;
    }
    buf_done(&value);
    return fine;
}

bool partition_locate(struct partition *p, struct profile_id id, struct profile **ret,
                      struct profile_id *ret_went_to, struct error *err)
{
    return partition_load(p, id, ret, err) &&
           (*ret != NULL || find_redirect(p, id, ret_went_to, err));
}
