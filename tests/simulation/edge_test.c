/* The way back to the edge, against what the hub knows.
 *
 * Random events, scopes, polls, look-ups, lost replies, lost caches and power cuts at the box, with
 * definitions that reach partitions late. When everything has been delivered the box must have
 * exactly the cards of its scope, each as new as its profile. Then the same once more without what
 * makes a refill begin.
 *
 * SIM_SEEDS=N sets how many seeds run (default 200), SIM_SEED=N runs one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "collector/edge/edge.h"
#include "hub/card.h"
#include "hub/poll_answer.h"
#include "shared/json.h"
#include "shared/rand.h"

enum { PARTITIONS = 3, PEOPLE = 20, STEPS = 120, OTHER_COLLECTOR = 99 };
/* While it is good, evidence is told thirty times. */
enum { ME_FOR_MS = 60000, EVIDENCE_LATE_MS_MAX = ME_FOR_MS / 30 };

static const int64_t start_ms = 1795292000000;
static const uint8_t box_key[VAULT_SECRET_BYTES] = {7};

struct mail {
    struct mail *next;
    uint32_t from;
    uint32_t to;
    uint64_t position;
    struct buf bytes;
};

/* A card that was looked up and has not come yet. */
struct looked_up {
    bool is_under_way;
    uint64_t generation;
    struct buf card;
};

struct world {
    uint64_t seed;
    struct rand rand;
    struct clock_fake clock;
    struct store *log_store;
    struct eventlog *log;
    struct registry *registry;
    struct definitions *definitions;
    struct store *stores[PARTITIONS];
    struct partition *partitions[PARTITIONS];
    uint64_t defined[PARTITIONS]; /* the log's records that it has handled */
    struct mail *first;
    struct mail **last;
    uint64_t position;
    uint32_t collector;
    struct suppressions *suppressions;
    struct edges_parts parts;
    struct store *box_store;
    struct edge *edge;
    struct looked_up look_up;
    struct error err;
};

struct node {
    struct world *world;
    uint32_t index;
};
static struct node nodes[PARTITIONS];

