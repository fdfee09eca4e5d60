/* What the parts of the link's server share: link_server.c (opening, replies, ending), link_door.c
 * (who may come in, and for how long), link_loop.c (the threads that read and write).
 *
 * Locks: the server's is taken before a connection's. A connection on a list of the server is open.
 */
#ifndef TRIBUTARY_SHARED_LINK_INTERNAL_H
#define TRIBUTARY_SHARED_LINK_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include "shared/address.h"
#include "shared/buf.h"
#include "shared/limits.h"
#include "shared/link.h"
#include "shared/link_frame.h"
#include "shared/listen.h"

enum { LINK_LOOPS = 4 };

struct link_loop {
    struct link_server *server;
    int epoll_fd;
    int wake; /* eventfd: it shall end */
    pthread_t thread;
    _Atomic bool is_ending;
    struct buf spare; /* memory of a connection that has nothing half-read */
};

struct link_connection {
    struct link_server *server;
    struct link_loop *loop;
    struct address party;
    _Atomic uint32_t peer;     /* 0: a stranger */
    _Atomic int64_t heard_ns;  /* when it last sent something */
    _Atomic int64_t stuck_ns;  /* since when it has not read what was sent; 0: it has */
    _Atomic uint64_t received; /* bytes */
    int64_t since_ns;
    /* Its loop's: */
    struct buf in;        /* what is half-read */
    size_t counted_bytes; /* of it, in the server's stranger_bytes */
    _Atomic bool is_greeted;
    /* Under the server's lock: */
    TAILQ_ENTRY(link_connection) entry;
    bool is_listed;
    bool is_stranger;
    bool is_cut;
    /* Under its own lock: */
    pthread_mutex_t lock;
    int fd;          /* -1: closed */
    unsigned owners; /* the loop, and whoever owes a reply */
    unsigned owed;   /* replies */
    uint32_t events; /* that the loop waits for */
    bool resumes;    /* after a pause: the loop has not looked yet */
    struct buf out;  /* what it has not read yet, from `sent` on */
    size_t sent;
};

TAILQ_HEAD(link_list, link_connection);

struct link_server {
    struct link_server_options options;
    struct listen_socket listening;
    uint16_t port;
    struct link_loop loops[LINK_LOOPS];
    unsigned next_loop; /* the doorkeeper's */
    int wake;           /* eventfd: the doorkeeper shall end */
    pthread_t doorkeeper;
    _Atomic bool is_stopped;
    _Atomic bool is_closing;
    _Atomic size_t stranger_bytes;
    pthread_mutex_t lock;       /* of what follows */
    struct link_list strangers; /* the oldest first */
    struct link_list known;
    struct link_server_stats stats;
};

/* ---- link_door.c ---- */

/* The thread that accepts connections and keeps their deadlines; until is_closing. */
void *link_keep_door(void *server);
/* It is no stranger's any more. */
void link_door_vouch(struct link_connection *connection, uint32_t peer);
/* The memory of its half-read message is `bytes` now; makes room where strangers hold too much. */
void link_door_count_bytes(struct link_connection *connection, size_t bytes);
/* By its loop: it is closed. Why, where the peer did something that is not allowed. */
void link_door_forget(struct link_connection *connection, bool has_wrong_form);

/* ---- link_loop.c ---- */

MUST_CHECK bool link_loop_open(struct link_loop *loop, struct link_server *server);
/* Its connections are left. Ending one that was not opened is allowed. */
void link_loop_end(struct link_loop *loop);
/* From the doorkeeper: serve this connection, which has its fd. */
void link_loop_add(struct link_loop *loop, struct link_connection *connection);
/* Under the connection's lock: send a frame of these parts, or what of it fits now. */
void link_connection_send(struct link_connection *connection, struct slice header,
                          struct slice body);
/* Under the connection's lock: wait for what matters now. */
void link_connection_watch(struct link_connection *connection);
/* By its loop, or when the loops have ended. */
void link_connection_close(struct link_connection *connection, bool has_wrong_form);
/* One owner less; frees with the last. */
void link_connection_release(struct link_connection *connection);

/* ---- link_server.c ---- */

/* A request has come: `header` is what its answer begins with. */
void link_server_take(struct link_connection *connection, struct slice header,
                      struct slice request);

#endif
