/* The lines of one order, gathered until a line of another comes; and what a file has said under
 * which message id, so that a number that comes again with another order is found.
 *
 * Memory is bounded: an order has up to ORDER_LINES_MAX lines and ORDER_BYTES_MAX bytes; of ids the
 * last ORDER_IDS_MAX are remembered. One thread.
 */
#ifndef TRIBUTARY_COLLECTOR_ORDER_H
#define TRIBUTARY_COLLECTOR_ORDER_H

#include "shared/csv.h"
#include "shared/uuid.h"

enum { ORDER_LINES_MAX = 200, ORDER_BYTES_MAX = 128 * 1024, ORDER_IDS_MAX = 1 << 17 };

struct order {
    struct csv_record lines[ORDER_LINES_MAX];
    size_t count;
    size_t bytes;
    uint64_t hash; /* of all its bytes */
};

void order_init(struct order *order);
void order_done(struct order *order);
/* Forget the lines, and keep their memory. */
void order_clear(struct order *order);
bool order_has_room(const struct order *order, size_t bytes);
/* Take a line, which there must be room for: the record gets another's memory and reads on. */
void order_add(struct order *order, struct csv_record *record, struct slice bytes);

/* Which ids were given, to what, in which line. */
struct order_ids;

struct order_ids *order_ids_new(void);
void order_ids_free(struct order_ids **ids);
/* Remember an id (as the text of a UUID) with the hash of what it stands for. The line where it
 * stood for something else; 0: nowhere. */
uint64_t order_ids_note(struct order_ids *ids, struct slice uuid, uint64_t hash, uint64_t line);

#endif
