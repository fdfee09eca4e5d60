/* A file of the drop folder, read row by row and handed out in batches of events.
 *
 * Guarantee: every row is in exactly one batch, as an event or with the reason why it is none.
 * Memory is bounded whatever the file holds: a row of more than DROP_ROW_BYTES_MAX is passed over,
 * with a reason. Reading may begin anywhere where a batch has ended. One thread.
 */
#ifndef TRIBUTARY_COLLECTOR_DROP_FILE_H
#define TRIBUTARY_COLLECTOR_DROP_FILE_H

#include "collector/drop/mapping.h"
#include "shared/arena.h"
#include "shared/limits.h"

enum {
    DROP_ROW_BYTES_MAX = 128 * 1024,
    DROP_BATCH_ROWS = 1000,
    DROP_BATCH_BYTES = LIMIT_REQUEST_BYTES / 2,
};

/* Where a row begins. */
struct drop_position {
    uint64_t offset;
    uint64_t line; /* from 1 */
};

struct drop_row {
    uint64_t line;
    uint64_t lines;      /* of the order that it is the first of; 1: itself alone */
    struct slice column; /* to blame, where one is */
    struct slice fault;  /* why the row is no event; empty: it is one */
};

/* Some rows, and those that are events as a batch in Segment's form, in the same order. */
struct drop_batch {
    struct buf json;                           /* {"batch":[…]} */
    struct drop_row rows[DROP_BATCH_ROWS + 1]; /* a wrong row that ends an order makes two */
    size_t row_count;
    size_t event_count;
    struct drop_position end; /* behind these rows */
    struct arena arena;       /* of the faults */
};

void drop_batch_init(struct drop_batch *batch);
void drop_batch_done(struct drop_batch *batch);

struct drop_file;

/* Read the open file `fd`, which is taken (closed also on failure), from a position; {0, 0} is its
 * start. The mapping and the name are borrowed. ERROR_INVALID: the header, or the whole file, does
 * not fit the mapping. */
MUST_CHECK bool drop_file_open(int fd, const char *name, struct mapping *mapping,
                               struct drop_position from, struct drop_file **ret,
                               struct error *err);
void drop_file_close(struct drop_file **file);
/* Are positions offsets in the very file? Not where it is in UTF-16: they are in what it says then,
 * and lead to the same row each time. */
bool drop_file_has_places(const struct drop_file *file);

/* The next rows; none at the end of the file. Fails where reading fails. */
MUST_CHECK bool drop_file_read(struct drop_file *file, struct drop_batch *batch, struct error *err);

#endif
