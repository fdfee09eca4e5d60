/* The door of the link: who may come in, and for how long one may stay. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "shared/clock.h"
#include "shared/link_internal.h"

enum {
    LOOK_MS_MAX = 500,
    LOOK_MS_MIN = 10,
    ACCEPT_MAX = 64,
    /* Those that were told to go hold their descriptor for a moment longer. */
    GOING_MAX = 64,
    STRANGER_BYTES_PER_SECOND_MIN = 512,
    /* A collector polls every 25 seconds, one that was revoked asks every minute. */
    SILENCE_MS_MAX = 180000,
    UNREAD_MS_MAX = 60000,
    KEEPALIVE_SECONDS = 30,
};

/* ---- Under the lock: who has to go ---- */

static void cut(struct link_connection *c, uint64_t *count)
{
    if (!c->is_cut) {
        c->is_cut = true;
        (*count)++;
        shutdown(c->fd, SHUT_RDWR); /* its loop reads the end, and closes */
    }
}

static bool is_same_party(const struct link_connection *c, const struct address *party)
{
    return memcmp(c->party.bytes, party->bytes, sizeof party->bytes) == 0;
}

/* The longest a stranger of those of `party` (NULL: of all), that holds memory or may hold none;
 * NULL: there is none. */
static struct link_connection *find_oldest(struct link_server *server, const struct address *party,
                                           bool holds_memory)
{
    struct link_connection *c;
    TAILQ_FOREACH(c, &server->strangers, entry)
    {
        if (!c->is_cut && (party == NULL || is_same_party(c, party)) &&
            (!holds_memory || c->counted_bytes > 0)) {
            return c;
        }
    }
    return NULL;
}

static size_t count_party(const struct link_server *server, const struct address *party)
{
    const struct link_connection *c;
    size_t count = 0;
    TAILQ_FOREACH(c, &server->strangers, entry)
    {
        count += !c->is_cut && is_same_party(c, party);
    }
    return count;
}

/* False: all that are here have more of a right to be. */
static bool make_room(struct link_server *server, const struct address *party)
{
    struct link_connection *goes = NULL;
    bool is_full = server->stats.connections >= server->options.connections_max;
    if (count_party(server, party) >= server->options.strangers_per_address_max) {
        goes = find_oldest(server, party, false);
    } else if (is_full || server->stats.strangers >= LINK_STRANGERS_MAX) {
        goes = find_oldest(server, NULL, false);
    }
    if (goes != NULL) {
        cut(goes, &server->stats.crowded);
    }
    return goes != NULL || !is_full;
}

/* ---- Connections come, are known, and go ---- */

static struct link_connection *make_connection(struct link_server *server, int fd,
                                               const struct address *party)
{
    struct link_connection *c = memory_allocate_zeroed(sizeof *c);
    c->server = server;
    c->loop = &server->loops[server->next_loop];
    server->next_loop = (server->next_loop + 1) % LINK_LOOPS;
    c->party = *party;
    c->fd = fd;
    c->owners = 1;
    c->since_ns = clock_monotonic_ns(&clock_real);
    atomic_store(&c->heard_ns, c->since_ns);
    pthread_mutex_init(&c->lock, NULL);
    buf_init(&c->in, LIMIT_WIRE_BYTES + LINK_FRAME_LENGTH_BYTES);
    buf_init(&c->out, SIZE_MAX / 2);
    c->is_listed = true;
    c->is_stranger = true;
    return c;
}

/* A box that lost its power says nothing more: the kernel finds out. */
static void set_options(int fd)
{
    int on = 1;
    int seconds = KEEPALIVE_SECONDS;
    unsigned unread_ms = UNREAD_MS_MAX;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unread_ms, sizeof unread_ms);
}

static void let_in(struct link_server *server, int fd, const struct sockaddr *socket)
{
    struct address address = {{0}};
    (void)address_from_socket(socket, &address);
    struct address party = address_of_party(address);
    pthread_mutex_lock(&server->lock);
    if (!make_room(server, &party)) {
        server->stats.crowded++;
        pthread_mutex_unlock(&server->lock);
        close(fd);
        return;
    }
    struct link_connection *c = make_connection(server, fd, &party);
    TAILQ_INSERT_TAIL(&server->strangers, c, entry);
    server->stats.connections++;
    server->stats.strangers++;
    pthread_mutex_unlock(&server->lock);
    set_options(fd);
    link_loop_add(c->loop, c);
}

/* Under the lock: the one of this peer's connections that was silent for the longest goes, where
 * they are too many. */
static void bound_peer(struct link_server *server, uint32_t peer)
{
    struct link_connection *c;
    struct link_connection *silent = NULL;
    size_t count = 0;
    TAILQ_FOREACH(c, &server->known, entry)
    {
        if (!c->is_cut && atomic_load(&c->peer) == peer) {
            count++;
            if (silent == NULL || atomic_load(&c->heard_ns) < atomic_load(&silent->heard_ns)) {
                silent = c;
            }
        }
    }
    if (count > LINK_PEER_CONNECTIONS_MAX) {
        cut(silent, &server->stats.crowded);
    }
}

