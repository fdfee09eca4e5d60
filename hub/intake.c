#include "hub/intake.h"

#include <pthread.h>
#include <stdlib.h>
#include "hub/receipts.h"
#include "shared/daemon.h"
#include "shared/log.h"

enum { OFFSET_NOISE_MS = 1000, EPOCH_TOLERANCE_MS = 24 * 3600 * 1000 };

/* An epoch that is open: its key, and which of its blocks are here. */
struct open_epoch {
    struct open_epoch *next;
    size_t id_len;
    uint8_t id[SEAL_COLLECTOR_ID_MAX];
    uint64_t number;
    struct seal_epoch *seal;
    struct receipts receipts;
    bool is_dirty;  /* receipts changed in the commit that is being made */
    unsigned users; /* blocks under way; an epoch without any may be closed */
};

struct pending {
    struct pending *next;
    struct open_epoch *epoch;
    struct buf block;
    struct buf header;
    uint64_t sequence;
    uint32_t event_count;
    uint32_t collector;
    int64_t clock_offset_ms;
    struct wire_block_reply reply;
    struct intake_waiter waiter;
};

struct intake {
    struct eventlog *log;
    struct collectors *collectors;
    const uint8_t *hub_public;
    const uint8_t *hub_secret;
    const struct clock *clock;
    pthread_mutex_t epochs_lock;
    struct open_epoch *epochs;
    size_t epoch_count;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct pending *first;
    struct pending *last;
    bool closing;
    pthread_t thread;
};

static struct open_epoch *find_epoch(struct intake *in, struct slice id, uint64_t number)
{
    struct open_epoch *e = in->epochs;
    while (e != NULL && (e->number != number || !slice_equal(slice_make(e->id, e->id_len), id))) {
        e = e->next;
    }
    return e;
}

static bool load_receipts(struct intake *in, struct slice id, uint64_t number, struct receipts *ret,
                          struct error *err)
{
    struct buf key;
    struct buf value;
    bool found = false;
    buf_init(&key, 128);
    buf_init(&value, SIZE_MAX / 2);
    eventlog_receipt_key(id, number, &key);
    bool fine = store_get(eventlog_store(in->log), NULL, buf_slice(&key), &value, &found, err);
    fine = fine && (receipts_read(buf_slice(&value), ret) ||
                    error_set(err, ERROR_CORRUPT, "the receipts of an epoch are damaged"));
    buf_done(&key);
    buf_done(&value);
    return fine;
}

static void close_epoch(struct open_epoch *e)
{
    seal_epoch_end(&e->seal);
    receipts_done(&e->receipts);
    free(e);
}

/* Close the one that was opened first and that nobody uses; it can be opened again. False: all are
 * in use. */
static bool close_oldest(struct intake *in)
{
    struct open_epoch **oldest = NULL;
    for (struct open_epoch **link = &in->epochs; *link != NULL; link = &(*link)->next) {
        oldest = (*link)->users == 0 ? link : oldest;
    }
    if (oldest == NULL) {
        return false;
    }
    struct open_epoch *e = *oldest;
    *oldest = e->next;
    in->epoch_count--;
    close_epoch(e);
    return true;
}

static struct open_epoch *open_epoch(struct intake *in, struct slice id,
                                     const struct collector_keys *keys, struct slice header,
                                     struct error *err)
{
    struct seal_header open;
    struct receipts receipts;
    struct seal_epoch *seal;
    if (!seal_header_peek(header, &open, err)) {
        return NULL;
    }
    struct open_epoch *e = find_epoch(in, id, open.epoch);
    if (e != NULL) {
        return e;
    }
    if (!slice_equal(open.collector_id, id)) {
        error_set(err, ERROR_CORRUPT, "an epoch header is of another collector");
        return NULL;
    }
    if (!seal_epoch_open(header, keys->sign_public, in->hub_public, in->hub_secret, &seal, err)) {
        return NULL;
    }
    if (!load_receipts(in, id, open.epoch, &receipts, err)) {
        seal_epoch_end(&seal);
        return NULL;
    }
    e = memory_allocate_zeroed(sizeof *e);
    e->id_len = id.len;
    memcpy(e->id, id.data, id.len);
    e->number = open.epoch;
    e->seal = seal;
    e->receipts = receipts;
    while (in->epoch_count >= INTAKE_EPOCHS_MAX && close_oldest(in)) {
    }
    e->next = in->epochs;
    in->epochs = e;
    in->epoch_count++;
    return e;
}

