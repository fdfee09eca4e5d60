#include "hub/cli/replay_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hub/cli/columns.h"
#include "shared/csv.h"
#include "shared/json.h"
#include "shared/uuid.h"

enum { LINE_BYTES_MAX = 1024 * 1024, CHUNK_BYTES = 256 * 1024 };

struct replay_source {
    struct replay_source_options options;
    int fd;
    uint64_t total;
    uint64_t consumed;
    struct buf data; /* read; [at, len) is still to be looked at */
    size_t at;
    bool is_end;      /* nothing follows data */
    bool skips_line;  /* the rest of a line that was too long */
    uint64_t line;    /* of data[at] */
    uint64_t started; /* line of the last result */
    struct csv_record record;
    struct columns *columns; /* NULL before the header */
    struct buf row;          /* a row as JSON */
    struct buf event;
    struct buf packed;
    msgpack_zone zone;
};

bool replay_source_open(const struct replay_source_options *options, struct replay_source **ret,
                        struct error *err)
{
    struct stat status;
    bool is_stdin = strcmp(options->path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(options->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set(err, ERROR_INVALID, "cannot open %.150s: %s", options->path,
                         strerror(errno));
    }
    struct replay_source *source = memory_allocate_zeroed(sizeof *source);
    source->options = *options;
    source->fd = fd;
    source->total =
        fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
    source->line = 1;
    source->started = 1;
    buf_init(&source->data, LINE_BYTES_MAX + CHUNK_BYTES);
    buf_init(&source->row, SIZE_MAX);
    buf_init(&source->event, SIZE_MAX);
    buf_init(&source->packed, (size_t)16 * LINE_BYTES_MAX);
    csv_record_init(&source->record);
    bool made = buf_reserve(&source->data, CHUNK_BYTES) && msgpack_zone_init(&source->zone, 8192);
    ensure(made);
    *ret = source;
    return true;
}

void replay_source_close(struct replay_source **source)
{
    struct replay_source *s = *source;
    if (s == NULL) {
        return;
    }
    if (s->fd != STDIN_FILENO) {
        close(s->fd);
    }
    columns_close(&s->columns);
    csv_record_done(&s->record);
    msgpack_zone_destroy(&s->zone);
    buf_done(&s->data);
    buf_done(&s->row);
    buf_done(&s->event);
    buf_done(&s->packed);
    free(s);
    *source = NULL;
}

uint64_t replay_source_line(const struct replay_source *source)
{
    return source->started;
}

uint64_t replay_source_bytes(const struct replay_source *source, uint64_t *ret_total)
{
    *ret_total = source->total;
    return source->consumed;
}

static struct slice rest(const struct replay_source *s)
{
    return slice_make(s->data.data + s->at, s->data.len - s->at);
}

/* These bytes of the rest are done with. */
static void consume(struct replay_source *s, size_t len)
{
    const uint8_t *at = s->data.data + s->at;
    for (const uint8_t *end = at + len; at < end; at++) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL) {
            break;
        }
        s->line++;
        at = newline;
    }
    s->at += len;
    s->consumed += len;
}

