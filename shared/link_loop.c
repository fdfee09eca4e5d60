/* The threads of the link: each reads and writes for its share of the connections.
 *
 * On the wire (NNG's "SP" over TCP): each side greets with 8 bytes; then come messages, each 8
 * bytes of length, the ids under which it is answered (4 bytes each, the last with its highest bit
 * set), and the body.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "shared/clock.h"
#include "shared/daemon.h"
#include "shared/link_internal.h"

enum {
    EVENTS_MAX = 64,
    READ_BYTES = 64 * 1024, /* at a time, and what a new message is given before it has come */
    READS_MAX = 16,         /* before others have their turn */
    SPARE_BYTES_MAX = 1024 * 1024,
    /* Of one connection: replies that are owed, and bytes that it has not read. Beyond these
     * nothing more is read from it; with UNREAD_BYTES_MAX it is closed. */
    OWED_MAX = 256,
    UNREAD_BYTES_MANY = 256 * 1024,
    UNREAD_BYTES_MAX = 16 * 1024 * 1024,
};

/* ---- Writing, under the connection's lock ---- */

static size_t unread_bytes(const struct link_connection *c)
{
    return c->out.len - c->sent;
}

static bool may_read(const struct link_connection *c)
{
    return c->owed < OWED_MAX && unread_bytes(c) < UNREAD_BYTES_MANY;
}

/* Where reading goes on after a pause, a message may be there already that no event tells of: the
 * socket that can be written to makes one. It is asked for until the loop has seen it: the next
 * answer comes here too, and must not take it back. */
