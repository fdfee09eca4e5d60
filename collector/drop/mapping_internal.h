/* What mapping_read.c and mapping_event.c make of a mapping file and mapping.c fills with rows. */
#ifndef TRIBUTARY_COLLECTOR_MAPPING_INTERNAL_H
#define TRIBUTARY_COLLECTOR_MAPPING_INTERNAL_H

#include "collector/drop/cell.h"
#include "collector/drop/mapping.h"
#include "shared/arena.h"
#include "shared/limits.h"

enum node_kind {
    NODE_CONSTANT,
    NODE_COLUMN,
    NODE_OBJECT,
    NODE_ARRAY,
    NODE_LINES, /* an array with its only child once for each line of the order */
};

/* One value of the event with holes. */
struct node {
    enum node_kind kind;
    struct slice key;      /* `"total":`; empty in an array */
    struct slice constant; /* JSON */
    struct slice column;   /* as the mapping names it: a name, a dotted path in NDJSON */
    bool is_named;         /* the header tells the index */
    size_t index;          /* of the cell */
    bool has_type;
    enum cell_type type;
    const char *format;
    bool is_required;
    struct node *children;
    size_t count;
};

struct mapping {
    struct arena arena; /* holds all of it */
    struct slice name;
    struct slice source;
    const char *files; /* a pattern of fnmatch() */
    bool is_csv;
    bool has_header;
    char delimiter;
    char quote;
    struct cell_style style;
    struct node event; /* NODE_OBJECT; NODE_CONSTANT: the lines are events */
    struct node *ids;  /* the columns that the message id is made of */
    size_t id_count;
    const struct node *time;       /* of the event, where a column says it; else NULL */
    const struct node *properties; /* of the event, where it has some; else NULL */
    bool has_lines;                /* it says what becomes of each line of an order */
    size_t cell_count; /* of a row: exactly as many as the header has; without one, at least */
    struct buf scratch;
    struct buf line; /* of NDJSON, as MessagePack; in CSV a text that is compared with the next */
    struct buf other;
    msgpack_zone zone;
};

/* A mapping file that is being read. */
struct reader {
    struct mapping *mapping;
    struct slice text;
    struct error *err;
    struct slice path[LIMIT_JSON_DEPTH + 2]; /* the members that lead to the one at hand */
    size_t depth;
};

/* mapping_read.c, for both: the reason with file, line and member before it; gives false. */
bool mapping_wrong(struct reader *r, const char *reason);
/* Go to a member, and back with what came of it. */
void mapping_enter(struct reader *r, struct slice key);
bool mapping_leave(struct reader *r, bool fine);
/* A text without zero bytes, copied; and a copy with one behind it. */
MUST_CHECK bool mapping_take_text(struct reader *r, const msgpack_object *value, struct slice *ret);
const char *mapping_keep_text(struct reader *r, struct slice text);

/* mapping_event.c: the value of "column", and an object of the event. */
MUST_CHECK bool mapping_read_column(struct reader *r, const msgpack_object *value,
                                    struct node *node);
MUST_CHECK bool mapping_read_object(struct reader *r, const msgpack_object *map, struct node *node);

/* mapping_lines.c: does the row have a cell for each column of the header? More may be empty: some
 * programs end each row with a delimiter. */
bool mapping_has_cells(const struct mapping *mapping, const struct csv_record *record);
/* Does a later line of the order fill the property, so that it is about one of its products? */
bool mapping_is_of_products(struct mapping *mapping, struct mapping_lines all,
                            const struct node *node);

/* mapping_read.c: fill *mapping, which is empty but for its arena and name. */
MUST_CHECK bool mapping_read(struct mapping *mapping, struct slice json, struct error *err);

#endif
