/* The link seam between a collector and the hub: requests and replies, many in flight.
 *
 * Guarantee: a request is answered at most once, and its `done` is called exactly once, with a
 * reply or without (timeout, closed). The link may deliver a request more than once and in any
 * order; whoever answers must be able to take that. Bytes are not secret and not authentic here:
 * seal.h does that.
 *
 * link_nng.c (server) and link_nng_client.c are the real one, over NNG's req/rep with a context
 * for each request in flight.
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

MUST_CHECK bool link_server_open(const char *url, link_handler *handler, void *user,
                                 struct link_server **ret, struct error *err);

/* The bytes are copied. An empty answer tells the sender nothing: its request is done unanswered,
 * at once. */
void link_reply_send(struct link_reply *reply, struct slice bytes);

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
 * NNG 1.5 may never dial again after a connection has died in the midst of a large message. So
 * when a connection was there and was lost for 13 s, or nothing has been answered for silence_ms,
 * whatever is under way is done unanswered, and a new socket takes the place of the old. */
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
