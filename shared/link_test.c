#include "shared/link.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/limits.h"

enum { PATIENCE_MS = 20000 }; /* for what must happen; never waited out when it does */

static char url[64];

/* A port that was free a moment ago. */
static int set_up(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        return -1;
    }
    close(fd);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    return 0;
}

/* What became of one request. */
struct outcome {
    struct outcomes *all;
    char expected[32];
    bool answered;
    bool is_right;
    int calls;
};

struct outcomes {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
    struct outcome one[512];
};

static struct outcomes *outcomes_new(void)
{
    struct outcomes *o = memory_allocate_zeroed(sizeof *o);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    for (size_t i = 0; i < sizeof o->one / sizeof *o->one; i++) {
        o->one[i].all = o;
    }
    return o;
}

static void outcomes_free(struct outcomes *o)
{
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->changed);
    free(o);
}

static void on_done(void *user, bool answered, struct slice reply)
{
    struct outcome *outcome = user;
    struct outcomes *all = outcome->all;
    pthread_mutex_lock(&all->lock);
    outcome->answered = answered;
    outcome->is_right = answered ? slice_is(reply, outcome->expected) : reply.len == 0;
    outcome->calls++;
    all->done++;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

static void wait_for(struct outcomes *o, int count)
{
    struct timespec until;
    int rv = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&o->lock);
    while (o->done < count && rv == 0) {
        rv = pthread_cond_timedwait(&o->changed, &o->lock, &until);
    }
    int done = o->done;
    pthread_mutex_unlock(&o->lock);
    if (done < count) {
        fail_msg("%d of %d requests are done", done, count);
    }
}

static void request(struct link_client *client, struct outcomes *o, int i, int timeout_ms)
{
    char text[32];
    snprintf(text, sizeof text, "request %d", i);
    snprintf(o->one[i].expected, sizeof o->one[i].expected, "reply to request %d", i);
    link_client_request(client, slice_text(text), timeout_ms, on_done, &o->one[i]);
}

static void assert_all(struct outcomes *o, int count, bool answered)
{
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < count; i++) {
        if (o->one[i].calls != 1 || o->one[i].answered != answered || !o->one[i].is_right) {
            fail_msg("request %d: calls=%d answered=%d right=%d", i, o->one[i].calls,
                     o->one[i].answered, o->one[i].is_right);
        }
    }
    pthread_mutex_unlock(&o->lock);
}

static void answer(struct link_reply *reply, struct slice bytes)
{
    char text[64];
    int len = snprintf(text, sizeof text, "reply to %.*s", SLICE_ARGS(bytes));
    link_reply_send(reply, slice_make(text, (size_t)len));
}

static void answer_at_once(void *user, struct slice bytes, struct link_reply *reply)
{
    atomic_int *handled = user;
    atomic_fetch_add(handled, 1);
    answer(reply, bytes);
}

/* Keeps requests for another thread. */
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
    struct {
        char bytes[32];
        size_t len;
        struct link_reply *reply;
    } kept[512];
};

static struct queue *queue_new(void)
{
    struct queue *q = memory_allocate_zeroed(sizeof *q);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    return q;
}

static void queue_free(struct queue *q)
{
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->changed);
    free(q);
}

static void keep(void *user, struct slice bytes, struct link_reply *reply)
{
    struct queue *q = user;
    pthread_mutex_lock(&q->lock);
    if (q->count < 512 && bytes.len <= sizeof q->kept[0].bytes) {
        memcpy(q->kept[q->count].bytes, bytes.data, bytes.len);
        q->kept[q->count].len = bytes.len;
        q->kept[q->count].reply = reply;
        q->count++;
    }
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

static void wait_for_kept(struct queue *q, int count)
{
    struct timespec until;
    int rv = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&q->lock);
    while (q->count < count && rv == 0) {
        rv = pthread_cond_timedwait(&q->changed, &q->lock, &until);
    }
    int kept = q->count;
    pthread_mutex_unlock(&q->lock);
    assert_int_equal(kept, count);
}

/* Last come, first answered. */
static void *answer_backwards(void *user)
{
    struct queue *q = user;
    pthread_mutex_lock(&q->lock);
    while (q->count > 0) {
        q->count--;
        answer(q->kept[q->count].reply, slice_make(q->kept[q->count].bytes, q->kept[q->count].len));
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

static void answer_on_another_thread(struct queue *q)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, answer_backwards, q), 0);
    pthread_join(thread, NULL);
}

