/* The door of a server: connections are accepted, watched, and forgotten. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "shared/clock.h"
#include "shared/http_internal.h"
#include "shared/tls.h"

enum {
    LOOK_MS_MAX = 1000,
    LOOK_MS_MIN = 10,
    ACCEPT_MAX = 64,
    GONE_MAX = 16,
    /* Whose request is half-sent for less is just sending it. */
    HALF_SENT_MS_MIN = 500,
};

/* ---- Connections come and go ---- */

static const union MHD_ConnectionInfo *ask(struct MHD_Connection *connection,
                                           enum MHD_ConnectionInfoType what)
{
    return MHD_get_connection_info(connection, what);
}

/* Where the address sits in the headcount. Those that stand for many clients have no bound: false.
 */
static bool find_seat(const struct http_server *server, const struct sockaddr *socket,
                      uint32_t *ret)
{
    struct address address = {{0}};
    bool is_known = address_from_socket(socket, &address);
    *ret = headcount_seat(server->headcount, address);
    return is_known && !address_is_this_machine(address) &&
           (server->exempt == NULL || !networks_contain(server->exempt, address));
}

static void add_connection(struct http_loop *loop, struct MHD_Connection *connection,
                           void **ret_context)
{
    struct http_server *server = loop->server;
    struct http_connection *c = memory_allocate_zeroed(sizeof *c);
    c->server = server;
    c->loop = loop;
    c->fd = ask(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    c->since_ns = clock_monotonic_ns(&clock_real);
    (void)find_seat(server, ask(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr,
                    &c->seat);
    if (server->tls != NULL) {
        c->certificate =
            tls_hold(server->tls, ask(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session);
    }
    pthread_mutex_lock(&server->lock);
    c->next = server->connections;
    if (c->next != NULL) {
        c->next->previous = c;
    }
    server->connections = c;
    server->connection_count++;
    server->arriving--;
    pthread_mutex_unlock(&server->lock);
    *ret_context = c;
}

/* Called before the socket is closed, so a socket on the list is open. */
static void remove_connection(struct http_connection *c)
{
    struct http_server *server = c->server;
    pthread_mutex_lock(&server->lock);
    if (c->previous == NULL) {
        server->connections = c->next;
    } else {
        c->previous->next = c->next;
    }
    if (c->next != NULL) {
        c->next->previous = c->previous;
    }
    headcount_remove(server->headcount, c->seat);
    if (c->watched != NULL) {
        (void)epoll_ctl(server->gone_epoll, EPOLL_CTL_DEL, c->fd, NULL);
    }
    bool was_full = server->connection_count-- + server->arriving >= server->connections_max;
    if (server->connection_count == 0) {
        pthread_cond_broadcast(&server->changed);
    }
    pthread_mutex_unlock(&server->lock);
    if (was_full) {
        http_wake_doorkeeper(server); /* somebody may come in */
    }
    if (c->certificate != NULL) {
        tls_release(server->tls, c->certificate);
    }
    free(c);
}

void http_on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                        enum MHD_ConnectionNotificationCode code)
{
    struct http_loop *loop = cls;
    loop->steps++;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        add_connection(loop, connection, socket_context);
    } else if (*socket_context != NULL) {
        remove_connection(*socket_context);
        *socket_context = NULL;
    }
}

/* ---- Deadlines, which libmicrohttpd, knowing idleness only, does not keep ---- */

static uint64_t bytes_received(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_bytes_received : 0;
}

/* The end of file that libmicrohttpd reads then makes it close the connection. */
void http_cut(struct http_connection *c)
{
    c->is_cut = true;
    shutdown(c->fd, SHUT_RDWR);
}

/* Note what has changed since the last look. The time from which a request counts is that of the
 * look at which its first bytes were there; its body goes on with the time of its head. */
void http_look(struct http_connection *c, int64_t now)
{
    unsigned turn = atomic_load_explicit(&c->turn, memory_order_relaxed);
    bool is_same = turn == c->seen;
    bool is_idle = http_stage_of(turn) == HTTP_IDLE;
    if (!is_same) {
        bool goes_on = c->is_moving && http_stage_of(turn) == HTTP_READING;
        c->since_ns = goes_on ? c->since_ns : now;
        c->is_moving = false;
        c->seen = turn;
    }
    if (is_idle && !c->is_moving) {
        uint64_t bytes = bytes_received(c->fd);
        c->is_moving = is_same && bytes != c->bytes_received;
        c->since_ns = c->is_moving ? now : c->since_ns;
        c->bytes_received = bytes;
    }
}

static bool is_too_slow(const struct http_connection *c, int64_t now)
{
    const struct http_server *server = c->server;
    int64_t spent_ms = (now - c->since_ns) / 1000000;
    switch (http_stage_of(c->seen)) {
    case HTTP_IDLE: /* else libmicrohttpd's own timeout */
        return c->is_moving && spent_ms > server->request_ms_max;
    case HTTP_READING:
        return spent_ms > server->request_ms_max;
    case HTTP_WORKING:
        return false;
    case HTTP_ANSWERING:
        return spent_ms > server->answer_ms_max;
    }
    return false;
}

static void look_at_all(struct http_server *server)
{
    int64_t now = clock_monotonic_ns(&clock_real);
    pthread_mutex_lock(&server->lock);
    for (struct http_connection *c = server->connections; c != NULL; c = c->next) {
        http_look(c, now);
        if (!c->is_cut && is_too_slow(c, now)) {
            server->too_slow++;
            http_cut(c);
        }
    }
    pthread_mutex_unlock(&server->lock);
}

/* ---- Who goes where there are too many, under the lock ---- */

/* How soon it goes: 0 never, 1 when it is idle and the address has too many, 2 when it has sent
 * half a request, or none since it came. */
static int rank(const struct http_connection *c, int64_t now)
{
    unsigned turn = atomic_load_explicit(&c->turn, memory_order_relaxed);
    enum http_stage stage = http_stage_of(turn);
    bool is_half = stage == HTTP_READING || (stage == HTTP_IDLE && (c->is_moving || turn == 0));
    if (c->is_cut || (now - c->since_ns) / 1000000 < HALF_SENT_MS_MIN) {
        return 0;
    }
    return is_half ? 2 : stage == HTTP_IDLE ? 1 : 0;
}

/* Close one of those at `seat` (NULL: of all), which is the oldest of the highest rank. False:
 * there is none that may be. */
static bool make_room(struct http_server *server, const uint32_t *seat)
{
    int64_t now = clock_monotonic_ns(&clock_real);
    struct http_connection *goes = NULL;
    int highest = seat == NULL ? 1 : 0;
    for (struct http_connection *c = server->connections; c != NULL; c = c->next) {
        int r = seat == NULL || c->seat == *seat ? rank(c, now) : 0;
        bool is_older = goes != NULL && r == highest && c->since_ns < goes->since_ns;
        if (r > highest || is_older) {
            goes = c;
            highest = r;
        }
    }
    if (goes != NULL) {
        server->crowded++;
        http_cut(goes);
    }
    return goes != NULL;
}

/* May one more come from this address? */
static bool may_come(struct http_server *server, const struct sockaddr *address)
{
    uint32_t seat;
    bool is_bound = find_seat(server, address, &seat);
    pthread_mutex_lock(&server->lock);
    bool may = !is_bound ||
               headcount_of(server->headcount, seat) < server->connections_per_address_max ||
               make_room(server, &seat);
    if (may) {
        headcount_add(server->headcount, seat);
    } else {
        server->crowded++;
        server->arriving--;
    }
    pthread_mutex_unlock(&server->lock);
    return may;
}

/* ---- Suspended requests whose client has hung up ---- */

void http_watch(struct http_connection *c, void *what)
{
    struct http_server *server = c->server;
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = c};
    pthread_mutex_lock(&server->lock);
    c->watched = what;
    (void)epoll_ctl(server->gone_epoll, what == NULL ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, c->fd,
                    &event);
    pthread_mutex_unlock(&server->lock);
}

