/* The router with real workers over memory stores: blocks of honest and of other collectors. */
#include "hub/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>
#include <sodium.h>
#include "hub/registry.h"
#include "shared/block.h"
#include "shared/json.h"

enum { PARTITIONS = 4, WAIT_TRIES = 20000 };

static const int64_t start_ms = 1795292000000;

struct fixture {
    struct store *log_store;
    struct store *stores[PARTITIONS];
    struct eventlog *log;
    struct workers *workers;
    struct router *router;
    struct suppressions *suppressions;
    struct quarantine *quarantine;
    struct trust_counts *trust_counts;
    struct clock_fake clock;
    uint8_t hub_public[SEAL_KEY_BYTES];
    uint8_t hub_secret[SEAL_KEY_BYTES];
    struct seal_epoch *epoch;
    struct buf header;
    struct rand rand;
    uint64_t sequence;
    struct block_compressor *compressor;
    struct block_builder *builder;
    atomic_int refused[ADMISSION_VERDICTS];
    struct error err;
};

static void on_edge(void *user, uint32_t collector)
{
    (void)user;
    (void)collector;
}

static void on_refused(void *user, struct slice collector_id, enum admission_verdict why,
                       uint64_t events)
{
    struct fixture *f = user;
    assert_true(slice_is(collector_id, "till-1"));
    atomic_fetch_add(&f->refused[why], (int)events);
}

static void on_suppressions(void *user)
{
    (void)user;
}

static void open_hub(struct fixture *f)
{
    struct buf catalog;
    struct workers_options options = {.partitions = PARTITIONS,
                                      .threads = 2,
                                      .cache_bytes = 1024 * 1024,
                                      .queued_bytes_max = 1024 * 1024,
                                      .clock = &f->clock.clock,
                                      .edge = on_edge,
                                      .user = f};
    assert_true(eventlog_open(f->log_store, &f->log, &f->err));
    assert_true(workers_open(f->stores, &options, &f->workers, &f->err));
    buf_init(&catalog, 1024 * 1024);
    workers_slowest_catalog(f->workers, &catalog);
    assert_true(suppressions_open(f->log, f->hub_secret, &f->clock.clock, on_suppressions, NULL,
                                  &f->suppressions, &f->err));
    assert_true(quarantine_open(f->log, &f->clock.clock, &f->quarantine, &f->err));
    f->trust_counts = trust_counts_new();
    struct router_parts parts = {.log = f->log,
                                 .workers = f->workers,
                                 .partitions = PARTITIONS,
                                 .hub_public = f->hub_public,
                                 .hub_secret = f->hub_secret,
                                 .suppressions = f->suppressions,
                                 .trust_counts = f->trust_counts,
                                 .quarantine = f->quarantine,
                                 .refused = on_refused,
                                 .user = f};
    assert_true(router_open(&parts, buf_slice(&catalog), &f->router, &f->err));
    buf_done(&catalog);
}

static void close_hub(struct fixture *f)
{
    router_close(&f->router);
    workers_close(&f->workers);
    quarantine_close(&f->quarantine);
    trust_counts_free(&f->trust_counts);
    suppressions_close(&f->suppressions);
    eventlog_close(&f->log);
}

static void log_definitions(struct fixture *f, int version);

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES];
    uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES];
    crypto_box_keypair(f->hub_public, f->hub_secret);
    crypto_sign_keypair(sign_public, sign_secret);
    rand_seeded_init(&f->rand, 4);
    clock_fake_init(&f->clock, start_ms);
    buf_init(&f->header, 4096);
    f->epoch = seal_epoch_begin(slice_text("till-1"), sign_secret, f->hub_public, 0, start_ms,
                                &f->rand, &f->header);
    f->compressor = block_compressor_new();
    f->builder = block_builder_new(f->compressor);
    f->log_store = store_memory_open();
    for (int i = 0; i < PARTITIONS; i++) {
        f->stores[i] = store_memory_open();
    }
    open_hub(f);
    log_definitions(f, 1);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    close_hub(f);
    for (int i = 0; i < PARTITIONS; i++) {
        store_close(&f->stores[i]);
    }
    store_close(&f->log_store);
    seal_epoch_end(&f->epoch);
    block_builder_free(&f->builder);
    block_compressor_free(&f->compressor);
    buf_done(&f->header);
    free(f);
    return 0;
}

