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

#include "shared/attributes.h"
#include "shared/slice.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* The one piece of process-wide state: lines above this level are not written. */
void log_set_level(enum log_level level);

/* `format` gives the sentence and the fields. */
void log_write(enum log_level level, const char *id, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(id, ...) log_write(LOG_LEVEL_ERROR, id, __VA_ARGS__)
#define log_warn(id, ...) log_write(LOG_LEVEL_WARN, id, __VA_ARGS__)
#define log_info(id, ...) log_write(LOG_LEVEL_INFO, id, __VA_ARGS__)
#define log_debug(id, ...) log_write(LOG_LEVEL_DEBUG, id, __VA_ARGS__)

struct log_hash {
    char text[17];
};

/* A short name for personal data in a log: the same in one process run, meaningless outside. */
struct log_hash log_hash(struct slice personal);

#endif