/* Told again and again until the request is resumed: whoever suspends one may not be ready yet. */
static void tell_of_gone(struct http_server *server)
{
    struct epoll_event events[GONE_MAX];
    void *whats[GONE_MAX];
    pthread_mutex_lock(&server->lock);
    int count = epoll_wait(server->gone_epoll, events, GONE_MAX, 0);
    for (int i = 0; i < count; i++) {
        whats[i] = ((struct http_connection *)events[i].data.ptr)->watched;
    }
    pthread_mutex_unlock(&server->lock);
    for (int i = 0; i < count; i++) {
        server->gone(server->user, whats[i]);
    }
}

/* ---- The doorkeeper ----
 *
 * libmicrohttpd could accept by itself, but can only be told to stop by MHD_quiesce_daemon(), which
 * with epoll races with its own thread and then aborts the process ("Failed to remove listen FD
 * from epoll set"). */

static void forget_arrival(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->arriving--;
    pthread_mutex_unlock(&server->lock);
}

void http_forget_arrival(struct http_server *server, const struct sockaddr *address)
{
    uint32_t seat;
    (void)find_seat(server, address, &seat);
    pthread_mutex_lock(&server->lock);
    server->arriving--;
    headcount_remove(server->headcount, seat);
    pthread_mutex_unlock(&server->lock);
}