/* ---- Commit ---- */

static void put_receipts(struct open_epoch *e, struct store_batch *batch)
{
    struct buf key;
    struct buf value;
    buf_init(&key, 128);
    buf_init(&value, SIZE_MAX / 2);
    eventlog_receipt_key(slice_make(e->id, e->id_len), e->number, &key);
    receipts_write(&e->receipts, &value);
    store_batch_put(batch, buf_slice(&key), buf_slice(&value));
    buf_done(&key);
    buf_done(&value);
    e->is_dirty = false;
}

static void put_header(struct pending *p, struct store_batch *batch)
{
    struct buf key;
    buf_init(&key, 128);
    eventlog_header_key(slice_make(p->epoch->id, p->epoch->id_len), p->epoch->number, &key);
    store_batch_put(batch, buf_slice(&key), buf_slice(&p->header));
    buf_done(&key);
}

/* Decide which of the blocks are new. Receipts are changed at once; if the write fails the
 * process stops, because memory and disk would differ. */
static size_t decide(struct intake *in, struct pending *list, struct eventlog_record *records,
                     struct store_batch *batch)
{
    size_t count = 0;
    int64_t now = clock_now_ms(in->clock);
    pthread_mutex_lock(&in->epochs_lock);
    for (struct pending *p = list; p != NULL; p = p->next) {
        if (receipts_find(&p->epoch->receipts, p->sequence) != NULL) {
            p->reply.status = WIRE_REPLAYED;
            continue;
        }
        p->reply.status = WIRE_STORED;
        if (p->epoch->receipts.count == 0) {
            put_header(p, batch);
        }
        receipts_add(&p->epoch->receipts, p->sequence);
        p->epoch->is_dirty = true;
        records[count++] = (struct eventlog_record){
            .kind = EVENTLOG_BLOCK,
            .at_ms = now,
            .clock_offset_ms = p->clock_offset_ms,
            .collector = p->collector,
            .collector_id = slice_make(p->epoch->id, p->epoch->id_len),
            .bytes = buf_slice(&p->block),
        };
    }
    for (struct pending *p = list; p != NULL; p = p->next) {
        if (p->epoch->is_dirty) {
            put_receipts(p->epoch, batch);
        }
        const struct receipt_range *range = receipts_find(&p->epoch->receipts, p->sequence);
        p->reply.from = range->from;
        p->reply.to = range->to;
    }
    pthread_mutex_unlock(&in->epochs_lock);
    return count;
}

static void release(struct collector_figures *f, size_t bytes)
{
    f->pending.blocks--;
    f->pending.bytes -= bytes;
}

static void note_block(struct collector_figures *f, void *user)
{
    const struct pending *p = user;
    f->blocks += p->reply.status == WIRE_STORED;
    f->events += p->reply.status == WIRE_STORED ? p->event_count : 0;
    f->replayed += p->reply.status == WIRE_REPLAYED;
    release(f, p->block.len);
}

static void release_epoch(struct intake *in, struct open_epoch *e)
{
    pthread_mutex_lock(&in->epochs_lock);
    e->users--;
    pthread_mutex_unlock(&in->epochs_lock);
}

static void commit(struct intake *in, struct pending *list, size_t length)
{
    struct error err;
    struct store_batch batch;
    struct eventlog_record *records = memory_allocate(length * sizeof *records);
    store_batch_init(&batch);
    size_t count = decide(in, list, records, &batch);
    if (count > 0 && !eventlog_append(in->log, records, count, &batch, &err)) {
        log_error("log-failed", "%s", err.message);
        _Exit(70);
    }
    store_batch_done(&batch);
    free(records);
    while (list != NULL) {
        struct pending *next = list->next;
        struct slice id = slice_make(list->epoch->id, list->epoch->id_len);
        if (list->reply.status == WIRE_REPLAYED) {
            log_info_limited("block-replayed",
                             "A block is here already. collector=%.*s sequence=%llu",
                             SLICE_ARGS(id), (unsigned long long)list->sequence);
        }
        collectors_note(in->collectors, id, note_block, list);
        list->waiter.answer(list->waiter.user, &list->reply);
        release_epoch(in, list->epoch);
        buf_done(&list->block);
        buf_done(&list->header);
        free(list);
        list = next;
    }
}

