#include "shared/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <zlib.h>
#include "shared/clock.h"
#include "shared/listen.h"

enum { BODY_MAX = 8192, DEADLINE_MS = 600 };

/* What the handler keeps for later, where the path is /later. */
struct fixture {
    struct http_server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct http_request *suspended[64];
    int count;
    int refused;
};

static void put_pair(void *user, struct slice name, struct slice value)
{
    buf_put_format(user, "%.*s:%.*s;", SLICE_ARGS(name), SLICE_ARGS(value));
}

static void put_line(void *user, struct slice value)
{
    buf_put_format(user, "[%.*s]", SLICE_ARGS(value));
}

/* Says who asks, and every line of a header. */
static void describe_lines(const struct http_request *request, struct buf *out)
{
    char text[INET_ADDRSTRLEN];
    const struct sockaddr_in *peer = (const struct sockaddr_in *)(const void *)http_peer(request);
    assert_int_equal(peer->sin_family, AF_INET);
    assert_non_null(inet_ntop(AF_INET, &peer->sin_addr, text, sizeof text));
    buf_put_format(out, "%s ", text);
    http_each_header(request, "X-Lines", put_line, out);
}

/* Says what was asked: method, path, parameters, a header, a cookie, length and sum of the body. */
static void describe(const struct http_request *request, struct buf *out)
{
    struct slice body = http_body(request);
    unsigned sum = 0;
    for (size_t i = 0; i < body.len; i++) {
        sum += body.data[i];
    }
    buf_put_format(out, "%.*s %.*s ", SLICE_ARGS(http_method(request)),
                   SLICE_ARGS(http_path(request)));
    http_each_query(request, put_pair, out);
    buf_put_format(out, " %.*s|%.*s|%.*s %zu %u", SLICE_ARGS(http_query(request, "q")),
                   SLICE_ARGS(http_header(request, "x-TEST")),
                   SLICE_ARGS(http_cookie(request, "c")), body.len, sum);
}

static void handle(void *user, struct http_request *request)
{
    struct fixture *f = user;
    struct buf text;
    bool is_soon = slice_is(http_path(request), "/soon");
    if (is_soon || slice_is(http_path(request), "/later")) {
        pthread_mutex_lock(&f->lock);
        if (is_soon) {
            http_hold(request);
        } else {
            http_suspend(request);
        }
        f->suspended[f->count++] = request;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
        return;
    }
    if (slice_is(http_path(request), "/error")) {
        http_answer_error(request, 422, "no-such-thing", "It \"is\" wrong.", "/a/b");
        return;
    }
    buf_init(&text, 64 * 1024);
    if (slice_is(http_path(request), "/credentials")) {
        buf_put_format(&text, "|%.*s|", SLICE_ARGS(http_credentials(request, "Basic")));
    } else if (slice_is(http_path(request), "/lines")) {
        describe_lines(request, &text);
    } else {
        describe(request, &text);
    }
    http_add_header(request, "X-Answer", slice_text("42"));
    http_answer(request, 200, "text/plain", buf_slice(&text));
    buf_done(&text);
}

static void tell_refused(void *user, struct http_request *request, const char *code,
                         const char *message)
{
    struct fixture *f = user;
    http_add_header(request, "X-Refused", slice_text(code));
    http_add_header(request, "X-Sentence", slice_text(message));
    http_add_header(request, "X-Path", http_path(request));
    pthread_mutex_lock(&f->lock);
    f->refused++;
    pthread_mutex_unlock(&f->lock);
}

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .threads = 2,
                                   .connections_max = 200,
                                   .body_bytes_max = BODY_MAX,
                                   .idle_seconds_max = 5,
                                   .request_ms_max = DEADLINE_MS,
                                   .refused = tell_refused};
    struct error err;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    *state = f;
    return http_server_open(&options, handle, f, &f->server, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_server_close(&f->server);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
    return 0;
}

