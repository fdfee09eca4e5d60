/* Which rows are lines of one order, and what of them is about its products. */
#include "collector/drop/mapping_internal.h"
#include "shared/identifier.h"

bool mapping_has_cells(const struct mapping *m, const struct csv_record *record)
{
    for (size_t i = m->cell_count; i < record->count; i++) {
        if (identifier_trim(csv_cell(record, i)).len > 0) {
            return false;
        }
    }
    return record->count >= m->cell_count;
}

/* The text of a column in a line; what cannot be read is empty. In *keep, which is cleared. */
static struct slice text_of(struct mapping *m, const struct csv_record *record,
                            const struct node *node, struct buf *keep)
{
    struct slice text = slice_text("");
    struct error ignored;
    if (node->index >= record->count ||
        !cell_decode(&m->style, csv_cell(record, node->index), &m->scratch, &text, &ignored)) {
        text = slice_text("");
    }
    buf_clear(keep);
    return buf_append(keep, text.data, text.len) ? buf_slice(keep) : slice_text("");
}

enum said { SAID_NOTHING, SAID_SAME, SAID_OTHER, SAID_LESS };

/* What `next` says in a column beside what `first` says. */
static enum said compare(struct mapping *m, const struct csv_record *first,
                         const struct csv_record *next, const struct node *node)
{
    struct slice a = text_of(m, first, node, &m->line);
    struct slice b = text_of(m, next, node, &m->other);
    return b.len == 0          ? (a.len == 0 ? SAID_NOTHING : SAID_LESS)
           : slice_equal(a, b) ? SAID_SAME
                               : SAID_OTHER;
}

/* Properties that are about a whole order, whose names every shop shares. */
static bool is_of_order(const struct node *node)
{
    static const char *const keys[] = {
        "\"total\":",    "\"revenue\":",  "\"value\":",    "\"subtotal\":", "\"tax\":",
        "\"shipping\":", "\"discount\":", "\"order_id\":", "\"amount\":"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (slice_is(node->key, keys[i])) {
            return true;
        }
    }
    return false;
}

struct likeness {
    size_t less;   /* columns that only the first line fills */
    bool is_other; /* whom it is about, or how much: another order */
};

/* Go through the columns of the event. */
static void liken(struct mapping *m, const struct csv_record *first, const struct csv_record *next,
                  const struct node *node, bool is_property, struct likeness *ret)
{
    bool is_inside = is_property || node == m->properties;
    for (size_t i = 0; i < node->count; i++) {
        liken(m, first, next, &node->children[i], is_inside, ret);
    }
    if (node->kind != NODE_COLUMN) {
        return;
    }
    enum said said = compare(m, first, next, node);
    bool may_differ = is_property && !is_of_order(node);
    ret->less += said == SAID_LESS;
    ret->is_other = ret->is_other || (said == SAID_OTHER && !may_differ);
}

bool mapping_has_orders(const struct mapping *m)
{
    return m->is_csv && m->id_count > 0;
}

bool mapping_continues(struct mapping *m, const struct csv_record *first,
                       const struct csv_record *next)
{
    bool has_id = false;
    struct likeness likeness = {0};
    if (m->has_header && !mapping_has_cells(m, next)) {
        return false;
    }
    for (size_t i = 0; i < m->id_count; i++) {
        enum said said = compare(m, first, next, &m->ids[i]);
        has_id = has_id || said == SAID_SAME;
        if (said != SAID_SAME && said != SAID_NOTHING) {
            return false;
        }
    }
    if (!has_id || (m->time != NULL && compare(m, first, next, m->time) == SAID_OTHER)) {
        return false;
    }
    if (m->has_lines) {
        return true;
    }
    liken(m, first, next, &m->event, false, &likeness);
    return likeness.less > 0 && !likeness.is_other;
}

static bool is_id(const struct mapping *m, const struct node *node)
{
    for (size_t i = 0; i < m->id_count; i++) {
        if (m->ids[i].index == node->index) {
            return true;
        }
    }
    return false;
}

bool mapping_is_of_products(struct mapping *m, struct mapping_lines all, const struct node *node)
{
    bool is_filled = false;
    if (node->kind != NODE_COLUMN || is_of_order(node) || is_id(m, node)) {
        return false;
    }
    for (size_t i = 1; i < all.count && !is_filled; i++) {
        is_filled = text_of(m, &all.records[i], node, &m->line).len > 0;
    }
    return is_filled;
}
