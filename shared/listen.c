#include "shared/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Handed over sockets begin here; connections wait in a queue of this length at most. */
enum { INHERITED_FIRST = 3, INHERITED_MAX = 1024, BACKLOG = 4096 };

static bool parse_count(const char *text, long *ret)
{
    char *end;
    errno = 0;
    *ret = text == NULL ? -1 : strtol(text, &end, 10);
    return text != NULL && errno == 0 && end != text && *end == 0 && *ret >= 0;
}

int listen_find_inherited(const char *listen_pid, const char *listen_fds, const char *names,
                          const char *name, int pid)
{
    long for_pid;
    long count;
    if (!parse_count(listen_pid, &for_pid) || for_pid != pid || !parse_count(listen_fds, &count) ||
        count > INHERITED_MAX || names == NULL) {
        return -1;
    }
    for (int i = 0; i < count; i++) {
        size_t len = strcspn(names, ":");
        if (len == strlen(name) && memcmp(names, name, len) == 0) {
            return INHERITED_FIRST + i;
        }
        if (names[len] == 0) {
            break;
        }
        names += len + 1;
    }
    return -1;
}

static bool check_inherited(int fd, const char *name, struct error *err)
{
    int is_listening = 0;
    socklen_t len = sizeof is_listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) != 0) {
        return error_set(err, ERROR_INVALID, "the socket handed over as \"%s\": %s", name,
                         strerror(errno));
    }
    /* A socket that is bound but does not listen yet is as good: it does from here on. */
    if (!is_listening && listen(fd, BACKLOG) != 0) {
        return error_set(err, ERROR_INVALID,
                         "what was handed over as \"%s\" is no stream socket to listen on", name);
    }
    int flags = fcntl(fd, F_GETFL);
    return (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
            fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) ||
           error_set(err, ERROR_UNAVAILABLE, "the socket handed over as \"%s\": %s", name,
                     strerror(errno));
}

static bool parse_address(const char *address, bool is_wide, struct sockaddr_storage *ret,
                          socklen_t *ret_len, struct error *err)
{
    char host[256];
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags =
                                 AI_PASSIVE | AI_NUMERICSERV | (is_wide ? 0 : AI_NUMERICHOST)};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof host) {
        return error_set(err, ERROR_INVALID, "\"%s\" is not address:port", address);
    }
    bool bracketed = address[0] == '[' && colon > address + 1 && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - address) - (bracketed ? 2 : 0),
             address + (bracketed ? 1 : 0));
    int rv = getaddrinfo(host[0] == 0 ? NULL : host, colon + 1, &hints, &found);
    if (rv != 0) {
        return error_set(err, ERROR_INVALID, "\"%s\" is not address:port: %s", address,
                         gai_strerror(rv));
    }
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool bind_new(const char *text, bool is_wide, struct listen_socket *ret, struct error *err)
{
    struct sockaddr_storage address;
    socklen_t len;
    int on = 1;
    int is_v6_only = !is_wide;
    if (!parse_address(text, is_wide, &address, &len, err)) {
        return false;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_ipv6 = address.ss_family == AF_INET6;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (is_ipv6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &is_v6_only, sizeof is_v6_only) != 0) ||
        bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, BACKLOG) != 0) {
        error_set(err, ERROR_UNAVAILABLE, "cannot listen on %s: %s", text, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    *ret = (struct listen_socket){.fd = fd};
    return true;
}

bool listen_open(const char *address, const char *name, struct listen_socket *ret,
                 struct error *err)
{
    int fd = name == NULL ? -1
                          : listen_find_inherited(getenv("LISTEN_PID"), getenv("LISTEN_FDS"),
                                                  getenv("LISTEN_FDNAMES"), name, (int)getpid());
    if (fd < 0) {
        return bind_new(address, false, ret, err);
    }
    *ret = (struct listen_socket){.fd = fd, .is_inherited = true};
    return check_inherited(fd, name, err);
}

bool listen_open_wide(const char *address, struct listen_socket *ret, struct error *err)
{
    return bind_new(address, true, ret, err);
}

uint16_t listen_port(const struct listen_socket *socket)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } address = {.room = {0}};
    socklen_t len = sizeof address;
    if (getsockname(socket->fd, &address.any, &len) != 0) {
        return 0;
    }
    return address.any.sa_family == AF_INET    ? ntohs(address.v4.sin_port)
           : address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port)
                                               : 0;
}