static int dial_port(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int dial(struct fixture *f)
{
    return dial_port(http_server_port(f->server));
}

/* False when the other side has closed. */
static bool send_bytes(int fd, const void *bytes, size_t len)
{
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(fd, (const char *)bytes + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        sent += (size_t)n;
    }
    return true;
}

static void send_text(int fd, const char *text)
{
    assert_true(send_bytes(fd, text, strlen(text)));
}

/* One answer: its head and, by Content-Length, its body. The status, or 0 for a closed connection.
 */
static int receive(int fd, char *answer, size_t size)
{
    size_t len = 0;
    size_t want = SIZE_MAX;
    answer[0] = 0;
    while (len < want) {
        ssize_t n = recv(fd, answer + len, size - 1 - len, 0);
        if (n <= 0) {
            return 0;
        }
        len += (size_t)n;
        answer[len] = 0;
        const char *end = strstr(answer, "\r\n\r\n");
        const char *length = strstr(answer, "Content-Length: ");
        if (end != NULL && length != NULL) {
            want = (size_t)(end + 4 - answer) + (size_t)atoi(length + 16);
        }
    }
    return atoi(answer + 9);
}

static int ask(struct fixture *f, const char *request, char *answer, size_t size)
{
    int fd = dial(f);
    send_text(fd, request);
    int status = receive(fd, answer, size);
    close(fd);
    return status;
}

static void test_a_request_reaches_the_handler_with_all_its_parts(void **state)
{
    char answer[4096];
    assert_int_equal(ask(*state,
                         "POST /a%20b?q=x%26y&r=&s HTTP/1.1\r\nHost: h\r\nX-Test: v\r\n"
                         "Cookie: a=1; c=2\r\nContent-Length: 3\r\n\r\nabc",
                         answer, sizeof answer),
                     200);
    assert_non_null(strstr(answer, "\r\n\r\nPOST /a b q:x&y;r:;s:; x&y|v|2 3 294"));
    assert_non_null(strstr(answer, "X-Answer: 42\r\n"));
    assert_non_null(strstr(answer, "Content-Type: text/plain\r\n"));
}

static void test_what_is_not_there_is_empty(void **state)
{
    char answer[4096];
    assert_int_equal(ask(*state, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer, sizeof answer), 200);
    assert_non_null(strstr(answer, "\r\n\r\nGET /  || 0 0"));
}

static void test_every_line_of_a_header_is_told_and_who_asks(void **state)
{
    char answer[4096];
    assert_int_equal(ask(*state,
                         "GET /lines HTTP/1.1\r\nHost: h\r\nX-Lines: a\r\nx-lines: b, c\r\n"
                         "X-Lines-Not: d\r\nX-LINES: e\r\n\r\n",
                         answer, sizeof answer),
                     200);
    assert_non_null(strstr(answer, "\r\n\r\n127.0.0.1 [a][b, c][e]"));
}

static void test_one_connection_serves_many_requests_and_mixes_nothing(void **state)
{
    char answer[4096];
    char request[256];
    char expected[64];
    int fd = dial(*state);
    for (int i = 0; i < 50; i++) {
        const char *body = i % 3 == 0 ? "abc" : i % 3 == 1 ? "" : "abcdef";
        snprintf(request, sizeof request,
                 "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n%s"
                 "\r\n%s",
                 i, strlen(body), i % 2 == 0 ? "X-Test: v\r\n" : "", body);
        snprintf(expected, sizeof expected, "POST /%d  |%s| %zu ", i, i % 2 == 0 ? "v" : "",
                 strlen(body));
        send_text(fd, request);
        assert_int_equal(receive(fd, answer, sizeof answer), 200);
        assert_non_null(strstr(answer, expected));
    }
    close(fd);
}

static void test_errors_have_the_form_of_the_public_contract(void **state)
{
    char answer[4096];
    assert_int_equal(ask(*state, "GET /error HTTP/1.1\r\nHost: h\r\n\r\n", answer, sizeof answer),
                     422);
    assert_non_null(strstr(answer, "\r\n\r\n{\"error\":{\"code\":\"no-such-thing\",\"message\":"
                                   "\"It \\\"is\\\" wrong.\",\"field\":\"/a/b\"}}"));
    assert_non_null(strstr(answer, "Content-Type: application/json\r\n"));
}

static void send_post(int fd, const char *path, const char *headers, const void *body, size_t len)
{
    char head[256];
    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n%s\r\n",
             path, len, headers);
    send_text(fd, head);
    (void)send_bytes(fd, body, len);
}

static int post(struct fixture *f, const char *headers, const void *body, size_t len, char *answer,
                size_t size)
{
    int fd = dial(f);
    send_post(fd, "/", headers, body, len);
    int status = receive(fd, answer, size);
    close(fd);
    return status;
}

