/* The way back to the edge, against what the hub knows.
 *
 * Random events, scopes, audiences, sources, suppressions, polls, look-ups, lost replies, lost
 * caches and power cuts at the box, with definitions that reach partitions late, and a hub that
 * starts again, from its own data or from a copy of it. When everything has been delivered the box
 * must have exactly the cards of its scope, each as new as its profile, with what is shown to
 * somebody and nothing else, and the gate and the suppression list of the hub; and whom what is
 * shown to it must know after one poll. Then the same once more without what makes a refill begin.
 *
 * SIM_SEEDS=N sets how many seeds run (default 200), SIM_SEED=N runs one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "collector/edge/edge.h"
#include "collector/gate/gate.h"
#include "collector/gate/suppression.h"
#include "hub/card.h"
#include "hub/poll_answer.h"
#include "shared/json.h"
#include "shared/rand.h"

enum { PARTITIONS = 3, PEOPLE = 20, STEPS = 120, OTHER_COLLECTOR = 99 };
/* While it is good, evidence is told thirty times. */
enum { ME_FOR_MS = 60000, EVIDENCE_LATE_MS_MAX = ME_FOR_MS / 30 };

/* What may be shown: two segments and a trait. */
static const struct {
    enum registry_kind kind;
    const char *key;
    const char *where;
} shown[] = {
    {REGISTRY_SEGMENT, "gold", "\"where\":{\"trait\":\"tier\",\"eq\":\"gold\"},"},
    {REGISTRY_SEGMENT, "fresh", "\"where\":{\"event\":\"Seen\",\"within\":\"20s\"},"},
    {REGISTRY_TRAIT, "tier", ""},
};
enum { SHOWN_MAX = sizeof shown / sizeof *shown };

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
    struct wire_moment moment;
    struct buf card;
};

/* A copy of the hub's data, as a backup has it. */
struct copy {
    struct store *log_store; /* NULL: there is none yet */
    struct store *stores[PARTITIONS];
    uint64_t defined[PARTITIONS];
    uint64_t position;
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
    struct incarnations *incarnations;
    struct edges_parts parts;
    struct copy copy;
    unsigned names; /* of the source, so far */
    struct store *box_store;
    struct edge *edge;
    struct suppression *list;
    uint64_t gate_version; /* that the box has */
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
    if (record.kind == EVENTLOG_CATALOG) {
        partition_write_define(&message, record.bytes);
        handle(w, partition, PARTITIONS, ++w->position, buf_slice(&message));
    }
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

static void show(struct world *w, size_t what, enum audience audience)
{
    static const char *const lists[] = {"[]", "[\"page\"]", "[\"staff\"]", "[\"page\",\"staff\"]"};
    char json[256];
    snprintf(json, sizeof json, "{%s\"edge\":%s}", shown[what].where, lists[audience]);
    put(w, shown[what].kind, shown[what].key, json);
}

static void open_partitions(struct world *w)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        struct partition_options options = {i, PARTITIONS, 4096};
        nodes[i] = (struct node){w, i};
        struct partition_listener listener = {on_message, on_edge, &nodes[i]};
        MUST(partition_open(w->stores[i], &options, &listener, &w->partitions[i], &w->err), w);
    }
}

/* On the stores as they are. */
static void start_hub(struct world *w)
{
    static const uint8_t hub_secret[SEAL_KEY_BYTES] = {1};
    w->definitions = definitions_new();
    MUST(eventlog_open(w->log_store, &w->log, &w->err), w);
    MUST(registry_open(w->log, &w->clock.clock, on_registry, w, &w->registry, &w->err), w);
    on_registry(w);
    MUST(suppressions_open(w->log, hub_secret, &w->clock.clock, on_registry, w, &w->suppressions,
                           &w->err),
         w);
    MUST(incarnations_open(w->log, w->registry, w->suppressions, &w->rand, &w->incarnations,
                           &w->err),
         w);
    open_partitions(w);
    w->parts = (struct edges_parts){.registry = w->registry,
                                    .suppressions = w->suppressions,
                                    .incarnations = w->incarnations,
                                    .definitions = w->definitions,
                                    .reader = {w->stores, PARTITIONS},
                                    .clock = &w->clock.clock};
}