#define MUST(call, w)                                                                              \
    do {                                                                                           \
        if (!(call)) {                                                                             \
            fail_msg("seed %llu: " #call ": %s", (unsigned long long)(w)->seed, (w)->err.message); \
        }                                                                                          \
    } while (0)

/* ---- The hub ---- */

static void on_message(void *user, uint32_t to, uint64_t sequence, struct slice message)
{
    struct node *node = user;
    struct mail *mail = memory_allocate_zeroed(sizeof *mail);
    *mail = (struct mail){.from = node->index, .to = to, .position = sequence};
    buf_init(&mail->bytes, SIZE_MAX / 2);
    buf_put_slice(&mail->bytes, message);
    *node->world->last = mail;
    node->world->last = &mail->next;
}

static void on_edge(void *user, uint32_t collector)
{
    (void)user;
    (void)collector;
}

static void handle(struct world *w, uint32_t partition, int32_t source, uint64_t position,
                   struct slice message)
{
    MUST(
        partition_handle(w->partitions[partition], source, position, message, w->clock.ms, &w->err),
        w);
}

/* Commit everything, pass on the mail that this causes, and let timers and backfills work. */
static void settle(struct world *w)
{
    bool busy = true;
    while (busy) {
        busy = false;
        for (uint32_t i = 0; i < PARTITIONS; i++) {
            bool more = false;
            if (partition_is_dirty(w->partitions[i])) {
                MUST(partition_commit(w->partitions[i], &w->err), w);
            }
            if (partition_next_timer(w->partitions[i]) <= w->clock.ms) {
                MUST(partition_tick(w->partitions[i], w->clock.ms, &more, &w->err), w);
                busy = true;
            }
        }
        while (w->first != NULL) {
            struct mail *mail = w->first;
            w->first = mail->next;
            w->last = w->first == NULL ? &w->first : w->last;
            handle(w, mail->to, (int32_t)mail->from, mail->position, buf_slice(&mail->bytes));
            buf_done(&mail->bytes);
            free(mail);
            busy = true;
        }
        for (uint32_t i = 0; i < PARTITIONS; i++) {
            busy = busy || partition_is_dirty(w->partitions[i]);
        }
    }
}

/* The next definition of the log, if there is one, to a partition. */
static bool define(struct world *w, uint32_t partition)
{
    struct buf bytes;
    struct buf message;
    struct eventlog_record record;
    msgpack_zone zone;
    bool found;
    if (w->defined[partition] + 1 >= eventlog_next(w->log)) {
        return false;
    }
    buf_init(&bytes, SIZE_MAX / 2);
    buf_init(&message, SIZE_MAX / 2);
    assert_true(msgpack_zone_init(&zone, 8192));
    MUST(eventlog_read(w->log, ++w->defined[partition], &bytes, &zone, &record, &found, &w->err),
         w);
    partition_write_define(&message, record.bytes);
    handle(w, partition, PARTITIONS, ++w->position, buf_slice(&message));
    msgpack_zone_destroy(&zone);
    buf_done(&message);
    buf_done(&bytes);
    return true;
}

static void on_registry(void *user)
{
    struct world *w = user;
    definitions_reload(w->definitions, w->registry);
}

static void put(struct world *w, enum registry_kind kind, const char *key, const char *json)
{
    struct buf body;
    struct catalog_error where;
    buf_init(&body, 4096);
    assert_int_equal(json_read(slice_text(json), &body), JSON_FINE);
    MUST(registry_put(w->registry, kind, slice_text(key), buf_slice(&body), &where, &w->err), w);
    buf_done(&body);
}

static void open_hub(struct world *w)
{
    static const uint8_t hub_secret[SEAL_KEY_BYTES] = {1};
    struct buf bytes;
    struct registry_entry entry;
    w->log_store = store_memory_open();
    w->definitions = definitions_new();
    MUST(eventlog_open(w->log_store, &w->log, &w->err), w);
    MUST(registry_open(w->log, &w->clock.clock, on_registry, w, &w->registry, &w->err), w);
    on_registry(w);
    put(w, REGISTRY_RULES, "rules",
        "{\"identifiers\":[{\"type\":\"user_id\",\"limit\":1,\"priority\":100},{\"type\":\"email\"}"
        ","
        "{\"type\":\"anonymous_id\",\"known\":false}],\"me_for\":\"60s\"}");
    put(w, REGISTRY_SEGMENT, "gold", "{\"where\":{\"trait\":\"tier\",\"eq\":\"gold\"}}");
    put(w, REGISTRY_SEGMENT, "fresh", "{\"where\":{\"event\":\"Seen\",\"within\":\"20s\"}}");
    put(w, REGISTRY_COLLECTOR, "box", "{}");
    buf_init(&bytes, 4096);
    assert_true(registry_find(w->registry, REGISTRY_COLLECTOR, slice_text("box"), &bytes, &entry));
    w->collector = entry.id;
    buf_done(&bytes);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        struct partition_options options = {i, PARTITIONS, 4096};
        nodes[i] = (struct node){w, i};
        struct partition_listener listener = {on_message, on_edge, &nodes[i]};
        w->stores[i] = store_memory_open();
        MUST(partition_open(w->stores[i], &options, &listener, &w->partitions[i], &w->err), w);
    }
    MUST(suppressions_open(w->log, hub_secret, &w->clock.clock, on_registry, w, &w->suppressions,
                           &w->err),
         w);
    w->parts = (struct edges_parts){.registry = w->registry,
                                    .suppressions = w->suppressions,
                                    .definitions = w->definitions,
                                    .reader = {w->stores, PARTITIONS},
                                    .clock = &w->clock.clock};
}

/* ---- What happens ---- */

static struct identifier identifier_of(const char *type, char letter, uint64_t n, char text[16])
{
    int len = snprintf(text, 16, "%c%llu@x", letter, (unsigned long long)n);
    return (struct identifier){slice_text(type), slice_make(text, (size_t)len)};
}

