#include "hub/router.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "hub/admission.h"
#include "hub/keyspace.h"
#include "hub/trust/judge.h"
#include "shared/block.h"
#include "shared/daemon.h"
#include "shared/log.h"

/* A router's position is the record's number and the event's place in it. */
enum { POSITION_SHIFT = 15, WAIT_MS = 500, HELD_WAIT_MS = 200, MARK_EVERY = 256 };

struct router {
    struct router_parts parts;
    _Atomic uint64_t next;
    _Atomic uint64_t failed;
    _Atomic uint64_t unidentified;
    _Atomic uint64_t suppressed;
    _Atomic uint64_t quarantined;
    atomic_bool closing;
    uint64_t marked; /* everything before was marked in all partitions */
    struct block_reader *reader;
    struct seal_epoch *epoch; /* of the last block: the next one is likely of the same */
    int64_t epoch_begun_ms;   /* by its collector's clock */
    struct admission *admission;
    uint64_t refused[ADMISSION_VERDICTS]; /* of the block that is being read */
    struct buf epoch_key;
    struct buf plain;
    struct buf event;
    struct buf message;
    struct identity_rules *rules;
    struct suppression_types types; /* of the rules */
    struct judge *judge;
    struct buf verdict;
    struct buf rules_bytes;
    msgpack_zone rules_zone;
    struct arena arena;
    pthread_t thread;
};

static uint64_t position_of(uint64_t record, size_t place)
{
    return record << POSITION_SHIFT | place;
}

/* ---- Definitions: how identifiers are normalised, and who is believed ---- */

static void take_catalog(struct router *r, struct slice catalog)
{
    struct error err;
    msgpack_object root;
    struct identity_rules *rules = memory_allocate_zeroed(sizeof *rules);
    msgpack_zone_clear(&r->rules_zone);
    buf_clear(&r->rules_bytes);
    buf_put_slice(&r->rules_bytes, catalog);
    bool fine = value_unpack(buf_slice(&r->rules_bytes), &r->rules_zone, &root, &err) &&
                identity_rules_read(value_member_c(&root, "rules"), rules, &err);
    if (!fine) { /* it was compiled before it was logged */
        log_error("catalog-unreadable", "Definitions on disk cannot be read: %s", err.message);
        _Exit(70);
    }
    admission_free(&r->admission);
    r->admission = admission_new(&root);
    free(r->rules);
    r->rules = rules;
    suppressions_types(rules, &r->types);
    judge_define(r->judge, value_member_c(&root, "sources"), rules);
}

/* ---- Blocks ---- */

static bool enter_epoch(struct router *r, const struct eventlog_record *record, uint64_t number,
                        struct error *err)
{
    struct buf key;
    struct buf header;
    bool found = false;
    buf_init(&key, 128);
    buf_init(&header, 4096);
    eventlog_header_key(record->collector_id, number, &key);
    bool is_same = r->epoch != NULL && slice_equal(buf_slice(&key), buf_slice(&r->epoch_key));
    bool fine = is_same || store_get(eventlog_store(r->parts.log), NULL, buf_slice(&key), &header,
                                     &found, err);
    if (fine && !is_same) {
        struct seal_header peeked;
        seal_epoch_end(&r->epoch);
        buf_clear(&r->epoch_key);
        fine = found ? seal_header_peek(buf_slice(&header), &peeked, err) &&
                           seal_epoch_open(buf_slice(&header), NULL, r->parts.hub_public,
                                           r->parts.hub_secret, &r->epoch, err)
                     : error_set(err, ERROR_CORRUPT, "its epoch is not known");
        if (fine) {
            r->epoch_begun_ms = peeked.created_ms;
            buf_put_slice(&r->epoch_key, buf_slice(&key));
        }
    }
    buf_done(&key);
    buf_done(&header);
    return fine;
}

