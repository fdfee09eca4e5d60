/* Listening sockets: bound here, or handed over by whoever started the process, which is how a
 * restart refuses nobody (systemd's socket activation: the socket stays open in systemd, and
 * connections wait in the kernel meanwhile).
 *
 * At the start, from one thread. The caller owns what it is given.
 */
#ifndef TRIBUTARY_SHARED_LISTEN_H
#define TRIBUTARY_SHARED_LISTEN_H

#include <stdint.h>
#include "shared/error.h"

struct listen_socket {
    int fd;
    bool is_inherited; /* others hold it too: close it, but never shut it down */
};

/* The socket that was handed over under `name` (NULL: none is looked for), else a new one at
 * `address`: "address:port"; port 0 takes a free one; IPv6 as "[::1]:8080". */
MUST_CHECK bool listen_open(const char *address, const char *name, struct listen_socket *ret,
                            struct error *err);

/* A new one at `address` that takes IPv4 too where that is "[::]:port", and whose host may be a
 * name, as the link's address always could. */
MUST_CHECK bool listen_open_wide(const char *address, struct listen_socket *ret, struct error *err);

/* The local port, 0 where it has none. */
uint16_t listen_port(const struct listen_socket *socket);

/* What the environment of a process with id `pid` hands over (LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES, each NULL when it is not set) under `name`: its descriptor, or -1. Pure. */
int listen_find_inherited(const char *listen_pid, const char *listen_fds, const char *names,
                          const char *name, int pid);

#endif
