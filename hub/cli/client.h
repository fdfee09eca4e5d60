/* HTTP to one server: the hub with its token, or a collector with a write key.
 *
 * Requests go one after the other over a connection that is kept. Redirects are not followed, so
 * that a token goes to nobody else. What the server refuses becomes one readable sentence. One
 * thread owns a client.
 */
#ifndef TRIBUTARY_HUB_CLI_CLIENT_H
#define TRIBUTARY_HUB_CLI_CLIENT_H

#include "hub/cli/cli.h"
#include "shared/value.h"

struct client;

struct client_reply {
    long status;
    int64_t retry_after_ms; /* -1: the server did not say */
    struct buf body;
    msgpack_object json; /* after client_call() */
    struct buf json_bytes;
    msgpack_zone zone;
};

void client_reply_init(struct client_reply *reply);
void client_reply_done(struct client_reply *reply);

/* For the hub of *cli, with the token from its file or the environment. */
MUST_CHECK bool client_open_hub(const struct cli *cli, struct client **ret, struct error *err);

/* For a collector, with the write key as Basic user name. */
MUST_CHECK bool client_open_collector(const char *url, const char *write_key, struct client **ret,
                                      struct error *err);

/* Closing NULL is allowed. */
void client_close(struct client **client);

/* Make one request; `path` begins with '/', an empty body sends none. Any status is a reply;
 * ERROR_UNAVAILABLE where there was none. */
MUST_CHECK bool client_request(struct client *client, const char *method, const char *path,
                               struct slice body, struct client_reply *reply, struct error *err);

/* What is wrong, where the status is not 2xx: the server's own sentence if it gave one. */
MUST_CHECK bool client_check(const struct client_reply *reply, struct error *err);

/* A request whose reply must be 2xx and JSON: reply->json, valid until the reply is used again. */
MUST_CHECK bool client_call(struct client *client, const char *method, const char *path,
                            struct slice body, struct client_reply *reply, struct error *err);

/* GET and PUT by client_call(). */
MUST_CHECK bool client_get(struct client *client, const char *path, struct client_reply *reply,
                           struct error *err);
MUST_CHECK bool client_put(struct client *client, const char *path, struct slice body,
                           struct client_reply *reply, struct error *err);

/* Print a reply's body as it came, and end the line. */
void client_print_body(const struct client_reply *reply);

/* Print what the hub of *cli answers to a GET of `path`: as it came, or by print(user). */
MUST_CHECK bool client_show(const struct cli *cli, const char *path, bool as_json,
                            bool (*print)(struct client *client, const msgpack_object *json,
                                          void *user, struct error *err),
                            void *user, struct error *err);

/* "PREFIX" and the text percent-encoded, ended by a zero, replacing what *path held. */
void client_put_path(struct buf *path, const char *prefix, struct slice text);

/* Append text to a path or query, percent-encoded. */
void client_put_encoded(struct buf *path, struct slice text);

#endif
