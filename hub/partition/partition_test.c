/* One partition alone, on a memory store: what a message does, once, and what is left of it after
 * a crash. Identities over several partitions have a simulation of their own. */
#include "hub/partition/partition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hub/keyspace.h"
#include "shared/json.h"
#include "shared/rand.h"

enum { ROUTER = 1, COLLECTOR = 7, EDGES_MAX = 64 };

static const int64_t start_ms = 1795292000000;

struct fixture {
    struct store *store;
    struct partition *partition;
    uint64_t position; /* last sent */
    int64_t now_ms;
    unsigned edge_calls;
    struct buf bytes;
    struct error err;
};

static void on_message(void *user, uint32_t partition, uint64_t sequence, struct slice message)
{
    (void)user;
    (void)sequence;
    (void)message;
    fail_msg("a message for partition %u, which is not there", partition);
}

static void on_edge(void *user, uint32_t collector)
{
    assert_int_equal(collector, COLLECTOR);
    ((struct fixture *)user)->edge_calls++;
}

static void open_partition(struct fixture *f)
{
    struct partition_options options = {.index = 0, .count = 1, .cache_bytes = 64 * 1024};
    struct partition_listener listener = {on_message, on_edge, f};
    if (!partition_open(f->store, &options, &listener, &f->partition, &f->err)) {
        fail_msg("%s", f->err.message);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    f->now_ms = start_ms;
    buf_init(&f->bytes, 16 * 1024 * 1024);
    open_partition(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    partition_close(&f->partition);
    store_close(&f->store);
    buf_done(&f->bytes);
    free(f);
    return 0;
}

static void commit(struct fixture *f)
{
    if (!partition_commit(f->partition, &f->err)) {
        fail_msg("%s", f->err.message);
    }
}

static void crash(struct fixture *f)
{
    partition_close(&f->partition);
    store_memory_crash(f->store);
    open_partition(f);
}

static bool handle_at(struct fixture *f, int32_t source, uint64_t position,
                      const struct buf *message)
{
    return partition_handle(f->partition, source, position, buf_slice(message), f->now_ms, &f->err);
}

static void handle(struct fixture *f, const struct buf *message)
{
    if (!handle_at(f, ROUTER, ++f->position, message)) {
        fail_msg("%s", f->err.message);
    }
}

static void event_message(struct buf *ret, enum event_type type, const char *name,
                          const char *user_id, const char *anonymous_id, const char *message_id,
                          int64_t at_ms, const char *body_json)
{
    struct buf body;
    struct buf packed;
    buf_init(&body, 64 * 1024);
    buf_init(&packed, 64 * 1024);
    buf_init(ret, 128 * 1024);
    assert_int_equal(json_read(slice_text(body_json), &body), JSON_FINE);
    event_pack(&(struct event){.type = type,
                               .timestamp_ms = at_ms,
                               .received_ms = at_ms,
                               .source = slice_text("web"),
                               .message_id = slice_text(message_id),
                               .user_id = slice_text(user_id),
                               .anonymous_id = slice_text(anonymous_id),
                               .name = slice_text(name),
                               .body = buf_slice(&body)},
               &packed);
    partition_write_event(ret, COLLECTOR, buf_slice(&packed));
    buf_done(&body);
    buf_done(&packed);
}

/* A track event of a user, now. */
static void track(struct fixture *f, const char *name, const char *user_id, const char *message_id)
{
    struct buf message;
    event_message(&message, EVENT_TRACK, name, user_id, "", message_id, f->now_ms, "{}");
    handle(f, &message);
    buf_done(&message);
}

static void identify(struct fixture *f, const char *user_id, const char *message_id,
                     const char *body)
{
    struct buf message;
    event_message(&message, EVENT_IDENTIFY, "", user_id, "", message_id, f->now_ms, body);
    handle(f, &message);
    buf_done(&message);
}

/* Segments as {"id":…,"key":…,"version":…,"where":…} with ids 1, 2… */
static void define(struct fixture *f, uint64_t version, const char *segments)
{
    struct buf json;
    struct buf catalog;
    struct buf message;
    buf_init(&json, 1024 * 1024);
    buf_init(&catalog, 1024 * 1024);
    buf_init(&message, 1024 * 1024);
    buf_put_format(&json, "{\"version\":%llu,\"edgeTraits\":[\"tier\"],\"segments\":[%s],",
                   (unsigned long long)version, segments);
    buf_put_format(&json, "\"rules\":");
    buf_put_slice(&json, slice_text(identity_rules_default));
    buf_put_format(&json, "}");
    assert_int_equal(json_read(buf_slice(&json), &catalog), JSON_FINE);
    partition_write_define(&message, buf_slice(&catalog));
    handle(f, &message);
    buf_done(&json);
    buf_done(&catalog);
    buf_done(&message);
}

static bool tick(struct fixture *f)
{
    bool more;
    if (!partition_tick(f->partition, f->now_ms, &more, &f->err)) {
        fail_msg("%s", f->err.message);
    }
    if (partition_is_dirty(f->partition)) {
        commit(f);
    }
    return more;
}

static void settle(struct fixture *f)
{
    if (partition_is_dirty(f->partition)) {
        commit(f);
    }
    while (partition_next_timer(f->partition) <= f->now_ms) {
        (void)tick(f);
    }
}

/* Let the time pass as the workers do: every timer at its own moment. */
static void pass_until(struct fixture *f, int64_t ms)
{
    settle(f);
    for (int i = 0; partition_next_timer(f->partition) <= ms; i++) {
        assert_true(i < 10000);
        f->now_ms = partition_next_timer(f->partition);
        (void)tick(f);
    }
    f->now_ms = ms;
}

/* ---- What the store says ---- */

static struct partition_stats stats(struct fixture *f)
{
    struct partition_stats s;
    assert_true(partition_read_stats(f->store, NULL, &s, &f->err));
    return s;
}

static uint64_t size_of(struct fixture *f, uint32_t segment)
{
    uint64_t size;
    assert_true(partition_read_size(f->store, NULL, segment, &size, &f->err));
    return size;
}

static size_t count_keys(struct fixture *f, const char *kind)
{
    size_t count = 0;
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    for (store_iterator_seek(it, slice_text(kind));
         store_iterator_valid(it) && store_iterator_key(it).data[0] == (uint8_t)kind[0];
         store_iterator_next(it)) {
        count++;
    }
    store_iterator_close(&it);
    return count;
}

/* The profile of a user as it was committed; to be freed. */
static struct profile *profile_of(struct fixture *f, const char *user_id)
{
    struct key key =
        key_identifier((struct identifier){slice_text("user_id"), slice_text(user_id)});
    struct profile_id id;
    struct profile *profile = NULL;
    bool found;
    assert_true(store_get(f->store, NULL, key_slice(&key), &f->bytes, &found, &f->err));
    if (!found || !profile_id_from_slice(buf_slice(&f->bytes), &id)) {
        return NULL;
    }
    key = key_profile(id);
    assert_true(store_get(f->store, NULL, key_slice(&key), &f->bytes, &found, &f->err));
    assert_true(found);
    assert_true(profile_unpack(buf_slice(&f->bytes), &profile, &f->err));
    return profile;
}

static bool is_member(struct fixture *f, const char *user_id, uint32_t segment)
{
    struct profile *profile = profile_of(f, user_id);
    assert_non_null(profile);
    bool member = profile_find_membership(profile, segment) != NULL;
    struct key key = key_member(segment, profile->id);
    bool found;
    assert_true(store_get(f->store, NULL, key_slice(&key), &f->bytes, &found, &f->err));
    assert_int_equal(found, member);
    profile_free(&profile);
    return member;
}

static uint64_t event_count(struct fixture *f, const char *user_id)
{
    struct profile *profile = profile_of(f, user_id);
    uint64_t count = profile == NULL ? 0 : profile->event_count;
    profile_free(&profile);
    return count;
}

/* ---- Events ---- */

static void test_an_event_makes_a_profile(void **state)
{
    struct fixture *f = *state;
    identify(f, "u1", "m1",
             "{\"traits\":{\"email\":\"Jane@Example.com\",\"city\":\"Lyon\"},\"context\":{"
             "\"consent\":{\"categoryPreferences\":{\"marketing\":true}}}}");
    assert_int_equal(stats(f).profiles, 0);
    commit(f);
    struct partition_stats s = stats(f);
    assert_int_equal(s.profiles, 1);
    assert_int_equal(s.known, 1);
    assert_int_equal(s.events, 1);
    struct profile *p = profile_of(f, "u1");
    assert_non_null(p);
    assert_int_equal(p->created_ms, start_ms);
    assert_int_equal(p->identifier_count, 2);
    assert_non_null(profile_find_identifier(
        p, (struct identifier){slice_text("email"), slice_text("jane@example.com")}));
    assert_non_null(profile_find_trait(p, slice_text("city")));
    assert_true(p->consent_count == 1 && p->consents[0].granted);
    assert_int_equal(count_keys(f, "t"), 1);
    assert_int_equal(count_keys(f, "i"), 2);
    profile_free(&p);
}

static void test_events_of_one_person_meet_in_one_profile_in_any_order(void **state)
{
    struct fixture *f = *state;
    struct buf late;
    event_message(&late, EVENT_IDENTIFY, "", "u1", "", "m0", start_ms - 5000,
                  "{\"traits\":{\"city\":\"Paris\",\"age\":30}}");
    identify(f, "u1", "m1", "{\"traits\":{\"city\":\"Lyon\"}}");
    handle(f, &late);
    commit(f);
    struct profile *p = profile_of(f, "u1");
    assert_int_equal(p->event_count, 2);
    assert_int_equal(p->created_ms, start_ms - 5000);
    assert_int_equal(p->last_seen_ms, start_ms);
    assert_true(slice_is(profile_find_trait(p, slice_text("city"))->value, "\xa4Lyon"));
    assert_non_null(profile_find_trait(p, slice_text("age")));
    assert_int_equal(stats(f).profiles, 1);
    profile_free(&p);
    buf_done(&late);
}

static void test_the_same_message_counts_once(void **state)
{
    struct fixture *f = *state;
    track(f, "E", "u1", "m1");
    track(f, "E", "u1", "m1"); /* within one commit */
    commit(f);
    track(f, "E", "u1", "m1"); /* and after it */
    commit(f);
    crash(f);
    track(f, "E", "u1", "m1");
    commit(f);
    assert_int_equal(event_count(f, "u1"), 1);
    assert_int_equal(stats(f).events, 1);
    assert_int_equal(stats(f).duplicates, 3);
    assert_int_equal(count_keys(f, "t"), 1);
}

static void test_a_position_that_was_reached_is_ignored(void **state)
{
    struct fixture *f = *state;
    struct buf message;
    event_message(&message, EVENT_TRACK, "E", "u1", "", "m1", start_ms, "{}");
    assert_true(handle_at(f, ROUTER, 10, &message));
    buf_done(&message);
    event_message(&message, EVENT_TRACK, "E", "u1", "", "m2", start_ms, "{}");
    assert_true(handle_at(f, ROUTER, 10, &message));
    assert_true(handle_at(f, ROUTER, 9, &message));
    commit(f);
    assert_int_equal(event_count(f, "u1"), 1);
    assert_int_equal(partition_position(f->partition, ROUTER), 10);
    crash(f);
    assert_int_equal(partition_position(f->partition, ROUTER), 10);
    assert_true(handle_at(f, ROUTER, 10, &message));
    commit(f);
    assert_int_equal(event_count(f, "u1"), 1);
    assert_true(handle_at(f, ROUTER, 11, &message));
    commit(f);
    assert_int_equal(event_count(f, "u1"), 2);
    buf_done(&message);
}

static void test_what_was_not_committed_is_done_again_after_a_crash(void **state)
{
    struct fixture *f = *state;
    track(f, "E", "u1", "m1");
    commit(f);
    uint64_t committed = f->position;
    track(f, "E", "u1", "m2");
    track(f, "E", "u2", "m3");
    crash(f);
    assert_int_equal(partition_position(f->partition, ROUTER), committed);
    assert_int_equal(event_count(f, "u1"), 1);
    assert_int_equal(event_count(f, "u2"), 0);
    f->position = committed;
    track(f, "E", "u1", "m2");
    track(f, "E", "u2", "m3");
    commit(f);
    crash(f);
    assert_int_equal(event_count(f, "u1"), 2);
    assert_int_equal(event_count(f, "u2"), 1);
    assert_int_equal(stats(f).duplicates, 0);
}

static void test_a_failed_commit_is_an_error_and_stores_nothing(void **state)
{
    struct fixture *f = *state;
    track(f, "E", "u1", "m1");
    store_memory_fail_write(f->store, 1);
    assert_false(partition_commit(f->partition, &f->err));
    assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
    crash(f);
    assert_int_equal(event_count(f, "u1"), 0);
    f->position = 0;
    track(f, "E", "u1", "m1");
    commit(f);
    assert_int_equal(event_count(f, "u1"), 1);
}

static void test_an_event_whose_identifiers_are_all_blocked_is_nobodys(void **state)
{
    struct fixture *f = *state;
    track(f, "E", "null", "m1");
    commit(f);
    assert_int_equal(stats(f).profiles, 0);
    assert_int_equal(stats(f).events, 0);
}

/* A collector that was taken over can seal whatever it likes. */
#define WITHDRAWN "{\"context\":{\"consent\":{\"categoryPreferences\":{\"analytics\":false}}}}"

static void withdraw(struct fixture *f, const char *user_id, const char *anonymous_id,
                     const char *message_id)
{
    struct buf message;
    event_message(&message, EVENT_IDENTIFY, event_withdrawal_name, user_id, anonymous_id,
                  message_id, ++f->now_ms, WITHDRAWN);
    handle(f, &message);
    buf_done(&message);
}

static void
test_a_withdrawal_changes_the_consents_of_whoever_is_known_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    define(f, 1, "{\"id\":1,\"key\":\"named\",\"version\":1,\"where\":{\"type\":\"identify\"}}");
    track(f, "E", "u1", "m1");
    settle(f);
    withdraw(f, "u1", "", "w1");
    withdraw(f, "u1", "", "w2"); /* says nothing new */
    settle(f);
    struct profile *p = profile_of(f, "u1");
    assert_true(p->consent_count == 1 && !p->consents[0].granted);
    assert_int_equal(p->event_count, 1);
    assert_int_equal(p->last_seen_ms, start_ms);
    assert_int_equal(count_keys(f, "t"), 2); /* the event, and the proof of the withdrawal */
    assert_false(is_member(f, "u1", 1));
    profile_free(&p);
    /* Nor does a definition that comes later count it. */
    define(f, 2, "{\"id\":2,\"key\":\"late\",\"version\":2,\"where\":{\"type\":\"identify\"}}");
    settle(f);
    assert_false(is_member(f, "u1", 2));
}

static void test_a_repeated_withdrawal_outlasts_a_consent_that_comes_late(void **state)
{
    struct fixture *f = *state;
    struct buf late;
    track(f, "E", "u1", "m1");
    withdraw(f, "u1", "", "w1");
    f->now_ms += 1000;
    event_message(&late, EVENT_TRACK, "E", "u1", "", "m2", f->now_ms,
                  "{\"context\":{\"consent\":{\"categoryPreferences\":{\"analytics\":true}}}}");
    commit(f);
    f->now_ms += 1000;
    withdraw(f, "u1", "", "w2");
    commit(f);
    crash(f);
    handle(f, &late);
    commit(f);
    struct profile *p = profile_of(f, "u1");
    assert_true(p->consent_count == 1 && !p->consents[0].granted);
    profile_free(&p);
    buf_done(&late);
}

static void test_a_withdrawal_makes_no_profile_of_somebody_unknown(void **state)
{
    struct fixture *f = *state;
    withdraw(f, "u1", "a1", "w1");
    settle(f);
    assert_int_equal(stats(f).profiles, 0);
    assert_int_equal(count_keys(f, "i"), 0);
    assert_int_equal(count_keys(f, "t"), 0);
    assert_int_equal(stats(f).unidentified, 0);
}

static void test_a_withdrawal_counts_for_each_of_its_identifiers_and_joins_none(void **state)
{
    struct fixture *f = *state;
    struct buf message;
    track(f, "E", "u1", "m1");
    event_message(&message, EVENT_PAGE, "", "", "a1", "m2", f->now_ms, "{}");
    handle(f, &message);
    buf_done(&message);
    withdraw(f, "u1", "a1", "w1");
    withdraw(f, "u2", "", "w2");
    settle(f);
    assert_int_equal(stats(f).profiles, 2);
    assert_int_equal(count_keys(f, "t"), 4);
    struct profile *p = profile_of(f, "u1");
    assert_true(p->identifier_count == 1 && p->consent_count == 1 && !p->consents[0].granted);
    profile_free(&p);
}

static void test_an_event_that_no_collector_would_send_does_not_stop_the_partition(void **state)
{
    static const struct {
        const char *user_id;
        const char *name;
        const char *body;
        size_t body_len;
    } rows[] = {
        {"u", "E", "\x80", 1},
        {"u\xff", "E", "\x80", 1},
        {"u", "E\xc0\x80", "\x80", 1},
        {"u", "E", "\x81\xa1p\xa1\xff", 5},
        {"u", "E", "\x81\xa1\xff\xa1p", 5},
        {"u", "E", "\x81\x01\x02", 3},
        {"u", "E", "\x81\xa1p\xc4\x01\x00", 6},
        {"u", "E", "\x90", 1},
        {"u", "E", "\xc1", 1},
        {"u", "E", "\x81", 1},
        {"u", "E", "\x80\x80", 2},
    };
    struct fixture *f = *state;
    define(f, 1,
           "{\"id\":1,\"key\":\"a\",\"version\":1,\"where\":{\"event\":\"E\",\"where\":["
           "{\"property\":\"p\",\"eq\":\"\xc3\xa9\"}]}}");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf packed;
        struct buf message;
        char id[16];
        snprintf(id, sizeof id, "m%zu", i);
        buf_init(&packed, 4096);
        buf_init(&message, 4096);
        event_pack(&(struct event){.type = EVENT_TRACK,
                                   .timestamp_ms = start_ms,
                                   .received_ms = start_ms,
                                   .source = slice_text("web"),
                                   .message_id = slice_text(id),
                                   .user_id = slice_text(rows[i].user_id),
                                   .name = slice_text(rows[i].name),
                                   .body = slice_make(rows[i].body, rows[i].body_len)},
                   &packed);
        partition_write_event(&message, COLLECTOR, buf_slice(&packed));
        handle(f, &message);
        buf_done(&packed);
        buf_done(&message);
    }
    commit(f);
    assert_int_equal(stats(f).events, 1);
    assert_int_equal(stats(f).unidentified, sizeof rows / sizeof *rows - 1);
}