static void crash(struct fixture *f)
{
    close_hub(f);
    for (int i = 0; i < PARTITIONS; i++) {
        store_memory_crash(f->stores[i]);
    }
    store_memory_crash(f->log_store);
    open_hub(f);
}

static void add(struct fixture *f, struct event event)
{
    event.timestamp_ms = event.has_client_time ? event.timestamp_ms : start_ms;
    event.received_ms = event.received_ms == 0 ? start_ms : event.received_ms;
    event.source = event.source.len == 0 ? slice_text("web") : event.source;
    event.body = event.body.len == 0 ? slice_text("\x80") : event.body;
    assert_true(block_builder_add(f->builder, &event));
}

/* By a clock that is by so much ahead of the collector's. */
static int64_t time_of_hub(int64_t clock_offset_ms)
{
    return clock_offset_ms > LIMIT_TIME_MS - start_ms ? LIMIT_TIME_MS
           : clock_offset_ms < -start_ms              ? 0
                                                      : start_ms + clock_offset_ms;
}

static void append_record(struct fixture *f, enum eventlog_kind kind, struct slice bytes,
                          int64_t clock_offset_ms)
{
    struct store_batch more;
    struct buf key;
    struct eventlog_record record = {.kind = kind,
                                     .at_ms = time_of_hub(clock_offset_ms),
                                     .clock_offset_ms = clock_offset_ms,
                                     .collector = 1,
                                     .collector_id = slice_text("till-1"),
                                     .bytes = bytes};
    store_batch_init(&more);
    buf_init(&key, 128);
    eventlog_header_key(slice_text("till-1"), seal_epoch_number(f->epoch), &key);
    store_batch_put(&more, buf_slice(&key), buf_slice(&f->header));
    assert_true(eventlog_append(f->log, &record, 1, &more, &f->err));
    store_batch_done(&more);
    buf_done(&key);
}

/* The default rules, and a source whose events are facts. */
static void log_definitions(struct fixture *f, int version)
{
    struct buf json;
    struct buf catalog;
    buf_init(&json, 64 * 1024);
    buf_init(&catalog, 64 * 1024);
    buf_put_format(&json, "{\"version\":%d,\"segments\":[],\"sources\":", version);
    buf_put_slice(&json, slice_text("{\"web\":{\"trust\":\"server\"}},\"rules\":"));
    buf_put_slice(&json, slice_text(identity_rules_default));
    buf_put_format(&json, "}");
    assert_int_equal(json_read(buf_slice(&json), &catalog), JSON_FINE);
    append_record(f, EVENTLOG_CATALOG, buf_slice(&catalog), 0);
    buf_done(&json);
    buf_done(&catalog);
}

/* Seal what was added, and log it, with a header that says `lie` events more. */
static void append_lying_block(struct fixture *f, uint32_t lie, int64_t clock_offset_ms)
{
    struct buf plain;
    struct buf sealed;
    buf_init(&plain, LIMIT_WIRE_BYTES);
    buf_init(&sealed, LIMIT_WIRE_BYTES);
    uint32_t count = (uint32_t)block_builder_count(f->builder) + lie;
    block_builder_finish(f->builder, &plain);
    seal_write_block(f->epoch, f->sequence++, count, buf_slice(&plain), &sealed);
    append_record(f, EVENTLOG_BLOCK, buf_slice(&sealed), clock_offset_ms);
    buf_done(&plain);
    buf_done(&sealed);
}

static void append_block(struct fixture *f, int64_t clock_offset_ms)
{
    append_lying_block(f, 0, clock_offset_ms);
}

static struct partition_stats total(struct fixture *f)
{
    struct partition_stats sum = {.catalog_version = UINT64_MAX};
    for (int i = 0; i < PARTITIONS; i++) {
        struct partition_stats s;
        struct error err;
        assert_true(partition_read_stats(f->stores[i], NULL, &s, &err));
        sum.events += s.events;
        sum.duplicates += s.duplicates;
        sum.unidentified += s.unidentified;
        sum.profiles += s.profiles;
        sum.catalog_version =
            s.catalog_version < sum.catalog_version ? s.catalog_version : sum.catalog_version;
    }
    return sum;
}

