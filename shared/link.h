/* The link seam between a collector and the hub: requests and replies, many in flight.
 *
 * Guarantee: a request is answered at most once, and its `done` is called exactly once, with a
 * reply or without (timeout, closed). The link may deliver a request more than once and in any
 * order; whoever answers must be able to take that. Bytes are not secret and not authentic here:
 * seal.h does that.
 *
 * Both speak the protocol of NNG's (and nanomsg's) req/rep over TCP. The client is NNG's, in
 * link_nng_client.c; the server is our own, in link_server.c, link_door.c and link_loop.c, because
 * NNG's takes whoever connects and keeps him for ever.
 */
#ifndef TRIBUTARY_SHARED_LINK_H
#define TRIBUTARY_SHARED_LINK_H

#include <stdint.h>
#include "shared/error.h"
#include "shared/slice.h"

struct link_server;
struct link_client;
struct link_reply; /* the duty to answer one request */

/* Called on a thread of the link; `request` is borrowed for the call. Answer by link_reply_send(),
 * now or later, from any thread, exactly once. */
typedef void link_handler(void *user, struct slice request, struct link_reply *reply);

/* Who connects is a stranger until a request of his was vouched for.
 *
 * Strangers: one has `greeting_ms` for the protocol's greeting and `first_message_ms` for his first
 * message, longer only while he sends at least 512 bytes a second. Of one address (of IPv6: one
 * network of 64 bits) there are at most `strangers_per_address_max`, of all together
 * LINK_STRANGERS_MAX, holding LINK_STRANGER_BYTES_MAX of half-sent messages: beyond that whoever
 * has been one for the longest is closed.
 * The others: LINK_PEER_CONNECTIONS_MAX of one peer, beyond which the one that was silent for the
 * longest is closed, as are those that say nothing for three minutes or do not read for one.
 * All together are `connections_max`, beyond which a stranger is closed. */
enum {
    LINK_STRANGERS_MAX = 512,
    LINK_STRANGER_BYTES_MAX = 64 * 1024 * 1024,
    LINK_PEER_CONNECTIONS_MAX = 4,
    LINK_GREETING_MS = 5000,
    LINK_FIRST_MESSAGE_MS = 15000,
};

struct link_server_options {
    const char *url; /* "tcp://address:port", the address as for listen_open_wide() or "*" */
    size_t connections_max;
    size_t strangers_per_address_max;
    int64_t greeting_ms;      /* LINK_GREETING_MS, but in tests */
    int64_t first_message_ms; /* LINK_FIRST_MESSAGE_MS, but in tests */
    link_handler *handler;
    void *user;
};
MUST_CHECK bool link_server_open(const struct link_server_options *options,
                                 struct link_server **ret, struct error *err);
uint16_t link_server_port(const struct link_server *server);

/* The request came from this peer (any number but 0) without doubt: its connection is no stranger's
 * any more. Before its answer; from any thread. */
void link_reply_vouch(struct link_reply *reply, uint32_t peer);

/* The bytes are copied. An empty answer tells the sender nothing: its request is done unanswered,
 * at once. */
void link_reply_send(struct link_reply *reply, struct slice bytes);

struct link_server_stats {
    size_t connections;
    size_t strangers; /* of these */
    /* Connections that were closed, since the start: */
    uint64_t too_slow;   /* strangers that kept silent, and others that missed a deadline */
    uint64_t crowded;    /* for a bound on their number or memory */
    uint64_t wrong_form; /* what they sent is not this protocol, or too large */
};
struct link_server_stats link_server_stats(struct link_server *server);

/* Call the handler no more. Replies may still be sent. */
void link_server_stop(struct link_server *server);
/* Close; every reply must have been sent. Sets *server to NULL; closing NULL is allowed. */
void link_server_close(struct link_server **server);

/* `reply` is borrowed for the call and empty where there was none. Called on a thread of the
 * link; it may send the next request. */
typedef void link_done(void *user, bool answered, struct slice reply);

/* How long a connection may be silent before it is given up: longer than the longest answer that is
 * waited for (a poll's 35 seconds), so that a hub that answers at all is never given up. */
enum { LINK_SILENCE_MS = 40000 };

struct link_client_options {
    const char *url;
    int64_t silence_ms; /* LINK_SILENCE_MS, but in tests */
    /* Called on a thread of the client each time that NNG could not take down a connection that was
     * given up, with how many that makes. Each costs memory and threads until the process ends, and
     * nothing else gets rid of them. NULL: nobody wants to know. */
    void (*stuck)(void *user, unsigned count);
    void *user;
};

/* Dials in the background and again after each loss; opening succeeds with the hub down.
 *
 * A connection that was lost, or on which nothing was answered for silence_ms, is given up:
 * whatever is under way is done unanswered at once. Without one, requests wait for as long as their
 * time allows; twice a second it is looked whether the hub listens (link_probe.h), which costs
 * about 0.01 % of a core, so that a hub that is back is found within a second. A hub that takes
 * connections and drops them is left alone for up to 8 s. */
MUST_CHECK bool link_client_open(const struct link_client_options *options,
                                 struct link_client **ret, struct error *err);

/* A connection is there, as far as this end knows: a line that was cut is noticed when it is
 * silent. Any thread. */
bool link_client_is_connected(struct link_client *client);

/* Send a copy of the bytes and wait up to timeout_ms for the answer. Any thread. */
void link_client_request(struct link_client *client, struct slice bytes, int timeout_ms,
                         link_done *done, void *user);

/* Whatever is under way is done unanswered before this returns; from now on requests are done
 * unanswered at once. */
void link_client_stop(struct link_client *client);
/* Stop, and close. Nobody may send any more. Sets *client to NULL; closing NULL is allowed. */
void link_client_close(struct link_client **client);

#endif