static bool open_block(struct router *r, const struct eventlog_record *record, struct error *err)
{
    struct seal_block sealed;
    return seal_block_peek(record->bytes, &sealed, err) &&
           enter_epoch(r, record, sealed.epoch, err) &&
           seal_open_block(r->epoch, &sealed, &r->plain, err) &&
           block_reader_open(r->reader, buf_slice(&r->plain), err) &&
           (block_reader_count(r->reader) == sealed.event_count ||
            error_set(err, ERROR_CORRUPT, "it holds %zu events, and says outside that it has %u",
                      block_reader_count(r->reader), sealed.event_count));
}

static void count_claims(struct router *r, const struct event *event, const struct parties *parties)
{
    if (parties->claim_count > 0) {
        trust_counts_add_claimed(r->parts.trust_counts, event->source);
    }
}

/* Where the event goes first: home of the first identifier that is a fact. False: the event's body
 * is damaged, or it says nothing that counts of anybody. */
static bool find_home(struct router *r, const struct event *head, struct slice packed,
                      const struct verdict *verdict, uint32_t *ret)
{
    struct event event;
    struct error err;
    struct parties parties;
    msgpack_zone zone;
    arena_clear(&r->arena);
    /* The anonymous id comes first, and is a fact, of clients and of servers that name a user: no
     * need to look into the body, but of clients that say who they are. */
    if (head->anonymous_id.len > 0 &&
        (verdict->is_server ? head->user_id.len > 0 : head->type != EVENT_IDENTIFY)) {
        verdict_sort(verdict, r->rules, head, &r->arena, &parties);
        if (parties.fact_count > (size_t)verdict->is_server &&
            slice_is(parties.facts[0].type, "anonymous_id")) {
            count_claims(r, head, &parties);
            *ret = home_of(parties.facts[0], r->parts.partitions);
            return true;
        }
    }
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool fine = event_unpack(packed, &zone, &event, &err);
    if (fine) {
        verdict_sort(verdict, r->rules, &event, &r->arena, &parties);
        count_claims(r, head, &parties);
        fine = parties.fact_count > 0;
    }
    if (fine) {
        *ret = home_of(parties.facts[0], r->parts.partitions);
    }
    msgpack_zone_destroy(&zone);
    return fine;
}

static int64_t correct(int64_t ms, int64_t offset)
{
    /* The offset is the collector's own word: it may be anything. */
    int64_t bounded = offset < -LIMIT_TIME_MS  ? -LIMIT_TIME_MS
                      : offset > LIMIT_TIME_MS ? LIMIT_TIME_MS
                                               : offset;
    int64_t corrected = ms + bounded;
    return corrected < 0 ? 0 : corrected > LIMIT_TIME_MS ? LIMIT_TIME_MS : corrected;
}

/* What was stamped by the collector's clock is set right by its offset; a client's own time stands.
 * Neither is believed where it cannot be true. */
static void correct_times(struct event *event, int64_t offset)
{
    event->received_ms = correct(event->received_ms, offset);
    if (!event->has_client_time) {
        event->timestamp_ms = correct(event->timestamp_ms, offset);
    }
    if (event->timestamp_ms > event->received_ms + LIMIT_AHEAD_MS ||
        event->timestamp_ms < event->received_ms - LIMIT_BEHIND_MS) {
        event->timestamp_ms = event->received_ms;
    }
}

/* The sizes that collectors hold to; one that was taken over may send anything. */
static bool is_within_limits(const struct event *event)
{
    return event->body.len <= LIMIT_EVENT_BYTES + LIMIT_ANNOTATION_BYTES &&
           event->name.len <= LIMIT_EVENT_BYTES / 8 &&
           event->message_id.len <= LIMIT_MESSAGE_ID_BYTES &&
           event->anonymous_id.len <= LIMIT_IDENTIFIER_BYTES &&
           event->user_id.len <= LIMIT_IDENTIFIER_BYTES && event->source.len <= LIMIT_NAME_BYTES;
}

/* Does its proof name somebody who is suppressed, though the event itself does not? */
static bool proves_suppressed(struct router *r, struct slice source, const struct verdict *verdict)
{
    bool proves = false;
    for (size_t i = 0; !proves && i < verdict->count; i++) {
        arena_clear(&r->arena);
        proves = verdict->facts[i].kind == EVIDENCE_PROOF &&
                 suppressions_have(r->parts.suppressions, &r->types, source, verdict->facts[i].id,
                                   &r->arena);
    }
    return proves;
}