static void test_a_damaged_message_is_an_error(void **state)
{
    static const char *const rows[] = {"", "\xc1", "\x90", "\x91\x63", "\x91\xa1x", "\x92\x02\x01"};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_false(partition_handle(f->partition, ROUTER, 100 + i, slice_text(rows[i]), f->now_ms,
                                      &f->err));
        assert_int_equal(f->err.kind, ERROR_CORRUPT);
    }
}

/* ---- Segments and time ---- */

#define BUYERS "{\"id\":1,\"key\":\"buyers\",\"version\":1,\"where\":{\"event\":\"Bought\"}}"
#define RECENT                                                                                     \
    "{\"id\":2,\"key\":\"recent\",\"version\":1,\"where\":{\"event\":\"Bought\",\"within\":"       \
    "\"60s\"}}"
#define LAPSED                                                                                     \
    "{\"id\":3,\"key\":\"lapsed\",\"version\":1,\"where\":{\"all\":[{\"event\":\"Bought\"},"       \
    "{\"event\":\"Bought\",\"within\":\"60s\",\"count\":{\"eq\":0}}]}}"

static void test_membership_changes_at_the_exact_moment_without_an_event(void **state)
{
    struct fixture *f = *state;
    define(f, 1, BUYERS "," RECENT "," LAPSED);
    settle(f);
    track(f, "Bought", "u1", "m1");
    settle(f);
    assert_true(is_member(f, "u1", 1) && is_member(f, "u1", 2) && !is_member(f, "u1", 3));
    assert_int_equal(size_of(f, 2), 1);
    assert_true(partition_next_timer(f->partition) == start_ms + 60000);
    pass_until(f, start_ms + 59999);
    assert_true(is_member(f, "u1", 2) && !is_member(f, "u1", 3));
    pass_until(f, start_ms + 60000);
    assert_true(is_member(f, "u1", 1) && !is_member(f, "u1", 2) && is_member(f, "u1", 3));
    assert_int_equal(size_of(f, 2), 0);
    assert_int_equal(size_of(f, 3), 1);
    assert_true(partition_next_timer(f->partition) == INT64_MAX);
    assert_int_equal(count_keys(f, "w"), 0);
    struct profile *p = profile_of(f, "u1");
    assert_true(profile_find_membership(p, 3)->since_ms == start_ms + 60000);
    profile_free(&p);
}