static void test_a_body_of_the_limit_passes_and_one_over_it_gets_413(void **state)
{
    static const struct {
        size_t len;
        int status;
    } rows[] = {{BODY_MAX - 1, 200}, {BODY_MAX, 200}, {BODY_MAX + 1, 413}, {BODY_MAX * 4, 413}};
    char *body = memory_allocate(BODY_MAX * 4);
    char answer[4096];
    memset(body, 'x', BODY_MAX * 4);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(post(*state, "", body, rows[i].len, answer, sizeof answer),
                         rows[i].status);
        if (rows[i].status == 413) {
            assert_non_null(strstr(answer, "\"code\":\"request-too-large\""));
        }
    }
    free(body);
}

static void test_a_body_far_over_the_limit_is_cut_off(void **state)
{
    size_t len = BODY_MAX * 200;
    char *body = memory_allocate_zeroed(len);
    char answer[4096];
    assert_int_equal(post(*state, "", body, len, answer, sizeof answer), 0);
    free(body);
}

static void test_a_chunked_body_is_bounded_as_well(void **state)
{
    char answer[4096];
    char chunk[1100];
    int fd = dial(*state);
    send_text(fd, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk, "400\r\n", 5);
    memcpy(chunk + 5 + 1024, "\r\n", 2);
    for (int i = 0; i < 9; i++) {
        assert_true(send_bytes(fd, chunk, 5 + 1024 + 2));
    }
    send_text(fd, "0\r\n\r\n");
    assert_int_equal(receive(fd, answer, sizeof answer), 413);
    close(fd);
}

static size_t pack_gzip(size_t plain_len, uint8_t *out, size_t size)
{
    uint8_t *plain = memory_allocate(plain_len);
    z_stream z = {0};
    memset(plain, 'x', plain_len);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = plain;
    z.avail_in = (uInt)plain_len;
    z.next_out = out;
    z.avail_out = (uInt)size;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    free(plain);
    return size - z.avail_out;
}

static void test_gzip_is_unpacked_within_the_limit(void **state)
{
    static const struct {
        size_t len;
        int status;
    } rows[] = {{0, 200},
                {1, 200},
                {100, 200},
                {1123, 200},
                {5000, 200},
                {BODY_MAX - 1, 200},
                {BODY_MAX, 200},
                {BODY_MAX + 1, 413},
                {BODY_MAX * 50, 413}};
    uint8_t packed[8192];
    char answer[4096];
    char expected[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = pack_gzip(rows[i].len, packed, sizeof packed);
        int status = post(*state, "Content-Encoding: gzip\r\n", packed, len, answer, sizeof answer);
        if (status != rows[i].status) {
            fail_msg("%zu bytes gave %d", rows[i].len, status);
        }
        snprintf(expected, sizeof expected, "|| %zu %zu", rows[i].len, rows[i].len * 'x');
        assert_true(status == 413 || strstr(answer, expected) != NULL);
    }
}

static void test_gzip_is_known_in_any_case_and_other_codings_are_left_alone(void **state)
{
    uint8_t packed[8192];
    char answer[4096];
    size_t len = pack_gzip(100, packed, sizeof packed);
    assert_int_equal(post(*state, "content-encoding: GZip\r\n", packed, len, answer, sizeof answer),
                     200);
    assert_non_null(strstr(answer, "|| 100 12000"));
    assert_int_equal(post(*state, "Content-Encoding: gzipped\r\n", "abc", 3, answer, sizeof answer),
                     200);
    assert_non_null(strstr(answer, "|| 3 294"));
}

static void test_the_name_of_a_scheme_has_no_case_and_is_followed_by_its_credentials(void **state)
{
    static const struct {
        const char *header;
        const char *credentials;
    } rows[] = {
        {"Authorization: Basic YTpi\r\n", "|YTpi|"},
        {"Authorization: basic YTpi\r\n", "|YTpi|"},
        {"authorization: BASIC   YTpi\r\n", "|YTpi|"},
        {"Authorization: BasicYTpi\r\n", "||"},
        {"Authorization: Basic\r\n", "||"},
        {"Authorization: Bearer YTpi\r\n", "||"},
        {"", "||"},
    };
    char answer[4096];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = dial(*state);
        send_text(fd, "GET /credentials HTTP/1.1\r\nHost: x\r\n");
        send_text(fd, rows[i].header);
        send_text(fd, "\r\n");
        assert_int_equal(receive(fd, answer, sizeof answer), 200);
        if (strstr(answer, rows[i].credentials) == NULL) {
            fail_msg("%s gave %s", rows[i].header, answer);
        }
        close(fd);
    }
}

