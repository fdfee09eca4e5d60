/* Strangers at the link's port, as raw sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "shared/link.h"

enum { PATIENCE_MS = 20000, GREETING_MS = 300, FIRST_MESSAGE_MS = 600, PER_ADDRESS = 8 };

static const uint8_t req_greeting[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};

struct hub {
    struct link_server *server;
    pthread_mutex_t lock;
    struct link_reply *kept[2000]; /* of requests "keep" */
    size_t kept_count;
};

/* "peer 7" is vouched for as 7's; "keep" is not answered yet; "large" gets a large answer. */
static void on_request(void *user, struct slice request, struct link_reply *reply)
{
    struct hub *hub = user;
    static uint8_t large[1024 * 1024];
    if (slice_starts_with(request, slice_text("peer "))) {
        char number[16];
        snprintf(number, sizeof number, "%.*s", SLICE_ARGS(slice_skip(request, 5)));
        link_reply_vouch(reply, (uint32_t)atoi(number));
    }
    if (slice_is(request, "keep")) {
        pthread_mutex_lock(&hub->lock);
        assert_true(hub->kept_count < 2000);
        hub->kept[hub->kept_count++] = reply;
        pthread_mutex_unlock(&hub->lock);
    } else {
        bool is_large = slice_is(request, "large");
        link_reply_send(reply, is_large ? slice_make(large, sizeof large) : slice_text("yes"));
    }
}

static void open_hub(struct hub *hub, size_t connections_max)
{
    struct error err;
    *hub = (struct hub){.lock = PTHREAD_MUTEX_INITIALIZER};
    struct link_server_options options = {.url = "tcp://127.0.0.1:0",
                                          .connections_max = connections_max,
                                          .strangers_per_address_max = PER_ADDRESS,
                                          .greeting_ms = GREETING_MS,
                                          .first_message_ms = FIRST_MESSAGE_MS,
                                          .handler = on_request,
                                          .user = hub};
    if (!link_server_open(&options, &hub->server, &err)) {
        fail_msg("%s", err.message);
    }
}

/* Those that were told to go are counted until their thread has closed them. */
static void wait_until_few(struct hub *hub, size_t strangers_max)
{
    int64_t start = clock_monotonic_ns(&clock_real);
    while (link_server_stats(hub->server).strangers > strangers_max) {
        assert_true(clock_monotonic_ns(&clock_real) - start < PATIENCE_MS * 1000000LL);
        poll(NULL, 0, 1);
    }
}

static size_t kept_by(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    size_t count = hub->kept_count;
    pthread_mutex_unlock(&hub->lock);
    return count;
}

static size_t answer_kept(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    size_t count = hub->kept_count;
    while (hub->kept_count > 0) {
        link_reply_send(hub->kept[--hub->kept_count], slice_text("late"));
    }
    pthread_mutex_unlock(&hub->lock);
    return count;
}

/* Nothing may be left of connections that were closed. */
static void close_hub(struct hub *hub)
{
    (void)answer_kept(hub);
    link_server_close(&hub->server);
}

/* ---- One stranger ---- */

/* From 127.0.0.`from`. */
static int knock_from(struct hub *hub, uint32_t from)
{
    struct sockaddr_in us = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000 + from)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons(link_server_port(hub->server));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&us, sizeof us), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int knock(struct hub *hub)
{
    return knock_from(hub, 1);
}

static void say(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static void say_request(int fd, const char *text)
{
    uint8_t message[64] = {0};
    size_t len = strlen(text);
    message[7] = (uint8_t)(4 + len);
    message[8] = 0x80;
    memcpy(message + 12, text, len);
    say(fd, message, 12 + len);
}

/* Read up to `len` bytes; how many came before the end or the time. */
static size_t hear(int fd, uint8_t *to, size_t len, int ms)
{
    size_t got = 0;
    while (got < len) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, ms) == 1 ? recv(fd, to + got, len - got, 0) : 0;
        if (n <= 0) {
            break;
        }
        got += (size_t)n;
    }
    return got;
}

static void assert_answered(int fd, const char *text)
{
    uint8_t bytes[64] = {0};
    size_t len = 12 + strlen(text);
    assert_int_equal(hear(fd, bytes, len, PATIENCE_MS), len);
    assert_memory_equal(bytes + 12, text, strlen(text));
}