#define VIP "{\"id\":4,\"key\":\"vip\",\"version\":1,\"where\":{\"trait\":\"vip\",\"eq\":true}}"
#define VIP_LOOKS                                                                                  \
    "{\"id\":5,\"key\":\"vip-looks\",\"version\":1,\"where\":{\"all\":[{\"trait\":\"vip\","        \
    "\"eq\":true},{\"event\":\"Viewed\",\"within\":\"30s\"}]}}"

/* A profile has one timer, for the earliest moment of all its segments, and an event looks only at
 * those that it may concern. */
static void test_an_earlier_timer_of_another_segment_is_kept(void **state)
{
    struct fixture *f = *state;
    define(f, 1, RECENT "," VIP);
    settle(f);
    track(f, "Bought", "u1", "m1");
    settle(f);
    identify(f, "u1", "m2", "{\"traits\":{\"vip\":true}}"); /* concerns the other alone */
    settle(f);
    assert_true(is_member(f, "u1", 2) && is_member(f, "u1", 4));
    assert_true(partition_next_timer(f->partition) == start_ms + 60000);
    assert_int_equal(count_keys(f, "w"), 1);
    pass_until(f, start_ms + 60000);
    assert_true(!is_member(f, "u1", 2) && is_member(f, "u1", 4));
    assert_int_equal(count_keys(f, "w"), 0);
}