/* Read more behind the rest. */
static bool fill(struct replay_source *s, struct error *err)
{
    size_t left = s->data.len - s->at;
    if (s->at > 0) {
        memmove(s->data.data, s->data.data + s->at, left);
        s->data.len = left;
        s->at = 0;
    }
    bool fits = buf_reserve(&s->data, CHUNK_BYTES);
    ensure(fits);
    ssize_t n;
    do {
        n = read(s->fd, s->data.data + s->data.len, CHUNK_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return error_set(err, ERROR_UNAVAILABLE, "cannot read: %s", strerror(errno));
    }
    s->is_end = n == 0;
    s->data.len += (size_t)n;
    return true;
}

/* Drop the line at hand, which may go on in what is not read yet. */
static enum replay_result drop_long_line(struct replay_source *s, struct error *err)
{
    struct slice text = rest(s);
    const uint8_t *newline = memchr(text.data, '\n', text.len);
    s->skips_line = newline == NULL;
    consume(s, newline == NULL ? text.len : (size_t)(newline - text.data) + 1);
    error_set(err, ERROR_INVALID, "longer than %d bytes, or a quote is not closed", LINE_BYTES_MAX);
    return REPLAY_BAD;
}

/* Get rid of what is left of a line that was too long, and of a byte order mark. */
static void skip_rest_of_line(struct replay_source *s)
{
    struct slice text = rest(s);
    if (s->skips_line && text.len > 0) {
        const uint8_t *newline = memchr(text.data, '\n', text.len);
        s->skips_line = newline == NULL;
        consume(s, newline == NULL ? text.len : (size_t)(newline - text.data) + 1);
        text = rest(s);
    }
    if (s->consumed == 0 && text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) {
        consume(s, 3);
    }
}

/* The result of taking one piece off the rest: what the loop in replay_source_next() goes by. */
enum take {
    TAKE_PIECE,
    TAKE_NOTHING, /* a blank line, or the header */
    TAKE_BAD,
    TAKE_MORE, /* the piece is not there in full */
};

static struct slice trim(struct slice text)
{
    while (text.len > 0 && strchr(" \t\r", text.data[text.len - 1]) != NULL) {
        text.len--;
    }
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = slice_skip(text, 1);
    }
    return text;
}

static enum take take_line(struct replay_source *s, struct slice *ret)
{
    struct slice text = rest(s);
    const uint8_t *newline = memchr(text.data, '\n', text.len);
    if (newline == NULL && !s->is_end) {
        return TAKE_MORE;
    }
    size_t len = newline == NULL ? text.len : (size_t)(newline - text.data);
    *ret = trim(slice_make(text.data, len));
    consume(s, newline == NULL ? len : len + 1);
    return ret->len == 0 ? TAKE_NOTHING : TAKE_PIECE;
}

static enum take take_row(struct replay_source *s, struct slice *ret, struct error *err)
{
    size_t used;
    enum csv_result result = csv_read(rest(s), s->is_end, &s->record, &used);
    if (result == CSV_INCOMPLETE) {
        return TAKE_MORE;
    }
    consume(s, used);
    if (result != CSV_RECORD) {
        error_set(err, ERROR_INVALID, "%s", csv_fault_sentence(result));
        return TAKE_BAD;
    }
    if (s->record.count == 1 && csv_cell(&s->record, 0).len == 0) {
        return TAKE_NOTHING;
    }
    if (s->columns == NULL) {
        return columns_open(&s->record, s->options.text_columns, &s->columns, err) ? TAKE_NOTHING
                                                                                   : TAKE_BAD;
    }
    buf_clear(&s->row);
    if (!columns_put_event(s->columns, &s->record, &s->row, err)) {
        return TAKE_BAD;
    }
    *ret = buf_slice(&s->row);
    return ret->len == 0 ? TAKE_NOTHING : TAKE_PIECE;
}

/* A UUID of its own (version 8) out of the place and the content. */
static void put_message_id(const struct replay_source *s, struct slice text, struct buf *out)
{
    crypto_generichash_state state;
    uint8_t hash[crypto_generichash_BYTES_MIN];
    char id[UUID_TEXT_BYTES];
    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    /* With its zero, so that no salt runs into what follows. */
    crypto_generichash_update(&state, (const uint8_t *)s->options.salt,
                              strlen(s->options.salt) + 1);
    crypto_generichash_update(&state, (const uint8_t *)&s->started, sizeof s->started);
    crypto_generichash_update(&state, text.data, text.len);
    crypto_generichash_final(&state, hash, sizeof hash);
    hash[6] = (uint8_t)((hash[6] & 0x0f) | 0x80);
    hash[8] = (uint8_t)((hash[8] & 0x3f) | 0x80);
    uuid_format(hash, id);
    buf_put(out, id, sizeof id);
}

/* Members that the collector would correct the time by, or that stand for nothing. */
static bool is_dropped(const msgpack_object_kv *kv, bool has_timestamp, bool has_id)
{
    struct slice name;
    if (!value_text(&kv->key, &name)) {
        return false;
    }
    return slice_is(name, "sentAt") || (has_timestamp && slice_is(name, "originalTimestamp")) ||
           (!has_id && slice_is(name, "messageId"));
}