/* Until the log was read and every partition has committed as far: the router marks all of them
 * when it has nothing more to read. */
static void wait_until_read(struct fixture *f)
{
    const struct timespec moment = {0, 1000000};
    uint64_t wanted = eventlog_next(f->log);
    for (int i = 0; i < WAIT_TRIES; i++) {
        bool all = router_next(f->router) == wanted;
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            all = all && workers_position(f->workers, p) >> 15 >= wanted;
        }
        if (all) {
            return;
        }
        nanosleep(&moment, NULL);
    }
    fail_msg("the log was not read to its end: %llu of %llu",
             (unsigned long long)router_next(f->router), (unsigned long long)wanted);
}

static struct event event_of(const char *user_id, const char *message_id)
{
    return (struct event){.type = EVENT_TRACK,
                          .name = slice_text("E"),
                          .user_id = slice_text(user_id),
                          .message_id = slice_text(message_id)};
}

static void add_people(struct fixture *f, int from, int to)
{
    for (int i = from; i < to; i++) {
        char user[16];
        char message[16];
        snprintf(user, sizeof user, "u%d", i % 50);
        snprintf(message, sizeof message, "m%d", i);
        add(f, event_of(user, message));
    }
}

static void test_events_reach_the_partition_where_they_are_at_home(void **state)
{
    struct fixture *f = *state;
    add_people(f, 0, 200);
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 200);
    assert_int_equal(total(f).profiles, 50);
    for (int i = 0; i < PARTITIONS; i++) {
        struct partition_stats s;
        assert_true(partition_read_stats(f->stores[i], NULL, &s, &f->err));
        assert_in_range(s.profiles, 3, 25);
    }
}

static void test_after_a_crash_every_event_still_counts_once(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 6; i++) {
        add_people(f, i * 100, (i + 1) * 100);
        append_block(f, 0);
        if (i % 2 == 1) {
            crash(f);
        }
    }
    wait_until_read(f);
    crash(f);
    add_people(f, 0, 100); /* once more, as a new block */
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 600);
    assert_int_equal(total(f).duplicates, 100);
}

static void test_a_block_that_cannot_be_opened_is_counted_and_passed_over(void **state)
{
    struct fixture *f = *state;
    uint8_t noise[200];
    add_people(f, 0, 10);
    append_block(f, 0);
    rand_fill(&f->rand, noise, sizeof noise);
    append_record(f, EVENTLOG_BLOCK, slice_make(noise, sizeof noise), 0);
    append_record(f, EVENTLOG_BLOCK, slice_make(noise, 0), 0);
    add_people(f, 10, 20);
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 20);
    assert_int_equal(router_failed_blocks(f->router), 2);
}

/* A collector that was taken over has its key, and can seal what no collector would. */
static void test_events_over_the_limits_are_passed_over_and_the_hub_goes_on(void **state)
{
    struct fixture *f = *state;
    static char large[2 * LIMIT_EVENT_BYTES];
    struct buf body;
    msgpack_packer k;
    memset(large, 'x', sizeof large);
    buf_init(&body, 4 * sizeof large);
    value_packer_init(&k, &body);
    msgpack_pack_map(&k, 1);
    value_pack_cstr(&k, "p");
    value_pack_text(&k, slice_make(large, sizeof large));
    struct event event = event_of("u1", "b1");
    event.body = buf_slice(&body);
    add(f, event);
    event = event_of("u1", "b2");
    event.name = slice_make(large, sizeof large);
    add(f, event);
    event = event_of("u1", "b3");
    event.source = slice_make(large, sizeof large);
    add(f, event);
    event = event_of("u1", "b4");
    event.anonymous_id = slice_make(large, sizeof large);
    add(f, event);
    event = event_of("u1", "b5");
    event.user_id = slice_make(large, sizeof large);
    add(f, event);
    event = event_of("u1", "b6");
    event.message_id = slice_make(large, sizeof large);
    add(f, event);
    event = event_of("", "b7");
    event.anonymous_id = slice_text("a1");
    event.body = slice_text("\xc1"); /* no MessagePack */
    add(f, event);
    event = event_of("u1\xff", "b8");
    add(f, event);
    add(f, event_of("null", "b9")); /* identifies nobody */
    add(f, event_of("u2", "g1"));
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 1);
    assert_int_equal(router_unidentified(f->router) + total(f).unidentified, 9);
    buf_done(&body);
}