static void test_a_segment_with_an_earlier_moment_moves_the_timer_forward(void **state)
{
    struct fixture *f = *state;
    define(f, 1, RECENT "," VIP_LOOKS);
    settle(f);
    track(f, "Bought", "u1", "m1");
    f->now_ms += 10000;
    track(f, "Viewed", "u1", "m2");
    settle(f);
    identify(f, "u1", "m3", "{\"traits\":{\"vip\":true}}"); /* looks at the second alone */
    settle(f);
    assert_true(is_member(f, "u1", 2) && is_member(f, "u1", 5));
    assert_true(partition_next_timer(f->partition) == start_ms + 40000);
    assert_int_equal(count_keys(f, "w"), 1);
    pass_until(f, start_ms + 40000);
    assert_true(is_member(f, "u1", 2) && !is_member(f, "u1", 5));
    assert_true(partition_next_timer(f->partition) == start_ms + 60000);
    pass_until(f, start_ms + 60000);
    assert_false(is_member(f, "u1", 2));
    assert_int_equal(count_keys(f, "w"), 0);
}

static void test_a_timer_survives_a_crash_and_fires_late_rather_than_never(void **state)
{
    struct fixture *f = *state;
    define(f, 1, RECENT);
    track(f, "Bought", "u1", "m1");
    settle(f);
    crash(f);
    assert_true(partition_next_timer(f->partition) == start_ms + 60000);
    f->now_ms = start_ms + 3600000;
    settle(f);
    assert_false(is_member(f, "u1", 2));
}

