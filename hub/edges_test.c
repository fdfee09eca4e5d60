/* What waiting polls and look-ups are answered with, whoever asks. One partition on a memory store;
 * the collectors keep everybody, so that no partition need be told who asked. */
#include "hub/edges.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>
#include <sodium.h>
#include "shared/json.h"

enum { ROUTER = 1, ANSWER_MS_MAX = 20000, LOOKUPS_OUTSIDE_MAX = 6 };

struct fixture {
    struct store *log_store;
    struct store *store;
    struct eventlog *log;
    struct registry *registry;
    struct collectors *collectors;
    struct definitions *definitions;
    struct suppressions *suppressions;
    struct incarnations *incarnations;
    struct reports *reports;
    struct edges *edges;
    uint8_t hub_public[SEAL_KEY_BYTES];
    uint8_t hub_secret[SEAL_KEY_BYTES];
    char key[2 * SEAL_SIGN_PUBLIC_BYTES + 1]; /* of the collector, public, in hex */
    pthread_mutex_t lock;                     /* of what is below */
    pthread_cond_t wake;
    unsigned answers;
    struct buf message; /* the last answer */
    msgpack_zone zone;
    enum wire_type type;
    msgpack_object members;
    struct error err;
};

static void on_change(void *user)
{
    struct fixture *f = user;
    if (f->edges != NULL) {
        definitions_reload(f->definitions, f->registry);
        collectors_reload(f->collectors);
        edges_notify_all(f->edges);
    }
}

static void on_suppressions(void *user)
{
    (void)user;
}

static void on_edge(void *user, uint32_t collector)
{
    (void)user;
    (void)collector;
}

static void put(struct fixture *f, enum registry_kind kind, const char *key, const char *json)
{
    struct catalog_error where;
    struct buf body;
    buf_init(&body, 64 * 1024);
    assert_int_equal(json_read(slice_text(json), &body), JSON_FINE);
    assert_true(
        registry_put(f->registry, kind, slice_text(key), buf_slice(&body), &where, &f->err));
    buf_done(&body);
}

static void new_key(struct fixture *f)
{
    uint8_t public_key[SEAL_SIGN_PUBLIC_BYTES];
    uint8_t secret_key[SEAL_SIGN_SECRET_BYTES];
    crypto_sign_keypair(public_key, secret_key);
    sodium_bin2hex(f->key, sizeof f->key, public_key, sizeof public_key);
}

static void enrol(struct fixture *f, int revoked)
{
    char json[256];
    snprintf(json, sizeof json,
             "{\"publicKey\":\"%s\",\"revokedAt\":%d,\"scope\":{\"kind\":\"everybody\"}}", f->key,
             revoked);
    put(f, REGISTRY_COLLECTOR, "till", json);
}

