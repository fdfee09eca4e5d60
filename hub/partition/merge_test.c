/* Merges between two partitions, message by message: what is in force here and not yet there, and
 * what is left in either store. Random merges have a simulation, tests/simulation/identity_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hub/keyspace.h"
#include "hub/partition/partition.h"
#include "shared/json.h"

enum { NODES = 2, ROUTER = NODES, COLLECTOR = 7, MAIL_MAX = 64, CACHE_BYTES = 64 * 1024 };

static const int64_t start_ms = 1795292000000;

struct mail {
    uint32_t to;
    int32_t from;
    uint64_t sequence;
    struct buf bytes;
};

struct node {
    struct fixture *fixture;
    uint32_t index;
    struct store *store;
    struct partition *partition;
    uint64_t position; /* last given by the router */
};

struct fixture {
    struct node nodes[NODES];
    int64_t now_ms;
    size_t mail_count;
    struct mail mail[MAIL_MAX]; /* under way, oldest first */
    char ids[NODES][16];        /* an anonymous id at home in each partition */
    char emails[NODES][32];
    struct buf bytes;
    struct error err;
};

static void on_message(void *user, uint32_t to, uint64_t sequence, struct slice message)
{
    struct node *node = user;
    struct fixture *f = node->fixture;
    assert_true(f->mail_count < MAIL_MAX);
    struct mail *mail = &f->mail[f->mail_count++];
    *mail = (struct mail){to, (int32_t)node->index, sequence, {0}};
    buf_init(&mail->bytes, SIZE_MAX / 2);
    buf_put_slice(&mail->bytes, message);
}

static void on_edge(void *user, uint32_t collector)
{
    (void)user;
    (void)collector;
}

