/* The hub's side of the link: opened, its requests answered, and brought to its end. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "shared/daemon.h"
#include "shared/link_internal.h"

struct link_reply {
    struct link_connection *connection;
    size_t header_len;
    uint8_t header[LINK_FRAME_IDS_BYTES_MAX];
};

/* ---- Requests and replies ---- */

void link_server_take(struct link_connection *c, struct slice header, struct slice request)
{
    struct link_server *server = c->server;
    struct link_reply *reply = memory_allocate(sizeof *reply);
    ensure(header.len <= sizeof reply->header);
    reply->connection = c;
    reply->header_len = header.len;
    memcpy(reply->header, header.data, header.len);
    pthread_mutex_lock(&c->lock);
    c->owners++;
    c->owed++;
    pthread_mutex_unlock(&c->lock);
    if (atomic_load(&server->is_stopped)) {
        link_reply_send(reply, slice_make(NULL, 0));
    } else {
        server->options.handler(server->options.user, request, reply);
    }
}

void link_reply_vouch(struct link_reply *reply, uint32_t peer)
{
    ensure(peer != 0);
    if (atomic_load(&reply->connection->peer) != peer) {
        link_door_vouch(reply->connection, peer);
    }
}

void link_reply_send(struct link_reply *reply, struct slice bytes)
{
    struct link_connection *c = reply->connection;
    pthread_mutex_lock(&c->lock);
    if (c->fd >= 0) {
        link_connection_send(c, slice_make(reply->header, reply->header_len), bytes);
    }
    c->owed--;
    if (c->fd >= 0) {
        link_connection_watch(c);
    }
    pthread_mutex_unlock(&c->lock);
    link_connection_release(c);
    free(reply);
}

/* ---- Beginning and end ---- */

/* "tcp://address:port" as listen_open_wide() has it; "*" is every address, as NNG writes it. */
static bool find_address(const char *url, char *ret, size_t size, struct error *err)
{
    static const char scheme[] = "tcp://";
    if (strncmp(url, scheme, sizeof scheme - 1) != 0) {
        return error_set(err, ERROR_INVALID,
                         "\"%s\" is no place to listen at, such as tcp://127.0.0.1:7400", url);
    }
    url += sizeof scheme - 1;
    url += url[0] == '*';
    if ((size_t)snprintf(ret, size, "%s", url) >= size) {
        return error_set(err, ERROR_INVALID, "the address of the link is too long");
    }
    return true;
}

static bool open_loops(struct link_server *server)
{
    for (int i = 0; i < LINK_LOOPS; i++) {
        if (!link_loop_open(&server->loops[i], server)) {
            return false;
        }
    }
    return true;
}

static void close_all(struct link_list *list)
{
    while (!TAILQ_EMPTY(list)) {
        link_connection_close(TAILQ_FIRST(list), false);
    }
}

static void free_server(struct link_server *server)
{
    for (int i = 0; i < LINK_LOOPS; i++) {
        link_loop_end(&server->loops[i]);
    }
    close_all(&server->strangers);
    close_all(&server->known);
    close(server->listening.fd);
    close(server->wake);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

bool link_server_open(const struct link_server_options *o, struct link_server **ret,
                      struct error *err)
{
    char address[512];
    struct listen_socket listening;
    if (!find_address(o->url, address, sizeof address, err) ||
        !listen_open_wide(address, &listening, err)) {
        return false;
    }
    struct link_server *server = memory_allocate_zeroed(sizeof *server);
    server->options = *o;
    server->listening = listening;
    server->port = listen_port(&listening);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ensure(server->wake >= 0);
    pthread_mutex_init(&server->lock, NULL);
    TAILQ_INIT(&server->strangers);
    TAILQ_INIT(&server->known);
    if (!open_loops(server)) {
        free_server(server);
        return error_set(err, ERROR_UNAVAILABLE, "%s: no descriptors are left", o->url);
    }
    server->doorkeeper = daemon_start_thread("link-door", link_keep_door, server);
    *ret = server;
    return true;
}

uint16_t link_server_port(const struct link_server *server)
{
    return server->port;
}

struct link_server_stats link_server_stats(struct link_server *server)
{
    pthread_mutex_lock(&server->lock);
    struct link_server_stats stats = server->stats;
    pthread_mutex_unlock(&server->lock);
    return stats;
}

void link_server_stop(struct link_server *server)
{
    atomic_store(&server->is_stopped, true);
}

void link_server_close(struct link_server **server)
{
    struct link_server *s = *server;
    uint64_t one = 1;
    if (s == NULL) {
        return;
    }
    link_server_stop(s);
    atomic_store(&s->is_closing, true);
    (void)!write(s->wake, &one, sizeof one);
    pthread_join(s->doorkeeper, NULL);
    free_server(s);
    *server = NULL;
}
