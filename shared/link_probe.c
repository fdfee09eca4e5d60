#include "shared/link_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/daemon.h"
#include "shared/link_frame.h"

enum {
    ADDRESSES_MAX = 4,
    HOST_BYTES = 256,
    PORT_BYTES = 8,
    STOP_LOOK_MS = 100,
    RESOLVE_MS = 200,        /* so long an answer is waited for the first time */
    RESOLVE_AGAIN_MS = 30000 /* names may move while the hub is away */
};

struct endpoint {
    struct sockaddr_storage address;
    socklen_t len;
};

/* The resolving of a name, which may outlive the probe: whoever is the last frees it. */
struct resolution {
    pthread_mutex_t lock;
    pthread_cond_t done;
    char host[HOST_BYTES];
    char port[PORT_BYTES];
    bool is_running;
    bool is_abandoned;
    size_t count;
    struct endpoint found[ADDRESSES_MAX];
};

struct link_probe {
    bool is_tcp;
    int64_t resolved_ns; /* 0: never */
    struct resolution *names;
};

/* ---- Names ---- */

static void free_resolution(struct resolution *r)
{
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->done);
    free(r);
}

/* What was found before stays where nothing is found: a resolver may be as far away as the hub. */
static void take_found(struct resolution *r, const struct addrinfo *list)
{
    size_t count = 0;
    for (; list != NULL && count < ADDRESSES_MAX; list = list->ai_next) {
        if (list->ai_addrlen <= sizeof r->found[count].address) {
            memcpy(&r->found[count].address, list->ai_addr, list->ai_addrlen);
            r->found[count++].len = list->ai_addrlen;
        }
    }
    r->count = count > 0 ? count : r->count;
}

static void *resolve(void *arg)
{
    struct resolution *r = arg;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int rv = getaddrinfo(r->host, r->port, &hints, &list);
    pthread_mutex_lock(&r->lock);
    take_found(r, rv == 0 ? list : NULL);
    r->is_running = false;
    bool is_abandoned = r->is_abandoned;
    pthread_cond_signal(&r->done);
    pthread_mutex_unlock(&r->lock);
    if (rv == 0) {
        freeaddrinfo(list);
    }
    if (is_abandoned) {
        free_resolution(r);
    }
    return NULL;
}

/* The addresses as far as they are known. */
static size_t addresses_of(struct link_probe *probe, struct endpoint ret[ADDRESSES_MAX])
{
    struct resolution *r = probe->names;
    int64_t now_ns = clock_monotonic_ns(&clock_real);
    bool is_due =
        probe->resolved_ns == 0 || now_ns - probe->resolved_ns >= RESOLVE_AGAIN_MS * 1000000LL;
    pthread_mutex_lock(&r->lock);
    if (is_due && !r->is_running) {
        probe->resolved_ns = now_ns;
        r->is_running = true;
        pthread_detach(daemon_start_thread("link-resolve", resolve, r));
        if (r->count == 0) {
            daemon_wait(&r->done, &r->lock, RESOLVE_MS);
        }
    }
    size_t count = r->count;
    memcpy(ret, r->found, count * sizeof *ret);
    pthread_mutex_unlock(&r->lock);
    return count;
}