static void judge_without_proof(struct router *r, const struct event *head, struct verdict *ret)
{
    struct event event = *head;
    event.body = event_raw_body(buf_slice(&r->event)); /* the head's may have been in the arena */
    arena_clear(&r->arena);
    suppression_cut_proof(&event, &r->arena);
    buf_clear(&r->event);
    event_pack(&event, &r->event);
    judge_event(r->judge, &event, buf_slice(&r->event), &r->verdict, ret);
}

/* The event in r->event, with its times corrected, is judged and goes to its home; `position`
 * grows. */
static void post_event(struct router *r, uint64_t position, uint32_t collector,
                       const struct event *head)
{
    uint32_t home;
    struct verdict verdict;
    judge_event(r->judge, head, buf_slice(&r->event), &r->verdict, &verdict);
    if (proves_suppressed(r, head->source, &verdict)) {
        judge_without_proof(r, head, &verdict);
    }
    if (!find_home(r, head, buf_slice(&r->event), &verdict, &home)) {
        r->unidentified++;
        return;
    }
    event_add_verdict(&r->event, buf_slice(&r->verdict));
    buf_clear(&r->message);
    partition_write_event(&r->message, collector, buf_slice(&r->event));
    workers_post(r->parts.workers, home, position, buf_slice(&r->message));
}

/* Nothing of the event may be taken. Out of a client's the suppressed identifiers are cut, as the
 * gate does (gate.c of the collector) if it knew of them in time. The event may refer to the
 * router's arena then. */
static bool is_suppressed(struct router *r, struct event *event)
{
    arena_clear(&r->arena);
    if (judge_is_server(r->judge, event->source)) {
        return suppressions_refuse(r->parts.suppressions, &r->types, event, &r->arena);
    }
    return suppressions_cut(r->parts.suppressions, &r->types, event, &r->arena) &&
           event->anonymous_id.len == 0;
}

static bool is_readable(struct slice packed)
{
    struct event event;
    struct error err;
    msgpack_zone zone;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool readable = event_unpack(packed, &zone, &event, &err) && event_is_clean(&event);
    msgpack_zone_destroy(&zone);
    return readable;
}

static void keep(struct router *r, uint64_t number, size_t place,
                 const struct eventlog_record *record)
{
    if (!is_readable(buf_slice(&r->event))) {
        r->unidentified++;
        return;
    }
    struct quarantine_entry entry = {.id = {number, (uint16_t)place},
                                     .collector = record->collector,
                                     .collector_id = record->collector_id,
                                     .bytes = buf_slice(&r->event)};
    quarantine_keep(r->parts.quarantine, &entry);
    r->quarantined++;
}

/* The quarantine has everything of the records before `next`. */
static void commit_quarantine(struct router *r, uint64_t next)
{
    struct error err;
    if (!quarantine_commit(r->parts.quarantine, next, &err)) {
        log_error_limited("quarantine-failed", "%s", err.message);
        _Exit(70);
    }
}

/* Has the collector no right to this event? Then it is counted, and its neighbours go on. */
static bool is_refused(struct router *r, const struct eventlog_record *record, struct event *event)
{
    struct admission_block block = {
        .collector = record->collector,
        .begun_ms = correct(r->epoch_begun_ms, record->clock_offset_ms),
        .received_ms = record->at_ms,
    };
    enum admission_verdict verdict = admission_judge(r->admission, &block, event);
    r->refused[verdict]++;
    return verdict != ADMISSION_YES;
}

static void tell_refused(struct router *r, const struct eventlog_record *record)
{
    for (enum admission_verdict i = ADMISSION_YES + 1; i < ADMISSION_VERDICTS; i++) {
        if (r->refused[i] > 0) {
            log_warn_limited("events-refused",
                             "Events were not taken: their collector may not send them. "
                             "collector=%.*s reason=%s events=%llu",
                             SLICE_ARGS(record->collector_id), admission_verdict_name(i),
                             (unsigned long long)r->refused[i]);
            r->parts.refused(r->parts.user, record->collector_id, i, r->refused[i]);
        }
    }
    memset(r->refused, 0, sizeof r->refused);
}