/* Of a browser, a person, or both, who are linked by it. */
static void event(struct world *w)
{
    static const char *const bodies[] = {
        "{\"traits\":{\"tier\":\"gold\"}}",
        "{\"traits\":{\"tier\":\"none\"}}",
        "{\"traits\":{\"email\":\"e1@x\"}}",
        "{\"traits\":{\"email\":\"e2@x\"}}",
        "{\"context\":{\"consent\":{\"categoryPreferences\":{\"marketing\":true}}}}",
        "{\"context\":{\"consent\":{\"categoryPreferences\":{\"marketing\":false}}}}",
    };
    char anonymous[16];
    char user[16];
    char message_id[32];
    struct buf body;
    struct buf packed;
    struct buf message;
    uint64_t who = rand_below(&w->rand, 5); /* 4: both */
    uint64_t what = rand_below(&w->rand, 9);
    bool is_identify = what < 6;
    struct identifier a =
        identifier_of("anonymous_id", 'a', rand_below(&w->rand, PEOPLE), anonymous);
    struct identifier u = identifier_of("user_id", 'u', rand_below(&w->rand, PEOPLE), user);
    a.value.len = who == 0 ? 0 : a.value.len;
    u.value.len = who > 0 && who < 4 ? 0 : u.value.len;
    buf_init(&body, 4096);
    buf_init(&packed, 8192);
    buf_init(&message, 16384);
    snprintf(message_id, sizeof message_id, "m%llu", (unsigned long long)w->position);
    assert_int_equal(json_read(slice_text(is_identify ? bodies[what] : "{}"), &body), JSON_FINE);
    event_pack(&(struct event){.type = is_identify ? EVENT_IDENTIFY : EVENT_TRACK,
                               .timestamp_ms = w->clock.ms,
                               .received_ms = w->clock.ms,
                               .source = slice_text("web"),
                               .message_id = slice_text(message_id),
                               .anonymous_id = a.value,
                               .user_id = u.value,
                               .name = slice_text(is_identify ? "" : "Seen"),
                               .body = buf_slice(&body)},
               &packed);
    bool is_here = rand_below(&w->rand, 2) == 0;
    partition_write_event(&message, is_here ? w->collector : OTHER_COLLECTOR, buf_slice(&packed));
    handle(w, home_of(a.value.len > 0 ? a : u, PARTITIONS), PARTITIONS, ++w->position,
           buf_slice(&message));
    buf_done(&body);
    buf_done(&packed);
    buf_done(&message);
}

static void change_scope(struct world *w)
{
    static const char *const scopes[] = {
        "{\"scope\":{\"kind\":\"seen\"}}",
        "{\"scope\":{\"kind\":\"everybody\"}}",
        "{\"scope\":{\"kind\":\"segments\",\"segments\":[\"gold\"]}}",
        "{\"scope\":{\"kind\":\"segments\",\"segments\":[\"gold\",\"fresh\"]}}",
    };
    put(w, REGISTRY_COLLECTOR, "box", scopes[rand_below(&w->rand, 4)]);
}

static void open_box(struct world *w)
{
    MUST(edge_open(w->box_store, box_key, &w->edge, &w->err), w);
}

/* What edges_poll() does with the cursors. */
static void acknowledge(struct world *w, const struct poll_asked *asked)
{
    const struct catalog *catalog = definitions_borrow(w->definitions);
    struct refill_asker asker = {w->collector, catalog_scope_of(catalog, w->collector),
                                 &asked->poll};
    bool counts = refill_outbox(&asker) == w->collector &&
                  asked->poll.cache.scope_version == refill_version(&asker);
    definitions_release(w->definitions);
    for (uint32_t i = 0; counts && i < asked->poll.cursor_count; i++) {
        struct buf message;
        buf_init(&message, 256);
        partition_write_edge_ack(&message, w->collector, asked->poll.cursors[i]);
        handle(w, i, PARTITION_SOURCE_LOCAL, 0, buf_slice(&message));
        buf_done(&message);
    }
}

/* One poll, whose reply may be lost. */
static enum poll_outcome poll_once(struct world *w, bool may_lose)
{
    static struct wire_poll_reply reply;
    struct poll_asked *asked = memory_allocate_zeroed(sizeof *asked);
    struct buf message;
    enum wire_type type;
    msgpack_zone zone;
    msgpack_object members;
    asked->collector = w->collector;
    edge_describe(w->edge, &asked->poll);
    asked->poll.gate_version = registry_gate_version(w->registry);
    acknowledge(w, asked);
    buf_init(&message, SIZE_MAX / 2);
    assert_true(msgpack_zone_init(&zone, 8192));
    enum poll_outcome outcome = poll_answer(&w->parts, asked, &message);
    assert_true(outcome != POLL_FAILED);
    if (!may_lose || rand_below(&w->rand, 4) > 0) {
        MUST(wire_read(buf_slice(&message), &zone, &type, &members, &w->err), w);
        assert_true(wire_read_poll_reply(&members, &reply));
        MUST(edge_apply(w->edge, &reply, &w->err), w);
    }
    msgpack_zone_destroy(&zone);
    buf_done(&message);
    free(asked);
    return outcome;
}