/* The users u0, u1… were made by events of these times. */
static void assert_times(struct fixture *f, const int64_t *expected, size_t count)
{
    size_t found = 0;
    for (int p = 0; p < PARTITIONS; p++) {
        struct store_iterator *it = store_iterator_open(f->stores[p], NULL);
        for (store_iterator_seek(it, slice_text("p"));
             store_iterator_valid(it) && store_iterator_key(it).data[0] == 'p';
             store_iterator_next(it)) {
            struct profile *profile;
            assert_true(profile_unpack(store_iterator_value(it), &profile, &f->err));
            int user = profile->identifiers[0].id.value.data[1] - '0';
            assert_in_range(user, 0, count - 1);
            assert_true(profile->created_ms == expected[user]);
            found++;
            profile_free(&profile);
        }
        store_iterator_close(&it);
    }
    assert_int_equal(found, count);
}

static void test_times_are_corrected_and_stay_times_whatever_the_offset(void **state)
{
    static const int64_t offsets[] = {3600000, -3600000, INT64_MAX, INT64_MIN, 0};
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        add_people(f, i, i + 1);
        append_block(f, offsets[i]);
    }
    wait_until_read(f);
    assert_int_equal(total(f).events, 5);
    const int64_t expected[] = {start_ms + 3600000, start_ms - 3600000, LIMIT_TIME_MS, 0, start_ms};
    assert_times(f, expected, 5);
}

static void test_a_clients_own_time_stands_where_it_can_be_true(void **state)
{
    struct fixture *f = *state;
    const int64_t day = 86400000;
    const int64_t times[] = {start_ms, start_ms - 9 * day,
                             start_ms + LIMIT_AHEAD_MS + 10 * day + 1};
    for (int i = 0; i < 3; i++) {
        const char user[3] = {'u', (char)('0' + i)};
        struct event event = event_of(user, user);
        event.has_client_time = true;
        event.timestamp_ms = times[i];
        add(f, event);
    }
    append_block(f, 10 * day); /* the collector's clock is ten days behind */
    wait_until_read(f);
    const int64_t expected[] = {times[0], times[1], start_ms + 10 * day};
    assert_times(f, expected, 3);
}

/* Definitions of two sources and a collector, number 1, that may carry these alone. */
static void define_sources(struct fixture *f)
{
    struct buf json;
    struct buf catalog;
    buf_init(&json, 64 * 1024);
    buf_init(&catalog, 64 * 1024);
    buf_put_format(
        &json,
        "{\"version\":5,\"segments\":[],\"carriers\":[[1,[\"web\",\"pos\"]],[2,[]]],"
        "\"sources\":{\"pos\":{\"trust\":\"server\",\"at\":%lld,\"consent\":{\"exempt\":true}},"
        "\"web\":{\"trust\":\"server\",\"at\":%lld,\"consent\":{\"required\":[\"analytics\"]}},"
        "\"other\":{\"trust\":\"server\",\"at\":0,\"consent\":{\"exempt\":true}}},\"rules\":",
        (long long)start_ms, (long long)start_ms);
    buf_put_slice(&json, slice_text(identity_rules_default));
    buf_put_format(&json, "}");
    assert_int_equal(json_read(buf_slice(&json), &catalog), JSON_FINE);
    append_record(f, EVENTLOG_CATALOG, buf_slice(&catalog), 0);
    buf_done(&json);
    buf_done(&catalog);
}

static void add_of(struct fixture *f, const char *source, const char *message_id, const char *json)
{
    struct buf body;
    struct event event = event_of("u1", message_id);
    buf_init(&body, 4096);
    assert_int_equal(json_read(slice_text(json), &body), JSON_FINE);
    event.source = slice_text(source);
    event.body = buf_slice(&body);
    add(f, event);
    buf_done(&body);
}