/* A text that ends where the client did not end it would be another name. */
static void test_a_zero_in_an_address_ends_nothing(void **state)
{
    static const struct {
        const char *target;
        const char *seen;
    } rows[] = {
        {"/a%00b", " /a%00b "},
        {"/a?email=j%40x.org%00zz", " email:j%40x.org%00zz;"},
        {"/a?email=j%40x.org", " email:j@x.org;"},
    };
    char answer[4096];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = dial(*state);
        send_text(fd, "GET ");
        send_text(fd, rows[i].target);
        send_text(fd, " HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_int_equal(receive(fd, answer, sizeof answer), 200);
        if (strstr(answer, rows[i].seen) == NULL) {
            fail_msg("%s gave %s", rows[i].target, answer);
        }
        close(fd);
    }
}

static void test_gzip_in_several_members_is_unpacked_whole(void **state)
{
    uint8_t packed[8192];
    char answer[4096];
    size_t len = pack_gzip(100, packed, sizeof packed);
    len += pack_gzip(0, packed + len, sizeof packed - len);
    len += pack_gzip(BODY_MAX - 300, packed + len, sizeof packed - len);
    size_t whole = len + pack_gzip(100, packed + len, sizeof packed - len);
    assert_int_equal(
        post(*state, "Content-Encoding: x-gzip\r\n", packed, whole, answer, sizeof answer), 200);
    char expected[64];
    snprintf(expected, sizeof expected, "|| %d %d", BODY_MAX - 100, (BODY_MAX - 100) * 'x');
    assert_non_null(strstr(answer, expected));
    /* A member that is cut is damage like any other, and the limit is that of all members. */
    assert_int_equal(
        post(*state, "Content-Encoding: gzip\r\n", packed, whole - 1, answer, sizeof answer), 400);
    len += pack_gzip(301, packed + len, sizeof packed - len);
    assert_int_equal(post(*state, "Content-Encoding: gzip\r\n", packed, len, answer, sizeof answer),
                     413);
}

static void test_gzip_that_is_damaged_or_cut_gets_400(void **state)
{
    uint8_t packed[8192];
    char answer[4096];
    size_t len = pack_gzip(1000, packed, sizeof packed);
    for (size_t cut = 1; cut < len; cut++) {
        assert_int_equal(
            post(*state, "Content-Encoding: gzip\r\n", packed, len - cut, answer, sizeof answer),
            400);
        assert_non_null(strstr(answer, "\"code\":\"invalid-gzip\""));
    }
    packed[len - 6] ^= 1; /* in the checksum */
    assert_int_equal(post(*state, "Content-Encoding: gzip\r\n", packed, len, answer, sizeof answer),
                     400);
    assert_int_equal(post(*state, "Content-Encoding: gzip\r\n", "plain", 5, answer, sizeof answer),
                     400);
}

static void test_what_the_server_refuses_by_itself_is_told_and_may_get_headers(void **state)
{
    static const char nonsense[] = "\x1f\x8b no gzip";
    struct fixture *f = *state;
    uint8_t packed[8192];
    char answer[4096];
    char *body = memory_allocate_zeroed(BODY_MAX + 1);
    size_t len = pack_gzip(BODY_MAX + 1, packed, sizeof packed);
    assert_int_equal(post(f, "", body, BODY_MAX + 1, answer, sizeof answer), 413);
    assert_non_null(strstr(answer, "X-Refused: request-too-large\r\n"));
    assert_non_null(strstr(answer, "X-Sentence: The request is over the size limit.\r\n"));
    assert_non_null(strstr(answer, "X-Path: /"));
    assert_int_equal(post(f, "Content-Encoding: gzip\r\n", packed, len, answer, sizeof answer),
                     413);
    assert_non_null(strstr(answer, "X-Refused: request-too-large\r\n"));
    assert_int_equal(
        post(f, "Content-Encoding: gzip\r\n", nonsense, sizeof nonsense, answer, sizeof answer),
        400);
    assert_non_null(strstr(answer, "X-Refused: invalid-gzip\r\n"));
    assert_int_equal(f->refused, 3);
    assert_int_equal(post(f, "", body, BODY_MAX, answer, sizeof answer), 200);
    assert_int_equal(ask(f, "GET /error HTTP/1.1\r\nHost: h\r\n\r\n", answer, sizeof answer), 422);
    assert_null(strstr(answer, "X-Refused"));
    assert_int_equal(f->refused, 3);
    free(body);
}

