/* An enrolled collector that sends events to a hub as fast as it takes them, over the real link.
 *
 *     load ENROLMENT fill     PROFILES FIRST COUNT SEED   < requests
 *     load ENROLMENT sessions PROFILES FIRST COUNT SEED   < requests
 *
 * `fill` gives each of COUNT visitors, from number FIRST, one event of the last 30 days; `sessions`
 * lets visitors out of PROFILES come back: 1,000 sessions at a time, 8 events each on average, and
 * every fifth visitor signs in. Names and bodies are those of the input, whose lines are batch
 * requests without identify events.
 *
 * All blocks are made before; then it writes "ready", waits for SIGUSR1 and ships. It ends when the
 * hub has acknowledged all, and writes what it did as JSON.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "collector/request/request.h"
#include "collector/settings.h"
#include "shared/block.h"
#include "shared/clock.h"
#include "shared/link.h"
#include "shared/uuid.h"
#include "shared/wire.h"

enum {
    BLOCK_EVENTS = 1000,
    WINDOW = 16,
    SESSIONS = 1000,
    SESSION_EVENTS = 8,
    KNOWN_EVERY = 5,
    ANSWER_MS_MAX = 30000,
    BYTES_MAX = 1 << 30
};

struct session {
    uint64_t visitor;
    unsigned left;
    bool signs_in; /* with its next event */
    bool is_known;
};

struct block {
    struct buf sealed;
    struct load *load;
    struct block *next;
    uint8_t nonce[SEAL_NONCE_BYTES];
};

