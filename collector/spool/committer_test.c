/* The committer on the memory store. Requests are only seen to be held, answered and resumed:
 * the four functions of http.h that the committer uses are this file's own.
 */
#include "collector/spool/committer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <pthread.h>
#include <sodium.h>
#include "shared/block.h"
#include "shared/daemon.h"
#include "shared/http.h"
#include "shared/seal.h"

enum { WAIT_MS = 10000, NO_LIMIT = 1000000 };

struct http_request {
    bool is_done;
    unsigned status; /* 0: as it was before, which is 200 */
    char code[32];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t resumed = PTHREAD_COND_INITIALIZER;

void http_add_header(struct http_request *request, const char *name, struct slice value)
{
    (void)request;
    assert_string_equal(name, "Retry-After");
    assert_true(value.len > 0);
}

void http_answer_error(struct http_request *request, unsigned status, const char *code,
                       const char *message, const char *field)
{
    (void)message;
    (void)field;
    request->status = status;
    snprintf(request->code, sizeof request->code, "%s", code);
}

void http_hold(struct http_request *request)
{
    request->is_done = false;
}

void http_resume_all(struct http_request *const *requests, size_t count)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count; i++) {
        requests[i]->is_done = true;
    }
    pthread_cond_broadcast(&resumed);
    pthread_mutex_unlock(&lock);
}

struct fixture {
    struct clock_machine_fake machine;
    struct enrolment enrolment;
    uint8_t hub_secret[SEAL_KEY_BYTES];
    struct store *store;
    struct spool *spool;
    struct eras *eras;
    struct lanes *lanes;
    struct committer *committer;
    struct request request;
    struct http_request https[4];
    size_t spool_full; /* events refused for that */
    size_t storage_failed;
    bool is_stopped;  /* the committer's thread stands still; under `lock` */
    size_t committed; /* waiters that are no requests; likewise */
    struct error err;
};

static void on_refused(void *user, struct slice source, const char *code, size_t events)
{
    struct fixture *f = user;
    assert_true(slice_is(source, "till"));
    *(strcmp(code, "spool-full") == 0 ? &f->spool_full : &f->storage_failed) += events;
}

static void on_appended(void *user)
{
    (void)user;
}

static void open_spool(struct fixture *f, struct spool_options options, size_t block_bytes_max)
{
    assert_true(spool_open(f->store, &options, &f->spool, &f->err));
    assert_true(eras_open(f->store, f->spool, &f->machine.machine, &f->eras, &f->err));
    struct committer_parts parts = {
        .spool = f->spool,
        .eras = f->eras,
        .enrolment = &f->enrolment,
        .lanes = f->lanes,
        .pending_bytes_max = 10 * NO_LIMIT,
        .block_bytes_max = block_bytes_max,
        .appended = on_appended,
        .refused = on_refused,
        .user = f,
    };
    assert_true(committer_open(&parts, &f->committer, &f->err));
}

static void open_with(struct fixture *f, uint64_t spool_bytes_max, size_t block_bytes_max)
{
    open_spool(f, (struct spool_options){.bytes_max = spool_bytes_max, .drops_oldest = true},
               block_bytes_max);
}

static void close_all(struct fixture *f)
{
    committer_close(&f->committer);
    eras_close(&f->eras);
    spool_close(&f->spool);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES];
    snprintf(f->enrolment.id, sizeof f->enrolment.id, "box");
    f->enrolment.sign_secret = sodium_malloc(SEAL_SIGN_SECRET_BYTES);
    crypto_sign_keypair(sign_public, f->enrolment.sign_secret);
    crypto_box_keypair(f->enrolment.hub_public, f->hub_secret);
    clock_machine_fake_init(&f->machine, 1795292103120);
    f->store = store_memory_open();
    f->lanes = lanes_new("Order", "");
    request_init(&f->request);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    store_close(&f->store);
    lanes_free(&f->lanes);
    request_done(&f->request);
    sodium_free(f->enrolment.sign_secret);
    free(f);
    return 0;
}