static void test_an_event_of_the_future_counts_when_its_time_comes(void **state)
{
    struct fixture *f = *state;
    struct buf message;
    define(f, 1, BUYERS);
    event_message(&message, EVENT_TRACK, "Bought", "u1", "", "m1", start_ms + 5000, "{}");
    handle(f, &message);
    buf_done(&message);
    settle(f);
    assert_false(is_member(f, "u1", 1));
    pass_until(f, start_ms + 4999);
    assert_false(is_member(f, "u1", 1));
    pass_until(f, start_ms + 5000);
    assert_true(is_member(f, "u1", 1));
}

static void test_many_timers_due_at_once_all_fire(void **state)
{
    enum { PEOPLE = 1300 };
    struct fixture *f = *state;
    define(f, 1, RECENT);
    for (int i = 0; i < PEOPLE; i++) {
        char user[16];
        char message[16];
        snprintf(user, sizeof user, "u%d", i);
        snprintf(message, sizeof message, "m%d", i);
        track(f, "Bought", user, message);
    }
    settle(f);
    assert_int_equal(size_of(f, 2), PEOPLE);
    assert_int_equal(count_keys(f, "w"), PEOPLE);
    pass_until(f, start_ms + 60000);
    assert_int_equal(size_of(f, 2), 0);
    assert_int_equal(count_keys(f, "m"), 0);
    assert_int_equal(count_keys(f, "w"), 0);
}