struct load {
    struct enrolment enrolment;
    struct rand rand;
    struct arena arena;
    struct event *templates;
    size_t template_count;
    struct seal_epoch *epoch;
    struct buf header;
    struct seal_channel *channel;
    struct link_client *link;
    struct block_builder *builder;
    struct block *blocks;
    size_t block_count;
    size_t plain_bytes;
    size_t sealed_bytes;
    struct session sessions[SESSIONS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct block *to_send;
    size_t in_flight;
    size_t retries;
};

static _Noreturn void fail(const struct error *err)
{
    fprintf(stderr, "load: %s\n", err->message);
    exit(1);
}

static void read_templates(struct load *l)
{
    struct request request;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    request_init(&request);
    while ((len = getline(&line, &capacity, stdin)) > 0) {
        request_parse(&request, EVENT_TYPES, slice_make(line, (size_t)len), &l->rand);
        ensure(request.refusal.code == NULL);
        request_stamp(&request, slice_text("bench"), 1000);
        l->templates =
            memory_resize(l->templates, (l->template_count + request.count) * sizeof *l->templates);
        for (size_t i = 0; i < request.count; i++) {
            struct event e = request.events[i].event;
            ensure(request.events[i].refusal.code == NULL && e.type != EVENT_IDENTIFY);
            e.source = slice_text("bench");
            e.name = arena_copy(&l->arena, e.name);
            e.body = arena_copy(&l->arena, e.body);
            l->templates[l->template_count++] = e;
        }
    }
    ensure(l->template_count > 0);
    free(line);
    request_done(&request);
}

/* A visitor's anonymous id: random, and the same each time. */
static struct slice anonymous_id(uint64_t visitor, char ret[UUID_TEXT_BYTES])
{
    struct rand rand;
    uint8_t uuid[UUID_BYTES];
    rand_seeded_init(&rand, (visitor + 1) * 0x9e3779b97f4a7c15U);
    uuid_random(&rand, uuid);
    uuid_format(uuid, ret);
    return slice_make(ret, UUID_TEXT_BYTES);
}

static void finish_block(struct load *l)
{
    struct buf compressed;
    size_t count = block_builder_count(l->builder);
    buf_init(&compressed, BYTES_MAX);
    block_builder_finish(l->builder, &compressed);
    l->blocks = memory_resize(l->blocks, (l->block_count + 1) * sizeof *l->blocks);
    struct block *block = &l->blocks[l->block_count];
    *block = (struct block){.load = l};
    buf_init(&block->sealed, LIMIT_WIRE_BYTES);
    seal_write_block(l->epoch, l->block_count + 1, (uint32_t)count, buf_slice(&compressed),
                     &block->sealed);
    l->sealed_bytes += block->sealed.len;
    l->block_count++;
    buf_done(&compressed);
}

static void add(struct load *l, const struct event *event)
{
    bool added = block_builder_add(l->builder, event);
    ensure(added);
    if (block_builder_count(l->builder) == BLOCK_EVENTS) {
        finish_block(l);
    }
}

static void identify(struct load *l, struct event *e, uint64_t visitor)
{
    static const char *const cities[] = {"Lyon", "Lille", "Nantes", "Bordeaux", "Strasbourg"};
    char email[64];
    struct buf body;
    msgpack_packer p;
    buf_init(&body, LIMIT_EVENT_BYTES);
    value_packer_init(&p, &body);
    snprintf(email, sizeof email, "visitor%llu@example.com", (unsigned long long)visitor);
    msgpack_pack_map(&p, 2);
    value_pack_cstr(&p, "traits");
    msgpack_pack_map(&p, 4);
    value_pack_cstr(&p, "email");
    value_pack_cstr(&p, email);
    value_pack_cstr(&p, "city");
    value_pack_cstr(&p, cities[visitor % 5]);
    value_pack_cstr(&p, "newsletter");
    (void)(visitor % 3 == 0 ? msgpack_pack_true(&p) : msgpack_pack_false(&p));
    value_pack_cstr(&p, "points");
    msgpack_pack_uint64(&p, rand_below(&l->rand, 1000));
    value_pack_cstr(&p, "context");
    msgpack_pack_map(&p, 1);
    value_pack_cstr(&p, "consent");
    msgpack_pack_map(&p, 1);
    value_pack_cstr(&p, "categoryPreferences");
    msgpack_pack_map(&p, 2);
    value_pack_cstr(&p, "analytics");
    msgpack_pack_true(&p);
    value_pack_cstr(&p, "marketing");
    (void)(visitor % 2 == 0 ? msgpack_pack_true(&p) : msgpack_pack_false(&p));
    e->type = EVENT_IDENTIFY;
    e->name = slice_make(NULL, 0);
    e->body = arena_copy(&l->arena, buf_slice(&body));
    buf_done(&body);
}

/* One event of a visitor; its age is up to age_ms_max. */
static void make_event(struct load *l, uint64_t visitor, int64_t age_ms_max, bool is_known,
                       bool signs_in)
{
    struct event e = l->templates[rand_below(&l->rand, l->template_count)];
    char anonymous[UUID_TEXT_BYTES];
    char message[UUID_TEXT_BYTES];
    char user[32];
    uint8_t uuid[UUID_BYTES];
    uuid_random(&l->rand, uuid);
    uuid_format(uuid, message);
    e.received_ms = clock_now_ms(&clock_real);
    e.timestamp_ms = e.received_ms - (int64_t)rand_below(&l->rand, (uint64_t)age_ms_max);
    e.message_id = slice_make(message, sizeof message);
    e.anonymous_id = anonymous_id(visitor, anonymous);
    e.user_id = slice_make(NULL, 0);
    if (is_known) {
        snprintf(user, sizeof user, "u-%llu", (unsigned long long)visitor);
        e.user_id = slice_text(user);
    }
    if (signs_in) {
        identify(l, &e, visitor);
    }
    add(l, &e);
}

static void fill(struct load *l, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        make_event(l, first + i, 30LL * 86400 * 1000, false, false);
    }
}

static void sessions(struct load *l, uint64_t profiles, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct session *s = &l->sessions[rand_below(&l->rand, SESSIONS)];
        if (s->left == 0) {
            s->visitor = rand_below(&l->rand, profiles);
            s->left = 1 + (unsigned)rand_below(&l->rand, 2 * SESSION_EVENTS - 1);
            s->is_known = s->visitor % KNOWN_EVERY == 0;
            s->signs_in = s->is_known;
        }
        make_event(l, s->visitor, 3000, s->is_known, s->signs_in);
        s->signs_in = false;
        s->left--;
    }
}

/* ---- Shipping ---- */

static bool is_stored(struct block *block, struct slice reply)
{
    struct buf plain;
    msgpack_zone zone;
    msgpack_object members;
    enum wire_type type;
    struct wire_block_reply r;
    struct error err;
    buf_init(&plain, LIMIT_WIRE_BYTES);
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    bool fine = seal_open_reply(block->load->channel, block->nonce, reply, &plain, &err) &&
                wire_read(buf_slice(&plain), &zone, &type, &members, &err) && type == WIRE_BLOCK &&
                wire_read_block_reply(&members, &r) &&
                (r.status == WIRE_STORED || r.status == WIRE_REPLAYED);
    msgpack_zone_destroy(&zone);
    buf_done(&plain);
    return fine;
}