/* Write the members anew, without those that are dropped. */
static void rewrite(const msgpack_object *event, bool has_timestamp, bool has_id,
                    struct json_writer *w)
{
    for (uint32_t i = 0; i < event->via.map.size; i++) {
        const msgpack_object_kv *kv = &event->via.map.ptr[i];
        struct slice name;
        if (!is_dropped(kv, has_timestamp, has_id) && value_text(&kv->key, &name)) {
            json_key_slice(w, name);
            json_value(w, &kv->val);
        }
    }
}

static void put_event(struct replay_source *s, struct slice text, const msgpack_object *event)
{
    struct json_writer w;
    struct slice id;
    int64_t number;
    const msgpack_object *given_id = value_member_c(event, "messageId");
    bool has_timestamp = value_is(value_member_c(event, "timestamp"), MSGPACK_OBJECT_STR);
    bool has_id = (value_text(given_id, &id) && id.len > 0) || value_int(given_id, &number);
    bool drops = false;
    for (uint32_t i = 0; i < event->via.map.size; i++) {
        drops = drops || is_dropped(&event->via.map.ptr[i], has_timestamp, has_id);
    }
    buf_put_u8(&s->event, '{');
    json_writer_init(&w, &s->event);
    if (!has_id) {
        buf_put_format(&s->event, "\"messageId\":\"");
        put_message_id(s, text, &s->event);
        buf_put_u8(&s->event, '"');
        w.needs_comma = true;
    }
    if (drops) {
        rewrite(event, has_timestamp, has_id, &w);
        buf_put_u8(&s->event, '}');
        return;
    }
    if (!has_id && event->via.map.size > 0) {
        buf_put_u8(&s->event, ',');
    }
    buf_put_slice(&s->event, slice_skip(text, 1)); /* behind its '{' */
}

static const char *fault_sentence(enum json_fault fault)
{
    return fault == JSON_NOT_JSON ? "not valid JSON" : json_fault_sentence(fault);
}

/* Check that the text is an event's object and put it into s->event. */
static bool take_event(struct replay_source *s, struct slice text, struct error *err)
{
    msgpack_object event;
    buf_clear(&s->packed);
    buf_clear(&s->event);
    msgpack_zone_clear(&s->zone);
    enum json_fault fault = json_read(text, &s->packed);
    if (fault != JSON_FINE) {
        return error_set(err, ERROR_INVALID, "%s", fault_sentence(fault));
    }
    if (!value_unpack(buf_slice(&s->packed), &s->zone, &event, err)) {
        return false;
    }
    if (event.type != MSGPACK_OBJECT_MAP || text.data[0] != '{') {
        return error_set(err, ERROR_INVALID, "an event is a JSON object");
    }
    put_event(s, text, &event);
    return true;
}

enum replay_result replay_source_next(struct replay_source *source, struct slice *ret_event,
                                      struct error *err)
{
    struct replay_source *s = source;
    for (;;) {
        struct slice piece;
        skip_rest_of_line(s);
        s->started = s->line;
        bool had_columns = s->columns != NULL;
        enum take take = rest(s).len == 0    ? TAKE_MORE
                         : s->options.is_csv ? take_row(s, &piece, err)
                                             : take_line(s, &piece);
        if (take == TAKE_MORE && s->is_end) {
            return REPLAY_END;
        }
        if (take == TAKE_MORE && rest(s).len > LINE_BYTES_MAX - 1) {
            return drop_long_line(s, err);
        }
        if (take == TAKE_MORE && !fill(s, err)) {
            return REPLAY_FAILED;
        }
        if (take == TAKE_BAD) {
            /* Without its header a CSV file means nothing. */
            return s->options.is_csv && !had_columns ? REPLAY_FAILED : REPLAY_BAD;
        }
        if (take == TAKE_PIECE) {
            *ret_event = slice_make(NULL, 0);
            if (!take_event(s, piece, err)) {
                return REPLAY_BAD;
            }
            *ret_event = buf_slice(&s->event);
            return REPLAY_EVENT;
        }
    }
}
