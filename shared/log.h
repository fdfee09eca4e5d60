/* The log of a daemon: one line an event, on standard error, for humans first.
 *
 *     2026-11-21T20:15:03.120Z info  spool-recovered  Found 12 unsent blocks. blocks=12 bytes=80211
 *
 * A stable id, a sentence, key=value fields. Levels say who acts: error, someone must act now;
 * warn, someone should look; info, what an operator wants to know; debug, for developers.
 * Never personal data: identifiers are logged as log_hash(). Any thread may log; a line is
 * written by one write(2) and never mixes with another. Control characters, as a name from outside
 * may have them, become '?': what is one line here is one line in the log.
 */
#ifndef TRIBUTARY_SHARED_LOG_H
#define TRIBUTARY_SHARED_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include "shared/attributes.h"
#include "shared/slice.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above this level are not written. With the limits below the only process-wide state. */
void log_set_level(enum log_level level);

/* `format` gives the sentence and the fields. */
void log_write(enum log_level level, const char *id, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(id, ...) log_write(LOG_LEVEL_ERROR, id, __VA_ARGS__)
#define log_warn(id, ...) log_write(LOG_LEVEL_WARN, id, __VA_ARGS__)
#define log_info(id, ...) log_write(LOG_LEVEL_INFO, id, __VA_ARGS__)
#define log_debug(id, ...) log_write(LOG_LEVEL_DEBUG, id, __VA_ARGS__)

/* ---- Lines that others can cause ----
 *
 * Whoever can cause a line from outside could fill the disk with it. Of each place in the code that
 * writes such a line up to LOG_LINES_MAX are written a minute; the others are counted, and the
 * count is told when the minute is over: "and 4711 more like this". */
enum { LOG_LINES_MAX = 5, LOG_LIMIT_MS = 60000 };

/* Zeroed; one for each place, living as long as the process. Its members are log.c's. */
struct log_limit {
    enum log_level level;
    const char *id;
    int64_t since_ms; /* of the first line of this minute */
    unsigned written; /* within it */
    uint64_t left_out;
    struct log_limit *next;
    bool is_listed;
};

void log_write_limited(struct log_limit *limit, enum log_level level, const char *id,
                       const char *format, ...) PRINTF_LIKE(4, 5);

#define log_limited(level, id, ...)                                                                \
    do {                                                                                           \
        static struct log_limit limit_;                                                            \
        log_write_limited(&limit_, level, id, __VA_ARGS__);                                        \
    } while (0)
#define log_error_limited(id, ...) log_limited(LOG_LEVEL_ERROR, id, __VA_ARGS__)
#define log_warn_limited(id, ...) log_limited(LOG_LEVEL_WARN, id, __VA_ARGS__)
#define log_info_limited(id, ...) log_limited(LOG_LEVEL_INFO, id, __VA_ARGS__)

/* Tell what was left out of the minutes that are over; daemon_wait_for_end() does, each few
 * seconds. */
void log_tell_left_out(void);

/* The rule alone: whether one more line may be written now. Where a minute begins, *ret_left_out is
 * what was left out of the one before. */
bool log_limit_admit(struct log_limit *limit, int64_t now_ms, uint64_t *ret_left_out);

struct log_hash {
    char text[17];
};

/* A short name for personal data in a log: the same in one process run, meaningless outside. */
struct log_hash log_hash(struct slice personal);

#endif