static void find_names(struct fixture *f, uint32_t home)
{
    for (int n = 0; f->ids[home][0] == 0 || f->emails[home][0] == 0; n++) {
        char id[16];
        char email[32];
        snprintf(id, sizeof id, "a%d", n);
        snprintf(email, sizeof email, "p%d@example.com", n);
        if (home_of((struct identifier){slice_text("anonymous_id"), slice_text(id)}, NODES) ==
            home) {
            memcpy(f->ids[home], id, sizeof id);
        }
        if (home_of((struct identifier){slice_text("email"), slice_text(email)}, NODES) == home) {
            memcpy(f->emails[home], email, sizeof email);
        }
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->now_ms = start_ms;
    buf_init(&f->bytes, 1024 * 1024);
    for (uint32_t i = 0; i < NODES; i++) {
        struct node *node = &f->nodes[i];
        *node = (struct node){.fixture = f, .index = i, .store = store_memory_open()};
        struct partition_options options = {i, NODES, CACHE_BYTES};
        struct partition_listener listener = {on_message, on_edge, node};
        assert_true(partition_open(node->store, &options, &listener, &node->partition, &f->err));
        find_names(f, i);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < NODES; i++) {
        partition_close(&f->nodes[i].partition);
        store_close(&f->nodes[i].store);
    }
    buf_done(&f->bytes);
    free(f);
    return 0;
}

static void take(struct fixture *f, uint32_t to, int32_t from, uint64_t position,
                 struct slice message)
{
    struct partition *p = f->nodes[to].partition;
    if (!partition_handle(p, from, position, message, f->now_ms, &f->err) ||
        !partition_commit(p, &f->err)) {
        fail_msg("%s", f->err.message);
    }
}

/* Everything that is under way arrives, and what follows from it. */
static void deliver(struct fixture *f)
{
    while (f->mail_count > 0) {
        struct mail mail = f->mail[0];
        memmove(f->mail, f->mail + 1, --f->mail_count * sizeof *f->mail);
        take(f, mail.to, mail.from, mail.sequence, buf_slice(&mail.bytes));
        buf_done(&mail.bytes);
    }
}

static void settle(struct fixture *f)
{
    deliver(f);
    for (uint32_t i = 0; i < NODES; i++) {
        bool more = true;
        while (more || partition_next_timer(f->nodes[i].partition) <= f->now_ms) {
            assert_true(partition_tick(f->nodes[i].partition, f->now_ms, &more, &f->err));
            assert_true(partition_commit(f->nodes[i].partition, &f->err));
        }
    }
    deliver(f);
}

static void give(struct fixture *f, uint32_t to, const struct buf *message)
{
    take(f, to, ROUTER, ++f->nodes[to].position, buf_slice(message));
}

/* Three purchases ever, and one within the last hour. */
static void define(struct fixture *f, uint32_t to, uint64_t version)
{
    struct buf json;
    struct buf catalog;
    struct buf message;
    buf_init(&json, 64 * 1024);
    buf_init(&catalog, 64 * 1024);
    buf_init(&message, 64 * 1024);
    buf_put_format(&json,
                   "{\"version\":%llu,\"segments\":[{\"id\":1,\"key\":\"three\",\"version\":%llu,"
                   "\"where\":{\"event\":\"Bought\",\"count\":{\"eq\":3}}},"
                   "{\"id\":2,\"key\":\"recent\",\"version\":%llu,\"where\":{\"event\":\"Bought\","
                   "\"within\":\"1h\"}}],\"rules\":",
                   (unsigned long long)version, (unsigned long long)version,
                   (unsigned long long)version);
    buf_put_slice(&json, slice_text(identity_rules_default));
    buf_put_u8(&json, '}');
    assert_int_equal(json_read(buf_slice(&json), &catalog), JSON_FINE);
    partition_write_define(&message, buf_slice(&catalog));
    give(f, to, &message);
    buf_done(&json);
    buf_done(&catalog);
    buf_done(&message);
}

/* An event of an anonymous id, of an e-mail address, or one that links both (either may be NULL).
 */
static void happen(struct fixture *f, uint32_t to, const char *name, const char *anonymous_id,
                   const char *email, const char *message_id)
{
    char body_json[128] = "{}";
    struct buf body;
    struct buf packed;
    struct buf message;
    buf_init(&body, 4096);
    buf_init(&packed, 8192);
    buf_init(&message, 8192);
    if (email != NULL) {
        snprintf(body_json, sizeof body_json,
                 "{\"context\":{\"externalIds\":[{\"type\":\"email\",\"id\":\"%s\"}]}}", email);
    }
    assert_int_equal(json_read(slice_text(body_json), &body), JSON_FINE);
    f->now_ms += 1000;
    event_pack(&(struct event){.type = EVENT_TRACK,
                               .timestamp_ms = f->now_ms,
                               .received_ms = f->now_ms,
                               .source = slice_text("till"),
                               .message_id = slice_text(message_id),
                               .anonymous_id = slice_text(anonymous_id == NULL ? "" : anonymous_id),
                               .name = slice_text(name),
                               .body = buf_slice(&body)},
               &packed);
    partition_write_event(&message, COLLECTOR, buf_slice(&packed));
    give(f, to, &message);
    buf_done(&body);
    buf_done(&packed);
    buf_done(&message);
}

/* ---- What the stores say ---- */

static struct profile *stored(struct fixture *f, uint32_t node, struct profile_id id)
{
    struct key key = key_profile(id);
    struct profile *profile = NULL;
    bool found;
    assert_true(store_get(f->nodes[node].store, NULL, key_slice(&key), &f->bytes, &found, &f->err));
    assert_true(!found || profile_unpack(buf_slice(&f->bytes), &profile, &f->err));
    return profile;
}

/* Does this key of a store stand for something that is there? */
static bool has_owner(struct fixture *f, uint32_t node, struct slice key)
{
    uint8_t kind = key.data[0];
    bool at_end = kind == 'm' || kind == 'w';
    size_t at = at_end ? key.len - PROFILE_ID_BYTES : 1;
    if (strchr("mwtjf", kind) == NULL) {
        return true;
    }
    struct profile *profile = stored(f, node, key_profile_at(key, at));
    bool fine = profile != NULL;
    if (fine && kind == 'w') {
        fine = profile->timer_ms == (int64_t)read_u64(key.data + 1);
    } else if (fine && kind == 'm') {
        fine = profile_find_membership(profile, read_u32(key.data + 1)) != NULL;
    } else if (fine && kind == 'f') {
        fine = profile->is_frozen;
    }
    profile_free(&profile);
    return fine;
}

/* Every timer, membership, event and message that waits belongs to a profile that is there and
 * knows of it. */
static size_t count_keys_without_orphans(struct fixture *f, char kind)
{
    size_t count = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        struct store_iterator *it = store_iterator_open(f->nodes[i].store, NULL);
        for (store_iterator_seek(it, slice_text("")); store_iterator_valid(it);
             store_iterator_next(it)) {
            struct slice key = store_iterator_key(it);
            count += key.data[0] == (uint8_t)kind;
            if (!has_owner(f, i, key)) {
                fail_msg("partition %u keeps a key '%c' of nobody", i, key.data[0]);
            }
        }
        store_iterator_close(&it);
    }
    return count;
}