/* Its stores stay. */
static void stop_hub(struct world *w)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        partition_close(&w->partitions[i]);
    }
    incarnations_close(&w->incarnations);
    suppressions_close(&w->suppressions);
    registry_close(&w->registry);
    definitions_free(&w->definitions);
    eventlog_close(&w->log);
}

static void open_hub(struct world *w)
{
    struct buf bytes;
    struct registry_entry entry;
    w->log_store = store_memory_open();
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        w->stores[i] = store_memory_open();
    }
    start_hub(w);
    put(w, REGISTRY_RULES, "rules",
        "{\"identifiers\":[{\"type\":\"user_id\",\"limit\":1,\"priority\":100},{\"type\":\"email\"}"
        ","
        "{\"type\":\"anonymous_id\",\"known\":false}],\"me_for\":\"60s\"}");
    for (size_t i = 0; i < SHOWN_MAX; i++) {
        show(w, i, AUDIENCE_NOBODY);
    }
    put(w, REGISTRY_COLLECTOR, "box", "{}");
    buf_init(&bytes, 4096);
    assert_true(registry_find(w->registry, REGISTRY_COLLECTOR, slice_text("box"), &bytes, &entry));
    w->collector = entry.id;
    buf_done(&bytes);
}

/* ---- Backups ---- */

static struct store *copy_store(struct world *w, struct store *from)
{
    struct store_batch batch;
    struct store *copy = store_memory_open();
    struct store_iterator *it = store_iterator_open(from, NULL);
    store_batch_init(&batch);
    for (store_iterator_seek(it, slice_make(NULL, 0)); store_iterator_valid(it);
         store_iterator_next(it)) {
        store_batch_put(&batch, store_iterator_key(it), store_iterator_value(it));
    }
    store_iterator_close(&it);
    MUST(store_write(copy, &batch, true, &w->err), w);
    store_batch_done(&batch);
    return copy;
}

static void drop_copy(struct world *w)
{
    store_close(&w->copy.log_store);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        store_close(&w->copy.stores[i]);
    }
}

static void take_copy(struct world *w)
{
    settle(w);
    drop_copy(w);
    w->copy.log_store = copy_store(w, w->log_store);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        w->copy.stores[i] = copy_store(w, w->stores[i]);
        w->copy.defined[i] = w->defined[i];
    }
    w->copy.position = w->position;
}

/* Start the hub again, from the copy or from its own data. */
static void restart_hub(struct world *w, bool from_copy)
{
    settle(w);
    stop_hub(w);
    if (from_copy) {
        store_close(&w->log_store);
        w->log_store = copy_store(w, w->copy.log_store);
        for (uint32_t i = 0; i < PARTITIONS; i++) {
            store_close(&w->stores[i]);
            w->stores[i] = copy_store(w, w->copy.stores[i]);
            w->defined[i] = w->copy.defined[i];
        }
        w->position = w->copy.position;
    }
    start_hub(w);
}

/* ---- What happens ---- */

static struct identifier identifier_of(const char *type, char letter, uint64_t n, char text[16])
{
    int len = snprintf(text, 16, "%c%llu@x", letter, (unsigned long long)n);
    return (struct identifier){slice_text(type), slice_make(text, (size_t)len)};
}

/* What an event came in: here only its place in the log counts. */
static void log_block(struct world *w)
{
    struct eventlog_record record = {
        .kind = EVENTLOG_BLOCK, .collector_id = slice_text("box"), .bytes = slice_text("block")};
    MUST(eventlog_append(w->log, &record, 1, NULL, &w->err), w);
}

/* The gate's definitions: a source with a name that no history gives twice. */
static void change_source(struct world *w)
{
    char json[64];
    snprintf(json, sizeof json, "{\"name\":\"name-%u.\"}", ++w->names);
    put(w, REGISTRY_SOURCE, "web", json);
}

static void change_suppressions(struct world *w)
{
    char text[16];
    size_t changed;
    struct suppression_hash hash = suppressions_hash(
        w->suppressions, identifier_of("user_id", 'u', rand_below(&w->rand, PEOPLE), text));
    MUST(suppressions_change(w->suppressions, &hash, 1, rand_below(&w->rand, 2) == 0,
                             slice_text("test"), &changed, &w->err),
         w);
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
    log_block(w);
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
    struct buf state;
    struct gate *gate;
    MUST(edge_open(w->box_store, box_key, &w->edge, &w->err), w);
    MUST(suppression_open(w->box_store, edge_vault(w->edge), &w->list, &w->err), w);
    buf_init(&state, LIMIT_WIRE_BYTES);
    MUST(edge_gate_state(w->edge, &state, &w->err), w);
    MUST(gate_new(buf_slice(&state), &gate, &w->err), w);
    w->gate_version = gate_version(gate);
    gate_free(&gate);
    buf_done(&state);
}