void link_connection_watch(struct link_connection *c)
{
    bool reads = may_read(c);
    c->resumes = reads && (c->resumes || (c->events & EPOLLIN) == 0);
    uint32_t events = (reads ? EPOLLIN : 0U) | (unread_bytes(c) > 0 || c->resumes ? EPOLLOUT : 0U);
    if (events != c->events) {
        struct epoll_event event = {.events = events, .data.ptr = c};
        c->events = events;
        (void)epoll_ctl(c->loop->epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
    }
}

/* What the socket takes now of these parts; 0 as well where it takes nothing more ever, which its
 * loop finds out. */
static size_t send_now(int fd, struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? 0 : (size_t)sent;
}

static void keep_rest(struct link_connection *c, struct slice part, size_t *sent)
{
    size_t skipped = *sent < part.len ? *sent : part.len;
    *sent -= skipped;
    buf_put_slice(&c->out, slice_skip(part, skipped));
}

void link_connection_send(struct link_connection *c, struct slice header, struct slice body)
{
    uint8_t length[LINK_FRAME_LENGTH_BYTES] = {0};
    struct buf out = {.data = length, .capacity = sizeof length, .len_max = sizeof length};
    buf_put_u64(&out, header.len + body.len);
    struct slice parts[] = {buf_slice(&out), header, body};
    struct iovec io[3];
    size_t sent = 0;
    for (int i = 0; i < 3; i++) {
        union {
            const uint8_t *from;
            void *to;
        } cast = {.from = parts[i].data};
        io[i] = (struct iovec){cast.to, parts[i].len};
    }
    if (unread_bytes(c) == 0) {
        sent = send_now(c->fd, io, 3);
    }
    if (sent == sizeof length + header.len + body.len) {
        return;
    }
    if (unread_bytes(c) == 0) {
        atomic_store(&c->stuck_ns, clock_monotonic_ns(&clock_real));
    }
    for (int i = 0; i < 3; i++) {
        keep_rest(c, parts[i], &sent);
    }
    if (unread_bytes(c) > UNREAD_BYTES_MAX) {
        shutdown(c->fd, SHUT_RDWR);
    }
}

static void flush(struct link_connection *c)
{
    struct iovec io = {c->out.data + c->sent, unread_bytes(c)};
    size_t sent = io.iov_len == 0 ? 0 : send_now(c->fd, &io, 1);
    c->sent += sent;
    if (unread_bytes(c) == 0) {
        buf_done(&c->out);
        c->sent = 0;
        atomic_store(&c->stuck_ns, 0);
    } else if (sent > 0) {
        atomic_store(&c->stuck_ns, clock_monotonic_ns(&clock_real));
    }
}

/* ---- Reading, by the loop's thread ---- */

static bool is_paused(struct link_connection *c)
{
    pthread_mutex_lock(&c->lock);
    bool is = !may_read(c);
    if (is) {
        link_connection_watch(c);
    }
    pthread_mutex_unlock(&c->lock);
    return is;
}

static enum link_taken take_next(struct link_connection *c, struct slice *rest)
{
    struct slice header;
    struct slice body;
    bool is_greeted = atomic_load(&c->is_greeted);
    enum link_taken taken =
        is_greeted ? link_frame_take(rest, &header, &body) : link_frame_take_greeting(rest);
    if (taken == LINK_TAKEN && is_greeted) {
        link_server_take(c, header, body);
    } else if (taken == LINK_TAKEN) {
        atomic_store(&c->is_greeted, true);
    }
    return taken;
}

/* Whatever has come whole. False: what has come is wrong. */
static bool take_all(struct link_connection *c)
{
    struct slice rest = buf_slice(&c->in);
    enum link_taken taken = LINK_TAKEN;
    while (taken == LINK_TAKEN && rest.len > 0 && !is_paused(c)) {
        taken = take_next(c, &rest);
    }
    if (rest.len < c->in.len) {
        memmove(c->in.data, rest.data, rest.len);
        c->in.len = rest.len;
    }
    return taken != LINK_WRONG;
}

/* Room for what may come next: a large message gets memory as it comes, not as it is announced. */
static size_t room_for_more(const struct link_connection *c)
{
    size_t room = c->in.len < READ_BYTES ? READ_BYTES : c->in.len;
    size_t most = c->in.len_max - c->in.len;
    return room < most ? room : most;
}

static void give_memory_back(struct link_connection *c)
{
    struct buf *spare = &c->loop->spare;
    if (c->in.len > 0 || c->in.capacity == 0) {
        return;
    }
    if (spare->capacity == 0 && c->in.capacity <= SPARE_BYTES_MAX) {
        *spare = c->in;
        buf_init(&c->in, spare->len_max);
    } else {
        buf_done(&c->in);
    }
}

static void borrow_memory(struct link_connection *c)
{
    if (c->in.capacity == 0 && c->loop->spare.capacity > 0) {
        c->in = c->loop->spare;
        buf_init(&c->loop->spare, c->in.len_max);
    }
}

/* False: the connection is to be closed. */
static bool read_some(struct link_connection *c, bool *ret_is_wrong)
{
    for (int n = 0; n < READS_MAX; n++) {
        if (is_paused(c)) {
            return true;
        }
        size_t want = room_for_more(c);
        bool fits = buf_reserve(&c->in, want);
        ensure(fits);
        size_t room = c->in.capacity - c->in.len;
        ssize_t got = recv(c->fd, c->in.data + c->in.len, room, MSG_DONTWAIT);
        if (got <= 0) {
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        }
        c->in.len += (size_t)got;
        atomic_fetch_add(&c->received, (uint64_t)got);
        atomic_store(&c->heard_ns, clock_monotonic_ns(&clock_real));
        if (!take_all(c)) {
            *ret_is_wrong = true;
            return false;
        }
        if ((size_t)got < room) {
            return true;
        }
    }
    return true;
}

/* ---- Connections begin and end ---- */

void link_connection_release(struct link_connection *c)
{
    pthread_mutex_lock(&c->lock);
    unsigned left = --c->owners;
    pthread_mutex_unlock(&c->lock);
    if (left == 0) {
        pthread_mutex_destroy(&c->lock);
        buf_done(&c->in);
        buf_done(&c->out);
        free(c);
    }
}

void link_loop_add(struct link_loop *loop, struct link_connection *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    pthread_mutex_lock(&c->lock);
    c->events = EPOLLIN;
    /* Into an empty socket it fits. */
    (void)send(c->fd, link_frame_greeting, LINK_FRAME_GREETING_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT);
    int rv = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
    ensure(rv == 0);
    pthread_mutex_unlock(&c->lock);
}

void link_connection_close(struct link_connection *c, bool is_wrong)
{
    link_door_forget(c, is_wrong);
    pthread_mutex_lock(&c->lock);
    close(c->fd); /* epoll forgets it */
    c->fd = -1;
    pthread_mutex_unlock(&c->lock);
    link_connection_release(c);
}

static void serve(struct link_connection *c, uint32_t events)
{
    bool is_wrong = false;
    pthread_mutex_lock(&c->lock);
    if ((events & EPOLLOUT) != 0) {
        flush(c);
    }
    c->resumes = false; /* what is there is taken below */
    link_connection_watch(c);
    pthread_mutex_unlock(&c->lock);
    borrow_memory(c);
    is_wrong = !take_all(c); /* after a pause */
    bool goes_on = !is_wrong && read_some(c, &is_wrong) && (events & (EPOLLHUP | EPOLLERR)) == 0;
    give_memory_back(c);
    if (goes_on) {
        link_door_count_bytes(c, c->in.capacity);
    } else {
        link_connection_close(c, is_wrong);
    }
}

static void *run(void *arg)
{
    struct link_loop *loop = arg;
    struct epoll_event events[EVENTS_MAX];
    while (!atomic_load(&loop->is_ending)) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr != NULL) {
                serve(events[i].data.ptr, events[i].events);
            }
        }
    }
    return NULL;
}

bool link_loop_open(struct link_loop *loop, struct link_server *server)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    loop->server = server;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        return false;
    }
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake < 0 || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake, &event) != 0) {
        close(loop->epoll_fd);
        loop->epoll_fd = -1;
        return false;
    }
    loop->thread = daemon_start_thread("link", run, loop);
    return true;
}

void link_loop_end(struct link_loop *loop)
{
    uint64_t one = 1;
    if (loop->thread != 0) {
        atomic_store(&loop->is_ending, true);
        (void)!write(loop->wake, &one, sizeof one);
        pthread_join(loop->thread, NULL);
        buf_done(&loop->spare);
        close(loop->wake);
        close(loop->epoll_fd);
    }
}
