/* Addresses of clients: read, found behind proxies, cut to a network, and written.
 *
 * An address is the 16 bytes of IPv6; IPv4 is mapped into it (::ffff:a.b.c.d), so that there is
 * one form of each. Pure; any thread.
 */
#ifndef TRIBUTARY_SHARED_ADDRESS_H
#define TRIBUTARY_SHARED_ADDRESS_H

#include <sys/socket.h>
#include "shared/error.h"
#include "shared/slice.h"

enum { ADDRESS_TEXT_BYTES = 46, NETWORKS_MAX = 32 };

struct address {
    uint8_t bytes[16];
};

/* "192.0.2.7" or "2001:db8::7"; also with a port, as some proxies write: "192.0.2.7:80" and
 * "[2001:db8::7]:80". White space around it is passed over. */
bool address_parse(struct slice text, struct address *ret);
/* False: the socket is neither IPv4 nor IPv6. */
bool address_from_socket(const struct sockaddr *socket, struct address *ret);
/* Its network, which many share: the first 24 bits of IPv4, 48 of IPv6. */
struct address address_truncate(struct address address);
/* What one party has by itself, for bounds: an address of IPv4, the first 64 bits of IPv6. */
struct address address_of_party(struct address address);
/* 127.0.0.1 or ::1: a proxy, a till, a test, but no crowd of one party. */
bool address_is_this_machine(struct address address);
/* The 4 bytes of IPv4 or the 16 of IPv6; they lie in *address. */
struct slice address_bytes(const struct address *address);
/* As text into `ret`; its length. */
size_t address_format(struct address address, char ret[ADDRESS_TEXT_BYTES]);

/* A list of networks. */
struct networks {
    size_t count;
    struct {
        struct address at;
        unsigned bits;
    } list[NETWORKS_MAX];
};

/* "10.0.0.0/8, 192.0.2.7 fd00::/8": networks and addresses, separated by commas or spaces; the
 * empty text is none. ERROR_INVALID names the one that is wrong. */
MUST_CHECK bool networks_parse(struct slice text, struct networks *ret, struct error *err);
bool networks_contain(const struct networks *networks, struct address address);

/* Who sent a request: the peer, or where that is a trusted proxy, the right-most entry of
 * `forwarded` (X-Forwarded-For, its lines joined by commas) that is not trusted itself; what stands
 * left of that, anybody can have written. False: a trusted proxy tells no address. */
bool address_of_client(struct address peer, struct slice forwarded, const struct networks *trusted,
                       struct address *ret);

#endif
