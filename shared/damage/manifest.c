#include "shared/damage/manifest.h"

#include <stdlib.h>

/* VersionEdit of LevelDB (db/version_edit.cc). */
enum tag {
    TAG_COMPARATOR = 1,
    TAG_LOG_NUMBER = 2,
    TAG_NEXT_FILE_NUMBER = 3,
    TAG_LAST_SEQUENCE = 4,
    TAG_COMPACT_POINTER = 5,
    TAG_DELETED_FILE = 6,
    TAG_NEW_FILE = 7,
    TAG_PREV_LOG_NUMBER = 9,
};

void manifest_init(struct manifest *m)
{
    *m = (struct manifest){0};
}

void manifest_done(struct manifest *m)
{
    free(m->tables);
    manifest_init(m);
}

static bool read_number(struct slice *from, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && from->len > 0; shift += 7) {
        uint8_t byte = from->data[0];
        *from = slice_skip(*from, 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool skip_text(struct slice *from)
{
    uint64_t len;
    if (!read_number(from, &len) || len > from->len) {
        return false;
    }
    *from = slice_skip(*from, (size_t)len);
    return true;
}

static void remove_table(struct manifest *m, uint64_t number)
{
    for (size_t i = 0; i < m->table_count; i++) {
        if (m->tables[i].number == number) {
            m->tables[i] = m->tables[--m->table_count];
            return;
        }
    }
}

void manifest_add_table(struct manifest *m, uint64_t number, uint64_t bytes)
{
    if (m->table_count == m->table_capacity) {
        m->table_capacity = m->table_capacity == 0 ? 16 : m->table_capacity * 2;
        m->tables = memory_resize(m->tables, m->table_capacity * sizeof *m->tables);
    }
    m->tables[m->table_count++] = (struct manifest_table){number, bytes};
}

/* A table that is moved to another level is deleted and new in one record, in this order. */
static bool read_new_file(struct manifest *m, struct slice *from)
{
    uint64_t level;
    uint64_t number;
    uint64_t bytes;
    if (!read_number(from, &level) || !read_number(from, &number) || !read_number(from, &bytes) ||
        !skip_text(from) || !skip_text(from)) {
        return false;
    }
    manifest_add_table(m, number, bytes);
    return true;
}

static bool read_deleted_file(struct manifest *m, struct slice *from)
{
    uint64_t level;
    uint64_t number;
    if (!read_number(from, &level) || !read_number(from, &number)) {
        return false;
    }
    remove_table(m, number);
    return true;
}

bool manifest_apply(struct manifest *m, struct slice record)
{
    uint64_t tag;
    uint64_t ignored;
    bool fine = true;
    while (fine && record.len > 0) {
        fine = read_number(&record, &tag);
        switch (fine ? tag : 0) {
        case TAG_COMPARATOR:
            fine = skip_text(&record);
            break;
        case TAG_LOG_NUMBER:
            fine = read_number(&record, &m->log_number);
            break;
        case TAG_PREV_LOG_NUMBER:
            fine = read_number(&record, &m->prev_log_number);
            break;
        case TAG_NEXT_FILE_NUMBER:
            fine = read_number(&record, &ignored);
            break;
        case TAG_LAST_SEQUENCE:
            fine = read_number(&record, &m->last_sequence);
            break;
        case TAG_COMPACT_POINTER:
            fine = read_number(&record, &ignored) && skip_text(&record);
            break;
        case TAG_DELETED_FILE:
            fine = read_deleted_file(m, &record);
            break;
        case TAG_NEW_FILE:
            fine = read_new_file(m, &record);
            break;
        default:
            fine = false;
        }
    }
    return fine;
}

const struct manifest_table *manifest_find(const struct manifest *m, uint64_t number)
{
    for (size_t i = 0; i < m->table_count; i++) {
        if (m->tables[i].number == number) {
            return &m->tables[i];
        }
    }
    return NULL;
}