/* A collector that has spoken. */
static int come_as(struct hub *hub, int peer, uint32_t from)
{
    char text[32];
    uint8_t greeting[8];
    int fd = knock_from(hub, from);
    snprintf(text, sizeof text, "peer %d", peer);
    say(fd, req_greeting, sizeof req_greeting);
    assert_int_equal(hear(fd, greeting, 8, PATIENCE_MS), 8);
    say_request(fd, text);
    assert_answered(fd, "yes");
    return fd;
}

/* What was sent before is passed over. */
static bool is_closed(int fd, int ms)
{
    uint8_t bytes[4096];
    int64_t start = clock_monotonic_ns(&clock_real);
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = ms - (clock_monotonic_ns(&clock_real) - start) / 1000000;
        if (left < 0 || poll(&p, 1, (int)left) == 0) {
            return false;
        }
        if (recv(fd, bytes, sizeof bytes, 0) <= 0) {
            return true;
        }
    }
}

static void wait_until_closed(int fd)
{
    assert_true(is_closed(fd, PATIENCE_MS));
    close(fd);
}

/* ---- Tests ---- */

static void test_whoever_is_silent_or_speaks_otherwise_is_closed(void **state)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
        bool greets;
    } cases[] = {
        {"silent", "", 0, false},
        {"half a greeting", "\0SP", 3, false},
        {"http", "GET / HTTP/1.1\r\n\r\n", 18, false},
        {"another protocol of NNG", "\0SP\0\0\x50\0\0", 8, false},
        {"greets and is silent", "", 0, true},
        {"half a length", "\0\0\0\0", 4, true},
        {"announces too much", "\0\0\0\0\x7f\0\0\0", 8, true},
        {"no id", "\0\0\0\0\0\0\0\0", 8, true},
        {"ids without an end", "\0\0\0\0\0\0\0\x04\0\0\0\0", 12, true},
        {"half a message", "\0\0\0\0\0\0\0\x7f\x80\0\0\0hello", 17, true},
    };
    struct hub hub;
    (void)state;
    open_hub(&hub, 100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = knock(&hub);
        if (cases[i].greets) {
            say(fd, req_greeting, sizeof req_greeting);
        }
        say(fd, cases[i].bytes, cases[i].len);
        if (!is_closed(fd, FIRST_MESSAGE_MS * 10)) {
            fail_msg("%s: not closed", cases[i].name);
        }
        close(fd);
    }
    wait_until_few(&hub, 0);
    struct link_server_stats stats = link_server_stats(hub.server);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.too_slow, 5);
    assert_int_equal(stats.wrong_form, 5);
    close_hub(&hub);
}

static void test_a_message_that_nobody_vouches_for_keeps_a_connection_no_longer(void **state)
{
    struct hub hub;
    uint8_t greeting[8];
    (void)state;
    open_hub(&hub, 100);
    int fd = knock(&hub);
    say(fd, req_greeting, sizeof req_greeting);
    assert_int_equal(hear(fd, greeting, 8, PATIENCE_MS), 8);
    say_request(fd, "stranger");
    assert_answered(fd, "yes");
    wait_until_closed(fd);
    close_hub(&hub);
}

static void test_a_collector_that_has_spoken_may_be_silent(void **state)
{
    struct hub hub;
    (void)state;
    open_hub(&hub, 100);
    int fd = come_as(&hub, 7, 1);
    assert_false(is_closed(fd, FIRST_MESSAGE_MS * 3));
    say_request(fd, "x");
    assert_answered(fd, "yes");
    close(fd);
    close_hub(&hub);
}

