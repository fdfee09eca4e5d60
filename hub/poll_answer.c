#include "hub/poll_answer.h"

#include <stdlib.h>
#include "hub/card.h"
#include "shared/log.h"

enum { CARDS_BYTES_MAX = 512 * 1024, CARD_BYTES_MAX = 256 * 1024 };

struct answer {
    const struct edges_parts *parts;
    enum incarnations_verdict verdict; /* on what the collector has */
    const struct catalog *catalog;     /* borrowed while the answer is made */
    struct refill_asker asker;
    struct wire_poll_reply reply;
    uint32_t card_count;
    uint32_t removal_count;
    struct buf cards;
    struct buf removals;
    struct buf gate;
    struct buf suppressions;
};

static bool is_full(const struct answer *a)
{
    return a->cards.len + a->removals.len >= CARDS_BYTES_MAX;
}

/* Of those who were only seen, nobody is sent of whom a card has nothing to say. */
static bool is_in_scope(const struct answer *a, const struct profile *profile)
{
    if (refill_outbox(&a->asker) == SHARED_OUTBOX) {
        return catalog_scope_holds(a->catalog, a->asker.scope, profile);
    }
    const struct profile_interest *seen = profile_find_interest(profile, a->asker.collector);
    return seen != NULL && (seen->sequence > 0 || profile->membership_count > 0 ||
                            catalog_is_known(a->catalog, profile));
}

static void put_card(struct answer *a, const struct profile *profile)
{
    int64_t now_ms = clock_now_ms(a->parts->clock);
    struct card_reader reader = {a->asker.collector, a->asker.poll->cache.shape};
    card_write(profile, a->catalog, reader, now_ms, &a->cards);
    a->card_count++;
}

/* The profile is in the shared outbox, but not for this collector, or not any more. */
static void put_removals(struct answer *a, const struct profile *profile)
{
    size_t skip =
        profile->merged_count > CARD_MERGED_MAX ? profile->merged_count - CARD_MERGED_MAX : 0;
    wire_write_removal(profile_id_slice(&profile->id), profile->version, &a->removals);
    for (size_t i = skip; i < profile->merged_count; i++) {
        wire_write_removal(profile_id_slice(&profile->merged[i]), profile->version, &a->removals);
    }
    a->removal_count += (uint32_t)(1 + profile->merged_count - skip);
}

static bool put_changed(struct answer *a, struct profile_id id, struct error *err)
{
    struct profile *profile;
    if (!reader_profile(&a->parts->reader, id, &profile, err)) {
        return false;
    }
    if (profile == NULL) {
        return true; /* under way to its survivor, whose card names it */
    }
    if (refill_outbox(&a->asker) == SHARED_OUTBOX && !is_in_scope(a, profile)) {
        put_removals(a, profile);
    } else {
        put_card(a, profile);
    }
    profile_free(&profile);
    return true;
}