static void assert_refused(struct fixture *f, enum admission_verdict why, int events)
{
    if (atomic_load(&f->refused[why]) != events) {
        fail_msg("%s: %d events are refused, not %d", admission_verdict_name(why),
                 atomic_load(&f->refused[why]), events);
    }
}

static void test_what_a_collector_may_not_carry_is_refused_and_its_neighbours_count(void **state)
{
    struct fixture *f = *state;
    define_sources(f);
    add_of(f, "pos", "m1", "{}");
    add_of(f, "other", "m2", "{}");
    add_of(f, "nobodys", "m3", "{}");
    add_of(f, "pos", "m4", "{}");
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 2);
    assert_refused(f, ADMISSION_SOURCE, 2);
    assert_int_equal(router_failed_blocks(f->router), 0);
}

#define CONSENT(preferences)                                                                       \
    "{\"context\":{\"consent\":{\"categoryPreferences\":{" preferences "}}}}"

static void test_what_lacks_the_consent_that_its_source_demands_is_refused(void **state)
{
    struct fixture *f = *state;
    define_sources(f);
    add_of(f, "web", "m1", CONSENT("\"analytics\":true"));
    add_of(f, "web", "m2", "{}");
    add_of(f, "web", "m3", CONSENT("\"analytics\":false"));
    add_of(f, "web", "m4", CONSENT("\"marketing\":true"));
    add_of(f, "web", "m5", "{\"context\":{\"consent\":7}}");
    add_of(f, "web", "m6", CONSENT("\"marketing\":false,\"analytics\":true"));
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 2);
    assert_refused(f, ADMISSION_CONSENT, 4);
    /* What it received before the definition was set had another one. */
    struct event before = event_of("u1", "m7");
    before.received_ms = start_ms - 1;
    add(f, before);
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 3);
}

static void test_a_withdrawal_needs_no_consent_but_must_be_nothing_else(void **state)
{
    struct fixture *f = *state;
    define_sources(f);
    const char *const bodies[] = {
        CONSENT("\"analytics\":false"),
        "{\"context\":{\"externalIds\":[],\"consent\":{\"gpc\":true,\"categoryPreferences\":{}}}}",
        "{\"traits\":{\"vip\":true},\"context\":{\"consent\":{\"categoryPreferences\":{}}}}",
        "{\"context\":{\"traits\":{},\"consent\":{\"categoryPreferences\":{}}}}",
        "{\"traits\":{}}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        const char message_id[] = {'w', (char)('0' + i), 0};
        struct buf body;
        struct event event = event_of("u1", message_id);
        buf_init(&body, 4096);
        assert_int_equal(json_read(slice_text(bodies[i]), &body), JSON_FINE);
        event.type = EVENT_IDENTIFY;
        event.name = slice_text(event_withdrawal_name);
        event.body = buf_slice(&body);
        add(f, event);
        buf_done(&body);
    }
    append_block(f, 0);
    wait_until_read(f);
    assert_refused(f, ADMISSION_CONSENT, 3);
}

static void test_a_time_that_its_collector_cannot_have_seen_is_refused(void **state)
{
    struct fixture *f = *state;
    const int64_t hour = 3600000;
    const int64_t received[] = {
        start_ms - 365 * 24 * hour, start_ms - hour, start_ms - 60000, start_ms, start_ms + hour,
        start_ms + 25 * hour};
    for (int i = 0; i < 6; i++) {
        const char user[3] = {'u', (char)('0' + i)};
        struct event event = event_of(user, user);
        event.received_ms = received[i];
        add(f, event);
    }
    append_block(f, 0); /* sealed in an epoch that began at start_ms, and received then */
    wait_until_read(f);
    assert_int_equal(total(f).events, 3);
    assert_refused(f, ADMISSION_TIME, 3);
}

static void test_what_was_received_after_the_hub_had_it_is_set_back_to_then(void **state)
{
    struct fixture *f = *state;
    const int64_t hour = 3600000;
    struct event event = event_of("u0", "m0");
    event.received_ms = start_ms + hour; /* an hour after it happened, as add() says */
    add(f, event);
    append_block(f, 0);
    wait_until_read(f);
    const int64_t expected[] = {start_ms - hour};
    assert_times(f, expected, 1);
}

