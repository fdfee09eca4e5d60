/* Sending events to a collector in batches, until each is answered for.
 *
 * Guarantee: an event that was added is accepted or rejected by the collector before
 * replay_sender_flush() returns true. Where the collector does not answer, is full (429, 503) or
 * fails (5xx), the batch is sent again after a growing pause, or after what Retry-After says; a
 * batch that is refused as a whole is halved until the events that spoil it stand alone. One
 * thread.
 */
#ifndef TRIBUTARY_HUB_CLI_REPLAY_SENDER_H
#define TRIBUTARY_HUB_CLI_REPLAY_SENDER_H

#include "hub/cli/replay_progress.h"
#include "shared/error.h"

struct replay_sender;

struct replay_sender_options {
    const char *collector; /* URL */
    const char *write_key;
    int64_t events_per_second; /* 0: as fast as it goes */
    int64_t give_up_ms;        /* without one answer */
};

enum { REPLAY_CODES_MAX = 16, REPLAY_CODE_BYTES = 64 };

struct replay_counts {
    uint64_t accepted;
    uint64_t rejected;
    struct {
        char code[REPLAY_CODE_BYTES];
        uint64_t count;
    } codes[REPLAY_CODES_MAX]; /* why; the last is for all that have no row */
};

/* The options and *progress are borrowed. */
MUST_CHECK bool replay_sender_open(const struct replay_sender_options *options,
                                   struct replay_progress *progress, struct replay_sender **ret,
                                   struct error *err);
void replay_sender_close(struct replay_sender **sender);

/* Add an event, copied; sends when a batch is full. */
MUST_CHECK bool replay_sender_add(struct replay_sender *sender, struct slice event,
                                  struct error *err);
MUST_CHECK bool replay_sender_flush(struct replay_sender *sender, struct error *err);

const struct replay_counts *replay_sender_counts(const struct replay_sender *sender);

#endif