static void *run(void *arg)
{
    struct intake *in = arg;
    for (;;) {
        pthread_mutex_lock(&in->lock);
        while (in->first == NULL && !in->closing) {
            pthread_cond_wait(&in->wake, &in->lock);
        }
        struct pending *list = in->first;
        in->first = NULL;
        pthread_mutex_unlock(&in->lock);
        if (list == NULL) {
            return NULL;
        }
        size_t length = 0;
        for (struct pending *p = list; p != NULL; p = p->next) {
            length++;
        }
        commit(in, list, length);
    }
}

struct intake *intake_open(struct eventlog *log, struct collectors *collectors,
                           const uint8_t hub_public[SEAL_KEY_BYTES],
                           const uint8_t hub_secret[SEAL_KEY_BYTES], const struct clock *clock)
{
    struct intake *in = memory_allocate_zeroed(sizeof *in);
    in->log = log;
    in->collectors = collectors;
    in->hub_public = hub_public;
    in->hub_secret = hub_secret;
    in->clock = clock;
    pthread_mutex_init(&in->lock, NULL);
    pthread_mutex_init(&in->epochs_lock, NULL);
    pthread_cond_init(&in->wake, NULL);
    in->thread = daemon_start_thread("intake", run, in);
    return in;
}

size_t intake_epochs(struct intake *in)
{
    pthread_mutex_lock(&in->epochs_lock);
    size_t count = in->epoch_count;
    pthread_mutex_unlock(&in->epochs_lock);
    return count;
}

void intake_close(struct intake **intake)
{
    struct intake *in = *intake;
    if (in == NULL) {
        return;
    }
    pthread_mutex_lock(&in->lock);
    in->closing = true;
    pthread_cond_signal(&in->wake);
    pthread_mutex_unlock(&in->lock);
    pthread_join(in->thread, NULL);
    for (struct open_epoch *e = in->epochs; e != NULL;) {
        struct open_epoch *next = e->next;
        close_epoch(e);
        e = next;
    }
    pthread_mutex_destroy(&in->lock);
    pthread_mutex_destroy(&in->epochs_lock);
    pthread_cond_destroy(&in->wake);
    free(in);
    *intake = NULL;
}

struct contact {
    int64_t now_ms;
    const struct wire_block *block;
    bool is_reserved; /* the block counts as pending */
    bool is_refused;
};

/* Make room for the block among what is pending of its collector, if there is any. */
static void reserve(struct collector_figures *f, void *user)
{
    struct contact *c = user;
    c->is_reserved = f->pending.blocks < INTAKE_PENDING_BLOCKS_MAX &&
                     f->pending.bytes + c->block->block.len <= INTAKE_PENDING_BYTES_MAX;
    if (c->is_reserved) {
        f->pending.blocks++;
        f->pending.bytes += c->block->block.len;
    }
}

/* Its clock offset is taken from its polls: that of a block may be of an earlier boot. */
static void note_contact(struct collector_figures *f, void *user)
{
    const struct contact *c = user;
    f->last_seen_ms = c->now_ms;
    f->spool_blocks = c->block->spool_blocks;
    f->spool_bytes = c->block->spool_bytes;
    f->refused += c->is_refused;
    if (c->is_refused && c->is_reserved) {
        release(f, c->block->block.len);
    }
}

static void refuse(struct intake *in, struct slice id, struct contact *contact,
                   enum wire_status status, const char *why, struct intake_waiter waiter)
{
    struct wire_block_reply reply = {.status = status, .hub_ms = contact->now_ms};
    contact->is_refused = true;
    collectors_note(in->collectors, id, note_contact, contact);
    log_warn_limited("block-refused", "%s collector=%.*s status=%s", why, SLICE_ARGS(id),
                     wire_status_name(status));
    waiter.answer(waiter.user, &reply);
}