static struct link_server_options server_options(link_handler *handler, void *user)
{
    return (struct link_server_options){
        .url = url,
        .connections_max = 1000,
        .strangers_per_address_max = 100,
        .greeting_ms = LINK_GREETING_MS,
        .first_message_ms = LINK_FIRST_MESSAGE_MS,
        .handler = handler,
        .user = user,
    };
}

static struct link_server *open_server(link_handler *handler, void *user)
{
    struct link_server *server = NULL;
    struct error err;
    struct link_server_options options = server_options(handler, user);
    if (!link_server_open(&options, &server, &err)) {
        fail_msg("%s", err.message);
    }
    return server;
}

static struct link_client *open_client(void)
{
    struct link_client *client = NULL;
    struct error err;
    if (!link_client_open(&(struct link_client_options){.url = url, .silence_ms = LINK_SILENCE_MS},
                          &client, &err)) {
        fail_msg("%s", err.message);
    }
    return client;
}

static void test_each_of_many_requests_in_flight_gets_its_own_reply(void **state)
{
    struct outcomes *o = outcomes_new();
    atomic_int handled = 0;
    (void)state;
    struct link_server *server = open_server(answer_at_once, &handled);
    struct link_client *client = open_client();
    for (int i = 0; i < 500; i++) {
        request(client, o, i, PATIENCE_MS);
    }
    wait_for(o, 500);
    assert_all(o, 500, true);
    assert_int_equal(atomic_load(&handled), 500);
    link_client_close(&client);
    link_server_close(&server);
    assert_true(client == NULL && server == NULL);
    outcomes_free(o);
}

static void test_replies_may_come_late_from_another_thread_and_in_any_order(void **state)
{
    struct outcomes *o = outcomes_new();
    struct queue *q = queue_new();
    (void)state;
    struct link_server *server = open_server(keep, q);
    struct link_client *client = open_client();
    /* More than the server has contexts waiting at first. */
    for (int i = 0; i < 200; i++) {
        request(client, o, i, PATIENCE_MS);
    }
    wait_for_kept(q, 200);
    answer_on_another_thread(q);
    wait_for(o, 200);
    assert_all(o, 200, true);
    link_client_close(&client);
    link_server_close(&server);
    queue_free(q);
    outcomes_free(o);
}

static void test_many_clients_may_wait_for_long_beside_one_that_is_in_a_hurry(void **state)
{
    enum { CLIENTS = 40 };
    struct link_client *clients[CLIENTS];
    struct outcomes *slow = outcomes_new();
    struct outcomes *last = outcomes_new();
    struct queue *q = queue_new();
    (void)state;
    struct link_server *server = open_server(keep, q);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = open_client();
        request(clients[i], slow, i, PATIENCE_MS);
    }
    wait_for_kept(q, CLIENTS);
    request(clients[0], last, 0, PATIENCE_MS);
    wait_for_kept(q, CLIENTS + 1);
    answer_on_another_thread(q);
    wait_for(slow, CLIENTS);
    wait_for(last, 1);
    assert_all(slow, CLIENTS, true);
    assert_all(last, 1, true);
    for (int i = 0; i < CLIENTS; i++) {
        link_client_close(&clients[i]);
    }
    link_server_close(&server);
    queue_free(q);
    outcomes_free(slow);
    outcomes_free(last);
}

static void test_a_request_without_a_server_is_done_unanswered_after_its_timeout(void **state)
{
    struct outcomes *o = outcomes_new();
    (void)state;
    struct link_client *client = open_client();
    int64_t start = clock_monotonic_ns(&clock_real);
    for (int i = 0; i < 10; i++) {
        request(client, o, i, 100);
    }
    wait_for(o, 10);
    assert_true(clock_monotonic_ns(&clock_real) - start >= 90 * 1000000LL);
    assert_all(o, 10, false);
    link_client_close(&client);
    outcomes_free(o);
}