static void test_of_one_address_the_oldest_strangers_go_and_collectors_stay(void **state)
{
    enum { MANY = PER_ADDRESS * 4 };
    struct hub hub;
    int fds[MANY];
    (void)state;
    open_hub(&hub, 100);
    int collector = come_as(&hub, 7, 1);
    int elsewhere = knock_from(&hub, 9);
    say(elsewhere, req_greeting, sizeof req_greeting);
    for (int i = 0; i < MANY; i++) {
        fds[i] = knock(&hub);
        say(fds[i], req_greeting, sizeof req_greeting);
    }
    for (int i = 0; i < MANY - PER_ADDRESS; i++) {
        wait_until_closed(fds[i]);
    }
    wait_until_few(&hub, PER_ADDRESS + 1);
    assert_false(is_closed(elsewhere, 0));
    int last = come_as(&hub, 8, 1); /* whoever comes is served at once */
    say_request(collector, "x");
    assert_answered(collector, "yes");
    for (int i = MANY - PER_ADDRESS; i < MANY; i++) {
        close(fds[i]);
    }
    close(elsewhere);
    close(last);
    close(collector);
    close_hub(&hub);
}

static void test_a_full_port_serves_collectors_before_strangers(void **state)
{
    enum { ROOM = 20 };
    struct hub hub;
    int fds[ROOM];
    (void)state;
    open_hub(&hub, ROOM);
    for (int i = 0; i < ROOM; i++) {
        fds[i] = knock_from(&hub, 2 + (uint32_t)i);
    }
    int collectors[ROOM];
    for (int i = 0; i < ROOM; i++) {
        collectors[i] = come_as(&hub, 1 + i, 100);
        wait_until_closed(fds[i]);
    }
    int late = knock_from(&hub, 200);
    wait_until_closed(late);
    for (int i = 0; i < ROOM; i++) {
        say_request(collectors[i], "x");
        assert_answered(collectors[i], "yes");
        close(collectors[i]);
    }
    close_hub(&hub);
}

static void test_one_collector_has_few_connections_and_the_newest_stay(void **state)
{
    enum { MANY = LINK_PEER_CONNECTIONS_MAX + 3 };
    struct hub hub;
    int fds[MANY];
    (void)state;
    open_hub(&hub, 100);
    int other = come_as(&hub, 8, 1);
    for (int i = 0; i < MANY; i++) {
        fds[i] = come_as(&hub, 7, 1);
    }
    for (int i = 0; i < MANY - LINK_PEER_CONNECTIONS_MAX; i++) {
        wait_until_closed(fds[i]);
    }
    for (int i = MANY - LINK_PEER_CONNECTIONS_MAX; i < MANY; i++) {
        assert_false(is_closed(fds[i], 0));
        close(fds[i]);
    }
    assert_false(is_closed(other, 0));
    close(other);
    close_hub(&hub);
}

/* More of half-sent messages than strangers may hold, each from an address of its own. */
static void test_half_sent_messages_of_strangers_hold_bounded_memory(void **state)
{
    enum { MANY = 40 };
    static uint8_t part[LIMIT_WIRE_BYTES - 4096];
    struct hub hub;
    int fds[MANY];
    size_t open_count = 0;
    (void)state;
    open_hub(&hub, 100);
    int collector = come_as(&hub, 7, 1);
    for (int i = 0; i < MANY; i++) {
        uint8_t head[8] = {0};
        fds[i] = knock_from(&hub, 2 + (uint32_t)i);
        struct buf out = {.data = head, .capacity = 8, .len_max = 8};
        buf_put_u64(&out, LIMIT_WIRE_BYTES);
        say(fds[i], req_greeting, sizeof req_greeting);
        say(fds[i], head, sizeof head);
        for (size_t sent = 0; sent < sizeof part;) {
            ssize_t n = send(fds[i], part + sent, sizeof part - sent, MSG_NOSIGNAL);
            if (n <= 0) {
                break; /* it was closed meanwhile */
            }
            sent += (size_t)n;
        }
    }
    for (int i = 0; i < MANY; i++) {
        open_count += !is_closed(fds[i], 20);
        close(fds[i]);
    }
    assert_in_range(open_count, 1, LINK_STRANGER_BYTES_MAX / LIMIT_BLOCK_BYTES + 1);
    assert_true(link_server_stats(hub.server).crowded > 0);
    say_request(collector, "x");
    assert_answered(collector, "yes");
    close(collector);
    close_hub(&hub);
}