/* Otherwise the workers would ask again and again, at full speed. */
static void test_a_timer_that_was_taken_back_does_not_keep_the_partition_awake(void **state)
{
    struct fixture *f = *state;
    define(f, 1, RECENT);
    track(f, "Bought", "u1", "m1");
    settle(f);
    define(f, 2, "");
    settle(f);
    f->now_ms = start_ms + 60000;
    bool more = false;
    for (int i = 0; i < 3 && partition_next_timer(f->partition) <= f->now_ms; i++) {
        more = tick(f);
    }
    assert_false(more);
    assert_true(partition_next_timer(f->partition) > f->now_ms);
}

/* ---- Definitions ---- */

static void test_a_new_segment_is_filled_in_from_the_past(void **state)
{
    enum { PEOPLE = 700 };
    struct fixture *f = *state;
    for (int i = 0; i < PEOPLE; i++) {
        char user[16];
        char message[16];
        snprintf(user, sizeof user, "u%d", i);
        snprintf(message, sizeof message, "m%d", i);
        track(f, i % 2 == 0 ? "Bought" : "Viewed", user, message);
    }
    settle(f);
    define(f, 4,
           BUYERS ",{\"id\":9,\"key\":\"others\",\"version\":4,\"where\":{\"not\":{"
                  "\"segment\":\"buyers\"}}}");
    commit(f);
    assert_true(stats(f).catalog_version == 4 && stats(f).backfill_version < 4);
    assert_true(tick(f)); /* a bounded step */
    assert_true(stats(f).backfilled > 0 && stats(f).backfilled < PEOPLE);
    crash(f); /* it goes on where it was */
    settle(f);
    assert_int_equal(stats(f).backfill_version, 4);
    assert_int_equal(size_of(f, 1), PEOPLE / 2);
    assert_int_equal(size_of(f, 9), PEOPLE / 2);
    assert_int_equal(count_keys(f, "m"), PEOPLE);
    assert_true(is_member(f, "u0", 1) && is_member(f, "u1", 9));
}

static void test_events_that_come_during_a_backfill_count_once(void **state)
{
    struct fixture *f = *state;
    track(f, "Bought", "u1", "m1");
    track(f, "Bought", "u2", "m2");
    settle(f);
    define(f, 4,
           "{\"id\":1,\"key\":\"twice\",\"version\":4,\"where\":{\"event\":\"Bought\",\"count\":{"
           "\"eq\":2}}}");
    track(f, "Bought", "u1", "m3");
    commit(f);
    assert_true(is_member(f, "u1", 1));
    settle(f);
    assert_true(is_member(f, "u1", 1));
    assert_false(is_member(f, "u2", 1));
    track(f, "Bought", "u2", "m4");
    settle(f);
    assert_true(is_member(f, "u2", 1));
    assert_int_equal(size_of(f, 1), 2);
}

static void test_members_of_a_segment_that_is_gone_are_members_no_more(void **state)
{
    struct fixture *f = *state;
    define(f, 1, BUYERS);
    track(f, "Bought", "u1", "m1");
    settle(f);
    assert_int_equal(size_of(f, 1), 1);
    define(f, 2, "");
    settle(f);
    assert_int_equal(size_of(f, 1), 0);
    assert_int_equal(count_keys(f, "m"), 0);
    struct profile *p = profile_of(f, "u1");
    assert_int_equal(p->state_count, 0);
    profile_free(&p);
}

static void test_a_changed_definition_is_filled_in_also_for_those_who_use_it(void **state)
{
    struct fixture *f = *state;
    track(f, "Bought", "u1", "m1");
    define(f, 3,
           "{\"id\":1,\"key\":\"base\",\"version\":2,\"where\":{\"event\":\"Viewed\"}},"
           "{\"id\":2,\"key\":\"user\",\"version\":3,\"where\":{\"segment\":\"base\"}}");
    settle(f);
    assert_false(is_member(f, "u1", 2));
    define(f, 4,
           "{\"id\":1,\"key\":\"base\",\"version\":4,\"where\":{\"event\":\"Bought\"}},"
           "{\"id\":2,\"key\":\"user\",\"version\":3,\"where\":{\"segment\":\"base\"}}");
    settle(f);
    assert_true(is_member(f, "u1", 1));
    assert_true(is_member(f, "u1", 2));
}

/* ---- The edge outbox ---- */

struct outbox {
    size_t count;
    uint64_t sequences[EDGES_MAX];
};

static struct outbox outbox_of(struct fixture *f)
{
    struct outbox o = {0};
    struct key key = key_edge(COLLECTOR, 0);
    struct slice prefix = key_prefix(&key, KEY_PREFIX_NUMBER);
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    for (store_iterator_seek(it, prefix);
         store_iterator_valid(it) && slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        assert_true(o.count < EDGES_MAX);
        o.sequences[o.count++] = read_u64(store_iterator_key(it).data + KEY_PREFIX_NUMBER);
    }
    store_iterator_close(&it);
    return o;
}

static void acknowledge(struct fixture *f, uint64_t sequence)
{
    struct buf message;
    buf_init(&message, 256);
    partition_write_edge_ack(&message, COLLECTOR, sequence);
    assert_true(handle_at(f, PARTITION_SOURCE_LOCAL, 0, &message));
    commit(f);
    buf_done(&message);
}