/* Hand a batch to the committer, as request `n`, and wait for its answer. */
static const struct http_request *send_batch(struct fixture *f, size_t n, const char *events)
{
    struct buf json;
    struct http_request *http = &f->https[n];
    buf_init(&json, NO_LIMIT);
    buf_put_slice(&json, slice_text("{\"batch\":["));
    buf_put_slice(&json, slice_text(events));
    buf_put_slice(&json, slice_text("]}"));
    *http = (struct http_request){0};
    request_parse(&f->request, EVENT_TYPES, buf_slice(&json), &rand_secure);
    assert_null(f->request.refusal.code);
    request_stamp(&f->request, slice_text("till"), clock_now_ms(eras_clock(f->eras)));
    assert_true(committer_add(f->committer, &f->request, http, &f->err));
    buf_done(&json);
    pthread_mutex_lock(&lock);
    for (int waited = 0; !http->is_done && waited < WAIT_MS; waited += 100) {
        daemon_wait(&resumed, &lock, 100);
    }
    pthread_mutex_unlock(&lock);
    assert_true(http->is_done);
    return http;
}

#define ORDER "{\"type\":\"track\",\"event\":\"Order\",\"userId\":\"u\"}"
#define OTHER "{\"type\":\"track\",\"event\":\"Other\",\"userId\":\"u\"}"
#define VIEW "{\"type\":\"page\",\"userId\":\"u\"}"

/* The events of a lane's first block from `from` on, opened as the hub does; 0: there is none. */
static size_t events_at(struct fixture *f, enum lane lane, uint64_t from, struct spool_place *ret)
{
    struct buf block;
    struct buf header;
    struct buf plain;
    struct seal_block sealed;
    struct seal_epoch *epoch;
    bool found;
    size_t count = 0;
    buf_init(&block, NO_LIMIT);
    buf_init(&header, 4096);
    buf_init(&plain, NO_LIMIT);
    assert_true(spool_find(f->spool, lane, from, ret, &block, &header, &found, &f->err));
    if (found) {
        struct block_reader *reader = block_reader_new();
        assert_true(seal_block_peek(buf_slice(&block), &sealed, &f->err));
        assert_int_equal(sealed.sequence, ret->sequence);
        assert_true(seal_epoch_open(buf_slice(&header), NULL, f->enrolment.hub_public,
                                    f->hub_secret, &epoch, &f->err));
        assert_true(seal_open_block(epoch, &sealed, &plain, &f->err));
        assert_true(block_reader_open(reader, buf_slice(&plain), &f->err));
        count = block_reader_count(reader);
        assert_int_equal(count, sealed.event_count);
        block_reader_free(&reader);
        seal_epoch_end(&epoch);
    }
    buf_done(&block);
    buf_done(&header);
    buf_done(&plain);
    return count;
}

static void test_a_request_is_answered_when_its_events_survive_a_power_cut(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    open_with(f, NO_LIMIT, NO_LIMIT);
    assert_int_equal(send_batch(f, 0, ORDER)->status, 0);
    close_all(f);
    store_memory_crash(f->store);
    open_with(f, NO_LIMIT, NO_LIMIT);
    assert_int_equal(events_at(f, LANE_HIGH, 0, &place), 1);
    assert_int_equal(place.era, 1);
}

static void test_a_request_of_all_lanes_is_one_commit_of_a_block_each(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    open_with(f, NO_LIMIT, NO_LIMIT);
    assert_int_equal(send_batch(f, 0, VIEW "," ORDER "," OTHER "," VIEW "," VIEW)->status, 0);
    assert_int_equal(events_at(f, LANE_HIGH, 0, &place), 1);
    assert_int_equal(place.sequence, 0);
    assert_int_equal(events_at(f, LANE_NORMAL, 0, &place), 1);
    assert_int_equal(events_at(f, LANE_LOW, 0, &place), 3);
    assert_int_equal(committer_stats(f->committer).commits, 1);
    assert_int_equal(committer_stats(f->committer).events, 5);
}

static void test_blocks_are_as_small_as_they_must_be(void **state)
{
    struct fixture *f = *state;
    struct spool_place place = {.sequence = UINT64_MAX};
    struct buf events;
    size_t count = 0;
    buf_init(&events, NO_LIMIT);
    for (int i = 0; i < 100; i++) {
        buf_put_format(&events, "%s" VIEW, i == 0 ? "" : ",");
    }
    buf_put_u8(&events, 0);
    open_with(f, NO_LIMIT, 1000);
    assert_int_equal(send_batch(f, 0, (const char *)events.data)->status, 0);
    assert_true(spool_blocks(f->spool) >= 10);
    for (uint64_t i = 0; i < spool_blocks(f->spool); i++) {
        size_t of_block = events_at(f, LANE_LOW, place.sequence + 1, &place);
        assert_in_range(of_block, 1, 10);
        count += of_block;
    }
    assert_int_equal(count, 100);
    assert_int_equal(send_batch(f, 1, VIEW)->status, 0);
    assert_int_equal(events_at(f, LANE_LOW, place.sequence + 1, &place), 1);
    buf_done(&events);
}