static void on_done(void *user, bool answered, struct slice reply)
{
    struct block *block = user;
    struct load *l = block->load;
    bool fine = answered && is_stored(block, reply);
    pthread_mutex_lock(&l->lock);
    if (fine) {
        buf_done(&block->sealed);
    } else {
        block->next = l->to_send;
        l->to_send = block;
        l->retries++;
    }
    l->in_flight--;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

static void send_block(struct load *l, struct block *block)
{
    struct buf message;
    struct buf request;
    struct wire_block m = {
        .clock_offset_ms = 0, .header = buf_slice(&l->header), .block = buf_slice(&block->sealed)};
    buf_init(&message, LIMIT_WIRE_BYTES);
    buf_init(&request, LIMIT_WIRE_BYTES + 1024);
    wire_write_block(&m, &message);
    seal_write_request(l->channel, buf_slice(&message), &rand_secure, &request, block->nonce);
    link_client_request(l->link, buf_slice(&request), ANSWER_MS_MAX, on_done, block);
    buf_done(&message);
    buf_done(&request);
}

static void ship(struct load *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->to_send != NULL || l->in_flight > 0) {
        if (l->to_send == NULL || l->in_flight == WINDOW) {
            pthread_cond_wait(&l->wake, &l->lock);
            continue;
        }
        struct block *block = l->to_send;
        l->to_send = block->next;
        l->in_flight++;
        pthread_mutex_unlock(&l->lock);
        send_block(l, block);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
}

static void open_link(struct load *l, const char *enrolment)
{
    struct error err;
    seal_start();
    if (!enrolment_read(enrolment, &l->enrolment, &err)) {
        fail(&err);
    }
    struct slice id = slice_text(l->enrolment.id);
    buf_init(&l->header, 4096);
    l->epoch = seal_epoch_begin(id, l->enrolment.sign_secret, l->enrolment.hub_public, 0,
                                clock_now_ms(&clock_real), &rand_secure, &l->header);
    l->channel = seal_channel_of_collector(id, l->enrolment.sign_secret, l->enrolment.hub_public);
    if (!link_client_open(&(struct link_client_options){.url = l->enrolment.hub_link,
                                                        .silence_ms = LINK_SILENCE_MS},
                          &l->link, &err)) {
        fail(&err);
    }
}

static void wait_for_signal(void)
{
    sigset_t signals;
    int got;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    printf("ready\n");
    fflush(stdout);
    sigwait(&signals, &got);
}

int main(int argc, char **argv)
{
    struct load l = {0};
    sigset_t signals;
    if (argc != 7 || (strcmp(argv[2], "fill") != 0 && strcmp(argv[2], "sessions") != 0)) {
        fprintf(stderr,
                "usage: load ENROLMENT fill|sessions PROFILES FIRST COUNT SEED < requests\n");
        return 2;
    }
    uint64_t profiles = strtoull(argv[3], NULL, 10);
    uint64_t first = strtoull(argv[4], NULL, 10);
    uint64_t count = strtoull(argv[5], NULL, 10);
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before the link starts its threads */
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.wake, NULL);
    arena_init(&l.arena, 1 << 20);
    rand_seeded_init(&l.rand, strtoull(argv[6], NULL, 10));
    l.builder = block_builder_new(block_compressor_new());
    open_link(&l, argv[1]);
    read_templates(&l);
    if (strcmp(argv[2], "fill") == 0) {
        fill(&l, first, count);
    } else {
        sessions(&l, profiles, count);
    }
    if (block_builder_count(l.builder) > 0) {
        finish_block(&l);
    }
    for (size_t i = l.block_count; i-- > 0;) {
        l.blocks[i].next = l.to_send;
        l.to_send = &l.blocks[i];
    }
    wait_for_signal();
    int64_t start = clock_monotonic_ns(&clock_real);
    ship(&l);
    printf("{\"events\": %llu, \"blocks\": %zu, \"bytes\": %zu, \"seconds\": %.3f, \"retries\": "
           "%zu}\n",
           (unsigned long long)count, l.block_count, l.sealed_bytes,
           (double)(clock_monotonic_ns(&clock_real) - start) / 1e9, l.retries);
    link_client_close(&l.link);
    return 0;
}