static void test_a_profile_stands_in_an_outbox_once_at_its_last_change(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        char id[8];
        char body[64];
        snprintf(id, sizeof id, "m%d", i);
        snprintf(body, sizeof body, "{\"traits\":{\"tier\":\"t%d\"}}", i);
        f->now_ms++;
        if (i == 0) {
            define(f, 1, "");
        }
        identify(f, "u1", id, body);
        if (i % 2 == 0) {
            commit(f);
        }
    }
    commit(f);
    struct outbox o = outbox_of(f);
    assert_int_equal(o.count, 1);
    assert_true(f->edge_calls > 0);
    identify(f, "u2", "n1", "{\"traits\":{\"tier\":\"x\"}}");
    commit(f);
    assert_int_equal(outbox_of(f).count, 2);
    assert_true(outbox_of(f).sequences[1] > o.sequences[0]);
}

static void test_what_was_acknowledged_leaves_the_outbox_and_changes_come_again(void **state)
{
    struct fixture *f = *state;
    define(f, 1, BUYERS);
    track(f, "Bought", "u1", "m1");
    track(f, "Bought", "u2", "m2");
    settle(f);
    struct outbox before = outbox_of(f);
    assert_int_equal(before.count, 2);
    acknowledge(f, before.sequences[0]);
    assert_int_equal(outbox_of(f).count, 1);
    acknowledge(f, before.sequences[1]);
    assert_int_equal(outbox_of(f).count, 0);
    crash(f);
    identify(f, "u1", "m3", "{\"traits\":{\"email\":\"a@b\"}}");
    commit(f);
    struct outbox after = outbox_of(f);
    assert_int_equal(after.count, 1);
    assert_true(after.sequences[0] > before.sequences[1]); /* a cursor never goes back */
    acknowledge(f, before.sequences[0]);                   /* late: changes nothing */
    assert_int_equal(outbox_of(f).count, 1);
}

static void test_a_change_that_edges_need_not_know_is_not_sent(void **state)
{
    struct fixture *f = *state;
    struct buf message;
    define(f, 1, BUYERS);
    event_message(&message, EVENT_TRACK, "Viewed", "", "a1", "m1", start_ms, "{}");
    handle(f, &message);
    buf_done(&message);
    settle(f);
    assert_int_equal(outbox_of(f).count, 0); /* nobody, and in no segment */
    track(f, "Bought", "u1", "m2");
    settle(f);
    struct outbox before = outbox_of(f);
    assert_int_equal(before.count, 1);
    track(f, "Viewed", "u1", "m3");
    identify(f, "u1", "m4", "{\"traits\":{\"salary\":1}}"); /* not for the edge */
    settle(f);
    assert_int_equal(outbox_of(f).sequences[0], before.sequences[0]);
}

static void test_a_membership_that_ends_by_time_is_told_to_the_edge(void **state)
{
    struct fixture *f = *state;
    define(f, 1, RECENT);
    track(f, "Bought", "u1", "m1");
    settle(f);
    acknowledge(f, outbox_of(f).sequences[0]);
    unsigned calls = f->edge_calls;
    pass_until(f, start_ms + 60000);
    assert_int_equal(outbox_of(f).count, 1);
    assert_true(f->edge_calls > calls);
}

#define CONSENTING                                                                                 \
    "{\"id\":6,\"key\":\"consenting\",\"version\":1,\"where\":{\"consent\":\"analytics\"}}"
#define GRANTED "{\"context\":{\"consent\":{\"categoryPreferences\":{\"analytics\":true}}}}"

static void test_a_withdrawal_ends_memberships_and_is_told_to_the_edge(void **state)
{
    struct fixture *f = *state;
    define(f, 1, CONSENTING);
    settle(f);
    identify(f, "u1", "m1", GRANTED);
    settle(f);
    assert_true(is_member(f, "u1", 6));
    assert_int_equal(size_of(f, 6), 1);
    acknowledge(f, outbox_of(f).sequences[0]);
    unsigned calls = f->edge_calls;
    withdraw(f, "u1", "", "w1");
    settle(f);
    assert_false(is_member(f, "u1", 6));
    assert_int_equal(size_of(f, 6), 0);
    assert_int_equal(outbox_of(f).count, 1);
    assert_true(f->edge_calls > calls);
}

/* The card says what a person consents to, whether or not a segment asks for it. */
static void test_a_withdrawal_that_no_segment_asks_for_is_told_to_the_edge(void **state)
{
    struct fixture *f = *state;
    identify(f, "u1", "m1", GRANTED);
    settle(f);
    acknowledge(f, outbox_of(f).sequences[0]);
    withdraw(f, "u1", "", "w1");
    settle(f);
    assert_int_equal(outbox_of(f).count, 1);
}

static void test_whoever_was_looked_up_is_sent_from_then_on(void **state)
{
    struct fixture *f = *state;
    struct buf message;
    track(f, "Viewed", "u1", "m1");
    commit(f);
    struct profile *p = profile_of(f, "u1");
    acknowledge(f, outbox_of(f).sequences[0]);
    buf_init(&message, 256);
    partition_write_interest(&message, p->id, COLLECTOR);
    assert_true(handle_at(f, PARTITION_SOURCE_LOCAL, 0, &message));
    commit(f);
    assert_int_equal(outbox_of(f).count, 0); /* it has it already */
    buf_clear(&message);
    partition_write_interest(&message, profile_id_make(1, 0, 1), COLLECTOR); /* nobody */
    assert_true(handle_at(f, PARTITION_SOURCE_LOCAL, 0, &message));
    commit(f);
    buf_done(&message);
    profile_free(&p);
}