/* tcp://HOST:PORT, where an IPv6 address stands in brackets. */
static bool read_url(const char *url, struct resolution *ret)
{
    static const char scheme[] = "tcp://";
    const char *host = url + strlen(scheme);
    const char *colon = strrchr(url, ':');
    if (strncmp(url, scheme, strlen(scheme)) != 0 || colon < host) {
        return false;
    }
    size_t len = (size_t)(colon - host);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len == 0 || len >= HOST_BYTES || strlen(colon + 1) >= PORT_BYTES) {
        return false;
    }
    memcpy(ret->host, host, len);
    memcpy(ret->port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

struct link_probe *link_probe_new(const char *url)
{
    struct link_probe *probe = memory_allocate_zeroed(sizeof *probe);
    probe->names = memory_allocate_zeroed(sizeof *probe->names);
    pthread_mutex_init(&probe->names->lock, NULL);
    pthread_cond_init(&probe->names->done, NULL);
    probe->is_tcp = read_url(url, probe->names);
    return probe;
}

void link_probe_free(struct link_probe **probe)
{
    if (*probe == NULL) {
        return;
    }
    struct resolution *r = (*probe)->names;
    pthread_mutex_lock(&r->lock);
    bool is_running = r->is_running;
    r->is_abandoned = is_running;
    pthread_mutex_unlock(&r->lock);
    if (!is_running) {
        free_resolution(r);
    }
    free(*probe);
    *probe = NULL;
}

/* ---- Connections ---- */

/* One attempt for each address, at the same time. */
struct attempts {
    size_t count;
    struct pollfd fds[ADDRESSES_MAX]; /* fd -1: failed */
    size_t got[ADDRESSES_MAX];        /* bytes of the greeting */
};

static void give_up(struct attempts *a, size_t i)
{
    close(a->fds[i].fd);
    a->fds[i].fd = -1;
}

static void begin(struct attempts *a, const struct endpoint *endpoints, size_t count)
{
    a->count = count;
    for (size_t i = 0; i < count; i++) {
        const struct sockaddr *address = (const struct sockaddr *)&endpoints[i].address;
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        a->fds[i] = (struct pollfd){.fd = fd, .events = POLLOUT};
        a->got[i] = 0;
        if (fd >= 0 && connect(fd, address, endpoints[i].len) != 0 && errno != EINPROGRESS) {
            give_up(a, i);
        }
    }
}

/* Something happened to one of them. True: it was greeted. */
static bool go_on(struct attempts *a, size_t i)
{
    uint8_t bytes[LINK_FRAME_GREETING_BYTES];
    struct pollfd *p = &a->fds[i];
    if ((p->revents & POLLOUT) != 0) {
        p->events = POLLIN;
        if (send(p->fd, link_frame_client_greeting, sizeof bytes, MSG_NOSIGNAL) !=
            (ssize_t)sizeof bytes) {
            give_up(a, i);
        }
        return false;
    }
    ssize_t n = recv(p->fd, bytes, sizeof bytes - a->got[i], 0);
    if (n <= 0 || memcmp(bytes, link_frame_greeting + a->got[i], (size_t)n) != 0) {
        give_up(a, i);
        return false;
    }
    a->got[i] += (size_t)n;
    return a->got[i] == sizeof bytes;
}

static bool are_over(const struct attempts *a)
{
    bool over = true;
    for (size_t i = 0; i < a->count; i++) {
        over = over && a->fds[i].fd < 0;
    }
    return over;
}

bool link_probe_ask(struct link_probe *probe, int timeout_ms, const atomic_bool *stop)
{
    struct endpoint endpoints[ADDRESSES_MAX];
    struct attempts a = {0};
    bool is_greeted = false;
    if (!probe->is_tcp) {
        return true;
    }
    int64_t start_ns = clock_monotonic_ns(&clock_real);
    begin(&a, endpoints, addresses_of(probe, endpoints));
    while (!is_greeted && !are_over(&a) && !atomic_load(stop)) {
        int64_t left_ms = timeout_ms - (clock_monotonic_ns(&clock_real) - start_ns) / 1000000;
        if (left_ms <= 0) {
            break;
        }
        (void)poll(a.fds, a.count, (int)(left_ms < STOP_LOOK_MS ? left_ms : STOP_LOOK_MS));
        for (size_t i = 0; i < a.count && !is_greeted; i++) {
            is_greeted = a.fds[i].fd >= 0 && a.fds[i].revents != 0 && go_on(&a, i);
        }
    }
    for (size_t i = 0; i < a.count; i++) {
        if (a.fds[i].fd >= 0) {
            give_up(&a, i);
        }
    }
    return is_greeted;
}
