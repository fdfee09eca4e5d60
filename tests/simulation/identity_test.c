/* Identity over partitions, against union-find.
 *
 * Random events link random identifiers. Their delivery to P partitions is interleaved at random
 * with commits, ticks, crashes that forget what was not committed, and repeated deliveries. When
 * everything has been delivered, profiles must be exactly the connected components of the links,
 * with all their events, and segments must be what a recount says - also when the segment was
 * defined in the middle.
 *
 * A second run has user ids, of which a profile may have one: whatever the order, no profile has
 * two, each event counts once in exactly one profile, and nothing stays frozen.
 *
 * SIM_SEEDS=N sets how many seeds run (default 200), SIM_SEED=N runs one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hub/partition/partition.h"
#include "hub/reader.h"
#include "shared/json.h"
#include "shared/rand.h"

/* Of four types; by the default rules a profile may have five of each. */
enum {
    IDS = 24,
    IDS_WITHIN_LIMITS = 20,
    EVENTS_MAX = 60,
    PARTITIONS_MAX = 16,
    LINKS_MAX = 3,
    CACHE_BYTES = 4096
};

/* A message on its way to a partition. */
struct mail {
    struct mail *next;
    uint64_t position;
    struct buf bytes;
};

struct queue {
    struct mail *first;
    struct mail *last;
};

struct node {
    struct world *world;
    uint32_t index;
    struct store *store;
    struct partition *partition;
    struct queue from[PARTITIONS_MAX + 1]; /* the last: from the router */
};

struct made_event {
    size_t count;
    size_t ids[LINKS_MAX];
    struct buf message;
    uint32_t home;
};

struct world {
    uint64_t seed;
    bool has_user_ids;
    struct rand rand;
    uint32_t partitions;
    int64_t now_ms;
    size_t event_count;
    struct made_event events[EVENTS_MAX];
    size_t define_before; /* the event before which the segment is defined */
    struct buf define;
    struct node nodes[PARTITIONS_MAX];
};

static const char *const types[] = {"anonymous_id", "email", "phone", "loyalty_id"};

static struct identifier id_of(const struct world *w, size_t i, char text[16])
{
    /* Phones keep their digits only, and an address has an @. */
    int len = snprintf(text, 16, "%zu%s", 1000 + i, i % 4 == 1 ? "@x" : "");
    const char *type = w->has_user_ids && i % 4 == 3 ? "user_id" : types[i % 4];
    return (struct identifier){slice_text(type), slice_make(text, (size_t)len)};
}

static void queue_put(struct queue *q, uint64_t position, struct slice bytes)
{
    struct mail *mail = memory_allocate_zeroed(sizeof *mail);
    mail->position = position;
    buf_init(&mail->bytes, SIZE_MAX / 2);
    buf_put_slice(&mail->bytes, bytes);
    *(q->first == NULL ? &q->first : &q->last->next) = mail;
    q->last = mail;
}

static void mail_free(struct mail *mail)
{
    buf_done(&mail->bytes);
    free(mail);
}

static void queue_clear(struct queue *q)
{
    while (q->first != NULL) {
        struct mail *next = q->first->next;
        mail_free(q->first);
        q->first = next;
    }
}

static void on_message(void *user, uint32_t to, uint64_t sequence, struct slice message)
{
    struct node *node = user;
    queue_put(&node->world->nodes[to].from[node->index], sequence, message);
}

static void on_edge(void *user, uint32_t collector)
{
    (void)user;
    (void)collector;
}

/* ---- The events ---- */

static void pack_external_ids(const struct world *w, const struct made_event *e, struct buf *body)
{
    msgpack_packer k;
    value_packer_init(&k, body);
    msgpack_pack_map(&k, 1);
    value_pack_cstr(&k, "context");
    msgpack_pack_map(&k, 1);
    value_pack_cstr(&k, "externalIds");
    msgpack_pack_array(&k, e->count);
    for (size_t i = 0; i < e->count; i++) {
        char text[16];
        struct identifier id = id_of(w, e->ids[i], text);
        msgpack_pack_map(&k, 2);
        value_pack_cstr(&k, "type");
        value_pack_text(&k, id.type);
        value_pack_cstr(&k, "id");
        value_pack_text(&k, id.value);
    }
}

/* Where identity_extract() would begin: the anonymous id, else the highest priority. */
static size_t routing_id(const struct made_event *e)
{
    /* anonymous_id, email, phone, loyalty_id or user_id */
    static const int rank[] = {0, 2, 3, 1};
    size_t best = 0;
    for (size_t i = 1; i < e->count; i++) {
        if (rank[e->ids[i] % 4] < rank[e->ids[best] % 4]) {
            best = i;
        }
    }
    return e->ids[best];
}