static void route_block(struct router *r, uint64_t number, const struct eventlog_record *record)
{
    struct error err;
    struct event event;
    if (!open_block(r, record, &err)) {
        r->failed++;
        log_error_limited("block-unreadable", "%s record=%llu collector=%.*s", err.message,
                          (unsigned long long)number, SLICE_ARGS(record->collector_id));
        return;
    }
    bool has_kept = false;
    for (size_t place = 1; block_reader_next(r->reader, &event); place++) {
        if (!is_within_limits(&event)) {
            r->unidentified++;
            continue;
        }
        if (is_suppressed(r, &event)) {
            r->suppressed++;
            continue;
        }
        correct_times(&event, record->clock_offset_ms);
        if (is_refused(r, record, &event)) {
            continue;
        }
        buf_clear(&r->event);
        event.place = (uint16_t)place;
        event_pack(&event, &r->event);
        if (event.is_quarantined) {
            keep(r, number, place, record);
            has_kept = true;
        } else {
            post_event(r, position_of(number, place), record->collector, &event);
        }
    }
    tell_refused(r, record);
    if (has_kept) {
        commit_quarantine(r, number + 1);
    }
}

/* An event that was released from the quarantine. */
static void route_release(struct router *r, uint64_t number, const struct eventlog_record *record)
{
    struct error err;
    struct event event;
    msgpack_zone zone;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    if (!event_unpack(record->bytes, &zone, &event, &err)) {
        r->failed++;
        log_error_limited("release-unreadable", "%s record=%llu", err.message,
                          (unsigned long long)number);
    } else {
        event.body = event_raw_body(record->bytes);
        if (is_suppressed(r, &event)) {
            r->suppressed++;
        } else {
            buf_clear(&r->event);
            event_pack(&event, &r->event);
            post_event(r, position_of(number, 1), record->collector, &event);
        }
    }
    msgpack_zone_destroy(&zone);
}

static void to_all(struct router *r, uint64_t number, void (*write)(struct buf *out, struct slice),
                   struct slice bytes)
{
    buf_clear(&r->message);
    write(&r->message, bytes);
    for (uint32_t i = 0; i < r->parts.partitions; i++) {
        workers_post(r->parts.workers, i, position_of(number, 1), buf_slice(&r->message));
    }
}

static void write_mark(struct buf *out, struct slice nothing)
{
    (void)nothing;
    partition_write_mark(out);
}

/* Let partitions that get no events know how far the log was read, so that a restart need not
 * begin far back. */
static void mark(struct router *r)
{
    if (r->marked == r->next) {
        return;
    }
    commit_quarantine(r, r->next);
    buf_clear(&r->message);
    write_mark(&r->message, slice_make(NULL, 0));
    for (uint32_t i = 0; i < r->parts.partitions; i++) {
        workers_post(r->parts.workers, i, position_of(r->next, 0), buf_slice(&r->message));
    }
    r->marked = r->next;
}

static void route_record(struct router *r, uint64_t number, const struct eventlog_record *record)
{
    switch (record->kind) {
    case EVENTLOG_CATALOG:
        take_catalog(r, record->bytes);
        to_all(r, number, partition_write_define, record->bytes);
        break;
    case EVENTLOG_BLOCK:
        route_block(r, number, record);
        break;
    case EVENTLOG_RELEASE:
        route_release(r, number, record);
        break;
    default:
        r->failed++;
        log_error("record-unknown",
                  "A record of the log is of a kind that this version does not "
                  "know. record=%llu kind=%d",
                  (unsigned long long)number, (int)record->kind);
        break;
    case EVENTLOG_SUPPRESSION: /* in force since it was written; profiles do not change by it */
        break;
    }
}

static bool is_held(struct router *r)
{
    return r->parts.clock_guard != NULL && clock_guard_decide(r->parts.clock_guard).is_held;
}