/* Ask for somebody now; the answer comes later. */
static void look_up(struct world *w)
{
    char text[16];
    struct profile *profile;
    struct buf message;
    struct identifier id = identifier_of("user_id", 'u', rand_below(&w->rand, PEOPLE), text);
    MUST(reader_profile_of(&w->parts.reader, id, &profile, &w->err), w);
    if (profile == NULL || w->look_up.is_under_way) {
        profile_free(&profile);
        return;
    }
    const struct catalog *catalog = definitions_borrow(w->definitions);
    const struct catalog_scope *scope = catalog_scope_of(catalog, w->collector);
    bool is_wide = scope != NULL && scope->kind != SCOPE_SEEN;
    w->look_up.is_under_way = !is_wide || catalog_scope_holds(catalog, scope, profile);
    w->look_up.generation = edge_generation(w->edge);
    buf_clear(&w->look_up.card);
    card_write(profile, catalog, (struct card_reader){w->collector, CARD_BROWSERS}, w->clock.ms,
               &w->look_up.card);
    definitions_release(w->definitions);
    if (!is_wide) {
        buf_init(&message, 256);
        partition_write_interest(&message, profile->id, w->collector);
        handle(w, profile_id_partition(profile->id), PARTITION_SOURCE_LOCAL, 0,
               buf_slice(&message));
        buf_done(&message);
    }
    profile_free(&profile);
}

static void answer_look_up(struct world *w)
{
    msgpack_zone zone;
    msgpack_object card;
    if (!w->look_up.is_under_way) {
        return;
    }
    assert_true(msgpack_zone_init(&zone, 4096));
    MUST(value_unpack(buf_slice(&w->look_up.card), &zone, &card, &w->err), w);
    MUST(edge_apply_card(w->edge, w->look_up.generation, &card, &w->err), w);
    w->look_up.is_under_way = false;
    msgpack_zone_destroy(&zone);
}

static void lose_power(struct world *w, bool and_the_disk)
{
    w->look_up.is_under_way = false;
    edge_close(&w->edge);
    store_memory_crash(w->box_store);
    if (and_the_disk) {
        store_close(&w->box_store);
        w->box_store = store_memory_open();
    }
    open_box(w);
}

/* `is_calm`: nothing that makes a refill begin, which would hide what went wrong before it. */
static void step(struct world *w, bool is_calm)
{
    bool more;
    uint64_t what = rand_below(&w->rand, 100);
    if (what < 40) {
        event(w);
    } else if (what < 50) {
        settle(w);
    } else if (what < 56) {
        w->clock.ms += (int64_t)rand_below(&w->rand, 10000);
        settle(w);
    } else if (what < 60 && !is_calm) {
        change_scope(w);
    } else if (what < 70 && !is_calm) {
        (void)define(w, (uint32_t)rand_below(&w->rand, PARTITIONS));
    } else if (what < 85) {
        (void)poll_once(w, true);
    } else if (what < 89) {
        look_up(w);
    } else if (what < 93) {
        answer_look_up(w);
    } else if (what < 96) {
        MUST(edge_sweep(w->edge, &more, &w->err), w);
    } else {
        lose_power(w, what == 99 && !is_calm);
    }
}

/* ---- What must be ---- */

/* *ret_version and *ret_evidence_ms (of a browser) stay where there is no card. */
static bool find_card(struct world *w, struct identifier id, const struct profile *profile,
                      uint64_t *ret_version, int64_t *ret_evidence_ms)
{
    struct buf bytes;
    struct slice found;
    msgpack_zone zone;
    msgpack_object object;
    struct wire_card card;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    MUST(edge_find(w->edge, id, &bytes, &found, &w->err), w);
    if (found.len > 0) {
        assert_true(msgpack_zone_init(&zone, 4096));
        MUST(value_unpack(found, &zone, &object, &w->err), w);
        assert_true(wire_read_card(&object, &card));
        assert_true(slice_equal(card.profile_id, profile_id_slice(&profile->id)));
        *ret_version = card.version;
        assert_true(wire_card_evidence(&card, id.value, ret_evidence_ms) ==
                    slice_is(id.type, "anonymous_id"));
        for (size_t i = 0; i < card.identifiers->via.array.size; i++) {
            assert_true(wire_card_identifier(&card, i, &id));
            assert_false(slice_is(id.type, "anonymous_id"));
        }
        msgpack_zone_destroy(&zone);
    }
    bool is_there = found.len > 0;
    buf_done(&bytes);
    return is_there;
}