void link_door_vouch(struct link_connection *c, uint32_t peer)
{
    struct link_server *server = c->server;
    pthread_mutex_lock(&server->lock);
    atomic_store(&c->peer, peer);
    if (c->is_listed && c->is_stranger) {
        TAILQ_REMOVE(&server->strangers, c, entry);
        TAILQ_INSERT_TAIL(&server->known, c, entry);
        server->stats.strangers--;
        c->is_stranger = false;
    }
    if (c->is_listed) {
        bound_peer(server, peer);
    }
    pthread_mutex_unlock(&server->lock);
}

void link_door_count_bytes(struct link_connection *c, size_t bytes)
{
    struct link_server *server = c->server;
    bytes = atomic_load(&c->peer) == 0 ? bytes : 0;
    if (bytes == c->counted_bytes) {
        return;
    }
    pthread_mutex_lock(&server->lock);
    size_t all = server->stranger_bytes + bytes - c->counted_bytes;
    c->counted_bytes = bytes;
    server->stranger_bytes = all;
    struct link_connection *oldest =
        all > LINK_STRANGER_BYTES_MAX ? find_oldest(server, NULL, true) : NULL;
    if (oldest != NULL) {
        cut(oldest, &server->stats.crowded);
    }
    pthread_mutex_unlock(&server->lock);
}

void link_door_forget(struct link_connection *c, bool has_wrong_form)
{
    struct link_server *server = c->server;
    link_door_count_bytes(c, 0);
    pthread_mutex_lock(&server->lock);
    if (c->is_stranger) {
        TAILQ_REMOVE(&server->strangers, c, entry);
    } else {
        TAILQ_REMOVE(&server->known, c, entry);
    }
    server->stats.strangers -= c->is_stranger;
    server->stats.connections--;
    server->stats.wrong_form += has_wrong_form;
    c->is_listed = false;
    pthread_mutex_unlock(&server->lock);
}

/* ---- Deadlines ---- */

static bool is_slow_stranger(const struct link_connection *c, int64_t now)
{
    const struct link_server_options *o = &c->server->options;
    int64_t spent_ms = (now - c->since_ns) / 1000000;
    int64_t earned_ms = (int64_t)(atomic_load(&c->received) * 1000 / STRANGER_BYTES_PER_SECOND_MIN);
    return atomic_load(&c->is_greeted) ? spent_ms > o->first_message_ms + earned_ms
                                       : spent_ms > o->greeting_ms;
}

static bool is_slow_peer(const struct link_connection *c, int64_t now)
{
    int64_t stuck_ns = atomic_load(&c->stuck_ns);
    return (now - atomic_load(&c->heard_ns)) / 1000000 > SILENCE_MS_MAX ||
           (stuck_ns != 0 && (now - stuck_ns) / 1000000 > UNREAD_MS_MAX);
}

static void look_at_all(struct link_server *server)
{
    int64_t now = clock_monotonic_ns(&clock_real);
    struct link_connection *c;
    pthread_mutex_lock(&server->lock);
    TAILQ_FOREACH(c, &server->strangers, entry)
    {
        if (is_slow_stranger(c, now)) {
            cut(c, &server->stats.too_slow);
        }
    }
    TAILQ_FOREACH(c, &server->known, entry)
    {
        if (is_slow_peer(c, now)) {
            cut(c, &server->stats.too_slow);
        }
    }
    pthread_mutex_unlock(&server->lock);
}

/* ---- The doorkeeper ---- */

/* False: nobody waits, or the system has no descriptor for them. */
static bool accept_one(struct link_server *server)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
    } address;
    socklen_t len = sizeof address;
    int fd = accept4(server->listening.fd, &address.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return errno == ECONNABORTED || errno == EINTR;
    }
    let_in(server, fd, &address.any);
    return true;
}

static bool has_room(struct link_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool has = server->stats.connections < server->options.connections_max + GOING_MAX;
    pthread_mutex_unlock(&server->lock);
    return has;
}

/* False: others must go first. */
static bool accept_some(struct link_server *server)
{
    for (int n = 0; n < ACCEPT_MAX; n++) {
        if (!has_room(server)) {
            return false;
        }
        if (!accept_one(server)) {
            return errno == EAGAIN;
        }
    }
    return true;
}

static int look_ms(const struct link_server *server)
{
    int64_t ms = server->options.first_message_ms / 10;
    return ms < LOOK_MS_MIN ? LOOK_MS_MIN : ms > LOOK_MS_MAX ? LOOK_MS_MAX : (int)ms;
}

static bool is_empty(struct link_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool is = server->stats.connections == 0;
    pthread_mutex_unlock(&server->lock);
    return is;
}

void *link_keep_door(void *arg)
{
    struct link_server *server = arg;
    int64_t looked_ns = 0;
    bool may_accept = true;
    while (!atomic_load(&server->is_closing)) {
        struct pollfd fds[] = {{.fd = server->wake, .events = POLLIN},
                               {.fd = may_accept ? server->listening.fd : -1, .events = POLLIN}};
        int wait_ms = !may_accept ? LOOK_MS_MIN : is_empty(server) ? -1 : look_ms(server);
        poll(fds, 2, wait_ms);
        may_accept = fds[1].revents == 0 || accept_some(server);
        int64_t now = clock_monotonic_ns(&clock_real);
        if (now - looked_ns >= (int64_t)look_ms(server) * 1000000) {
            looked_ns = now;
            look_at_all(server);
        }
    }
    return NULL;
}
