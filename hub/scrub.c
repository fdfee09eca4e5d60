#include "hub/scrub.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include "hub/receipts.h"
#include "shared/clock.h"
#include "shared/damage/store_scrub.h"
#include "shared/daemon.h"
#include "shared/log.h"

/* How much is read before it sleeps for it. */
enum { TURN_BYTES = 256 * 1024, PATH_BYTES = 1024 };

struct scrub {
    struct scrub_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool closing;
    struct scrub_figures figures;
    uint64_t faults;     /* of this pass */
    uint64_t owed_bytes; /* that were read and not slept for */
    const char *store;   /* that is being read */
    pthread_t thread;
};

/* ---- Gaps ---- */

static bool count_missing_records(struct store *store, uint64_t *ret,
                                  void (*read)(void *user, uint64_t bytes), void *user,
                                  struct error *err)
{
    struct store_iterator *it = store_iterator_open(store, NULL);
    uint64_t expected = 1;
    *ret = 0;
    for (store_iterator_seek(it, slice_text("r")); store_iterator_valid(it);
         store_iterator_next(it)) {
        struct slice key = store_iterator_key(it);
        if (key.len != 9 || key.data[0] != 'r') {
            break;
        }
        uint64_t number = read_u64(key.data + 1);
        *ret += number - expected;
        expected = number + 1;
        read(user, store_iterator_value(it).len);
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

static uint64_t missing_in(struct slice bytes)
{
    struct receipts receipts;
    uint64_t missing = 0;
    if (!receipts_read(bytes, &receipts)) {
        return 0;
    }
    for (size_t i = 1; i < receipts.count; i++) {
        missing += receipts.ranges[i].from - receipts.ranges[i - 1].to - 1;
    }
    receipts_done(&receipts);
    return missing;
}

/* Of a collector's last epoch more may come. */
static bool count_missing_blocks(struct store *store, uint64_t *ret, struct error *err)
{
    struct store_iterator *it = store_iterator_open(store, NULL);
    struct buf last;
    uint64_t of_last = 0;
    buf_init(&last, 512);
    *ret = 0;
    for (store_iterator_seek(it, slice_text("c")); store_iterator_valid(it);
         store_iterator_next(it)) {
        struct slice key = store_iterator_key(it);
        if (key.len < 10 || key.data[0] != 'c') {
            break;
        }
        struct slice collector = slice_make(key.data, key.len - 8);
        *ret += slice_equal(collector, buf_slice(&last)) ? of_last : 0;
        of_last = missing_in(store_iterator_value(it));
        buf_clear(&last);
        buf_put_slice(&last, collector);
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    buf_done(&last);
    return fine;
}

bool scrub_count_gaps(struct eventlog *log, uint64_t *ret_records, uint64_t *ret_blocks,
                      void (*read)(void *user, uint64_t bytes), void *user, struct error *err)
{
    return count_missing_records(eventlog_store(log), ret_records, read, user, err) &&
           count_missing_blocks(eventlog_store(log), ret_blocks, err);
}

/* ---- A pass ---- */

static bool is_closing(struct scrub *s)
{
    pthread_mutex_lock(&s->lock);
    bool closing = s->closing;
    pthread_mutex_unlock(&s->lock);
    return closing;
}

/* Reading and sleeping take turns, so that in every second no more is read than is allowed. */
static void on_read(void *user, uint64_t bytes)
{
    struct scrub *s = user;
    pthread_mutex_lock(&s->lock);
    s->figures.bytes += bytes;
    s->owed_bytes += bytes;
    if (s->owed_bytes >= TURN_BYTES && !s->closing) {
        int64_t ms = (int64_t)(s->owed_bytes * 1000 / s->options.bytes_per_second);
        s->owed_bytes = 0;
        daemon_wait(&s->wake, &s->lock, ms);
    }
    pthread_mutex_unlock(&s->lock);
}

static void on_found(void *user, const char *sentence)
{
    struct scrub *s = user;
    log_error("damage-found",
              "%s: %s. What is in it cannot be read; the next start will stop here: copy the "
              "folder, then start once with --salvage.",
              s->store, sentence);
    pthread_mutex_lock(&s->lock);
    s->faults++;
    s->figures.faults = s->faults > s->figures.faults ? s->faults : s->figures.faults;
    snprintf(s->figures.fault, sizeof s->figures.fault, "%.64s: %.240s", s->store, sentence);
    pthread_mutex_unlock(&s->lock);
}

static void scrub_one(struct scrub *s, const char *name)
{
    struct scrub_listener listener = {on_read, on_found, s};
    char path[PATH_BYTES];
    struct error err;
    snprintf(path, sizeof path, "%s/%s", s->options.data_dir, name);
    s->store = name;
    if (!store_scrub(path, &listener, &err)) {
        on_found(s, err.message);
    }
}

static void count_gaps(struct scrub *s)
{
    struct error err;
    uint64_t records;
    uint64_t blocks;
    s->store = "log";
    if (!scrub_count_gaps(s->options.log, &records, &blocks, on_read, s, &err)) {
        log_warn("scrub-failed", "Counting the log's records: %s", err.message);
        return;
    }
    pthread_mutex_lock(&s->lock);
    bool is_new = records != s->figures.missing_records;
    s->figures.missing_records = records;
    s->figures.missing_blocks = blocks;
    pthread_mutex_unlock(&s->lock);
    if (is_new && records > 0) {
        log_error("records-missing",
                  "Records of the log are missing: their events are lost here. records=%" PRIu64,
                  records);
    }
}

static void pass(struct scrub *s)
{
    char name[32];
    s->faults = 0;
    count_gaps(s);
    scrub_one(s, "log");
    for (uint32_t i = 0; i < s->options.partitions && !is_closing(s); i++) {
        snprintf(name, sizeof name, "partition-%04u", i);
        scrub_one(s, name);
    }
    if (is_closing(s)) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->figures.faults = s->faults;
    s->figures.completed_ms = clock_now_ms(&clock_real);
    if (s->faults == 0) {
        s->figures.fault[0] = '\0';
    }
    uint64_t bytes = s->figures.bytes;
    pthread_mutex_unlock(&s->lock);
    log_debug("scrub-pass",
              "Everything on disk was read. bytes_since_start=%" PRIu64 " faults=%" PRIu64, bytes,
              s->faults);
}

static void *run(void *arg)
{
    struct scrub *s = arg;
    daemon_let_others_go_first();
    while (!is_closing(s)) {
        pass(s);
        pthread_mutex_lock(&s->lock);
        if (!s->closing) {
            daemon_wait(&s->wake, &s->lock, s->options.pause_ms);
        }
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

struct scrub *scrub_open(const struct scrub_options *options)
{
    struct scrub *s = memory_allocate_zeroed(sizeof *s);
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    if (options->bytes_per_second > 0) {
        s->thread = daemon_start_thread("scrub", run, s);
    }
    return s;
}

struct scrub_figures scrub_figures(struct scrub *s)
{
    pthread_mutex_lock(&s->lock);
    struct scrub_figures figures = s->figures;
    pthread_mutex_unlock(&s->lock);
    return figures;
}

void scrub_close(struct scrub **scrub)
{
    struct scrub *s = *scrub;
    if (s == NULL) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (s->options.bytes_per_second > 0) {
        pthread_join(s->thread, NULL);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s);
    *scrub = NULL;
}