/* Jane, who is known by her user id. */
static void put_profile(struct fixture *f)
{
    struct partition *partition;
    struct buf packed;
    struct buf bytes;
    struct partition_options options = {.index = 0, .count = 1, .cache_bytes = 64 * 1024};
    int64_t now_ms = clock_now_ms(&clock_real);
    struct partition_listener listener = {.edge = on_edge};
    assert_true(partition_open(f->store, &options, &listener, &partition, &f->err));
    buf_init(&bytes, 1024 * 1024);
    buf_init(&packed, 1024 * 1024);
    registry_catalog(f->registry, NULL, &packed);
    partition_write_define(&bytes, buf_slice(&packed));
    assert_true(partition_handle(partition, ROUTER, 1, buf_slice(&bytes), now_ms, &f->err));
    buf_clear(&packed);
    buf_clear(&bytes);
    event_pack(&(struct event){.type = EVENT_TRACK,
                               .timestamp_ms = now_ms,
                               .received_ms = now_ms,
                               .source = slice_text("web"),
                               .message_id = slice_text("m1"),
                               .user_id = slice_text("jane"),
                               .name = slice_text("Seen"),
                               .body = slice_text("\x80")},
               &packed);
    partition_write_event(&bytes, 1, buf_slice(&packed));
    assert_true(partition_handle(partition, ROUTER, 2, buf_slice(&bytes), now_ms, &f->err));
    assert_true(partition_commit(partition, &f->err));
    partition_close(&partition);
    buf_done(&packed);
    buf_done(&bytes);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    crypto_box_keypair(f->hub_public, f->hub_secret);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, NULL);
    buf_init(&f->message, LIMIT_WIRE_BYTES);
    assert_true(msgpack_zone_init(&f->zone, 4096));
    f->log_store = store_memory_open();
    f->store = store_memory_open();
    assert_true(eventlog_open(f->log_store, &f->log, &f->err));
    assert_true(registry_open(f->log, &clock_real, on_change, f, &f->registry, &f->err));
    assert_true(suppressions_open(f->log, f->hub_secret, &clock_real, on_suppressions, NULL,
                                  &f->suppressions, &f->err));
    assert_true(incarnations_open(f->log, f->registry, f->suppressions, &rand_secure,
                                  &f->incarnations, &f->err));
    f->collectors = collectors_new(f->registry, f->hub_secret);
    f->definitions = definitions_new();
    definitions_reload(f->definitions, f->registry);
    f->reports = reports_new();
    f->edges = edges_open(&(struct edges_parts){.collectors = f->collectors,
                                                .registry = f->registry,
                                                .definitions = f->definitions,
                                                .suppressions = f->suppressions,
                                                .incarnations = f->incarnations,
                                                .reports = f->reports,
                                                .reader = {&f->store, 1},
                                                .lookups = {50, LOOKUPS_OUTSIDE_MAX / 3},
                                                .clock = &clock_real});
    put(f, REGISTRY_SEGMENT, "seen",
        "{\"name\":\"Visitors\",\"edge\":[\"page\",\"staff\"],\"where\":{\"event\":\"Seen\"}}");
    new_key(f);
    enrol(f, 0);
    put_profile(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    edges_close(&f->edges);
    reports_free(&f->reports);
    definitions_free(&f->definitions);
    collectors_free(&f->collectors);
    incarnations_close(&f->incarnations);
    suppressions_close(&f->suppressions);
    registry_close(&f->registry);
    eventlog_close(&f->log);
    store_close(&f->log_store);
    store_close(&f->store);
    msgpack_zone_destroy(&f->zone);
    buf_done(&f->message);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->wake);
    free(f);
    return 0;
}