static void test_a_server_that_appears_later_answers_what_waits(void **state)
{
    struct outcomes *o = outcomes_new();
    atomic_int handled = 0;
    (void)state;
    struct link_client *client = open_client();
    request(client, o, 0, 60);
    wait_for(o, 1); /* nobody is there yet */
    for (int i = 1; i < 20; i++) {
        request(client, o, i, PATIENCE_MS);
    }
    struct link_server *server = open_server(answer_at_once, &handled);
    wait_for(o, 20);
    for (int i = 1; i < 20; i++) {
        assert_true(o->one[i].answered && o->one[i].is_right);
    }
    assert_false(o->one[0].answered);
    link_client_close(&client);
    link_server_close(&server);
    outcomes_free(o);
}

/* Who asks while a connection is being lost is told that it is unanswered, and asks again. */
static void ask_until_answered(struct link_client *client, struct outcomes *o, int i)
{
    int64_t start = clock_monotonic_ns(&clock_real);
    do {
        assert_true(clock_monotonic_ns(&clock_real) - start < PATIENCE_MS * 1000000LL);
        o->one[i].calls = 0;
        o->done = i;
        request(client, o, i, PATIENCE_MS);
        wait_for(o, i + 1);
    } while (!o->one[i].answered);
    assert_true(o->one[i].is_right && o->one[i].calls == 1);
}

static void test_after_a_restart_of_the_server_requests_are_answered_again(void **state)
{
    struct outcomes *o = outcomes_new();
    atomic_int handled = 0;
    (void)state;
    struct link_server *server = open_server(answer_at_once, &handled);
    struct link_client *client = open_client();
    request(client, o, 0, PATIENCE_MS);
    wait_for(o, 1);
    link_server_close(&server);
    request(client, o, 1, 100);
    wait_for(o, 2);
    assert_false(o->one[1].answered);
    server = open_server(answer_at_once, &handled);
    ask_until_answered(client, o, 2);
    link_client_close(&client);
    link_server_close(&server);
    outcomes_free(o);
}

static void test_a_reply_that_is_too_late_does_not_answer_the_next_request(void **state)
{
    struct outcomes *o = outcomes_new();
    struct queue *q = queue_new();
    (void)state;
    struct link_server *server = open_server(keep, q);
    struct link_client *client = open_client();
    request(client, o, 0, 300);
    wait_for_kept(q, 1);
    wait_for(o, 1);
    assert_false(o->one[0].answered);
    request(client, o, 1, PATIENCE_MS); /* on the same context */
    wait_for_kept(q, 2);
    struct link_reply *second = q->kept[1].reply;
    link_reply_send(q->kept[0].reply, slice_text("reply to request 0"));
    link_reply_send(second, slice_text("reply to request 1"));
    wait_for(o, 2);
    assert_true(o->one[1].answered && o->one[1].is_right);
    assert_int_equal(o->one[0].calls, 1);
    link_client_close(&client);
    link_server_close(&server);
    queue_free(q);
    outcomes_free(o);
}

static void test_closing_a_client_ends_its_requests_unanswered(void **state)
{
    struct outcomes *o = outcomes_new();
    struct queue *q = queue_new();
    (void)state;
    struct link_server *server = open_server(keep, q);
    struct link_client *client = open_client();
    for (int i = 0; i < 50; i++) {
        request(client, o, i, PATIENCE_MS);
    }
    wait_for_kept(q, 50);
    int64_t start = clock_monotonic_ns(&clock_real);
    link_client_close(&client);
    assert_true(clock_monotonic_ns(&clock_real) - start < PATIENCE_MS / 2 * 1000000LL);
    assert_int_equal(o->done, 50); /* before closing returned */
    assert_all(o, 50, false);
    answer_on_another_thread(q);
    link_server_close(&server);
    queue_free(q);
    outcomes_free(o);
}

struct requester {
    struct link_client *client;
    struct outcomes *outcomes;
    int first;
    atomic_int *sent;
};

static void *send_many(void *user)
{
    struct requester *r = user;
    for (int i = r->first; i < r->first + 100; i++) {
        request(r->client, r->outcomes, i, PATIENCE_MS);
        atomic_fetch_add(r->sent, 1);
    }
    return NULL;
}