static void test_a_slow_honest_first_message_is_waited_for_and_a_drip_is_not(void **state)
{
    uint8_t head[12] = {0, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0};
    uint8_t part[256] = {0};
    struct hub hub;
    (void)state;
    open_hub(&hub, 100);
    int slow = knock(&hub);
    int drip = knock(&hub);
    say(slow, req_greeting, sizeof req_greeting);
    say(drip, req_greeting, sizeof req_greeting);
    say(slow, head, sizeof head);
    say(drip, head, sizeof head);
    /* 4 KiB within 1.6 s, 2.5 times the time for a first message. */
    for (size_t sent = 4; sent < 0x1000; sent += sizeof part) {
        size_t left = 0x1000 - sent;
        say(slow, part, left < sizeof part ? left : sizeof part);
        (void)send(drip, part, 1, MSG_NOSIGNAL);
        poll(NULL, 0, 100);
    }
    uint8_t greeting[8];
    assert_int_equal(hear(slow, greeting, 8, PATIENCE_MS), 8);
    assert_answered(slow, "yes");
    assert_true(is_closed(drip, 0));
    close(slow);
    close(drip);
    close_hub(&hub);
}

/* Whatever is asked beyond a bound waits in the socket, and is answered after all. */
static void test_requests_beyond_the_bound_wait_and_are_answered_later(void **state)
{
    enum { MANY = 1000 };
    struct hub hub;
    size_t answered = 0;
    (void)state;
    open_hub(&hub, 100);
    int fd = come_as(&hub, 7, 1);
    for (int i = 0; i < MANY; i++) {
        say_request(fd, "keep");
    }
    int64_t start = clock_monotonic_ns(&clock_real);
    while (answered < MANY) {
        assert_true(clock_monotonic_ns(&clock_real) - start < PATIENCE_MS * 1000000LL);
        assert_true(kept_by(&hub) <= 256);
        for (size_t kept = answer_kept(&hub); kept > 0; kept--) {
            assert_answered(fd, "late");
            answered++;
        }
    }
    close(fd);
    close_hub(&hub);
}

static void test_answers_that_are_not_read_pause_their_connection_and_nobody_else(void **state)
{
    static uint8_t answer[12 + 1024 * 1024];
    enum { MANY = 50 };
    struct hub hub;
    (void)state;
    open_hub(&hub, 100);
    int lazy = come_as(&hub, 7, 1);
    for (int i = 0; i < MANY; i++) {
        say_request(lazy, "large");
    }
    int other = come_as(&hub, 8, 1);
    say_request(other, "x");
    assert_answered(other, "yes");
    assert_false(is_closed(other, 0));
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(hear(lazy, answer, sizeof answer, PATIENCE_MS), sizeof answer);
    }
    say_request(lazy, "x");
    assert_answered(lazy, "yes");
    close(lazy);
    close(other);
    close_hub(&hub);
}

static void test_connections_that_end_with_answers_owed_leave_nothing(void **state)
{
    struct hub hub;
    (void)state;
    open_hub(&hub, 100);
    for (size_t i = 0; i < 50; i++) {
        int fd = come_as(&hub, 7, 1);
        say_request(fd, "keep");
        int64_t start = clock_monotonic_ns(&clock_real);
        while (kept_by(&hub) <= i) {
            assert_true(clock_monotonic_ns(&clock_real) - start < PATIENCE_MS * 1000000LL);
        }
        close(fd);
    }
    close_hub(&hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whoever_is_silent_or_speaks_otherwise_is_closed),
        cmocka_unit_test(test_a_message_that_nobody_vouches_for_keeps_a_connection_no_longer),
        cmocka_unit_test(test_a_collector_that_has_spoken_may_be_silent),
        cmocka_unit_test(test_of_one_address_the_oldest_strangers_go_and_collectors_stay),
        cmocka_unit_test(test_a_full_port_serves_collectors_before_strangers),
        cmocka_unit_test(test_one_collector_has_few_connections_and_the_newest_stay),
        cmocka_unit_test(test_half_sent_messages_of_strangers_hold_bounded_memory),
        cmocka_unit_test(test_a_slow_honest_first_message_is_waited_for_and_a_drip_is_not),
        cmocka_unit_test(test_requests_beyond_the_bound_wait_and_are_answered_later),
        cmocka_unit_test(test_answers_that_are_not_read_pause_their_connection_and_nobody_else),
        cmocka_unit_test(test_connections_that_end_with_answers_owed_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
