/* The events of a file, one after the other, ready to be sent: NDJSON or CSV.
 *
 * Guarantee: each event is valid JSON and an object. One without a messageId is given one made of
 * its place and its content, so that the hub counts it once however often the file is sent. Its
 * `timestamp` will be taken as it is: sentAt goes, and with it an originalTimestamp beside it.
 * One thread owns a source.
 */
#ifndef TRIBUTARY_HUB_CLI_REPLAY_SOURCE_H
#define TRIBUTARY_HUB_CLI_REPLAY_SOURCE_H

#include "shared/buf.h"
#include "shared/error.h"

struct replay_source;

struct replay_source_options {
    const char *path; /* "-" for standard input */
    bool is_csv;
    const char *text_columns; /* see columns.h */
    const char *salt;         /* goes into the messageIds that are made */
};

enum replay_result {
    REPLAY_EVENT,
    REPLAY_BAD, /* a line that is no event; *err says why, and reading goes on behind it */
    REPLAY_END,
    REPLAY_FAILED, /* the file cannot be read any further */
};

MUST_CHECK bool replay_source_open(const struct replay_source_options *options,
                                   struct replay_source **ret, struct error *err);
void replay_source_close(struct replay_source **source);

/* The next event, borrowed until the next call. */
MUST_CHECK enum replay_result replay_source_next(struct replay_source *source,
                                                 struct slice *ret_event, struct error *err);

/* The line where the last result began. */
uint64_t replay_source_line(const struct replay_source *source);

/* How far it is, in bytes; *ret_total is 0 where the size is not known. */
uint64_t replay_source_bytes(const struct replay_source *source, uint64_t *ret_total);

#endif