static void test_several_threads_may_send_through_one_client(void **state)
{
    struct outcomes *o = outcomes_new();
    atomic_int handled = 0;
    atomic_int sent = 0;
    pthread_t threads[4];
    struct requester requesters[4];
    (void)state;
    struct link_server *server = open_server(answer_at_once, &handled);
    struct link_client *client = open_client();
    for (int i = 0; i < 4; i++) {
        requesters[i] = (struct requester){client, o, 100 * i, &sent};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &requesters[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    wait_for(o, 400);
    assert_all(o, 400, true);
    link_client_close(&client);
    link_server_close(&server);
    outcomes_free(o);
}

/* A request that sends the next one from its own end. */
struct chain {
    struct link_client *client;
    struct outcomes *outcomes;
    int number;
    atomic_int left;
};

static void on_link_of_chain(void *user, bool answered, struct slice reply)
{
    struct chain *chain = user;
    (void)reply;
    if (answered && atomic_fetch_sub(&chain->left, 1) > 1) {
        link_client_request(chain->client, slice_text("x"), PATIENCE_MS, on_link_of_chain, chain);
    } else {
        on_done(&chain->outcomes->one[chain->number], false, slice_make(NULL, 0));
    }
}

static void test_the_end_of_a_request_may_send_the_next(void **state)
{
    struct outcomes *o = outcomes_new();
    atomic_int handled = 0;
    (void)state;
    struct link_server *server = open_server(answer_at_once, &handled);
    struct chain chain = {.client = open_client(), .outcomes = o};
    atomic_store(&chain.left, 200);
    link_client_request(chain.client, slice_text("x"), PATIENCE_MS, on_link_of_chain, &chain);
    wait_for(o, 1);
    assert_int_equal(atomic_load(&chain.left), 0);
    assert_int_equal(atomic_load(&handled), 200);
    link_client_close(&chain.client);
    link_server_close(&server);
    outcomes_free(o);
}

static void test_closing_in_the_midst_of_requests_that_send_the_next_ends_all_of_them(void **state)
{
    enum { CHAINS = 20 };
    atomic_int handled = 0;
    (void)state;
    struct link_server *server = open_server(answer_at_once, &handled);
    for (int round = 1; round <= 4; round++) {
        static struct chain chains[CHAINS];
        struct outcomes *o = outcomes_new();
        struct link_client *client = open_client();
        atomic_store(&handled, 0);
        for (int i = 0; i < CHAINS; i++) {
            chains[i] = (struct chain){.client = client, .outcomes = o, .number = i};
            atomic_store(&chains[i].left, 1000000);
            link_client_request(client, slice_text("x"), PATIENCE_MS, on_link_of_chain, &chains[i]);
        }
        int64_t start = clock_monotonic_ns(&clock_real);
        while (atomic_load(&handled) < round * 10) {
            assert_true(clock_monotonic_ns(&clock_real) - start < PATIENCE_MS * 1000000LL);
        }
        link_client_close(&client);
        assert_int_equal(o->done, CHAINS);
        assert_all(o, CHAINS, false);
        outcomes_free(o);
    }
    link_server_close(&server);
}

static void test_a_stopped_server_calls_its_handler_no_more_but_sends_what_is_owed(void **state)
{
    struct outcomes *o = outcomes_new();
    struct queue *q = queue_new();
    (void)state;
    struct link_server *server = open_server(keep, q);
    struct link_client *client = open_client();
    request(client, o, 0, PATIENCE_MS);
    wait_for_kept(q, 1);
    link_server_stop(server);
    request(client, o, 1, PATIENCE_MS);
    wait_for(o, 1);
    assert_false(o->one[1].answered); /* at once, not after the timeout */
    assert_true(o->one[1].is_right);
    answer_on_another_thread(q);
    wait_for(o, 2);
    assert_true(o->one[0].answered && o->one[0].is_right);
    assert_int_equal(q->count, 0);
    link_client_close(&client);
    link_server_close(&server);
    queue_free(q);
    outcomes_free(o);
}

static void test_a_message_of_nearly_the_limit_passes(void **state)
{
    struct outcomes *o = outcomes_new();
    size_t len = LIMIT_WIRE_BYTES - 64;
    uint8_t *bytes = memory_allocate_zeroed(len);
    atomic_int handled = 0;
    (void)state;
    struct link_server *server = open_server(answer_at_once, &handled);
    struct link_client *client = open_client();
    link_client_request(client, slice_make(bytes, len), PATIENCE_MS, on_done, &o->one[0]);
    wait_for(o, 1);
    assert_true(o->one[0].answered);
    link_client_close(&client);
    link_server_close(&server);
    free(bytes);
    outcomes_free(o);
}

static void test_a_message_over_the_limit_never_reaches_the_handler(void **state)
{
    struct outcomes *o = outcomes_new();
    size_t len = LIMIT_WIRE_BYTES + 1;
    uint8_t *bytes = memory_allocate_zeroed(len);
    atomic_int handled = 0;
    (void)state;
    struct link_server *server = open_server(answer_at_once, &handled);
    struct link_client *client = open_client();
    link_client_request(client, slice_make(bytes, len), 500, on_done, &o->one[0]);
    wait_for(o, 1);
    assert_all(o, 1, false);
    assert_int_equal(atomic_load(&handled), 0);
    link_client_close(&client);
    link_server_close(&server);
    free(bytes);
    outcomes_free(o);
}

/* A hub as far as TCP and NNG's greeting go, which may be silent after that. */
struct mute {
    int listening;
    atomic_int connections;
    atomic_int messages;
    atomic_int fd;       /* the connection that is served */
    atomic_bool answers; /* from the next connection on */
    atomic_bool dies;    /* resets each connection in the midst of what it is sent */
    pthread_t thread;
};

static bool read_all(int fd, void *to, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = recv(fd, (char *)to + got, len - got, 0);
        if (n <= 0) {
            return false;
        }
        got += (size_t)n;
    }
    return true;
}

/* The greeting, a part of what follows, and a reset. */
static void die_in_the_midst(int fd, int n)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    struct linger reset = {.l_onoff = n % 2};
    char part[65536];
    (void)send(fd, greeting, 8, MSG_NOSIGNAL);
    for (int i = 0; i < n % 20; i++) {
        (void)recv(fd, part, sizeof part, 0);
    }
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

/* One message after the other: 8 bytes of length, 4 of the request's id, the text. */
static void serve_mute(struct mute *mute, int fd, bool answers)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    uint8_t theirs[8];
    uint8_t message[256];
    if (send(fd, greeting, 8, MSG_NOSIGNAL) != 8 || !read_all(fd, theirs, 8)) {
        return;
    }
    while (read_all(fd, message, 8)) {
        uint64_t len = read_u64(message);
        assert_true(len >= 4 && len < 128);
        if (!read_all(fd, message + 8, len)) {
            return;
        }
        atomic_fetch_add(&mute->messages, 1);
        if (answers) {
            uint8_t reply[256] = {0};
            memcpy(reply + 8, message + 8, 4);
            memcpy(reply + 12, "reply to ", 9);
            memcpy(reply + 21, message + 12, len - 4);
            reply[7] = (uint8_t)(len + 9);
            (void)send(fd, reply, 8 + len + 9, MSG_NOSIGNAL);
        }
    }
}