static void on_answer(void *user, struct slice message)
{
    struct fixture *f = user;
    pthread_mutex_lock(&f->lock);
    f->answers++;
    buf_clear(&f->message);
    buf_put_slice(&f->message, message);
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

static void wait_for_answer(struct fixture *f, unsigned count)
{
    struct timespec until;
    int rv = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_MS_MAX / 1000;
    pthread_mutex_lock(&f->lock);
    while (f->answers < count && rv == 0) {
        rv = pthread_cond_timedwait(&f->wake, &f->lock, &until);
    }
    bool fine = f->answers == count &&
                wire_read(buf_slice(&f->message), &f->zone, &f->type, &f->members, &f->err);
    pthread_mutex_unlock(&f->lock);
    assert_true(fine);
}

static struct collector_keys keys(struct fixture *f)
{
    struct collector_keys found;
    assert_true(collectors_find(f->collectors, slice_text("till"), &found));
    return found;
}

/* A poll that has nothing to be told of: it has every definition and card, as far as it says. */
static void poll(struct fixture *f, bool is_first_version, int64_t wait_ms)
{
    struct collector_keys k = keys(f);
    struct wire_poll *message = calloc(1, sizeof *message);
    message->wait_ms = wait_ms;
    message->gate_version = registry_gate_version(f->registry);
    message->is_short = is_first_version;
    message->cache.is_told = !is_first_version;
    message->cache.shape = is_first_version ? CARD_FIRST : CARD_BROWSERS;
    message->suppression_version = UINT64_MAX;
    message->cursor_count = 1;
    message->cursors[0] = 1ULL << 40;
    edges_poll(f->edges, slice_text("till"), &k, message, (struct edges_waiter){on_answer, f});
    free(message);
}

/* Members of the answer, and of the card in it. */
static void look_up(struct fixture *f, uint32_t *ret_members, uint32_t *ret_card,
                    uint32_t *ret_segment)
{
    struct collector_keys k = keys(f);
    struct wire_lookup lookup = {slice_text("user_id"), slice_text("jane")};
    struct wire_lookup_reply reply;
    unsigned before = f->answers;
    edges_look_up(f->edges, slice_text("till"), &k, &lookup, (struct edges_waiter){on_answer, f});
    wait_for_answer(f, before + 1);
    assert_int_equal(f->type, WIRE_LOOKUP);
    assert_true(wire_read_lookup_reply(&f->members, &reply));
    const msgpack_object *card = reply.card;
    assert_true(reply.keeps);
    assert_non_null(card);
    assert_int_equal(card->via.array.ptr[4].via.array.size, 1);
    *ret_members = f->members.via.array.size;
    *ret_card = card->via.array.size;
    *ret_segment = card->via.array.ptr[4].via.array.ptr[0].via.array.size;
}

static void assert_refused(struct fixture *f)
{
    enum wire_status status = WIRE_STORED;
    assert_true(f->type == WIRE_REFUSAL && wire_read_refusal(&f->members, &status));
    assert_int_equal(status, WIRE_REVOKED);
}

static void test_a_poll_that_waits_is_refused_when_its_collector_is_revoked(void **state)
{
    struct fixture *f = *state;
    poll(f, true, 60000);
    enrol(f, 1);
    wait_for_answer(f, 1);
    assert_refused(f);
}

static void test_a_poll_that_waits_is_refused_when_its_collector_has_another_key(void **state)
{
    struct fixture *f = *state;
    poll(f, true, 60000);
    new_key(f);
    enrol(f, 0);
    wait_for_answer(f, 1);
    assert_refused(f);
}

static void test_a_look_up_is_answered_in_the_version_of_the_last_poll(void **state)
{
    struct fixture *f = *state;
    uint32_t members;
    uint32_t card;
    uint32_t segment;
    look_up(f, &members, &card, &segment); /* before the first poll */
    assert_true(members == 3 && card == CARD_MEMBERS && segment == 2);
    poll(f, true, 0);
    wait_for_answer(f, 2);
    look_up(f, &members, &card, &segment);
    assert_true(members == 2 && card == CARD_MEMBERS - 2 && segment == 2);
    poll(f, false, 0);
    wait_for_answer(f, 4);
    look_up(f, &members, &card, &segment);
    assert_true(members == 3 && card == CARD_MEMBERS && segment == 2);
}

static void test_of_the_polls_of_one_collector_only_the_last_few_wait(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 8; i++) {
        poll(f, true, 60000);
    }
    for (unsigned i = 0; i < 100; i++) {
        poll(f, true, 60000);
        wait_for_answer(f, i + 1); /* exactly one for each beyond the bound */
    }
}

static void look_up_nobody(struct fixture *f)
{
    struct collector_keys k = keys(f);
    struct wire_lookup lookup = {slice_text("user_id"), slice_text("nobody")};
    unsigned before = f->answers;
    edges_look_up(f->edges, slice_text("till"), &k, &lookup, (struct edges_waiter){on_answer, f});
    wait_for_answer(f, before + 1);
}

static void test_guesses_are_bounded_counted_and_keep_nobody_from_who_is_in_scope(void **state)
{
    struct fixture *f = *state;
    uint32_t members;
    uint32_t card;
    uint32_t segment;
    for (int i = 0; i < LOOKUPS_OUTSIDE_MAX; i++) {
        look_up_nobody(f);
        assert_int_equal(f->type, WIRE_LOOKUP);
    }
    look_up_nobody(f);
    assert_int_equal(f->type, WIRE_REFUSAL);
    poll(f, false, 0);
    wait_for_answer(f, LOOKUPS_OUTSIDE_MAX + 2);
    look_up(f, &members, &card, &segment);
    struct lookups counted = collectors_figures(f->collectors, slice_text("till")).lookups;
    assert_int_equal(counted.counts[LOOKUPS_NOBODY], LOOKUPS_OUTSIDE_MAX);
    assert_int_equal(counted.counts[LOOKUPS_LIMITED], 1);
    assert_int_equal(counted.counts[LOOKUPS_FOUND], 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_poll_that_waits_is_refused_when_its_collector_is_revoked),
        TEST(test_a_poll_that_waits_is_refused_when_its_collector_has_another_key),
        TEST(test_of_the_polls_of_one_collector_only_the_last_few_wait),
        TEST(test_a_look_up_is_answered_in_the_version_of_the_last_poll),
        TEST(test_guesses_are_bounded_counted_and_keep_nobody_from_who_is_in_scope),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
