/* The committer makes accepted events durable and then answers their requests.
 *
 * Everything that arrives while one commit is in flight becomes the next: one block for each lane
 * (more, where blocks are to be small), sealed, written to the spool and synced in one go, and only
 * then are its requests answered. The batch grows with the load by itself: where several requests
 * came last time it waits while more keep coming, until there are half as many, some 0.8 ms at
 * most.
 *
 * Guarantee: a request is resumed after its events are on disk, or with a 503 when not all are.
 * When the disk fails the committer tries each second whether it works again.
 * committer_add() may be called by any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_COMMITTER_H
#define TRIBUTARY_COLLECTOR_COMMITTER_H

#include "collector/spool/eras.h"
#include "collector/request/request.h"
#include "collector/settings.h"
#include "shared/http.h"

struct committer;

/* All borrowed. */
struct committer_parts {
    struct spool *spool;
    struct eras *eras;
    const struct enrolment *enrolment;
    const struct lanes *lanes; /* NULL: everything is one lane */
    size_t pending_bytes_max;
    size_t block_bytes_max;       /* before compression; one event may be more */
    void (*appended)(void *user); /* on the committer's thread, after blocks reached the spool */
    /* likewise, or NULL: events of a request are answered 503 with this code, which lives for ever
     */
    void (*refused)(void *user, struct slice source, const char *code, size_t events);
    void *user;
};

MUST_CHECK bool committer_open(const struct committer_parts *parts, struct committer **ret,
                               struct error *err);
/* Commit what is pending and answer it; from now on committer_add() fails with ERROR_FULL. */
void committer_stop(struct committer *committer);
/* Stop, if that is not done, and free. Nobody may call committer_add() any more. */
void committer_close(struct committer **committer);

/* Take the events of the request for which request_event_is_stored(). True: http is held and
 * will be resumed with the answer it has now. Otherwise nothing was taken. ERROR_FULL: too much is
 * pending. ERROR_INVALID: the events are too large together to be stored, also later. */
MUST_CHECK bool committer_add(struct committer *committer, const struct request *request,
                              struct http_request *http, struct error *err);

/* Somebody other than a request who waits for events to be durable. */
struct committer_waiter {
    /* On the committer's thread: the events are on disk (NULL), or are not and why. */
    void (*committed)(void *user, const struct error *err);
    void *user;
};

/* The same for such a waiter, which is copied and called once, also by committer_stop(). */
MUST_CHECK bool committer_add_for(struct committer *committer, const struct request *request,
                                  const struct committer_waiter *waiter, struct error *err);

struct committer_stats {
    uint64_t commits;
    uint64_t events;
    uint64_t failed_commits; /* nothing of them could be stored */
    uint64_t plain_bytes;    /* before compression, as MessagePack */
    uint64_t sealed_bytes;   /* as written */
    bool is_failing;         /* the last write to the disk failed */
};
struct committer_stats committer_stats(struct committer *committer);

#endif