static void enqueue(struct intake *in, struct pending *p)
{
    pthread_mutex_lock(&in->lock);
    if (in->first == NULL) {
        in->first = p;
    } else {
        in->last->next = p;
    }
    in->last = p;
    pthread_cond_signal(&in->wake);
    pthread_mutex_unlock(&in->lock);
}

/* The block under its epoch, decrypted once to see that it is genuine. The epoch stays open until
 * release_epoch(). */
static struct open_epoch *verify(struct intake *in, struct slice id,
                                 const struct collector_keys *keys, const struct wire_block *block,
                                 struct seal_block *ret, struct error *err)
{
    struct buf plain;
    buf_init(&plain, LIMIT_WIRE_BYTES);
    pthread_mutex_lock(&in->epochs_lock);
    struct open_epoch *e = open_epoch(in, id, keys, block->header, err);
    if (e != NULL) {
        e->users++;
    }
    pthread_mutex_unlock(&in->epochs_lock);
    if (e != NULL &&
        (!seal_block_peek(block->block, ret, err) || !seal_open_block(e->seal, ret, &plain, err))) {
        release_epoch(in, e);
        e = NULL;
    }
    buf_done(&plain);
    return e;
}

/* Answers take some time to travel: a small difference is none, and says nothing about a clock that
 * is kept by NTP. */
static int64_t correction(int64_t offset_ms)
{
    return offset_ms > -OFFSET_NOISE_MS && offset_ms < OFFSET_NOISE_MS ? 0 : offset_ms;
}

/* An epoch cannot have begun before its collector was enrolled, nor after now; but for a day,
 * because clocks are set. What its events may say of their times follows from it (admission.h). */
static bool is_possible_epoch(const struct collector_keys *keys, const struct wire_block *block,
                              int64_t now_ms, struct error *err)
{
    struct seal_header header;
    if (!seal_header_peek(block->header, &header, err)) {
        return false;
    }
    int64_t begun_ms;
    bool fits = !__builtin_add_overflow(header.created_ms, block->clock_offset_ms, &begun_ms);
    return (fits && begun_ms >= keys->enrolled_ms - EPOCH_TOLERANCE_MS &&
            begun_ms <= now_ms + EPOCH_TOLERANCE_MS) ||
           error_set(err, ERROR_CORRUPT,
                     "its epoch began before the collector was enrolled, or is to begin yet");
}

void intake_take(struct intake *in, struct slice id, const struct collector_keys *keys,
                 const struct wire_block *block, struct intake_waiter waiter)
{
    struct error err;
    struct seal_block sealed;
    int64_t now = clock_now_ms(in->clock);
    struct contact contact = {.now_ms = now, .block = block};
    if (keys->is_revoked) {
        refuse(in, id, &contact, WIRE_REVOKED, "A revoked collector sends.", waiter);
        return;
    }
    collectors_note(in->collectors, id, reserve, &contact);
    if (!contact.is_reserved) {
        refuse(in, id, &contact, WIRE_UNAVAILABLE, "Too much of this collector is pending.",
               waiter);
        return;
    }
    if (!is_possible_epoch(keys, block, now, &err)) {
        refuse(in, id, &contact, WIRE_DAMAGED, err.message, waiter);
        return;
    }
    struct open_epoch *e = verify(in, id, keys, block, &sealed, &err);
    if (e == NULL) {
        refuse(in, id, &contact, WIRE_DAMAGED, err.message, waiter);
        return;
    }
    collectors_note(in->collectors, id, note_contact, &contact);
    struct pending *p = memory_allocate_zeroed(sizeof *p);
    p->epoch = e;
    p->sequence = sealed.sequence;
    p->event_count = sealed.event_count;
    p->collector = keys->number;
    p->clock_offset_ms = correction(block->clock_offset_ms);
    p->reply.hub_ms = now;
    p->waiter = waiter;
    buf_init(&p->block, LIMIT_WIRE_BYTES);
    buf_init(&p->header, LIMIT_WIRE_BYTES);
    buf_put_slice(&p->block, block->block);
    buf_put_slice(&p->header, block->header);
    enqueue(in, p);
}
