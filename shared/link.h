/* The link seam between a collector and the hub: requests and replies, many in flight.
 *
 * Guarantee: a request is answered at most once, and its `done` is called exactly once, with a
 * reply or without (timeout, closed). The link may deliver a request more than once and in any
 * order; whoever answers must be able to take that. Bytes are not secret and not authentic here:
 * seal.h does that.
 *
 * link_nng.c is the real one, over NNG's req/rep with a context for each request in flight.
 */
#ifndef TRIBUTARY_SHARED_LINK_H
#define TRIBUTARY_SHARED_LINK_H

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

/* Dials in the background and again after each loss; opening succeeds with the hub down. */
MUST_CHECK bool link_client_open(const char *url, struct link_client **ret, struct error *err);

/* Send a copy of the bytes and wait up to timeout_ms for the answer. Any thread. */
void link_client_request(struct link_client *client, struct slice bytes, int timeout_ms,
                         link_done *done, void *user);

/* Close: outstanding requests are done unanswered before this returns. */
void link_client_close(struct link_client **client);

#endif