static void test_a_failed_commit_is_answered_503_and_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    open_with(f, NO_LIMIT, NO_LIMIT);
    uint64_t epoch = spool_epoch(f->spool);
    store_memory_fail_write(f->store, 1); /* the blocks */
    const struct http_request *http = send_batch(f, 0, ORDER "," ORDER "," VIEW);
    assert_int_equal(http->status, 503);
    assert_string_equal(http->code, "storage-failed");
    store_memory_fail_write(f->store, 1); /* the header of the epoch that comes of it */
    assert_int_equal(send_batch(f, 1, ORDER "," ORDER)->status, 503);
    assert_int_equal(spool_blocks(f->spool), 0);
    assert_int_equal(send_batch(f, 2, ORDER)->status, 0);
    assert_true(spool_epoch(f->spool) > epoch);
    assert_int_equal(events_at(f, LANE_HIGH, 0, &place), 1);
    assert_int_equal(spool_blocks(f->spool), 1);
    struct committer_stats stats = committer_stats(f->committer);
    assert_int_equal(stats.failed_commits, 2);
    assert_int_equal(f->storage_failed, 5);
    assert_int_equal(stats.events, 1);
}

static void test_where_there_is_room_for_purchases_only_views_are_answered_503(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    open_with(f, NO_LIMIT, NO_LIMIT);
    assert_int_equal(send_batch(f, 0, ORDER)->status, 0);
    assert_int_equal(events_at(f, LANE_HIGH, 0, &place), 1);
    close_all(f);
    open_with(f, place.bytes + 10, NO_LIMIT);
    const struct http_request *http = send_batch(f, 0, VIEW);
    assert_int_equal(http->status, 503);
    assert_string_equal(http->code, "spool-full");
    assert_int_equal(send_batch(f, 1, ORDER)->status, 0);
    assert_int_equal(spool_dropped(f->spool, LANE_HIGH), 1);
    assert_int_equal(send_batch(f, 2, ORDER "," VIEW)->status, 503);
    assert_int_equal(f->spool_full, 3);
    assert_int_equal(f->storage_failed, 0);
}

static void
test_where_nothing_may_be_dropped_nothing_of_a_request_answered_503_is_stored(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    open_with(f, NO_LIMIT, NO_LIMIT);
    assert_int_equal(send_batch(f, 0, ORDER)->status, 0);
    assert_int_equal(events_at(f, LANE_HIGH, 0, &place), 1);
    assert_true(spool_acknowledge(f->spool, &place, &f->err));
    close_all(f);
    open_spool(f, (struct spool_options){.bytes_max = place.bytes + 50}, NO_LIMIT);
    assert_int_equal(send_batch(f, 0, ORDER "," VIEW)->status, 503);
    assert_int_equal(spool_blocks(f->spool), 0);
    assert_int_equal(committer_stats(f->committer).events, 0);
    assert_int_equal(send_batch(f, 1, ORDER)->status, 0);
}

static void test_what_fits_no_block_is_invalid_and_nothing_of_it_is_taken(void **state)
{
    struct fixture *f = *state;
    uint8_t *large = calloc(1, LIMIT_BLOCK_BYTES);
    open_with(f, NO_LIMIT, NO_LIMIT);
    request_parse(&f->request, EVENT_TRACK, slice_text(ORDER), &rand_secure);
    f->request.events[0].event.body = slice_make(large, LIMIT_BLOCK_BYTES);
    assert_false(committer_add(f->committer, &f->request, &f->https[0], &f->err));
    assert_int_equal(f->err.kind, ERROR_INVALID);
    assert_int_equal(send_batch(f, 1, ORDER)->status, 0);
    assert_int_equal(committer_stats(f->committer).events, 1);
    free(large);
}

