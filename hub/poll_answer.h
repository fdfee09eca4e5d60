/* What a poll is answered with: the cards of who changed since the collector's cursors and of the
 * next step of its refill, removals, and the gate's definitions. A bounded step: the next poll
 * brings more. Any thread.
 */
#ifndef TRIBUTARY_HUB_POLL_ANSWER_H
#define TRIBUTARY_HUB_POLL_ANSWER_H

#include "hub/edges.h"

/* A poll, and what was found out about it so far; zero at the start. */
struct poll_asked {
    uint32_t collector;
    struct wire_poll poll;
    bool is_wide; /* the collector reads the shared outbox */
    bool has_fitting_cursors;
};

enum poll_outcome {
    POLL_HAS_NEWS,
    POLL_HAS_NONE,
    POLL_NOT_READY, /* for a refill: a partition does not know the scope yet */
    POLL_FAILED,    /* logged */
};

/* Append the answer; nothing where it failed. */
enum poll_outcome poll_answer(const struct edges_parts *parts, struct poll_asked *asked,
                              struct buf *message);

#endif