static void check_profile(void *user, const struct profile *profile)
{
    struct world *w = user;
    const struct catalog *catalog = definitions_borrow(w->definitions);
    const struct catalog_scope *scope = catalog_scope_of(catalog, w->collector);
    bool is_wide = scope != NULL && scope->kind != SCOPE_SEEN;
    bool is_seen = profile_find_interest(profile, w->collector) != NULL;
    bool is_known = catalog_is_known(catalog, profile);
    bool has_news = profile->membership_count > 0 || is_known;
    bool must = is_wide ? catalog_scope_holds(catalog, scope, profile) : is_seen && has_news;
    bool may = must || (!is_wide && is_seen);
    definitions_release(w->definitions);
    for (size_t i = 0; i < profile->identifier_count; i++) {
        struct identifier id = profile->identifiers[i].id;
        uint64_t version = profile->version;
        int64_t evidence_ms = card_evidence_at(profile, id.value);
        bool is_named = !slice_is(id.type, "anonymous_id") ||
                        profile_is_seen_at(profile, &profile->identifiers[i], w->collector);
        bool is_there = find_card(w, id, profile, &version, &evidence_ms);
        if ((must && is_named && !is_there) || (is_there && !(may && is_named)) ||
            version != profile->version ||
            (is_known &&
             card_evidence_at(profile, id.value) - evidence_ms > EVIDENCE_LATE_MS_MAX)) {
            fail_msg("seed %llu: %.*s of %s: there %d, must %d, may %d, named %d, version %llu of "
                     "%llu, evidence %lld of %lld",
                     (unsigned long long)w->seed, SLICE_ARGS(id.value),
                     profile_id_hex(profile->id).text, is_there, must, may, is_named,
                     (unsigned long long)version, (unsigned long long)profile->version,
                     (long long)evidence_ms, (long long)card_evidence_at(profile, id.value));
        }
    }
}

static void come_to_rest(struct world *w)
{
    enum poll_outcome outcome = POLL_HAS_NEWS;
    bool more = true;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        while (define(w, i)) {
        }
    }
    settle(w);
    if (rand_below(&w->rand, 2) == 0) {
        answer_look_up(w);
    }
    for (int i = 0; outcome != POLL_HAS_NONE; i++) {
        assert_true(i < 100);
        outcome = poll_once(w, false);
        settle(w);
    }
    while (more) {
        MUST(edge_sweep(w->edge, &more, &w->err), w);
    }
    answer_look_up(w); /* late */
}

static void run(uint64_t seed)
{
    struct world *w = memory_allocate_zeroed(sizeof *w);
    w->seed = seed;
    w->last = &w->first;
    rand_seeded_init(&w->rand, seed);
    clock_fake_init(&w->clock, start_ms);
    buf_init(&w->look_up.card, LIMIT_WIRE_BYTES);
    open_hub(w);
    w->box_store = store_memory_open();
    open_box(w);
    for (int i = 0; i < 2 * STEPS; i++) {
        step(w, i >= STEPS);
        if (i % STEPS == STEPS - 1) {
            struct reader_place place = {0};
            come_to_rest(w);
            MUST(reader_profiles(&w->parts.reader, &place, 1000, check_profile, w, &w->err), w);
        }
    }
    edge_close(&w->edge);
    store_close(&w->box_store);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        partition_close(&w->partitions[i]);
        store_close(&w->stores[i]);
    }
    suppressions_close(&w->suppressions);
    registry_close(&w->registry);
    definitions_free(&w->definitions);
    eventlog_close(&w->log);
    store_close(&w->log_store);
    buf_done(&w->look_up.card);
    free(w);
}

static void test_a_box_ends_with_exactly_the_cards_of_its_scope(void **state)
{
    const char *one = getenv("SIM_SEED");
    const char *many = getenv("SIM_SEEDS");
    uint64_t seeds = many == NULL ? 200 : strtoull(many, NULL, 10);
    (void)state;
    for (uint64_t seed = 1; one == NULL && seed <= seeds; seed++) {
        run(seed);
    }
    if (one != NULL) {
        run(strtoull(one, NULL, 10));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_box_ends_with_exactly_the_cards_of_its_scope),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