static void close_box(struct world *w)
{
    suppression_close(&w->list);
    edge_close(&w->edge);
}

/* What edges_poll() does with the cursors. */
static void acknowledge(struct world *w, const struct poll_asked *asked)
{
    const struct catalog *catalog = definitions_borrow(w->definitions);
    struct refill_asker asker = {w->collector, catalog_scope_of(catalog, w->collector),
                                 &asked->poll};
    bool counts =
        refill_outbox(&asker) == w->collector &&
        incarnations_judge(w->incarnations, &asked->poll.moment) != INCARNATIONS_FOREIGN &&
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
    asked->poll.gate_version = w->gate_version;
    asked->poll.suppression_version = suppression_version(w->list);
    acknowledge(w, asked);
    buf_init(&message, SIZE_MAX / 2);
    assert_true(msgpack_zone_init(&zone, 8192));
    enum poll_outcome outcome = poll_answer(&w->parts, asked, &message);
    assert_true(outcome != POLL_FAILED);
    if (!may_lose || rand_below(&w->rand, 4) > 0) {
        MUST(wire_read(buf_slice(&message), &zone, &type, &members, &w->err), w);
        assert_true(wire_read_poll_reply(&members, &reply));
        MUST(edge_apply(w->edge, &reply, &w->err), w);
        suppression_apply(w->list, &reply);
        w->gate_version = reply.gate.len > 0 ? reply.gate_version : w->gate_version;
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
    w->look_up.moment = incarnations_now(w->incarnations);
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
    MUST(edge_apply_card(w->edge, w->look_up.generation, &w->look_up.moment, &card, &w->err), w);
    w->look_up.is_under_way = false;
    msgpack_zone_destroy(&zone);
}

static void lose_power(struct world *w, bool and_the_disk)
{
    w->look_up.is_under_way = false;
    close_box(w);
    store_memory_crash(w->box_store);
    if (and_the_disk) {
        store_close(&w->box_store);
        w->box_store = store_memory_open();
        w->gate_version = 0;
    }
    open_box(w);
}

static enum audience audience_of(struct world *w, size_t what)
{
    const struct catalog *catalog = definitions_borrow(w->definitions);
    enum audience audience = AUDIENCE_NOBODY;
    for (size_t i = 0; i < catalog_segment_count(catalog); i++) {
        struct catalog_segment segment = catalog_segment_at(catalog, i);
        audience = slice_is(segment.key, shown[what].key) ? segment.edge : audience;
    }
    if (shown[what].kind == REGISTRY_TRAIT) {
        audience = catalog_trait_audience(catalog, slice_text(shown[what].key));
    }
    definitions_release(w->definitions);
    return audience;
}

/* The box knows whom everything is shown to. */
static void check_audiences(struct world *w)
{
    struct buf state;
    struct gate *gate;
    buf_init(&state, LIMIT_WIRE_BYTES);
    MUST(edge_gate_state(w->edge, &state, &w->err), w);
    MUST(gate_new(buf_slice(&state), &gate, &w->err), w);
    for (size_t i = 0; i < SHOWN_MAX; i++) {
        const struct shown *all =
            shown[i].kind == REGISTRY_SEGMENT ? gate_segments(gate) : gate_traits(gate);
        for (enum audience one = AUDIENCE_PAGE; one <= AUDIENCE_STAFF; one++) {
            bool is_shown = shown_find(all, slice_text(shown[i].key), one) != NULL;
            if (is_shown != ((audience_of(w, i) & one) != 0)) {
                fail_msg("seed %llu: %s is shown to %d: %d", (unsigned long long)w->seed,
                         shown[i].key, one, is_shown);
            }
        }
    }
    gate_free(&gate);
    buf_done(&state);
}

/* Whatever else goes on, the next poll brings it. */
static void change_audience(struct world *w)
{
    show(w, rand_below(&w->rand, SHOWN_MAX), (enum audience)rand_below(&w->rand, AUDIENCE_ALL + 1));
    if (rand_below(&w->rand, 2) == 0) {
        (void)poll_once(w, false);
        check_audiences(w);
    }
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
    } else if (what == 56 && !is_calm) {
        take_copy(w);
    } else if (what == 57) {
        restart_hub(w, !is_calm && w->copy.log_store != NULL);
    } else if (what == 58) {
        change_source(w);
    } else if (what == 59) {
        change_suppressions(w);
    } else if (what < 63 && !is_calm) {
        change_scope(w);
    } else if (what < 70 && !is_calm) {
        (void)define(w, (uint32_t)rand_below(&w->rand, PARTITIONS));
    } else if (what < 85) {
        (void)poll_once(w, true);
    } else if (what < 89) {
        look_up(w);
    } else if (what < 93) {
        answer_look_up(w);
    } else if (what < 94) {
        MUST(edge_sweep(w->edge, &more, &w->err), w);
    } else if (what < 96) {
        change_audience(w);
    } else {
        lose_power(w, what == 99 && !is_calm);
    }
}