static void *run_mute(void *arg)
{
    struct mute *mute = arg;
    int fd;
    while ((fd = accept(mute->listening, NULL, NULL)) >= 0) {
        bool answers = atomic_load(&mute->answers);
        int n = atomic_fetch_add(&mute->connections, 1);
        atomic_store(&mute->fd, fd);
        if (atomic_load(&mute->dies)) {
            die_in_the_midst(fd, n);
        } else {
            serve_mute(mute, fd, answers);
        }
        close(fd);
    }
    return NULL;
}

static void mute_open(struct mute *mute)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    address.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
    mute->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(mute->listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(mute->listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(mute->listening, 8), 0);
    assert_int_equal(pthread_create(&mute->thread, NULL, run_mute, mute), 0);
}

static void mute_hang_up(struct mute *mute)
{
    shutdown(atomic_load(&mute->fd), SHUT_RDWR);
}

static void mute_close(struct mute *mute)
{
    shutdown(mute->listening, SHUT_RDWR);
    pthread_join(mute->thread, NULL);
    close(mute->listening);
}

static void count_stuck(void *user, unsigned count)
{
    atomic_store((atomic_int *)user, (int)count);
}

static void test_a_silent_connection_is_given_up_and_a_new_one_serves(void **state)
{
    struct outcomes *o = outcomes_new();
    struct mute mute = {0};
    struct link_client *client;
    struct error err;
    atomic_int stuck = 0;
    (void)state;
    mute_open(&mute);
    struct link_client_options options = {
        .url = url, .silence_ms = 300, .stuck = count_stuck, .user = &stuck};
    assert_true(link_client_open(&options, &client, &err));
    int64_t start = clock_monotonic_ns(&clock_real);
    request(client, o, 0, 10 * PATIENCE_MS);
    wait_for(o, 1); /* long before its own time is over */
    assert_all(o, 1, false);
    assert_true(clock_monotonic_ns(&clock_real) - start >= 300 * 1000000LL);
    atomic_store(&mute.answers, true);
    for (int i = 1; i < 5; i++) {
        /* The first may still meet a silent connection. */
        do {
            o->one[i].calls = 0;
            o->done = i;
            request(client, o, i, PATIENCE_MS);
            wait_for(o, i + 1);
        } while (i == 1 && !o->one[i].answered);
        assert_true(o->one[i].answered && o->one[i].is_right && o->one[i].calls == 1);
    }
    assert_true(atomic_load(&mute.connections) >= 2);
    assert_int_equal(atomic_load(&stuck), 0);
    link_client_close(&client);
    mute_close(&mute);
    outcomes_free(o);
}