/* ---- Crashes anywhere ---- */

static void send_numbered(struct fixture *f, uint64_t n)
{
    char user[16];
    char id[24];
    struct buf message;
    snprintf(user, sizeof user, "u%llu", (unsigned long long)(n % 150 % 7));
    snprintf(id, sizeof id, "m%llu", (unsigned long long)(n % 150)); /* some twice */
    event_message(&message, EVENT_TRACK, n % 3 == 0 ? "Bought" : "Viewed", user, "", id,
                  start_ms + (int64_t)(n % 150), "{}");
    if (!handle_at(f, ROUTER, n, &message)) {
        fail_msg("%s", f->err.message);
    }
    buf_done(&message);
}

/* However often it crashes between its commits: every message has its effect exactly once. */
static void test_crashes_at_random_moments_change_nothing(void **state)
{
    enum { MESSAGES = 200 };
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct rand rand;
        uint64_t counts[7] = {0};
        struct fixture *f;
        rand_seeded_init(&rand, seed);
        tear_down(state);
        set_up(state);
        f = *state;
        define(f, 1, BUYERS "," RECENT);
        commit(f);
        uint64_t first = f->position + 1;
        for (uint64_t n = first; n < first + MESSAGES;) {
            send_numbered(f, n++);
            f->now_ms += (int64_t)rand_below(&rand, 50);
            if (rand_below(&rand, 10) == 0) {
                settle(f);
            }
            if (rand_below(&rand, 15) == 0) {
                crash(f);
                n = partition_position(f->partition, ROUTER) + 1;
            }
        }
        settle(f);
        for (uint64_t n = first; n < first + MESSAGES; n++) {
            bool is_second = n >= first + 150;
            counts[n % 150 % 7] += !is_second;
        }
        for (uint64_t u = 0; u < 7; u++) {
            char user[16];
            snprintf(user, sizeof user, "u%llu", (unsigned long long)u);
            if (event_count(f, user) != counts[u]) {
                fail_msg("seed=%llu user=%llu: %llu events, not %llu", (unsigned long long)seed,
                         (unsigned long long)u, (unsigned long long)event_count(f, user),
                         (unsigned long long)counts[u]);
            }
        }
        assert_int_equal(stats(f).events, 150);
        assert_int_equal(count_keys(f, "t"), 150);
        assert_int_equal(stats(f).profiles, 7);
        assert_int_equal(size_of(f, 1), 7);
    }
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_an_event_makes_a_profile),
        WITH(test_events_of_one_person_meet_in_one_profile_in_any_order),
        WITH(test_the_same_message_counts_once),
        WITH(test_a_position_that_was_reached_is_ignored),
        WITH(test_what_was_not_committed_is_done_again_after_a_crash),
        WITH(test_a_failed_commit_is_an_error_and_stores_nothing),
        WITH(test_an_event_whose_identifiers_are_all_blocked_is_nobodys),
        WITH(test_a_withdrawal_changes_the_consents_of_whoever_is_known_and_nothing_else),
        WITH(test_a_repeated_withdrawal_outlasts_a_consent_that_comes_late),
        WITH(test_a_withdrawal_makes_no_profile_of_somebody_unknown),
        WITH(test_a_withdrawal_counts_for_each_of_its_identifiers_and_joins_none),
        WITH(test_an_event_that_no_collector_would_send_does_not_stop_the_partition),
        WITH(test_a_damaged_message_is_an_error),
        WITH(test_membership_changes_at_the_exact_moment_without_an_event),
        WITH(test_an_earlier_timer_of_another_segment_is_kept),
        WITH(test_a_segment_with_an_earlier_moment_moves_the_timer_forward),
        WITH(test_a_timer_survives_a_crash_and_fires_late_rather_than_never),
        WITH(test_an_event_of_the_future_counts_when_its_time_comes),
        WITH(test_many_timers_due_at_once_all_fire),
        WITH(test_a_timer_that_was_taken_back_does_not_keep_the_partition_awake),
        WITH(test_a_new_segment_is_filled_in_from_the_past),
        WITH(test_events_that_come_during_a_backfill_count_once),
        WITH(test_members_of_a_segment_that_is_gone_are_members_no_more),
        WITH(test_a_changed_definition_is_filled_in_also_for_those_who_use_it),
        WITH(test_a_profile_stands_in_an_outbox_once_at_its_last_change),
        WITH(test_what_was_acknowledged_leaves_the_outbox_and_changes_come_again),
        WITH(test_a_change_that_edges_need_not_know_is_not_sent),
        WITH(test_a_membership_that_ends_by_time_is_told_to_the_edge),
        WITH(test_a_withdrawal_ends_memberships_and_is_told_to_the_edge),
        WITH(test_a_withdrawal_that_no_segment_asks_for_is_told_to_the_edge),
        WITH(test_whoever_was_looked_up_is_sent_from_then_on),
        WITH(test_crashes_at_random_moments_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