/* The one profile that is left; to be freed. */
static struct profile *only_profile(struct fixture *f)
{
    struct profile *found = NULL;
    for (uint32_t i = 0; i < NODES; i++) {
        struct store_iterator *it = store_iterator_open(f->nodes[i].store, NULL);
        for (store_iterator_seek(it, slice_text("p"));
             store_iterator_valid(it) && store_iterator_key(it).data[0] == 'p';
             store_iterator_next(it)) {
            assert_null(found);
            assert_true(profile_unpack(store_iterator_value(it), &found, &f->err));
        }
        store_iterator_close(&it);
    }
    assert_non_null(found);
    return found;
}

static bool is_member(struct fixture *f, uint32_t segment)
{
    struct profile *p = only_profile(f);
    bool member = profile_find_membership(p, segment) != NULL;
    profile_free(&p);
    return member;
}

/* ---- Tests ---- */

/* The browser in partition 0 is older; the customer in partition 1 has bought twice. */
static void make_two(struct fixture *f)
{
    happen(f, 0, "Bought", f->ids[0], NULL, "m1");
    happen(f, 1, "Bought", NULL, f->emails[1], "m2");
    happen(f, 1, "Bought", NULL, f->emails[1], "m3");
    settle(f);
}

static void link_both(struct fixture *f)
{
    happen(f, 0, "Seen", f->ids[0], f->emails[1], "link");
    deliver(f);
}

static void test_a_loser_that_follows_older_definitions_brings_all_its_events(void **state)
{
    struct fixture *f = *state;
    make_two(f);
    define(f, 0, 2); /* the other partition has not heard of it yet */
    settle(f);
    link_both(f);
    assert_true(is_member(f, 1)); /* exactly three, from the timelines of both */
    assert_true(is_member(f, 2));
    define(f, 1, 2);
    settle(f);
    assert_true(is_member(f, 1));
    (void)count_keys_without_orphans(f, 'w');
}

static void test_a_survivor_that_follows_older_definitions_is_filled_in_when_they_come(void **state)
{
    struct fixture *f = *state;
    make_two(f);
    define(f, 1, 2); /* the loser's partition alone */
    settle(f);
    link_both(f);
    assert_false(is_member(f, 1)); /* nobody here has heard of the segment */
    define(f, 0, 2);
    settle(f);
    assert_true(is_member(f, 1));
    assert_true(is_member(f, 2));
    happen(f, 0, "Bought", f->ids[0], NULL, "m4");
    settle(f);
    assert_false(is_member(f, 1)); /* four: none was counted twice, none was left out */
}

static void test_a_merge_leaves_one_timer_and_nothing_of_the_loser(void **state)
{
    struct fixture *f = *state;
    define(f, 0, 2);
    define(f, 1, 2);
    make_two(f);
    assert_int_equal(count_keys_without_orphans(f, 'w'), 2);
    assert_int_equal(count_keys_without_orphans(f, 'm'), 2);
    link_both(f);
    assert_int_equal(count_keys_without_orphans(f, 'w'), 1);
    assert_int_equal(count_keys_without_orphans(f, 'm'), 2); /* of both segments */
    assert_int_equal(count_keys_without_orphans(f, 't'), 4);
    assert_int_equal(count_keys_without_orphans(f, 'x'), 1);
    f->now_ms += 3600000;
    settle(f);
    assert_false(is_member(f, 2));
    assert_int_equal(count_keys_without_orphans(f, 'w'), 0);
    assert_int_equal(count_keys_without_orphans(f, 'm'), 1);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_loser_that_follows_older_definitions_brings_all_its_events),
        WITH(test_a_survivor_that_follows_older_definitions_is_filled_in_when_they_come),
        WITH(test_a_merge_leaves_one_timer_and_nothing_of_the_loser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