static void test_a_block_whose_header_lies_about_its_events_is_passed_over(void **state)
{
    struct fixture *f = *state;
    add_people(f, 0, 10);
    append_lying_block(f, 1, 0);
    add_people(f, 10, 15);
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 5);
    assert_int_equal(router_failed_blocks(f->router), 1);
}

/* No older than ten years, and no more than 23 hours ahead. */
static void test_times_are_bounded_by_what_the_box_itself_saw(void **state)
{
    struct fixture *f = *state;
    const int64_t times[] = {start_ms - LIMIT_BEHIND_MS, start_ms - LIMIT_BEHIND_MS - 1,
                             start_ms + LIMIT_AHEAD_MS, start_ms + LIMIT_AHEAD_MS + 1};
    for (int i = 0; i < 4; i++) {
        const char user[3] = {'u', (char)('0' + i)};
        struct event event = event_of(user, user);
        event.has_client_time = true;
        event.timestamp_ms = times[i];
        event.received_ms = start_ms;
        add(f, event);
    }
    append_block(f, 0);
    wait_until_read(f);
    const int64_t expected[] = {times[0], start_ms, times[2], start_ms};
    assert_times(f, expected, 4);
}

static void test_definitions_reach_every_partition_in_the_order_of_the_log(void **state)
{
    struct fixture *f = *state;
    add_people(f, 0, 20);
    append_block(f, 0);
    log_definitions(f, 5);
    add_people(f, 20, 40);
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).catalog_version, 5);
    assert_int_equal(total(f).events, 40);
    crash(f);
    wait_until_read(f);
    assert_int_equal(total(f).catalog_version, 5);
}

static void suppress(struct fixture *f, bool add, const char *user_id)
{
    size_t count;
    struct suppression_hash hash = suppressions_hash(
        f->suppressions, (struct identifier){slice_text("user_id"), slice_text(user_id)});
    assert_true(
        suppressions_change(f->suppressions, &hash, 1, add, slice_text(""), &count, &f->err));
}

static void test_events_of_the_suppressed_stop_here_whenever_they_were_sent(void **state)
{
    struct fixture *f = *state;
    suppress(f, true, "u1");
    add_people(f, 0, 4);
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 3);
    assert_int_equal(router_suppressed(f->router), 1);
    crash(f);
    add_people(f, 50, 54); /* the same four */
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 6);
    suppress(f, false, "u1");
    add_people(f, 100, 104);
    append_block(f, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 10);
}

struct held {
    size_t count;
    struct quarantine_id ids[64];
    char users[64][8];
};

static bool hold(void *user, const struct quarantine_entry *entry)
{
    struct held *held = user;
    struct event event;
    struct error err;
    msgpack_zone zone;
    assert_true(msgpack_zone_init(&zone, 512));
    assert_true(event_unpack(entry->bytes, &zone, &event, &err));
    assert_true(slice_is(entry->collector_id, "till-1"));
    assert_int_equal(event.timestamp_ms, start_ms + 1000);
    snprintf(held->users[held->count], sizeof held->users[0], "%.*s", SLICE_ARGS(event.user_id));
    held->ids[held->count++] = entry->id;
    msgpack_zone_destroy(&zone);
    return held->count < 64;
}

static struct held held_events(struct fixture *f)
{
    struct held held = {0};
    assert_true(quarantine_each(f->quarantine, (struct quarantine_id){0, 0}, hold, &held, &f->err));
    return held;
}

/* Of ten people the odd ones wait. */
static void append_quarantined(struct fixture *f, int from)
{
    for (int i = from; i < from + 10; i++) {
        char user[16];
        char message[16];
        snprintf(user, sizeof user, "u%d", i);
        snprintf(message, sizeof message, "q%d", i);
        struct event event = event_of(user, message);
        event.is_quarantined = i % 2 == 1;
        add(f, event);
    }
    append_block(f, 1000);
}