/* The outbox of one partition from the cursor on. */
static bool collect_partition(struct answer *a, uint32_t partition, struct error *err)
{
    struct key key = key_edge(refill_outbox(&a->asker), a->reply.cursors[partition] + 1);
    struct slice prefix = key_prefix(&key, KEY_PREFIX_NUMBER);
    struct store_iterator *it = store_iterator_open(a->parts->reader.stores[partition], NULL);
    bool fine = true;
    for (store_iterator_seek(it, key_slice(&key));
         fine && !is_full(a) && store_iterator_valid(it) &&
         slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        struct profile_id id;
        uint64_t sequence = read_u64(store_iterator_key(it).data + KEY_PREFIX_NUMBER);
        if (profile_id_from_slice(store_iterator_value(it), &id)) {
            fine = put_changed(a, id, err);
        }
        a->reply.cursors[partition] = sequence;
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

static bool put_refilled(void *user, const struct profile *profile)
{
    struct answer *a = user;
    if (is_full(a)) {
        return false;
    }
    if (is_in_scope(a, profile)) {
        put_card(a, profile);
    }
    return true;
}

static void answer_init(const struct edges_parts *parts, struct poll_asked *asked, struct answer *a)
{
    const struct wire_poll *poll = &asked->poll;
    uint32_t partitions = parts->reader.partitions;
    a->parts = parts;
    a->verdict = incarnations_judge(parts->incarnations, &poll->moment);
    a->catalog = definitions_borrow(parts->definitions);
    a->asker = (struct refill_asker){asked->collector,
                                     catalog_scope_of(a->catalog, asked->collector), poll};
    asked->is_wide = refill_outbox(&a->asker) == SHARED_OUTBOX;
    a->reply = (struct wire_poll_reply){.cursor_count = partitions};
    a->reply.refill = (struct wire_refill){.is_told = poll->cache.is_told,
                                           .scope_version = poll->cache.scope_version,
                                           .place = poll->cache.place};
    if (poll->cursor_count == partitions) {
        memcpy(a->reply.cursors, poll->cursors, partitions * sizeof *poll->cursors);
    }
    buf_init(&a->cards, CARDS_BYTES_MAX + CARD_BYTES_MAX * 16);
    buf_init(&a->removals, CARDS_BYTES_MAX * 2);
    buf_init(&a->gate, LIMIT_WIRE_BYTES);
    buf_init(&a->suppressions, LIMIT_WIRE_BYTES);
}

static void answer_done(struct answer *a)
{
    definitions_release(a->parts->definitions);
    buf_done(&a->cards);
    buf_done(&a->removals);
    buf_done(&a->gate);
    buf_done(&a->suppressions);
}

/* Begin a refill if one is needed. *ret_ready is false where it is, but cannot begin yet. */
static bool check_cache(struct answer *a, struct poll_asked *asked, bool *ret_ready,
                        struct error *err)
{
    const struct reader *reader = &a->parts->reader;
    *ret_ready = true;
    if (!asked->poll.cache.is_told) {
        return true;
    }
    bool fits = asked->poll.cache.scope_version == refill_version(&a->asker) &&
                a->verdict != INCARNATIONS_FOREIGN;
    if (fits && !asked->has_fitting_cursors) {
        if (!refill_check_cursors(reader, &a->asker, &fits, err)) {
            return false;
        }
        asked->has_fitting_cursors = fits;
    }
    if (fits) {
        return true;
    }
    if (!refill_begin(reader, &a->asker, &a->reply, ret_ready, err)) {
        return false;
    }
    if (*ret_ready) {
        log_info_limited("refill-begun",
                         "A collector's edge cache is filled anew. collector=%u scope=%llu%s",
                         asked->collector, (unsigned long long)a->reply.refill.scope_version,
                         a->verdict == INCARNATIONS_FOREIGN ? " because=history" : "");
    }
    return true;
}

/* What the collector does not have yet of the suppression list. */
static bool collect_suppressions(struct answer *a, struct error *err)
{
    const struct wire_poll *poll = a->asker.poll;
    uint64_t *version = &a->reply.suppression_version;
    struct suppressions *list = a->parts->suppressions;
    bool fine = true;
    a->reply.is_short = poll->is_short;
    if (a->reply.starts_over) {
        fine = suppressions_write_anew(list, &a->suppressions, version, err);
    } else if (!poll->is_short) {
        fine = suppressions_write_changes(list, poll->suppression_version, &a->suppressions,
                                          version, err);
    }
    a->reply.suppressions = buf_slice(&a->suppressions);
    return fine;
}

/* What changed, and the next step of a refill. */
static bool collect(struct answer *a, struct error *err)
{
    bool fine = true;
    for (uint32_t i = 0; fine && i < a->parts->reader.partitions; i++) {
        fine = collect_partition(a, i, err);
    }
    return fine && (a->reply.refill.place.len == 0 ||
                    refill_go_on(&a->parts->reader, &a->reply.refill.place, put_refilled, a, err));
}

/* The moment at last: what was read before is of no later one. */
static void write_answer(struct answer *a, bool has_gate, struct buf *message)
{
    a->reply.gate_version = a->asker.poll->gate_version;
    if (has_gate) {
        /* Whoever tells no moment is of a version that compares keys as they are. */
        struct registry_reader reader = {a->asker.collector, !a->asker.poll->moment.is_told};
        registry_gate(a->parts->registry, reader, &a->gate, &a->reply.gate_version);
        a->reply.gate = buf_slice(&a->gate);
    }
    if (a->asker.poll->moment.is_told) {
        a->reply.moment = incarnations_now(a->parts->incarnations);
    }
    a->reply.hub_ms = clock_now_ms(a->parts->clock);
    wire_write_poll_reply(&a->reply, (struct wire_list){a->card_count, buf_slice(&a->cards)},
                          (struct wire_list){a->removal_count, buf_slice(&a->removals)}, message);
}

/* The collector is of this history from here on, but for its cards: of these it is to say that they
 * are of no scope, until the refill begins. */
static void put_off_refill(struct answer *a)
{
    a->reply.refill.scope_version = 0;
    a->reply.refill.place.len = 0;
}

static enum poll_outcome make_answer(struct answer *a, struct poll_asked *asked,
                                     struct buf *message)
{
    struct error err;
    bool is_ready = false;
    bool is_past = a->verdict == INCARNATIONS_PAST;
    a->reply.starts_over = !is_past;
    if (!check_cache(a, asked, &is_ready, &err) || !collect_suppressions(a, &err) ||
        (is_ready && !collect(a, &err))) {
        log_error_limited("edge-failed", "%s", err.message);
        return POLL_FAILED;
    }
    bool has_gate =
        !is_past || registry_gate_version(a->parts->registry) != asked->poll.gate_version;
    if (!is_ready && a->verdict == INCARNATIONS_FOREIGN) {
        put_off_refill(a);
    }
    write_answer(a, has_gate, message);
    if (!is_ready) {
        return is_past ? POLL_NOT_READY : POLL_HAS_NEWS;
    }
    bool has_news = a->card_count > 0 || a->removal_count > 0 || has_gate ||
                    a->suppressions.len > 0 || a->reply.refill.begins ||
                    asked->poll.cache.place.len > 0;
    return has_news ? POLL_HAS_NEWS : POLL_HAS_NONE;
}

enum poll_outcome poll_answer(const struct edges_parts *parts, struct poll_asked *asked,
                              struct buf *message)
{
    struct answer *a = memory_allocate_zeroed(sizeof *a);
    answer_init(parts, asked, a);
    enum poll_outcome outcome = make_answer(a, asked, message);
    answer_done(a);
    free(a);
    return outcome;
}