static void stop_thread(void *user, const struct error *err)
{
    struct fixture *f = user;
    assert_null(err);
    pthread_mutex_lock(&lock);
    f->is_stopped = true;
    pthread_cond_broadcast(&resumed);
    while (f->is_stopped) {
        daemon_wait(&resumed, &lock, 100);
    }
    pthread_mutex_unlock(&lock);
}

static void on_committed(void *user, const struct error *err)
{
    struct fixture *f = user;
    assert_null(err);
    pthread_mutex_lock(&lock);
    f->committed++;
    pthread_cond_broadcast(&resumed);
    pthread_mutex_unlock(&lock);
}

/* A third of the events for each lane. */
static void parse_events(struct fixture *f, size_t count)
{
    static const char *const events[] = {ORDER, OTHER, VIEW};
    struct buf json;
    buf_init(&json, NO_LIMIT);
    for (size_t i = 0; i < count; i++) {
        buf_put_format(&json, "%s%s", i == 0 ? "{\"batch\":[" : ",", events[i % 3]);
    }
    buf_put_slice(&json, slice_text("]}"));
    request_parse(&f->request, EVENT_TYPES, buf_slice(&json), &rand_secure);
    assert_null(f->request.refusal.code);
    request_stamp(&f->request, slice_text("till"), clock_now_ms(eras_clock(f->eras)));
    buf_done(&json);
}

static size_t events_of_lane(struct fixture *f, enum lane lane)
{
    struct spool_place place = {.sequence = UINT64_MAX};
    size_t sum = 0;
    for (size_t count; (count = events_at(f, lane, place.sequence + 1, &place)) > 0;) {
        sum += count;
    }
    return sum;
}

static void wait_for(struct fixture *f, bool is_stopped, size_t committed)
{
    int64_t until = clock_monotonic_ns(&clock_real) + WAIT_MS * 1000000LL;
    bool is_so;
    pthread_mutex_lock(&lock);
    while (!(is_so = f->is_stopped == is_stopped && f->committed >= committed) &&
           clock_monotonic_ns(&clock_real) < until) {
        daemon_wait(&resumed, &lock, 100);
    }
    pthread_mutex_unlock(&lock);
    assert_true(is_so);
}

static void let_thread_go(struct fixture *f)
{
    pthread_mutex_lock(&lock);
    f->is_stopped = false;
    pthread_cond_broadcast(&resumed);
    pthread_mutex_unlock(&lock);
}

/* No two of these requests have room in one commit. */
static void test_commits_that_waited_for_one_another_mix_nothing_also_in_used_memory(void **state)
{
    enum { ROUNDS = 3, WAITING = 6, EVENTS = 1200 };
    struct fixture *f = *state;
    const struct committer_waiter stopping = {stop_thread, f};
    const struct committer_waiter waiting = {on_committed, f};
    open_with(f, 10 * NO_LIMIT, NO_LIMIT);
    for (size_t round = 1; round <= ROUNDS; round++) {
        parse_events(f, 3);
        assert_true(committer_add_for(f->committer, &f->request, &stopping, &f->err));
        wait_for(f, true, 0);
        parse_events(f, EVENTS);
        for (size_t i = 0; i < WAITING; i++) {
            assert_true(committer_add_for(f->committer, &f->request, &waiting, &f->err));
        }
        let_thread_go(f);
        wait_for(f, false, round * WAITING);
        assert_int_equal(committer_stats(f->committer).commits, round * (1 + WAITING));
    }
    for (int lane = 0; lane < LANES; lane++) {
        assert_int_equal(events_of_lane(f, (enum lane)lane),
                         ROUNDS * (1 + WAITING * EVENTS / LANES));
    }
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_request_is_answered_when_its_events_survive_a_power_cut),
        WITH(test_a_request_of_all_lanes_is_one_commit_of_a_block_each),
        WITH(test_blocks_are_as_small_as_they_must_be),
        WITH(test_a_failed_commit_is_answered_503_and_leaves_nothing_behind),
        WITH(test_where_there_is_room_for_purchases_only_views_are_answered_503),
        WITH(test_what_fits_no_block_is_invalid_and_nothing_of_it_is_taken),
        WITH(test_where_nothing_may_be_dropped_nothing_of_a_request_answered_503_is_stored),
        WITH(test_commits_that_waited_for_one_another_mix_nothing_also_in_used_memory),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