static void *run(void *arg)
{
    struct router *r = arg;
    struct buf bytes;
    msgpack_zone zone;
    buf_init(&bytes, SIZE_MAX / 2);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    while (!r->closing) {
        struct eventlog_record record;
        struct error err;
        bool found = false;
        uint64_t number = r->next;
        msgpack_zone_clear(&zone);
        if (is_held(r)) {
            eventlog_wait(r->parts.log, UINT64_MAX, HELD_WAIT_MS);
            continue;
        }
        if (number >= eventlog_next(r->parts.log)) {
            eventlog_wait(r->parts.log, number, WAIT_MS);
            if (number >= eventlog_next(r->parts.log)) {
                mark(r);
            }
            continue;
        }
        if (!eventlog_read(r->parts.log, number, &bytes, &zone, &record, &found, &err)) {
            log_error("log-failed", "%s", err.message);
            _Exit(70);
        }
        if (found) {
            route_record(r, number, &record);
        } else {
            log_error("record-missing",
                      "A record of the log is missing; its events are lost here. "
                      "record=%llu",
                      (unsigned long long)number);
        }
        r->next = number + 1;
        if (r->next - r->marked >= MARK_EVERY) {
            mark(r);
        }
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return NULL;
}

static uint64_t first_record(struct router *r)
{
    uint64_t lowest = UINT64_MAX;
    uint64_t kept = quarantine_position(r->parts.quarantine);
    for (uint32_t i = 0; i < r->parts.partitions; i++) {
        uint64_t position = workers_position(r->parts.workers, i);
        lowest = position < lowest ? position : lowest;
    }
    uint64_t record = lowest >> POSITION_SHIFT;
    record = kept > 0 && kept < record ? kept : record;
    return record == 0 ? 1 : record;
}

static void router_free(struct router *r)
{
    admission_free(&r->admission);
    seal_epoch_end(&r->epoch);
    block_reader_free(&r->reader);
    buf_done(&r->epoch_key);
    buf_done(&r->plain);
    buf_done(&r->event);
    buf_done(&r->message);
    buf_done(&r->verdict);
    judge_free(&r->judge);
    buf_done(&r->rules_bytes);
    arena_done(&r->arena);
    msgpack_zone_destroy(&r->rules_zone);
    free(r->rules);
    free(r);
}

bool router_open(const struct router_parts *parts, struct slice catalog, struct router **ret,
                 struct error *err)
{
    struct router *r = memory_allocate_zeroed(sizeof *r);
    r->parts = *parts;
    r->reader = block_reader_new();
    buf_init(&r->epoch_key, 128);
    buf_init(&r->plain, LIMIT_WIRE_BYTES);
    buf_init(&r->event, LIMIT_EVENT_BYTES * 2);
    buf_init(&r->message, SIZE_MAX / 2);
    buf_init(&r->verdict, LIMIT_EVENT_BYTES);
    r->judge = judge_new(&rand_secure, parts->trust_counts);
    buf_init(&r->rules_bytes, SIZE_MAX / 2);
    arena_init(&r->arena, 4096);
    bool made = msgpack_zone_init(&r->rules_zone, 8192);
    ensure(made);
    take_catalog(r, catalog);
    r->next = first_record(r);
    r->marked = r->next;
    if (quarantine_position(parts->quarantine) == 0 &&
        !quarantine_begin(parts->quarantine, r->next, err)) {
        router_free(r);
        return false;
    }
    r->thread = daemon_start_thread("router", run, r);
    *ret = r;
    return true;
}

void router_close(struct router **router)
{
    struct router *r = *router;
    if (r == NULL) {
        return;
    }
    r->closing = true;
    eventlog_wake(r->parts.log);
    pthread_join(r->thread, NULL);
    router_free(r);
    *router = NULL;
}

uint64_t router_next(struct router *r)
{
    return r->next;
}

uint64_t router_failed_blocks(struct router *r)
{
    return r->failed;
}

uint64_t router_unidentified(struct router *r)
{
    return r->unidentified;
}

uint64_t router_suppressed(struct router *r)
{
    return r->suppressed;
}

uint64_t router_quarantined(struct router *r)
{
    return r->quarantined;
}