static void make_event(struct world *w, size_t n)
{
    struct made_event *e = &w->events[n];
    struct buf body;
    struct buf packed;
    char message_id[32];
    char text[16];
    e->count = 1 + rand_below(&w->rand, LINKS_MAX);
    for (size_t i = 0; i < e->count; i++) {
        e->ids[i] = rand_below(&w->rand, w->has_user_ids ? IDS : IDS_WITHIN_LIMITS);
    }
    snprintf(message_id, sizeof message_id, "message-%zu", n);
    buf_init(&body, 4096);
    buf_init(&packed, 8192);
    buf_init(&e->message, 8192);
    pack_external_ids(w, e, &body);
    struct event event = {.type = EVENT_TRACK,
                          .timestamp_ms = 1000000 + (int64_t)rand_below(&w->rand, 1000),
                          .received_ms = 1000000,
                          .source = slice_text("till"),
                          .name = slice_text("Bought"),
                          .message_id = slice_text(message_id),
                          .body = buf_slice(&body)};
    event_pack(&event, &packed);
    partition_write_event(&e->message, 1, buf_slice(&packed));
    e->home = home_of(id_of(w, routing_id(e), text), w->partitions);
    buf_done(&body);
    buf_done(&packed);
}

static void make_define(struct world *w)
{
    static const char head[] =
        "{\"version\":5,\"segments\":[{\"id\":7,\"key\":\"buyers\",\"version\":5,"
        "\"where\":{\"event\":\"Bought\",\"count\":{\"gte\":3}}}],\"rules\":";
    struct buf json;
    struct buf catalog;
    buf_init(&json, 16384);
    buf_init(&catalog, 16384);
    buf_init(&w->define, 16384);
    buf_put(&json, head, strlen(head));
    buf_put(&json, identity_rules_default, strlen(identity_rules_default));
    buf_put(&json, "}", 1);
    assert_int_equal(json_read(buf_slice(&json), &catalog), JSON_FINE);
    partition_write_define(&w->define, buf_slice(&catalog));
    buf_done(&json);
    buf_done(&catalog);
}

/* ---- The world ---- */

static void open_node(struct node *node)
{
    struct world *w = node->world;
    struct partition_options options = {node->index, w->partitions, CACHE_BYTES};
    struct partition_listener listener = {on_message, on_edge, node};
    struct error err;
    if (!partition_open(node->store, &options, &listener, &node->partition, &err)) {
        fail_msg("seed %llu: %s", (unsigned long long)w->seed, err.message);
    }
}

/* What the router still has to give to a partition: its events and the definition, by position.
 * Event n has position 2n+2, so that the definition fits between. */
static void refill_from_router(struct node *node)
{
    struct world *w = node->world;
    uint64_t reached = partition_position(node->partition, w->partitions);
    struct queue *q = &node->from[w->partitions];
    queue_clear(q);
    for (size_t n = 0; n <= w->event_count; n++) {
        if (n == w->define_before && 2 * n + 1 > reached) {
            queue_put(q, 2 * n + 1, buf_slice(&w->define));
        }
        if (n < w->event_count && w->events[n].home == node->index && 2 * n + 2 > reached) {
            queue_put(q, 2 * n + 2, buf_slice(&w->events[n].message));
        }
    }
}

static void redeliver(struct node *from, struct node *to)
{
    struct error err;
    queue_clear(&to->from[from->index]);
    assert_true(partition_redeliver(from->partition, to->index,
                                    partition_position(to->partition, from->index), &err));
}

static void crash(struct node *node)
{
    struct world *w = node->world;
    partition_close(&node->partition);
    store_memory_crash(node->store);
    open_node(node);
    for (uint32_t i = 0; i < w->partitions; i++) {
        if (i != node->index) {
            redeliver(&w->nodes[i], node);
        }
    }
    refill_from_router(node);
}

static void commit(struct node *node)
{
    struct world *w = node->world;
    struct error err;
    for (uint32_t i = 0; i < w->partitions; i++) {
        /* Only what the receiver has on disk may be forgotten. */
        partition_delivered(node->partition, i, 0);
    }
    if (partition_is_dirty(node->partition) && !partition_commit(node->partition, &err)) {
        fail_msg("seed %llu: %s", (unsigned long long)w->seed, err.message);
    }
}

