/* How far a replay is, on standard error: a bar on a terminal, otherwise a line a second. One
 * thread.
 */
#ifndef TRIBUTARY_HUB_CLI_REPLAY_PROGRESS_H
#define TRIBUTARY_HUB_CLI_REPLAY_PROGRESS_H

#include "shared/attributes.h"
#include "shared/buf.h"

struct replay_progress {
    bool is_terminal;
    bool is_shown; /* a bar stands on the line of the cursor */
    int64_t started_ns;
    int64_t shown_ns;
};

struct replay_figures {
    uint64_t events; /* sent and answered for */
    uint64_t rejected;
    uint64_t bytes;
    uint64_t bytes_total; /* 0: not known */
};

void replay_progress_init(struct replay_progress *progress);

/* Show the figures, unless that was done a moment ago. */
void replay_progress_show(struct replay_progress *progress, const struct replay_figures *figures);

/* Write a line that stays, above the bar. */
void replay_progress_say(struct replay_progress *progress, const char *format, ...)
    PRINTF_LIKE(2, 3);

/* Take the bar away. */
void replay_progress_clear(struct replay_progress *progress);

double replay_progress_seconds(const struct replay_progress *progress);

#endif