/* ---- What must be ---- */

/* The card has those of the profile's segments and traits that somebody may see. */
static void check_shown(struct world *w, const struct wire_card *card,
                        const struct profile *profile)
{
    const struct catalog *catalog = definitions_borrow(w->definitions);
    uint32_t segments = 0;
    for (size_t i = 0; i < profile->membership_count; i++) {
        segments +=
            catalog_segment_of(catalog, profile->memberships[i].segment).edge != AUDIENCE_NOBODY;
    }
    uint32_t traits = profile_find_trait(profile, slice_text("tier")) != NULL &&
                      audience_of(w, SHOWN_MAX - 1) != AUDIENCE_NOBODY;
    if (card->segments->via.array.size != segments || card->traits->via.map.size != traits) {
        fail_msg("seed %llu: %u segments and %u traits of %s are on the card, not %u and %u",
                 (unsigned long long)w->seed, card->segments->via.array.size,
                 card->traits->via.map.size, profile_id_hex(profile->id).text, segments, traits);
    }
    definitions_release(w->definitions);
}

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
        check_shown(w, &card, profile);
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

/* The box lets nobody pass whom the hub refuses, and refuses nobody else. */
static void check_suppressions(struct world *w)
{
    static const struct suppression_types no_types;
    struct arena arena;
    arena_init(&arena, 4096);
    for (uint64_t i = 0; i < PEOPLE; i++) {
        char text[16];
        struct event who = {.user_id = identifier_of("user_id", 'u', i, text).value,
                            .body = slice_text("\x80")};
        bool is_here = suppression_refuses(w->list, &no_types, &who, &arena);
        bool is_there = suppressions_refuse(w->suppressions, &no_types, &who, &arena);
        if (is_here != is_there) {
            fail_msg("seed %llu: %s is suppressed here %d, at the hub %d",
                     (unsigned long long)w->seed, text, is_here, is_there);
        }
    }
    arena_done(&arena);
}

static bool names_source(struct slice gate, const char *name)
{
    return memmem(gate.data, gate.len, name, strlen(name)) != NULL;
}

static void check_gate(struct world *w)
{
    struct buf here;
    struct buf there;
    uint64_t version;
    buf_init(&here, LIMIT_WIRE_BYTES);
    buf_init(&there, LIMIT_WIRE_BYTES);
    MUST(edge_gate_state(w->edge, &here, &w->err), w);
    registry_gate(w->registry, (struct registry_reader){.collector = w->collector}, &there,
                  &version);
    for (unsigned i = 1; i <= w->names; i++) {
        char name[32];
        snprintf(name, sizeof name, "name-%u.", i);
        if (names_source(buf_slice(&here), name) != names_source(buf_slice(&there), name)) {
            fail_msg("seed %llu: the box and the hub differ in %s of %u",
                     (unsigned long long)w->seed, name, w->names);
        }
    }
    buf_done(&here);
    buf_done(&there);
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
            check_audiences(w);
            MUST(reader_profiles(&w->parts.reader, &place, 1000, check_profile, w, &w->err), w);
            check_suppressions(w);
            check_gate(w);
        }
    }
    close_box(w);
    store_close(&w->box_store);
    stop_hub(w);
    drop_copy(w);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        store_close(&w->stores[i]);
    }
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