static void
test_a_client_recovers_from_connections_that_died_in_the_midst_of_large_messages(void **state)
{
    enum { ROUNDS = 20, EACH = 8 };
    struct outcomes *o = outcomes_new();
    struct mute mute = {0};
    struct link_client *client;
    struct error err;
    atomic_int stuck = 0;
    uint8_t *bytes = memory_allocate_zeroed(LIMIT_BLOCK_BYTES);
    (void)state;
    atomic_store(&mute.dies, true);
    mute_open(&mute);
    struct link_client_options options = {
        .url = url, .silence_ms = 1000, .stuck = count_stuck, .user = &stuck};
    assert_true(link_client_open(&options, &client, &err));
    for (int i = 0; i < ROUNDS * EACH; i++) {
        link_client_request(client, slice_make(bytes, LIMIT_BLOCK_BYTES / (size_t)(1 + i % 4)), 500,
                            on_done, &o->one[i]);
        if (i % EACH == EACH - 1) {
            wait_for(o, i + 1);
        }
    }
    assert_all(o, ROUNDS * EACH, false);
    atomic_store(&mute.answers, true);
    atomic_store(&mute.dies, false);
    int64_t start = clock_monotonic_ns(&clock_real);
    int i = ROUNDS * EACH;
    do {
        assert_true(clock_monotonic_ns(&clock_real) - start < PATIENCE_MS * 1000000LL);
        o->one[i].calls = 0;
        o->done = i;
        request(client, o, i, 500);
        wait_for(o, i + 1);
    } while (!o->one[i].answered);
    assert_true(o->one[i].is_right);
    print_message("%d sockets could not be closed on the way\n", atomic_load(&stuck));
    link_client_close(&client);
    mute_close(&mute);
    free(bytes);
    outcomes_free(o);
}

/* What was asked of a server that dies is told at once, not after its own time. */
static void test_what_a_dying_server_was_asked_is_unanswered_at_once(void **state)
{
    struct outcomes *o = outcomes_new();
    struct mute mute = {0};
    (void)state;
    mute_open(&mute);
    struct link_client *client = open_client();
    request(client, o, 0, 100 * PATIENCE_MS);
    while (atomic_load(&mute.messages) == 0) {
        sched_yield();
    }
    mute_hang_up(&mute);
    wait_for(o, 1);
    assert_all(o, 1, false);
    link_client_close(&client);
    mute_close(&mute);
    outcomes_free(o);
}

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* A server that was away for long is found in no more time than one that was away for short; a
 * client that waits for it hardly works meanwhile. */
static void test_a_server_that_is_back_is_found_within_two_seconds(void **state)
{
    enum { AWAY_MS = 6000, FOUND_MS_MAX = 2000 };
    struct timespec away = {AWAY_MS / 1000, 0};
    struct outcomes *o = outcomes_new();
    atomic_int handled = 0;
    (void)state;
    struct link_server *server = open_server(answer_at_once, &handled);
    struct link_client *client = open_client();
    ask_until_answered(client, o, 0);
    link_server_close(&server);
    double before = cpu_ms();
    nanosleep(&away, NULL);
    print_message("%.2f ms of CPU time in %d ms without a server\n", cpu_ms() - before, AWAY_MS);
    assert_false(link_client_is_connected(client));
    server = open_server(answer_at_once, &handled);
    int64_t start = clock_monotonic_ns(&clock_real);
    ask_until_answered(client, o, 1);
    int64_t found_ms = (clock_monotonic_ns(&clock_real) - start) / 1000000;
    print_message("found after %lld ms\n", (long long)found_ms);
    assert_true(found_ms < FOUND_MS_MAX);
    link_client_close(&client);
    link_server_close(&server);
    outcomes_free(o);
}

