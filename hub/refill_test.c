/* Whom the edges are told of: scopes in a partition, the shared outbox, purchases on cards, and
 * refills. One partition on a memory store. */
#include "hub/refill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "shared/json.h"

enum { ROUTER = 1, COLLECTOR = 7, TILL = 8 };

static const int64_t now_ms = 1795292000000;

struct fixture {
    struct store *store;
    struct partition *partition;
    struct reader reader;
    uint64_t position;
    unsigned told[16]; /* by collector */
    struct buf bytes;
    struct error err;
};

static void on_message(void *user, uint32_t partition, uint64_t sequence, struct slice message)
{
    (void)user;
    (void)partition;
    (void)sequence;
    (void)message;
    fail_msg("a message for a partition that is not there");
}

static void on_edge(void *user, uint32_t collector)
{
    ((struct fixture *)user)->told[collector]++;
}

static void open_partition(struct fixture *f)
{
    struct partition_options options = {.index = 0, .count = 1, .cache_bytes = 64 * 1024};
    struct partition_listener listener = {on_message, on_edge, f};
    assert_true(partition_open(f->store, &options, &listener, &f->partition, &f->err));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    f->reader = (struct reader){&f->store, 1};
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

static void handle(struct fixture *f, struct buf *message)
{
    if (!partition_handle(f->partition, ROUTER, ++f->position, buf_slice(message), now_ms,
                          &f->err)) {
        fail_msg("%s", f->err.message);
    }
    buf_done(message);
}

/* Commit, and let timers and backfills do their work. */
static void settle(struct fixture *f)
{
    bool more = true;
    assert_true(partition_commit(f->partition, &f->err));
    while (more || partition_next_timer(f->partition) <= now_ms) {
        assert_true(partition_tick(f->partition, now_ms, &more, &f->err));
        if (partition_is_dirty(f->partition)) {
            assert_true(partition_commit(f->partition, &f->err));
        }
    }
}

/* The default rules, two segments, and these scopes. */
static void define(struct fixture *f, unsigned version, const char *scopes, const char *purchases)
{
    struct buf json;
    struct buf catalog;
    struct buf message;
    buf_init(&json, 1024 * 1024);
    buf_init(&catalog, 1024 * 1024);
    buf_init(&message, 1024 * 1024);
    buf_put_format(&json,
                   "{\"version\":%u,\"scopes\":[%s],%s\"segments\":["
                   "{\"id\":1,\"key\":\"vip\",\"version\":1,\"where\":{\"trait\":\"vip\","
                   "\"eq\":true}},"
                   "{\"id\":2,\"key\":\"seen\",\"version\":1,\"where\":{\"event\":\"Seen\"}}],"
                   "\"rules\":",
                   version, scopes, purchases);
    buf_put_slice(&json, slice_text(identity_rules_default));
    buf_put_format(&json, "}");
    assert_int_equal(json_read(buf_slice(&json), &catalog), JSON_FINE);
    partition_write_define(&message, buf_slice(&catalog));
    handle(f, &message);
    buf_done(&json);
    buf_done(&catalog);
}

#define VIPS                                                                                       \
    "{\"collector\":8,\"id\":\"till\",\"version\":5,"                                              \
    "\"scope\":{\"kind\":\"segments\",\"segments\":[\"vip\"]}}"
#define EVERYBODY                                                                                  \
    "{\"collector\":8,\"id\":\"till\",\"version\":6,\"scope\":{\"kind\":\"everybody\"}}"

/* An event at the web collector; a user id that begins with "a" is an anonymous one. */
static void take(struct fixture *f, enum event_type type, const char *name, const char *who,
                 const char *body_json)
{
    struct buf body;
    struct buf packed;
    struct buf message;
    char message_id[16];
    bool is_anonymous = who[0] == 'a';
    buf_init(&body, 64 * 1024);
    buf_init(&packed, 64 * 1024);
    buf_init(&message, 128 * 1024);
    snprintf(message_id, sizeof message_id, "m%llu", (unsigned long long)f->position);
    assert_int_equal(json_read(slice_text(body_json), &body), JSON_FINE);
    event_pack(&(struct event){.type = type,
                               .timestamp_ms = now_ms - 1000 + (int64_t)f->position,
                               .received_ms = now_ms,
                               .source = slice_text("web"),
                               .message_id = slice_text(message_id),
                               .user_id = slice_text(is_anonymous ? "" : who),
                               .anonymous_id = slice_text(is_anonymous ? who : ""),
                               .name = slice_text(name),
                               .body = buf_slice(&body)},
               &packed);
    partition_write_event(&message, COLLECTOR, buf_slice(&packed));
    handle(f, &message);
    buf_done(&body);
    buf_done(&packed);
}

static void set_vip(struct fixture *f, const char *who, bool is_vip)
{
    take(f, EVENT_IDENTIFY, "", who,
         is_vip ? "{\"traits\":{\"vip\":true}}" : "{\"traits\":{\"vip\":false}}");
}

static struct profile *profile_of(struct fixture *f, const char *who)
{
    struct profile *profile;
    struct identifier id = {slice_text(who[0] == 'a' ? "anonymous_id" : "user_id"),
                            slice_text(who)};
    assert_true(reader_profile_of(&f->reader, id, &profile, &f->err));
    return profile;
}

/* Does the profile stand in this outbox, behind the cursor? */
static bool is_in_outbox(struct fixture *f, uint32_t outbox, uint64_t cursor, const char *who)
{
    bool found = false;
    struct profile *profile = profile_of(f, who);
    struct key key = key_edge(outbox, cursor + 1);
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    for (store_iterator_seek(it, key_slice(&key));
         store_iterator_valid(it) &&
         slice_starts_with(store_iterator_key(it), key_prefix(&key, KEY_PREFIX_NUMBER));
         store_iterator_next(it)) {
        found = found || slice_equal(store_iterator_value(it), profile_id_slice(&profile->id));
    }
    store_iterator_close(&it);
    profile_free(&profile);
    return found;
}

static uint64_t last_of(struct fixture *f, uint32_t outbox)
{
    uint64_t oldest;
    uint64_t last;
    assert_true(partition_read_outbox(f->store, outbox, &oldest, &last, &f->err));
    return last;
}

/* ---- Scopes ---- */

static void test_members_of_a_wide_scope_stand_in_the_shared_outbox_and_others_do_not(void **state)
{
    struct fixture *f = *state;
    define(f, 1, VIPS, "");
    set_vip(f, "u1", true);
    set_vip(f, "u2", false);
    settle(f);
    assert_true(is_in_outbox(f, SHARED_OUTBOX, 0, "u1"));
    assert_false(is_in_outbox(f, SHARED_OUTBOX, 0, "u2"));
    assert_true(is_in_outbox(f, COLLECTOR, 0, "u2")); /* where they were seen */
    assert_true(f->told[SHARED_OUTBOX] > 0);
    struct profile *p = profile_of(f, "u1");
    assert_int_equal(p->interest_count, 2); /* not one for each collector with a wide scope */
    profile_free(&p);
}

static void test_who_leaves_the_scope_is_told_once_more_also_where_only_a_refill_told(void **state)
{
    struct fixture *f = *state;
    define(f, 1, "", "");
    set_vip(f, "u1", true);
    settle(f);
    define(f, 1, VIPS, ""); /* the till gets u1 by a refill, not by the outbox */
    settle(f);
    assert_int_equal(last_of(f, SHARED_OUTBOX), 0);
    set_vip(f, "u1", false);
    settle(f);
    assert_true(is_in_outbox(f, SHARED_OUTBOX, 0, "u1"));
}

static void test_a_change_of_scopes_alone_starts_no_backfill(void **state)
{
    struct fixture *f = *state;
    struct partition_stats before;
    struct partition_stats after;
    define(f, 3, "", "");
    set_vip(f, "u1", true);
    settle(f);
    assert_true(partition_read_stats(f->store, NULL, &before, &f->err));
    define(f, 3, VIPS, "");
    assert_true(partition_commit(f->partition, &f->err));
    assert_true(partition_next_timer(f->partition) > now_ms);
    assert_true(partition_read_stats(f->store, NULL, &after, &f->err));
    assert_int_equal(after.scopes_version, 5);
    assert_int_equal(after.backfill_version, before.backfill_version);
}

static void test_a_collector_with_a_wide_scope_has_no_outbox_of_its_own(void **state)
{
    struct fixture *f = *state;
    define(f, 1,
           "{\"collector\":7,\"id\":\"web\",\"version\":5,\"scope\":{\"kind\":\"everybody\"}}", "");
    set_vip(f, "u1", true);
    settle(f);
    assert_int_equal(last_of(f, COLLECTOR), 0);
    assert_true(is_in_outbox(f, SHARED_OUTBOX, 0, "u1"));
    take(f, EVENT_TRACK, "Other", "a1", "{}"); /* nobody, of whom there is nothing to say */
    settle(f);
    assert_false(is_in_outbox(f, SHARED_OUTBOX, 0, "a1"));
}

static void test_an_anonymous_visitors_consent_is_told_to_whoever_has_the_card(void **state)
{
    struct fixture *f = *state;
    static const char yes[] =
        "{\"context\":{\"consent\":{\"categoryPreferences\":{\"marketing\":true}}}}";
    static const char no[] =
        "{\"context\":{\"consent\":{\"categoryPreferences\":{\"marketing\":false}}}}";
    struct buf message;
    define(f, 1, "", "");
    take(f, EVENT_TRACK, "Other", "a1", yes);
    settle(f);
    assert_false(is_in_outbox(f, COLLECTOR, 0, "a1")); /* nobody asked */
    struct profile *p = profile_of(f, "a1");
    buf_init(&message, 256);
    partition_write_interest(&message, p->id, TILL); /* looked up at the till */
    assert_true(partition_handle(f->partition, PARTITION_SOURCE_LOCAL, 0, buf_slice(&message),
                                 now_ms, &f->err));
    buf_done(&message);
    settle(f);
    uint64_t cursor = last_of(f, TILL);
    assert_true(is_in_outbox(f, TILL, 0, "a1"));
    take(f, EVENT_TRACK, "Other", "a1", no);
    settle(f);
    assert_true(is_in_outbox(f, TILL, cursor, "a1"));
    profile_free(&p);
}

/* ---- Purchases ---- */

static size_t purchases_of(struct fixture *f, const char *who, double *ret_total)
{
    struct profile *p = profile_of(f, who);
    size_t count = p->purchase_count;
    *ret_total = count > 0 ? p->purchases[0].total : 0;
    profile_free(&p);
    return count;
}

static void test_purchases_are_kept_and_told(void **state)
{
    struct fixture *f = *state;
    double total;
    define(f, 1, "", "");
    take(f, EVENT_TRACK, "Order Completed", "u1", "{\"properties\":{\"total\":80}}");
    settle(f);
    uint64_t cursor = last_of(f, COLLECTOR);
    take(f, EVENT_TRACK, "Order Refunded", "u1", "{\"properties\":{\"total\":-20}}");
    take(f, EVENT_TRACK, "Order Updated", "u1", "{\"properties\":{\"total\":1}}");
    settle(f);
    assert_int_equal(purchases_of(f, "u1", &total), 2);
    assert_true(total == -20);
    assert_true(is_in_outbox(f, COLLECTOR, cursor, "u1"));
}

static void test_another_definition_of_purchases_is_filled_in_from_the_past(void **state)
{
    struct fixture *f = *state;
    double total;
    define(f, 1, "", "");
    take(f, EVENT_TRACK, "Order Completed", "u1", "{\"properties\":{\"total\":80}}");
    take(f, EVENT_TRACK, "Sale", "u1", "{\"properties\":{\"total\":5}}");
    settle(f);
    assert_int_equal(purchases_of(f, "u1", &total), 1);
    define(f, 2, "", "\"purchaseEvents\":[\"Sale\"],\"purchasesVersion\":2,");
    settle(f);
    assert_int_equal(purchases_of(f, "u1", &total), 1);
    assert_true(total == 5);
    define(f, 3, "", "\"purchaseEvents\":[],\"purchasesVersion\":3,");
    settle(f);
    assert_int_equal(purchases_of(f, "u1", &total), 0);
}

/* Store the profiles and the facts as the version before purchases did. */
static void make_older(struct fixture *f, const char *who)
{
    struct store_batch batch;
    struct profile *p = profile_of(f, who);
    struct key key = key_profile(p->id);
    bool found;
    p->purchase_count = 0;
    store_batch_init(&batch);
    buf_clear(&f->bytes);
    profile_pack(p, &f->bytes);
    f->bytes.data[2] -= 3; /* an array of 18: no purchases, places of browsers, claims */
    store_batch_put(&batch, key_slice(&key), slice_make(f->bytes.data, f->bytes.len - 4 - 12));
    key = key_fact("stats");
    assert_true(store_get(f->store, NULL, key_slice(&key), &f->bytes, &found, &f->err));
    assert_int_equal(f->bytes.data[0], 0x9d); /* an array of 13, of which three were not */
    f->bytes.data[0] = 0x9a;
    store_batch_put(&batch, key_slice(&key), slice_make(f->bytes.data, f->bytes.len - 3));
    assert_true(store_write(f->store, &batch, true, &f->err));
    store_batch_done(&batch);
    profile_free(&p);
}

static void test_a_store_of_an_earlier_version_gets_its_purchases_from_the_past(void **state)
{
    struct fixture *f = *state;
    double total;
    take(f, EVENT_TRACK, "Order Completed", "u1", "{\"properties\":{\"total\":80}}");
    settle(f);
    partition_close(&f->partition);
    make_older(f, "u1");
    assert_int_equal(purchases_of(f, "u1", &total), 0);
    open_partition(f);
    settle(f);
    assert_int_equal(purchases_of(f, "u1", &total), 1);
    partition_close(&f->partition);
    open_partition(f);
    assert_true(partition_next_timer(f->partition) > now_ms); /* once */
}

/* ---- Refills ---- */

static struct wire_poll poll; /* what the collector would say */

static struct refill_asker asker_of(const struct catalog_scope *scope)
{
    return (struct refill_asker){scope == NULL ? COLLECTOR : TILL, scope, &poll};
}

static void test_a_refill_waits_until_the_partition_knows_the_scope(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll_reply reply;
    struct catalog_scope scope = {.collector = TILL, .version = 6, .kind = SCOPE_EVERYBODY};
    struct refill_asker asker = asker_of(&scope);
    bool ready = true;
    define(f, 1, VIPS, "");
    set_vip(f, "u1", true);
    settle(f);
    assert_true(refill_begin(&f->reader, &asker, &reply, &ready, &f->err));
    assert_false(ready);
    define(f, 1, EVERYBODY, "");
    settle(f);
    assert_true(refill_begin(&f->reader, &asker, &reply, &ready, &f->err));
    assert_true(ready);
    assert_true(reply.refill.begins && reply.refill.place.len > 0);
    assert_int_equal(reply.refill.scope_version, 6);
    assert_int_equal(reply.cursor_count, 1);
    assert_int_equal(reply.cursors[0], last_of(f, SHARED_OUTBOX));
}

static void test_a_collector_that_was_told_of_nobody_is_complete_at_once(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll_reply reply;
    struct refill_asker asker = {TILL, NULL, &poll};
    bool ready;
    set_vip(f, "u1", true);
    settle(f);
    assert_true(refill_begin(&f->reader, &asker, &reply, &ready, &f->err));
    assert_true(ready && reply.refill.begins);
    assert_int_equal(reply.refill.place.len, 0);
}

static void
test_cursors_ahead_of_the_outbox_or_behind_what_was_acknowledged_do_not_fit(void **state)
{
    struct fixture *f = *state;
    struct refill_asker asker = asker_of(NULL);
    struct buf message;
    bool fit;
    define(f, 1, "", "");
    set_vip(f, "u1", true);
    set_vip(f, "u2", true);
    settle(f);
    uint64_t last = last_of(f, COLLECTOR);
    const uint64_t acknowledged = last - 1;
    buf_init(&message, 256);
    partition_write_edge_ack(&message, COLLECTOR, acknowledged);
    assert_true(partition_handle(f->partition, PARTITION_SOURCE_LOCAL, 0, buf_slice(&message),
                                 now_ms, &f->err));
    buf_done(&message);
    settle(f);
    for (uint64_t cursor = 0; cursor <= last + 2; cursor++) {
        poll = (struct wire_poll){.cursor_count = 1, .cursors = {cursor}};
        assert_true(refill_check_cursors(&f->reader, &asker, &fit, &f->err));
        assert_int_equal(fit, cursor >= acknowledged && cursor <= last);
    }
    poll.cursor_count = 2; /* of another hub */
    assert_true(refill_check_cursors(&f->reader, &asker, &fit, &f->err));
    assert_false(fit);
}

struct seen {
    size_t count;
    size_t stop_after; /* within a step */
};

static bool on_profile(void *user, const struct profile *profile)
{
    struct seen *seen = user;
    assert_true(profile->identifier_count > 0);
    if (seen->stop_after == 0) {
        return false;
    }
    seen->stop_after--;
    seen->count++;
    return true;
}

static void test_a_refill_comes_by_each_profile_once_however_it_is_cut(void **state)
{
    enum { PEOPLE = 23 };
    struct fixture *f = *state;
    static struct wire_poll_reply reply;
    struct refill_asker asker = asker_of(NULL);
    bool ready;
    for (int i = 0; i < PEOPLE; i++) {
        char who[8];
        snprintf(who, sizeof who, "u%d", i);
        set_vip(f, who, true);
    }
    settle(f);
    for (size_t step = 1; step <= PEOPLE + 1; step++) {
        struct seen seen = {0};
        poll = (struct wire_poll){0};
        assert_true(refill_begin(&f->reader, &asker, &reply, &ready, &f->err));
        struct wire_place place = reply.refill.place;
        while (place.len > 0) {
            seen.stop_after = step;
            assert_true(refill_go_on(&f->reader, &place, on_profile, &seen, &f->err));
            assert_true(place.len == 0 || refill_profiles(&place) == seen.count);
        }
        assert_int_equal(seen.count, PEOPLE);
    }
    struct wire_place damaged = {.len = 3};
    assert_true(refill_go_on(&f->reader, &damaged, on_profile, NULL, &f->err));
    assert_int_equal(damaged.len, 0);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_members_of_a_wide_scope_stand_in_the_shared_outbox_and_others_do_not),
        WITH(test_who_leaves_the_scope_is_told_once_more_also_where_only_a_refill_told),
        WITH(test_a_change_of_scopes_alone_starts_no_backfill),
        WITH(test_a_collector_with_a_wide_scope_has_no_outbox_of_its_own),
        WITH(test_an_anonymous_visitors_consent_is_told_to_whoever_has_the_card),
        WITH(test_purchases_are_kept_and_told),
        WITH(test_another_definition_of_purchases_is_filled_in_from_the_past),
        WITH(test_a_store_of_an_earlier_version_gets_its_purchases_from_the_past),
        WITH(test_a_refill_waits_until_the_partition_knows_the_scope),
        WITH(test_a_collector_that_was_told_of_nobody_is_complete_at_once),
        WITH(test_cursors_ahead_of_the_outbox_or_behind_what_was_acknowledged_do_not_fit),
        WITH(test_a_refill_comes_by_each_profile_once_however_it_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