static bool deliver(struct node *node, uint32_t source)
{
    struct world *w = node->world;
    struct mail *mail = node->from[source].first;
    struct error err;
    if (mail == NULL) {
        return false;
    }
    node->from[source].first = mail->next;
    if (!partition_handle(node->partition, (int32_t)source, mail->position, buf_slice(&mail->bytes),
                          w->now_ms, &err)) {
        fail_msg("seed %llu: %s", (unsigned long long)w->seed, err.message);
    }
    /* Sometimes it comes twice. */
    if (rand_below(&w->rand, 10) == 0) {
        assert_true(partition_handle(node->partition, (int32_t)source, mail->position,
                                     buf_slice(&mail->bytes), w->now_ms, &err));
    }
    mail_free(mail);
    return true;
}

static void tick(struct node *node)
{
    struct error err;
    bool more;
    commit(node);
    assert_true(partition_tick(node->partition, node->world->now_ms, &more, &err));
}

static void step(struct world *w)
{
    struct node *node = &w->nodes[rand_below(&w->rand, w->partitions)];
    w->now_ms += (int64_t)rand_below(&w->rand, 3);
    switch (rand_below(&w->rand, 12)) {
    case 0:
        crash(node);
        break;
    case 1:
    case 2:
        commit(node);
        break;
    case 3:
        tick(node);
        break;
    default:
        (void)deliver(node, (uint32_t)rand_below(&w->rand, w->partitions + 1));
        break;
    }
}

/* Deliver and commit until nothing is under way any more. */
static void settle(struct world *w)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (uint32_t i = 0; i < w->partitions; i++) {
            for (uint32_t s = 0; s <= w->partitions; s++) {
                while (deliver(&w->nodes[i], s)) {
                    moved = true;
                }
            }
            moved = moved || partition_is_dirty(w->nodes[i].partition);
            tick(&w->nodes[i]);
            moved = moved || partition_next_timer(w->nodes[i].partition) == 0;
            commit(&w->nodes[i]);
        }
    }
}

/* ---- What must come out ---- */

static size_t root_of(size_t *parent, size_t i)
{
    while (parent[i] != i) {
        i = parent[i];
    }
    return i;
}

static void check(struct world *w)
{
    size_t parent[IDS];
    bool used[IDS] = {false};
    size_t events[IDS] = {0};
    size_t members = 0;
    size_t expected_members = 0;
    struct store *stores[PARTITIONS_MAX];
    struct profile *profiles[IDS] = {NULL};
    struct error err;
    for (size_t i = 0; i < IDS; i++) {
        parent[i] = i;
    }
    for (size_t n = 0; n < w->event_count; n++) {
        for (size_t i = 0; i < w->events[n].count; i++) {
            used[w->events[n].ids[i]] = true;
            parent[root_of(parent, w->events[n].ids[i])] = root_of(parent, w->events[n].ids[0]);
        }
    }
    for (size_t n = 0; n < w->event_count; n++) {
        events[root_of(parent, w->events[n].ids[0])]++;
    }
    for (uint32_t i = 0; i < w->partitions; i++) {
        stores[i] = w->nodes[i].store;
    }
    struct reader reader = {stores, w->partitions};
    for (size_t i = 0; i < IDS; i++) {
        char text[16];
        assert_true(reader_profile_of(&reader, id_of(w, i, text), &profiles[i], &err));
        if (used[i] != (profiles[i] != NULL)) {
            fail_msg("seed %llu P %u: identifier %zu should %sexist", (unsigned long long)w->seed,
                     w->partitions, i, used[i] ? "" : "not ");
        }
    }
    for (size_t i = 0; i < IDS; i++) {
        for (size_t j = 0; used[i] && j < i; j++) {
            bool same = used[j] && root_of(parent, i) == root_of(parent, j);
            bool is_same = used[j] && profile_id_equal(profiles[i]->id, profiles[j]->id);
            if (same != is_same) {
                fail_msg("seed %llu P %u: identifiers %zu and %zu should be %s",
                         (unsigned long long)w->seed, w->partitions, i, j,
                         same ? "together" : "apart");
            }
        }
        if (used[i]) {
            size_t expected = events[root_of(parent, i)];
            bool is_member = profile_find_membership(profiles[i], 7) != NULL;
            if (profiles[i]->event_count != expected || is_member != (expected >= 3) ||
                profiles[i]->is_frozen) {
                fail_msg("seed %llu P %u: identifier %zu has %llu events of %zu, member %d",
                         (unsigned long long)w->seed, w->partitions, i,
                         (unsigned long long)profiles[i]->event_count, expected, is_member);
            }
            expected_members += root_of(parent, i) == i && expected >= 3;
        }
    }
    for (uint32_t i = 0; i < w->partitions; i++) {
        uint64_t size;
        assert_true(partition_read_size(stores[i], NULL, 7, &size, &err));
        members += size;
    }
    if (members != expected_members) {
        fail_msg("seed %llu P %u: %zu members counted, %zu expected", (unsigned long long)w->seed,
                 w->partitions, members, expected_members);
    }
    for (size_t i = 0; i < IDS; i++) {
        profile_free(&profiles[i]);
    }
}