static void test_a_client_that_never_was_connected_is_left_to_its_dialling(void **state)
{
    struct outcomes *o = outcomes_new();
    struct link_client *client;
    struct error err;
    atomic_int handled = 0;
    (void)state;
    struct link_client_options options = {.url = url, .silence_ms = 50};
    assert_true(link_client_open(&options, &client, &err));
    request(client, o, 0, 500);
    wait_for(o, 1); /* by its own timeout, not by the silence */
    request(client, o, 1, PATIENCE_MS);
    struct link_server *server = open_server(answer_at_once, &handled);
    wait_for(o, 2);
    assert_true(o->one[1].answered);
    link_client_close(&client);
    link_server_close(&server);
    outcomes_free(o);
}

static void test_a_stopped_client_answers_nothing_and_takes_nothing(void **state)
{
    struct outcomes *o = outcomes_new();
    struct link_client *client = open_client();
    (void)state;
    request(client, o, 0, PATIENCE_MS);
    link_client_stop(client);
    assert_all(o, 1, false); /* done before the stop returned */
    request(client, o, 1, PATIENCE_MS);
    assert_all(o, 2, false);
    link_client_stop(client);
    link_client_close(&client);
    outcomes_free(o);
}

static void test_addresses_that_cannot_be_are_errors(void **state)
{
    struct link_server *server = NULL;
    struct link_client *client = NULL;
    struct error err = {.kind = ERROR_NONE};
    atomic_int handled = 0;
    (void)state;
    struct link_server_options options = server_options(answer_at_once, &handled);
    options.url = "nonsense";
    assert_false(link_server_open(&options, &server, &err));
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_false(link_client_open(&(struct link_client_options){.url = "nonsense"}, &client, &err));
    struct link_server *first = open_server(answer_at_once, &handled);
    options.url = url;
    assert_false(link_server_open(&options, &server, &err));
    assert_int_equal(err.kind, ERROR_UNAVAILABLE);
    assert_true(server == NULL && client == NULL);
    link_server_close(&first);
    link_server_close(&first);
    link_client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_of_many_requests_in_flight_gets_its_own_reply),
        TEST(test_replies_may_come_late_from_another_thread_and_in_any_order),
        TEST(test_many_clients_may_wait_for_long_beside_one_that_is_in_a_hurry),
        TEST(test_a_request_without_a_server_is_done_unanswered_after_its_timeout),
        TEST(test_a_server_that_appears_later_answers_what_waits),
        TEST(test_after_a_restart_of_the_server_requests_are_answered_again),
        TEST(test_a_reply_that_is_too_late_does_not_answer_the_next_request),
        TEST(test_closing_a_client_ends_its_requests_unanswered),
        TEST(test_several_threads_may_send_through_one_client),
        TEST(test_the_end_of_a_request_may_send_the_next),
        TEST(test_a_stopped_server_calls_its_handler_no_more_but_sends_what_is_owed),
        TEST(test_a_message_of_nearly_the_limit_passes),
        TEST(test_a_silent_connection_is_given_up_and_a_new_one_serves),
        TEST(test_what_a_dying_server_was_asked_is_unanswered_at_once),
        TEST(test_a_server_that_is_back_is_found_within_two_seconds),
        TEST(test_a_client_that_never_was_connected_is_left_to_its_dialling),
        TEST(test_a_stopped_client_answers_nothing_and_takes_nothing),
        TEST(test_addresses_that_cannot_be_are_errors),
        /* Last, because NNG before 1.8 may not take down another connection of this process after
         * one of these (see link_nng_client.c). */
        TEST(test_closing_in_the_midst_of_requests_that_send_the_next_ends_all_of_them),
        TEST(test_a_message_over_the_limit_never_reaches_the_handler),
        TEST(test_a_client_recovers_from_connections_that_died_in_the_midst_of_large_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