/* False: nobody waits, nobody more may come in, or the system has no descriptor for them. */
static bool accept_one(struct http_server *server)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
    } address;
    socklen_t len = sizeof address;
    pthread_mutex_lock(&server->lock);
    bool has_room = server->connection_count + server->arriving < server->connections_max;
    server->arriving += has_room;
    pthread_mutex_unlock(&server->lock);
    if (!has_room) {
        errno = EAGAIN;
        return false;
    }
    int fd = accept4(server->listening.fd, &address.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        forget_arrival(server);
        return errno == ECONNABORTED || errno == EINTR;
    }
    if (!may_come(server, &address.any)) {
        close(fd);
        return true;
    }
    http_loop_add(&server->loops[server->next_loop], fd, &address.room, len);
    server->next_loop = (server->next_loop + 1) % server->loop_count;
    return true;
}

/* False: the system is out of descriptors, so others must go first. */
static bool accept_some(struct http_server *server)
{
    for (int n = 0; n < ACCEPT_MAX; n++) {
        if (!accept_one(server)) {
            return errno == EAGAIN;
        }
    }
    return true;
}

/* Whoever the kernel has let in is let in here; then the door is closed. Those that wait in an
 * inherited socket are for whoever comes next. */
static void close_door(struct http_server *server)
{
    while (!server->listening.is_inherited && accept_one(server)) {
    }
    close(server->listening.fd);
    pthread_mutex_lock(&server->lock);
    server->is_open = false;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static int64_t look_ms(const struct http_server *server)
{
    int64_t ms = server->request_ms_max / 10;
    return ms < LOOK_MS_MIN ? LOOK_MS_MIN : ms > LOOK_MS_MAX ? LOOK_MS_MAX : ms;
}

static size_t count_connections(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    size_t count = server->connection_count + server->arriving;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* Where all that may be are here, and somebody knocks: the oldest half-sent request goes. */
static bool make_room_of_all(struct http_server *server)
{
    struct pollfd knock = {.fd = server->listening.fd, .events = POLLIN};
    if (poll(&knock, 1, 0) != 1) {
        return false;
    }
    pthread_mutex_lock(&server->lock);
    bool made = make_room(server, NULL);
    pthread_mutex_unlock(&server->lock);
    return made;
}

/* Until somebody knocks, the doorkeeper is woken, a client hangs up, or it is time to look at the
 * connections: never while there is none. Beyond the limit those who knock wait in the kernel. */
static bool wait_at_door(struct http_server *server, bool may_accept)
{
    size_t count = count_connections(server);
    bool is_listening = server->is_open && may_accept && count < server->connections_max;
    if (server->is_open && may_accept && !is_listening) {
        (void)make_room_of_all(server); /* whose end wakes us */
    }
    struct pollfd fds[] = {{.fd = server->wake, .events = POLLIN},
                           {.fd = is_listening ? server->listening.fd : -1, .events = POLLIN},
                           {.fd = server->gone_epoll, .events = POLLIN}};
    poll(fds, 3, count == 0 && may_accept ? -1 : (int)look_ms(server));
    uint64_t asked;
    (void)!read(server->wake, &asked, sizeof asked);
    if (fds[2].revents != 0) {
        tell_of_gone(server);
    }
    return fds[1].revents != 0;
}

void *http_keep_door(void *arg)
{
    struct http_server *server = arg;
    int64_t looked_ns = 0;
    bool may_accept = true;
    while (!atomic_load(&server->is_closing)) {
        bool is_knocking = wait_at_door(server, may_accept);
        if (server->is_open && atomic_load(&server->is_ending)) {
            close_door(server);
        } else if (is_knocking) {
            may_accept = accept_some(server);
        } else {
            may_accept = true;
        }
        int64_t now = clock_monotonic_ns(&clock_real);
        if (now - looked_ns >= look_ms(server) * 1000000) {
            looked_ns = now;
            look_at_all(server);
        }
    }
    return NULL;
}

void http_wake_doorkeeper(struct http_server *server)
{
    uint64_t one = 1;
    (void)!write(server->wake, &one, sizeof one);
}
