#include "shared/damage/log_check.h"

#include "shared/damage/crc32c.h"

/* doc/log_format.md of LevelDB. */
enum {
    BLOCK_BYTES = 32 * 1024,
    HEADER_BYTES = 7,
    LENGTH_AT = 4,
    TYPE_AT = 6,
    TYPE_FULL = 1,
    TYPE_FIRST = 2,
    TYPE_MIDDLE = 3,
    TYPE_LAST = 4,
    BATCH_HEADER_BYTES = 12,
};

/* What a disk writes whole or not at all. */
enum { SECTOR_BYTES = 512 };

/* Zeros that a record has of its own are few. In more than this of other bytes a torn record could
 * look as if one bit explained it. */
enum { NATURAL_ZEROS_MAX = 64, FLIP_BYTES_MAX = 4096 };

struct walk {
    uint8_t *data;
    size_t len;
    const struct log_options *options;
    struct log_report *report;
    size_t at;
    bool in_record; /* its beginning was read */
    bool is_lost;   /* what goes on here began in a place that cannot be read */
    size_t record_at;
    struct buf record;
};

struct fragment {
    size_t at;
    size_t len;
    uint8_t type;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t block_end(size_t at)
{
    return at - at % BLOCK_BYTES + BLOCK_BYTES;
}

static bool is_zero(const uint8_t *data, size_t from, size_t to)
{
    while (from < to && data[from] == 0) {
        from++;
    }
    return from >= to;
}

static size_t claimed_len(const uint8_t *header)
{
    return (size_t)header[LENGTH_AT] | (size_t)header[LENGTH_AT + 1] << 8;
}

static bool is_type(uint8_t type)
{
    return type >= TYPE_FULL && type <= TYPE_LAST;
}

/* Would a fragment of this length be in the block and in the file? */
static bool fits(const struct walk *w, size_t at, size_t len)
{
    return at + HEADER_BYTES + len <= least(block_end(at), w->len);
}

static bool has_checksum(const struct walk *w, size_t at, size_t len)
{
    const uint8_t *header = w->data + at;
    return crc32c_mask(crc32c_extend(0, header + TYPE_AT, 1 + len)) == crc32c_read_u32(header);
}

static bool read_fragment(const struct walk *w, size_t at, struct fragment *ret)
{
    if (!fits(w, at, 0) || !is_type(w->data[at + TYPE_AT])) {
        return false;
    }
    *ret = (struct fragment){at, claimed_len(w->data + at), w->data[at + TYPE_AT]};
    return fits(w, at, ret->len) && has_checksum(w, at, ret->len);
}

static size_t end_of(const struct fragment *f)
{
    return f->at + HEADER_BYTES + f->len;
}

/* The first fragment from here on whose bytes are right. */
static bool find_fragment(const struct walk *w, size_t from, struct fragment *ret)
{
    while (from < w->len && !read_fragment(w, from, ret)) {
        from++;
    }
    return from < w->len;
}

static bool begins_record(const struct fragment *f)
{
    return f->type == TYPE_FULL || f->type == TYPE_FIRST;
}

/* Does something follow that was written only after what is before it was synced? */
static bool is_proven(const struct walk *w, size_t from)
{
    struct fragment f;
    size_t at = w->options->syncs_each ? from + 1 : block_end(from);
    if (w->options->is_followed) {
        return true;
    }
    while (find_fragment(w, at, &f)) {
        if (begins_record(&f)) {
            return true;
        }
        at = end_of(&f);
    }
    return false;
}

/* ---- One bit ---- */

static bool find_flip_of_length(const struct walk *w, size_t at, size_t *ret_bit)
{
    size_t claimed = claimed_len(w->data + at);
    for (size_t bit = 0; bit < 16; bit++) {
        size_t len = claimed ^ (size_t)1 << bit;
        if (fits(w, at, len) && has_checksum(w, at, len)) {
            *ret_bit = (at + LENGTH_AT) * 8 + bit;
            return true;
        }
    }
    return false;
}

/* The bit of the file which, turned back, makes this a fragment. */
static bool find_flip(const struct walk *w, size_t at, size_t *ret_bit)
{
    size_t bit;
    size_t len = fits(w, at, 0) ? claimed_len(w->data + at) : 0;
    if (!fits(w, at, 0)) {
        return false;
    }
    if (is_type(w->data[at + TYPE_AT]) && find_flip_of_length(w, at, ret_bit)) {
        return true;
    }
    const uint8_t *header = w->data + at;
    if (!fits(w, at, len) ||
        !crc32c_find_flip(header + TYPE_AT, 1 + len, crc32c_read_u32(header), &bit)) {
        return false;
    }
    bool in_bytes = bit < (1 + len) * 8;
    *ret_bit = in_bytes ? (at + TYPE_AT) * 8 + bit : at * 8 + bit - (1 + len) * 8;
    return is_type(in_bytes && bit < 8 ? header[TYPE_AT] ^ (uint8_t)(1 << bit) : header[TYPE_AT]);
}

/* ---- Torn or damaged ---- */

/* Zeros from here to the end of the sector, or to that of the file. */
static bool is_hole(const struct walk *w, size_t at)
{
    size_t sector_end = at - at % SECTOR_BYTES + SECTOR_BYTES;
    return is_zero(w->data, at, least(sector_end, w->len)) || is_zero(w->data, at, w->len);
}

/* The longest hole in what should be bytes of one fragment. */
static size_t longest_hole(const struct walk *w, size_t from, size_t to)
{
    size_t longest = to > w->len ? to - w->len : 0;
    size_t run = 0;
    size_t last = w->len;
    for (size_t at = from; at < least(to, w->len);) {
        size_t next = least(at - at % SECTOR_BYTES + SECTOR_BYTES, w->len);
        run = is_zero(w->data, at, next) ? run + next - at : 0;
        longest = run > longest ? run : longest;
        at = next;
    }
    while (last > from && w->data[last - 1] == 0) {
        last--;
    }
    longest = last < to && to - last > longest ? to - last : longest;
    return least(longest, to - from);
}

static bool has_torn_header(const struct walk *w, size_t at)
{
    bool is_torn = at + HEADER_BYTES > w->len;
    for (size_t i = at; !is_torn && i < at + HEADER_BYTES; i++) {
        is_torn = is_hole(w, i);
    }
    return is_torn;
}

/* A length that is wrong in more than one bit: the right one ends where the zeros begin, or a few
 * zeros later. */
static bool is_wrong_length(const struct walk *w, size_t at)
{
    size_t last = least(block_end(at), w->len);
    while (last > at && w->data[last - 1] == 0) {
        last--;
    }
    size_t from = last < at + HEADER_BYTES ? at + HEADER_BYTES : last;
    for (size_t to = from; to <= from + NATURAL_ZEROS_MAX; to++) {
        size_t len = to - at - HEADER_BYTES;
        if (fits(w, at, len) && has_checksum(w, at, len)) {
            return true;
        }
    }
    return false;
}

/* Of the record that began at `record_at`, a fragment cannot be read. */
static bool is_torn(const struct walk *w, size_t record_at, size_t at)
{
    bool has_header = fits(w, at, 0) && is_type(w->data[at + TYPE_AT]) &&
                      at + HEADER_BYTES + claimed_len(w->data + at) <= block_end(at);
    size_t to = has_header ? at + HEADER_BYTES + claimed_len(w->data + at) : block_end(at);
    size_t hole = longest_hole(w, at, to);
    size_t bit;
    if (is_proven(w, record_at) || hole == 0 || (!has_header && !has_torn_header(w, at))) {
        return false;
    }
    bool is_doubtful = hole < NATURAL_ZEROS_MAX || to - at - hole <= FLIP_BYTES_MAX;
    /* One bit of a hole is what was not written: the last byte of many records is 1. */
    return !(is_doubtful && find_flip(w, at, &bit) && !is_hole(w, bit / 8)) &&
           !(fits(w, at, 0) && is_wrong_length(w, at));
}

/* ---- Reading ---- */

static void take_record(struct walk *w, struct slice record, size_t at)
{
    w->report->records++;
    w->report->records_after += w->report->places > 0;
    w->is_lost = false;
    if (w->options->record != NULL) {
        w->options->record(w->options->user, record, at);
    }
}

static void note_damage(struct walk *w, size_t record_at, size_t from, size_t to)
{
    struct log_report *r = w->report;
    r->state = LOG_DAMAGED;
    r->at = r->places == 0 ? record_at : r->at;
    r->places++;
    r->damaged_bytes += to - from + (w->in_record ? w->record.len : 0);
    w->in_record = false;
    w->is_lost = true;
}

/* At something that is no fragment. False: nothing more can be read. */
static bool pass_over(struct walk *w)
{
    size_t bit;
    size_t record_at = w->in_record ? w->record_at : w->at;
    struct fragment next;
    if (w->report->places == 0 && is_torn(w, record_at, w->at)) {
        w->report->state = LOG_TORN;
        w->report->at = record_at;
        return false;
    }
    if (w->options->mends && find_flip(w, w->at, &bit)) {
        w->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        w->report->mended++;
        return true;
    }
    size_t to = find_fragment(w, w->at + 1, &next) ? next.at : w->len;
    note_damage(w, record_at, w->at, to);
    w->at = to;
    return true;
}

/* A fragment that does not belong behind what was read. */
static void pass_over_stray(struct walk *w, const struct fragment *f)
{
    if (w->is_lost && !begins_record(f)) {
        w->report->damaged_bytes += HEADER_BYTES + f->len; /* the rest of what was noted */
    } else {
        note_damage(w, w->in_record ? w->record_at : f->at, f->at,
                    begins_record(f) ? f->at : end_of(f));
    }
}

static void take_fragment(struct walk *w, const struct fragment *f)
{
    struct slice bytes = slice_make(w->data + f->at + HEADER_BYTES, f->len);
    if (begins_record(f) == w->in_record) {
        pass_over_stray(w, f);
    }
    if (f->type == TYPE_FULL) {
        take_record(w, bytes, f->at);
    } else if (f->type == TYPE_FIRST) {
        buf_clear(&w->record);
        w->in_record = true;
        w->record_at = f->at;
    }
    if (w->in_record) {
        buf_put_slice(&w->record, bytes);
        if (f->type == TYPE_LAST) {
            take_record(w, buf_slice(&w->record), w->record_at);
            w->in_record = false;
        }
    }
    w->at = end_of(f);
}

/* The log ends in the middle of a record. */
static void end_in_record(struct walk *w)
{
    if (w->report->places == 0 && !is_proven(w, w->record_at)) {
        w->report->state = LOG_TORN;
        w->report->at = w->record_at;
    } else {
        note_damage(w, w->record_at, w->at, w->at);
    }
}

void log_check(uint8_t *data, size_t len, const struct log_options *options, struct log_report *ret)
{
    struct walk w = {.data = data, .len = len, .options = options, .report = ret};
    struct fragment f;
    bool more = true;
    *ret = (struct log_report){.state = LOG_WHOLE};
    buf_init(&w.record, SIZE_MAX / 2);
    while (more && w.at < len) {
        if (block_end(w.at) - w.at < HEADER_BYTES) {
            w.at = block_end(w.at);
        } else if (read_fragment(&w, w.at, &f)) {
            take_fragment(&w, &f);
        } else {
            more = !is_zero(data, w.at, len) && pass_over(&w);
        }
    }
    if (w.in_record && ret->state != LOG_TORN) {
        end_in_record(&w);
    }
    buf_done(&w.record);
}

/* ---- Writing ---- */

static void put_fragment(struct buf *log, uint8_t type, struct slice bytes)
{
    uint32_t crc = crc32c_mask(crc32c_extend(crc32c_extend(0, &type, 1), bytes.data, bytes.len));
    const uint8_t header[HEADER_BYTES] = {(uint8_t)crc,
                                          (uint8_t)(crc >> 8),
                                          (uint8_t)(crc >> 16),
                                          (uint8_t)(crc >> 24),
                                          (uint8_t)bytes.len,
                                          (uint8_t)(bytes.len >> 8),
                                          type};
    buf_put(log, header, sizeof header);
    buf_put_slice(log, bytes);
}

void log_append(struct buf *log, struct slice record)
{
    bool is_first = true;
    bool is_last = false;
    while (!is_last) {
        while (block_end(log->len) - log->len < HEADER_BYTES) {
            buf_put_u8(log, 0);
        }
        size_t len = least(record.len, block_end(log->len) - log->len - HEADER_BYTES);
        is_last = len == record.len;
        uint8_t type =
            is_first ? (is_last ? TYPE_FULL : TYPE_FIRST) : (is_last ? TYPE_LAST : TYPE_MIDDLE);
        put_fragment(log, type, slice_make(record.data, len));
        record = slice_skip(record, len);
        is_first = false;
    }
}

bool log_read_batch(struct slice record, uint64_t *ret_sequence, uint32_t *ret_count)
{
    if (record.len < BATCH_HEADER_BYTES) {
        return false;
    }
    *ret_sequence = (uint64_t)crc32c_read_u32(record.data + 4) << 32 | crc32c_read_u32(record.data);
    *ret_count = crc32c_read_u32(record.data + 8);
    return true;
}