static void test_a_body_that_drips_past_the_deadline_is_cut_off(void **state)
{
    char answer[4096];
    int fd = dial(*state);
    int64_t start = clock_monotonic_ns(&clock_real);
    bool open = true;
    send_text(fd, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
    while (open && clock_monotonic_ns(&clock_real) - start < 20 * 1000000000LL) {
        struct timespec pause = {.tv_nsec = 20 * 1000000};
        nanosleep(&pause, NULL); /* the drip itself, not a wait for something */
        open = send_bytes(fd, "x", 1);
    }
    assert_false(open);
    assert_true(clock_monotonic_ns(&clock_real) - start >= DEADLINE_MS * 1000000LL);
    assert_int_equal(receive(fd, answer, sizeof answer), 0);
    close(fd);
}

static void test_a_head_that_drips_past_the_deadline_is_cut_off(void **state)
{
    char answer[4096];
    /* Of the first request, and of the second of a connection. */
    for (int before = 0; before < 2; before++) {
        int fd = dial(*state);
        if (before == 1) {
            send_text(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_int_equal(receive(fd, answer, sizeof answer), 200);
        }
        int64_t start = clock_monotonic_ns(&clock_real);
        bool open = true;
        send_text(fd, "GET / HTTP/1.1\r\nX-Long: ");
        while (open && clock_monotonic_ns(&clock_real) - start < 20 * 1000000000LL) {
            struct timespec pause = {.tv_nsec = 20 * 1000000};
            nanosleep(&pause, NULL); /* the drip itself, not a wait for something */
            open = send_bytes(fd, "x", 1);
        }
        assert_false(open);
        assert_true(clock_monotonic_ns(&clock_real) - start >= DEADLINE_MS * 1000000LL);
        assert_int_equal(receive(fd, answer, sizeof answer), 0);
        close(fd);
    }
}

static void test_an_idle_connection_outlives_the_deadline_of_requests(void **state)
{
    struct timespec pause = {.tv_nsec = 3 * DEADLINE_MS / 2 * 1000000};
    char answer[4096];
    int fresh = dial(*state);
    int used = dial(*state);
    send_text(used, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(receive(used, answer, sizeof answer), 200);
    nanosleep(&pause, NULL); /* what is tested is that nothing happens */
    send_text(fresh, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    send_text(used, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(receive(fresh, answer, sizeof answer), 200);
    assert_int_equal(receive(used, answer, sizeof answer), 200);
    close(fresh);
    close(used);
}

static void wait_for_suspended(struct fixture *f, int count)
{
    pthread_mutex_lock(&f->lock);
    while (f->count < count) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

static void *answer_backwards(void *user)
{
    struct fixture *f = user;
    pthread_mutex_lock(&f->lock);
    while (f->count > 0) {
        struct http_request *request = f->suspended[--f->count];
        struct buf text;
        buf_init(&text, 4096);
        describe(request, &text);
        http_answer(request, 202, "text/plain", buf_slice(&text));
        buf_done(&text);
        http_resume(request);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* Of those whose answer comes soon nothing is read: neither head nor body may be there. */
static void *answer_held(void *arg)
{
    struct fixture *f = arg;
    pthread_mutex_lock(&f->lock);
    while (f->count > 0) {
        struct http_request *request = f->suspended[--f->count];
        http_answer(request, 202, "text/plain", slice_text("held"));
        http_add_header(request, "X-Held", slice_text("yes"));
        http_resume(request);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static void answer_waiting(struct fixture *f, void *(*how)(void *))
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, how, f), 0);
    pthread_join(thread, NULL);
}

static void test_suspended_requests_are_answered_later_by_another_thread(void **state)
{
    enum { MANY = 40 };
    struct fixture *f = *state;
    int fds[MANY];
    char text[256];
    char answer[4096];
    for (int round = 0; round < 6; round++) {
        bool is_soon = round % 2 == 1;
        for (int i = 0; i < MANY; i++) {
            fds[i] = round == 0 ? dial(f) : fds[i];
            snprintf(text, sizeof text,
                     "POST /%s?q=%d HTTP/1.1\r\nHost: h\r\n"
                     "Content-Length: 3\r\n\r\n%03d",
                     is_soon ? "soon" : "later", i, i);
            send_text(fds[i], text);
        }
        wait_for_suspended(f, MANY);
        assert_int_equal(ask(f, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n", answer, sizeof answer),
                         200); /* the others go on meanwhile */
        answer_waiting(f, is_soon ? answer_held : answer_backwards);
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(receive(fds[i], answer, sizeof answer), 202);
            snprintf(text, sizeof text, is_soon ? "\r\n\r\nheld" : "POST /later q:%d; ", i);
            assert_non_null(strstr(answer, text));
            assert_true((strstr(answer, "X-Held: yes\r\n") != NULL) == is_soon);
        }
    }
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
    }
}

/* Held ones are known to have gone by their connection; their memory stays until the resume. */
static void test_a_client_that_leaves_while_it_waits_harms_nobody(void **state)
{
    struct fixture *f = *state;
    char answer[4096];
    for (int round = 0; round < 20; round++) {
        bool is_soon = round % 2 == 1;
        int fd = dial(f);
        send_text(fd, is_soon ? "POST /soon HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                              : "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
        wait_for_suspended(f, 1);
        struct linger reset = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        /* Others are served, also with the memory of those before. */
        assert_int_equal(ask(f, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer, sizeof answer), 200);
        answer_waiting(f, is_soon ? answer_held : answer_backwards);
        assert_int_equal(ask(f, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer, sizeof answer), 200);
    }
}

/* Parts of requests that come while others are held are read without delay for each. */
static void test_others_go_on_while_a_request_is_held(void **state)
{
    enum { BODY = BODY_MAX };
    struct fixture *f = *state;
    char answer[4096];
    int held = dial(f);
    send_text(held, "POST /soon HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    wait_for_suspended(f, 1);
    char large[BODY + 1];
    memset(large, 'x', BODY);
    large[BODY] = 0;
    int64_t start = clock_monotonic_ns(&clock_real);
    for (int i = 0; i < 20; i++) {
        int fd = dial(f);
        char head[128];
        snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
                 BODY);
        send_text(fd, head);
        send_text(fd, large);
        assert_int_equal(receive(fd, answer, sizeof answer), 200);
        close(fd);
    }
    assert_true(clock_monotonic_ns(&clock_real) - start < 10000000000);
    answer_waiting(f, answer_held);
    assert_int_equal(receive(held, answer, sizeof answer), 202);
    close(held);
}

/* The memory of its body serves others meanwhile, on the one thread that there is. */
static void test_a_held_request_has_no_body_and_others_have_their_own(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t packed[8192];
    char answer[4096];
    size_t len = pack_gzip(100, packed, sizeof packed);
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .threads = 1,
                                   .connections_max = 10,
                                   .body_bytes_max = BODY_MAX,
                                   .idle_seconds_max = 60,
                                   .request_ms_max = 60 * 1000};
    http_server_close(&f->server);
    assert_true(http_server_open(&options, handle, f, &f->server, &err));
    for (int round = 0; round < 4; round++) {
        int held = dial(f);
        int others[] = {dial(f), dial(f)};
        if (round % 2 == 0) {
            send_post(held, "/soon", "", "abc", 3);
        } else {
            send_post(held, "/soon", "Content-Encoding: gzip\r\n", packed, len);
        }
        wait_for_suspended(f, 1);
        assert_int_equal(http_body(f->suspended[0]).len, 0);
        send_text(others[0], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nddd");
        assert_int_equal(post(f, "", "abc", 3, answer, sizeof answer), 200);
        assert_non_null(strstr(answer, "|| 3 294"));
        assert_int_equal(http_body(f->suspended[0]).len, 0);
        answer_waiting(f, answer_held);
        assert_int_equal(receive(held, answer, sizeof answer), 202);
        send_text(others[1], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\neee");
        assert_int_equal(post(f, "", "abc", 3, answer, sizeof answer), 200);
        assert_non_null(strstr(answer, "|| 3 294"));
        send_text(others[0], "ddd");
        send_text(others[1], "eee");
        for (int i = 0; i < 2; i++) {
            assert_int_equal(receive(others[i], answer, sizeof answer), 200);
            assert_non_null(strstr(answer, i == 0 ? "|| 6 600" : "|| 6 606"));
            close(others[i]);
        }
        close(held);
    }
}

static void test_seven_kilobytes_of_cookies_are_taken_and_nine_are_not(void **state)
{
    struct fixture *f = *state;
    static const struct {
        size_t cookie_bytes;
        int status;
    } cases[] = {{7 * 1024, 200}, {9 * 1024, 431}};
    for (size_t i = 0; i < 2; i++) {
        char head[16 * 1024];
        char answer[4096];
        char cookie[10 * 1024] = {0};
        memset(cookie, 'c', cases[i].cookie_bytes);
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\nCookie: d=%s\r\n\r\n", cookie);
        assert_int_equal(ask(f, head, answer, sizeof answer), cases[i].status);
    }
}

/* libmicrohttpd wants to be run again and again for a head of a chunk that it has no room for. */
static void test_a_chunk_whose_head_has_no_room_costs_no_time(void **state)
{
    enum { LONG = 40000 };
    struct fixture *f = *state;
    char head[LONG + 1];
    char answer[4096];
    struct timespec before;
    struct timespec after;
    int fd = dial(f);
    send_text(fd, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    memset(head, 'a', LONG);
    head[LONG] = 0;
    (void)send(fd, head, LONG, MSG_NOSIGNAL | MSG_DONTWAIT);
    assert_int_equal(ask(f, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer, sizeof answer), 200);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    usleep(300000); /* the time that is looked at */
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    int64_t cpu_ns =
        (after.tv_sec - before.tv_sec) * 1000000000LL + (after.tv_nsec - before.tv_nsec);
    assert_true(cpu_ns < 100000000);
    close(fd);
}

static void test_a_quiesced_server_finishes_what_is_open_and_takes_no_more(void **state)
{
    struct fixture *f = *state;
    char answer[4096];
    int fd = dial(f);
    uint16_t port = http_server_port(f->server);
    send_text(fd, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(receive(fd, answer, sizeof answer), 200);
    http_server_quiesce(f->server);
    send_text(fd, "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(receive(fd, answer, sizeof answer), 200);
    close(fd);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_not_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

static void
test_at_the_end_what_is_under_way_is_answered_and_idle_connections_are_closed(void **state)
{
    struct fixture *f = *state;
    char answer[4096];
    int idle = dial(f);
    int reading = dial(f);
    int working = dial(f);
    int late = dial(f);
    send_text(late, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(receive(late, answer, sizeof answer), 200);
    assert_null(strstr(answer, "Connection: close"));
    send_text(working, "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    wait_for_suspended(f, 1);
    send_text(reading, "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na");
    http_server_quiesce(f->server);
    send_text(reading, "bc");
    send_text(late, "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n");
    http_server_drain(f->server);
    answer_waiting(f, answer_backwards);
    http_server_close(&f->server);
    int answered[] = {reading, late, working};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(receive(answered[i], answer, sizeof answer), i == 2 ? 202 : 200);
        assert_non_null(strstr(answer, "Connection: close"));
        assert_int_equal(receive(answered[i], answer, sizeof answer), 0);
        close(answered[i]);
    }
    assert_int_equal(recv(idle, answer, 1, 0), 0); /* the end, not a reset */
    close(idle);
}

static void test_a_socket_that_was_handed_over_is_left_open_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct error err;
    char text[32];
    char answer[4096];
    struct listen_socket held;
    assert_true(listen_open("127.0.0.1:0", NULL, &held, &err));
    /* The last of many, so that its number is not in use here. */
    enum { HANDED = 3 + 200 };
    char names[200 + 4];
    memset(names, ':', 200);
    memcpy(names + 200, "web", 4);
    snprintf(text, sizeof text, "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", "201", 1);
    setenv("LISTEN_FDNAMES", names, 1);
    uint16_t port = listen_port(&held);
    http_server_close(&f->server);
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .socket_name = "web",
                                   .threads = 1,
                                   .connections_max = 10,
                                   .body_bytes_max = BODY_MAX,
                                   .idle_seconds_max = 5,
                                   .request_ms_max = DEADLINE_MS};
    int waiting = -1;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(dup2(held.fd, HANDED), HANDED); /* as a process finds it at its start */
        assert_true(http_server_open(&options, handle, f, &f->server, &err));
        assert_true(http_server_is_inherited(f->server));
        assert_int_equal(http_server_port(f->server), port);
        if (waiting >= 0) {
            assert_int_equal(receive(waiting, answer, sizeof answer), 200);
            close(waiting);
        }
        http_server_quiesce(f->server);
        waiting = dial_port(port); /* waits in the socket for the next */
        send_text(waiting, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        http_server_close(&f->server);
    }
    close(waiting);
    close(held.fd);
    unsetenv("LISTEN_PID");
}

static void test_beyond_the_limit_clients_wait_until_another_leaves(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct timeval moment = {.tv_usec = 50 * 1000};
    struct timeval patience = {.tv_sec = 20};
    char answer[4096];
    int fds[3];
    http_server_close(&f->server);
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .threads = 1,
                                   .connections_max = 2,
                                   .body_bytes_max = BODY_MAX,
                                   .idle_seconds_max = 60,
                                   .request_ms_max = 60 * 1000};
    assert_true(http_server_open(&options, handle, f, &f->server, &err));
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(f);
        send_text(fds[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        if (i < 2) {
            assert_int_equal(receive(fds[i], answer, sizeof answer), 200);
        }
    }
    setsockopt(fds[2], SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
    assert_int_equal(recv(fds[2], answer, 1, 0), -1);
    assert_int_equal(errno, EAGAIN); /* neither answered nor cut */
    close(fds[0]);
    setsockopt(fds[2], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(receive(fds[2], answer, sizeof answer), 200);
    close(fds[1]);
    close(fds[2]);
}

static void test_addresses_that_cannot_be_listened_on_are_errors(void **state)
{
    static const char *const rows[] = {"nonsense",     "127.0.0.1",    "127.0.0.1:x",
                                       "300.1.1.1:80", "localhost:80", "[::1:80"};
    struct fixture *f = *state;
    char taken[32];
    struct http_options options = {.threads = 1,
                                   .connections_max = 4,
                                   .body_bytes_max = 1,
                                   .idle_seconds_max = 1,
                                   .request_ms_max = 1};
    struct http_server *server = NULL;
    struct error err;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        options.listen = rows[i];
        assert_false(http_server_open(&options, handle, f, &server, &err));
        assert_int_equal(err.kind, ERROR_INVALID);
        assert_non_null(strstr(err.message, rows[i]));
    }
    snprintf(taken, sizeof taken, "203.0.113.1:%d", http_server_port(f->server));
    options.listen = taken; /* an address of nobody here */
    assert_false(http_server_open(&options, handle, f, &server, &err));
    assert_int_equal(err.kind, ERROR_UNAVAILABLE);
    assert_null(server);
    http_server_close(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_reaches_the_handler_with_all_its_parts),
        TEST(test_what_is_not_there_is_empty),
        TEST(test_every_line_of_a_header_is_told_and_who_asks),
        TEST(test_one_connection_serves_many_requests_and_mixes_nothing),
        TEST(test_errors_have_the_form_of_the_public_contract),
        TEST(test_a_body_of_the_limit_passes_and_one_over_it_gets_413),
        TEST(test_a_body_far_over_the_limit_is_cut_off),
        TEST(test_a_chunked_body_is_bounded_as_well),
        TEST(test_gzip_is_unpacked_within_the_limit),
        TEST(test_gzip_is_known_in_any_case_and_other_codings_are_left_alone),
        TEST(test_the_name_of_a_scheme_has_no_case_and_is_followed_by_its_credentials),
        TEST(test_a_zero_in_an_address_ends_nothing),
        TEST(test_gzip_in_several_members_is_unpacked_whole),
        TEST(test_gzip_that_is_damaged_or_cut_gets_400),
        TEST(test_what_the_server_refuses_by_itself_is_told_and_may_get_headers),
        TEST(test_a_body_that_drips_past_the_deadline_is_cut_off),
        TEST(test_a_head_that_drips_past_the_deadline_is_cut_off),
        TEST(test_an_idle_connection_outlives_the_deadline_of_requests),
        TEST(test_suspended_requests_are_answered_later_by_another_thread),
        TEST(test_a_client_that_leaves_while_it_waits_harms_nobody),
        TEST(test_others_go_on_while_a_request_is_held),
        TEST(test_a_held_request_has_no_body_and_others_have_their_own),
        TEST(test_seven_kilobytes_of_cookies_are_taken_and_nine_are_not),
        TEST(test_a_chunk_whose_head_has_no_room_costs_no_time),
        TEST(test_a_quiesced_server_finishes_what_is_open_and_takes_no_more),
        TEST(test_at_the_end_what_is_under_way_is_answered_and_idle_connections_are_closed),
        TEST(test_a_socket_that_was_handed_over_is_left_open_at_the_end),
        TEST(test_beyond_the_limit_clients_wait_until_another_leaves),
        TEST(test_addresses_that_cannot_be_listened_on_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