static void
test_quarantined_events_are_kept_once_whatever_crashes_and_count_when_released(void **state)
{
    struct fixture *f = *state;
    size_t count;
    for (int i = 0; i < 4; i++) {
        append_quarantined(f, i * 10);
        if (i % 2 == 1) {
            crash(f);
        }
    }
    wait_until_read(f);
    crash(f);
    wait_until_read(f);
    struct held held = held_events(f);
    assert_int_equal(held.count, 20);
    assert_int_equal(total(f).events, 20);
    for (size_t i = 0; i < held.count; i++) {
        assert_int_equal(atoi(held.users[i] + 1), 2 * (int)i + 1);
    }
    /* Two of these are one, and one is nobody. */
    struct quarantine_id ids[] = {held.ids[0], held.ids[7], held.ids[0], {999, 1}};
    assert_true(quarantine_take(f->quarantine, ids, 4, true, &count, &f->err));
    assert_int_equal(count, 2);
    crash(f);
    assert_true(quarantine_take(f->quarantine, ids, 4, true, &count, &f->err));
    assert_int_equal(count, 0);
    wait_until_read(f);
    assert_int_equal(total(f).events, 22);
    assert_true(quarantine_take(f->quarantine, &held.ids[1], 3, false, &count, &f->err));
    assert_int_equal(count, 3);
    crash(f);
    wait_until_read(f);
    assert_int_equal(held_events(f).count, 15);
    assert_int_equal(total(f).events, 22);
}

static void test_a_release_that_cannot_be_stored_leaves_the_event_where_it_is(void **state)
{
    struct fixture *f = *state;
    size_t count;
    append_quarantined(f, 0);
    wait_until_read(f);
    struct held held = held_events(f);
    store_memory_fail_write(f->log_store, 1);
    assert_false(quarantine_take(f->quarantine, held.ids, 2, true, &count, &f->err));
    assert_int_equal(held_events(f).count, 5);
    assert_int_equal(total(f).events, 5);
    suppress(f, true, "u1");
    assert_true(quarantine_take(f->quarantine, held.ids, 2, true, &count, &f->err));
    wait_until_read(f);
    assert_int_equal(total(f).events, 6); /* u1 was suppressed meanwhile */
}

static void test_ids_of_the_quarantine_are_read_back_and_nothing_else_is(void **state)
{
    static const char *const wrong[] = {"", "0000000000000001", "000000000000000100010",
                                        "zz00000000000001000f", "00000000000000010 0f"};
    struct quarantine_id id = {0x0123456789abcdefULL, 0xfffe};
    struct quarantine_id back;
    (void)state;
    assert_string_equal(quarantine_id_format(id).text, "0123456789abcdeffffe");
    assert_true(quarantine_id_parse(slice_text(quarantine_id_format(id).text), &back));
    assert_true(back.record == id.record && back.place == id.place);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(quarantine_id_parse(slice_text(wrong[i]), &back));
    }
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_events_reach_the_partition_where_they_are_at_home),
        WITH(test_after_a_crash_every_event_still_counts_once),
        WITH(test_a_block_that_cannot_be_opened_is_counted_and_passed_over),
        WITH(test_events_over_the_limits_are_passed_over_and_the_hub_goes_on),
        WITH(test_times_are_corrected_and_stay_times_whatever_the_offset),
        WITH(test_a_clients_own_time_stands_where_it_can_be_true),
        WITH(test_times_are_bounded_by_what_the_box_itself_saw),
        WITH(test_events_of_the_suppressed_stop_here_whenever_they_were_sent),
        WITH(test_quarantined_events_are_kept_once_whatever_crashes_and_count_when_released),
        WITH(test_a_release_that_cannot_be_stored_leaves_the_event_where_it_is),
        WITH(test_ids_of_the_quarantine_are_read_back_and_nothing_else_is),
        WITH(test_what_a_collector_may_not_carry_is_refused_and_its_neighbours_count),
        WITH(test_what_lacks_the_consent_that_its_source_demands_is_refused),
        WITH(test_a_withdrawal_needs_no_consent_but_must_be_nothing_else),
        WITH(test_a_time_that_its_collector_cannot_have_seen_is_refused),
        WITH(test_what_was_received_after_the_hub_had_it_is_set_back_to_then),
        WITH(test_a_block_whose_header_lies_about_its_events_is_passed_over),
        WITH(test_definitions_reach_every_partition_in_the_order_of_the_log),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