struct tally {
    uint64_t seed;
    uint64_t events;
    size_t profiles;
};

static void on_profile(void *user, const struct profile *profile)
{
    struct tally *t = user;
    t->events += profile->event_count;
    t->profiles++;
    if (profile->is_frozen || profile_count_identifiers(profile, slice_text("user_id")) > 1 ||
        profile_count_identifiers(profile, slice_text("email")) > 5 ||
        profile_count_identifiers(profile, slice_text("phone")) > 5) {
        fail_msg("seed %llu: a profile %s", (unsigned long long)t->seed,
                 profile->is_frozen ? "stays frozen" : "has more of a type than its limit");
    }
}

static void check_limits(struct world *w)
{
    struct store *stores[PARTITIONS_MAX];
    struct reader_place place = {0};
    struct tally tally = {.seed = w->seed};
    struct error err;
    for (uint32_t i = 0; i < w->partitions; i++) {
        stores[i] = w->nodes[i].store;
    }
    struct reader reader = {stores, w->partitions};
    assert_true(reader_profiles(&reader, &place, 1000, on_profile, &tally, &err));
    if (tally.events != w->event_count) {
        fail_msg("seed %llu P %u: %llu events counted of %zu", (unsigned long long)w->seed,
                 w->partitions, (unsigned long long)tally.events, w->event_count);
    }
}

static void run(uint64_t seed, uint32_t partitions, bool has_user_ids)
{
    struct world *w = memory_allocate_zeroed(sizeof *w);
    w->seed = seed;
    w->partitions = partitions;
    w->has_user_ids = has_user_ids;
    w->now_ms = 2000000;
    rand_seeded_init(&w->rand, seed * 31 + partitions);
    w->event_count = 10 + rand_below(&w->rand, EVENTS_MAX - 10);
    w->define_before = rand_below(&w->rand, w->event_count);
    make_define(w);
    for (size_t n = 0; n < w->event_count; n++) {
        make_event(w, n);
    }
    for (uint32_t i = 0; i < partitions; i++) {
        w->nodes[i].world = w;
        w->nodes[i].index = i;
        w->nodes[i].store = store_memory_open();
        open_node(&w->nodes[i]);
        refill_from_router(&w->nodes[i]);
    }
    for (int n = 0; n < 600; n++) {
        step(w);
    }
    settle(w);
    if (has_user_ids) {
        check_limits(w);
    } else {
        check(w);
    }
    for (uint32_t i = 0; i < partitions; i++) {
        for (uint32_t s = 0; s <= partitions; s++) {
            queue_clear(&w->nodes[i].from[s]);
        }
        partition_close(&w->nodes[i].partition);
        store_close(&w->nodes[i].store);
    }
    for (size_t n = 0; n < w->event_count; n++) {
        buf_done(&w->events[n].message);
    }
    buf_done(&w->define);
    free(w);
}

static void run_seeds(bool has_user_ids)
{
    const char *one = getenv("SIM_SEED");
    const char *many = getenv("SIM_SEEDS");
    uint64_t first = one == NULL ? 1 : strtoull(one, NULL, 10);
    uint64_t count = one != NULL ? 1 : many == NULL ? 200 : strtoull(many, NULL, 10);
    for (uint64_t seed = first; seed < first + count; seed++) {
        run(seed, 1, has_user_ids);
        run(seed, 4, has_user_ids);
        run(seed, 16, has_user_ids);
    }
}

static void profiles_are_the_connected_components_of_the_links(void **state)
{
    (void)state;
    run_seeds(false);
}

static void a_profile_never_has_more_of_a_type_than_its_limit(void **state)
{
    (void)state;
    run_seeds(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_are_the_connected_components_of_the_links),
        cmocka_unit_test(a_profile_never_has_more_of_a_type_than_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
