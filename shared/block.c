#include "shared/block.h"

#include <stdlib.h>
#include <zstd.h>
#include "shared/arena.h"
#include "shared/dictionary.h"
#include "shared/limits.h"
#include "shared/uuid.h"

enum {
    BLOCK_VERSION = 2,
    BLOCK_VERSION_OLDEST = 1, /* without flags in the types */
    BLOCK_MEMBERS = 16,
    HEADROOM_BYTES = 256 * 1024, /* the head of 2,000 events; only what is used of it is memory */
};

/* stored: set in the type of an event whose timestamp is the client's own word, and of one that
 * waits in the hub's quarantine */
enum { CLIENT_TIME = 0x80, QUARANTINED = 0x40, TYPE_FLAGS = CLIENT_TIME | QUARANTINED };

/* stored: never renumber */
enum column {
    COLUMN_TYPES,
    COLUMN_RECEIVED,
    COLUMN_AGES, /* receivedAt - timestamp */
    COLUMN_SOURCES,
    COLUMN_NAMES,
    COLUMN_MESSAGE_IDS,
    COLUMN_ANONYMOUS_IDS,
    COLUMN_USER_IDS,
    COLUMN_BODY_LENGTHS,
    COLUMNS
};

/* The raw 16 bytes of the UUIDs of a column, which the column itself only marks. */
enum uuid_column { UUIDS_MESSAGE, UUIDS_ANONYMOUS, UUIDS_USER, UUID_COLUMNS };

/* Small blocks gain nothing from a slower level: at 16 events it saves 2 bytes of 106. Large ones
 * come under full load, where the processor is dearer than the 10 % that it saves. */
static const struct {
    size_t bytes_max; /* of a block before it is compressed */
    int level;
} compression[] = {{64 * 1024 - 1, 1}, {256 * 1024 - 1, 3}, {SIZE_MAX, -1}};

enum { COMPRESSIONS = sizeof compression / sizeof compression[0] };

struct block_compressor {
    struct buf head; /* of the block that is finished: all before the bodies */
    ZSTD_CCtx *zstd;
    ZSTD_CDict *dictionaries[COMPRESSIONS];
};

struct block_builder {
    struct block_compressor *compressor;
    size_t count;
    size_t bytes;
    int64_t received_first;
    int64_t received_last;
    struct buf columns[COLUMNS];
    struct buf uuids[UUID_COLUMNS];
    struct buf bodies; /* behind HEADROOM_BYTES, where there are any */
};

struct block_compressor *block_compressor_new(void)
{
    struct block_compressor *c = memory_allocate_zeroed(sizeof *c);
    struct slice dictionary = dictionary_bytes();
    buf_init(&c->head, 4 * LIMIT_BLOCK_BYTES);
    c->zstd = ZSTD_createCCtx();
    ensure(c->zstd != NULL);
    for (int i = 0; i < COMPRESSIONS; i++) {
        c->dictionaries[i] =
            ZSTD_createCDict(dictionary.data, dictionary.len, compression[i].level);
        ensure(c->dictionaries[i] != NULL);
    }
    return c;
}

void block_compressor_free(struct block_compressor **compressor)
{
    struct block_compressor *c = *compressor;
    if (c != NULL) {
        buf_done(&c->head);
        ZSTD_freeCCtx(c->zstd);
        for (int i = 0; i < COMPRESSIONS; i++) {
            ZSTD_freeCDict(c->dictionaries[i]);
        }
        free(c);
        *compressor = NULL;
    }
}

struct block_builder *block_builder_new(struct block_compressor *compressor)
{
    struct block_builder *b = memory_allocate_zeroed(sizeof *b);
    b->compressor = compressor;
    for (int i = 0; i < COLUMNS; i++) {
        buf_init(&b->columns[i], 2 * LIMIT_BLOCK_BYTES);
    }
    for (int i = 0; i < UUID_COLUMNS; i++) {
        buf_init(&b->uuids[i], 2 * LIMIT_BLOCK_BYTES);
    }
    buf_init(&b->bodies, HEADROOM_BYTES + 2 * LIMIT_BLOCK_BYTES);
    return b;
}

void block_builder_free(struct block_builder **builder)
{
    struct block_builder *b = *builder;
    if (b == NULL) {
        return;
    }
    for (int i = 0; i < COLUMNS; i++) {
        buf_done(&b->columns[i]);
    }
    for (int i = 0; i < UUID_COLUMNS; i++) {
        buf_done(&b->uuids[i]);
    }
    buf_done(&b->bodies);
    free(b);
    *builder = NULL;
}

static void add_text(struct block_builder *b, enum column column, struct slice text)
{
    if (text.len == 0) {
        buf_put_u8(&b->columns[column], 0xc0); /* nil */
    } else {
        value_put_text(&b->columns[column], text);
    }
}

/* A canonical UUID is `true` in its column and 16 bytes beside it; other ids are text. */
static void add_id(struct block_builder *b, enum column column, enum uuid_column uuids,
                   struct slice id)
{
    uint8_t uuid[UUID_BYTES];
    if (uuid_parse(id, uuid)) {
        buf_put_u8(&b->columns[column], 0xc3);
        buf_put(&b->uuids[uuids], uuid, sizeof uuid);
    } else {
        add_text(b, column, id);
    }
}

static void begin(struct block_builder *b, int64_t received_ms)
{
    bool fits = buf_reserve(&b->bodies, HEADROOM_BYTES);
    ensure(fits);
    b->bodies.len = HEADROOM_BYTES;
    b->received_first = received_ms;
    b->received_last = received_ms;
}

bool block_builder_add(struct block_builder *b, const struct event *e)
{
    size_t bytes = e->body.len + e->source.len + e->name.len + e->message_id.len +
                   e->anonymous_id.len + e->user_id.len + 64;
    ensure(e->body.len > 0 && e->message_id.len > 0); /* the reader would refuse all of the block */
    if (b->count == LIMIT_BLOCK_EVENTS || bytes > LIMIT_BLOCK_BYTES - b->bytes) {
        return false;
    }
    if (b->count == 0) {
        begin(b, e->received_ms);
    }
    buf_put_u8(&b->columns[COLUMN_TYPES],
               (uint8_t)((unsigned)e->type | (e->has_client_time ? CLIENT_TIME : 0U) |
                         (e->is_quarantined ? QUARANTINED : 0U)));
    value_put_int(&b->columns[COLUMN_RECEIVED], e->received_ms - b->received_last);
    value_put_int(&b->columns[COLUMN_AGES], e->received_ms - e->timestamp_ms);
    add_text(b, COLUMN_SOURCES, e->source);
    add_text(b, COLUMN_NAMES, e->name);
    add_id(b, COLUMN_MESSAGE_IDS, UUIDS_MESSAGE, e->message_id);
    add_id(b, COLUMN_ANONYMOUS_IDS, UUIDS_ANONYMOUS, e->anonymous_id);
    add_id(b, COLUMN_USER_IDS, UUIDS_USER, e->user_id);
    value_put_int(&b->columns[COLUMN_BODY_LENGTHS], (int64_t)e->body.len);
    buf_put_slice(&b->bodies, e->body);
    b->received_last = e->received_ms;
    b->bytes += bytes;
    b->count++;
    return true;
}

size_t block_builder_count(const struct block_builder *b)
{
    return b->count;
}

static struct slice bodies_of(const struct block_builder *b)
{
    return b->count == 0 ? slice_make(NULL, 0) : slice_skip(buf_slice(&b->bodies), HEADROOM_BYTES);
}

static void put_head(const struct block_builder *b, struct buf *head)
{
    msgpack_packer p;
    buf_clear(head);
    value_packer_init(&p, head);
    msgpack_pack_array(&p, BLOCK_MEMBERS);
    msgpack_pack_int(&p, BLOCK_VERSION);
    msgpack_pack_uint64(&p, b->count);
    msgpack_pack_int64(&p, b->received_first);
    value_pack_bin(&p, buf_slice(&b->columns[COLUMN_TYPES]));
    for (int i = COLUMN_TYPES + 1; i < COLUMNS; i++) {
        msgpack_pack_array(&p, b->count);
        buf_put_slice(head, buf_slice(&b->columns[i]));
    }
    for (int i = 0; i < UUID_COLUMNS; i++) {
        value_pack_bin(&p, buf_slice(&b->uuids[i]));
    }
    msgpack_pack_bin(&p, bodies_of(b).len);
}

void block_builder_clear(struct block_builder *b)
{
    for (int i = 0; i < COLUMNS; i++) {
        buf_clear(&b->columns[i]);
    }
    for (int i = 0; i < UUID_COLUMNS; i++) {
        buf_clear(&b->uuids[i]);
    }
    buf_clear(&b->bodies);
    b->count = 0;
    b->bytes = 0;
}

/* The head and the bodies in one piece, without moving the bodies where there is room before them.
 */
static struct slice join(struct block_builder *b, struct buf *head)
{
    struct slice bodies = bodies_of(b);
    if (bodies.len == 0 || head->len > HEADROOM_BYTES) {
        buf_put_slice(head, bodies);
        return buf_slice(head);
    }
    uint8_t *at = b->bodies.data + HEADROOM_BYTES - head->len;
    memcpy(at, head->data, head->len);
    return slice_make(at, head->len + bodies.len);
}

void block_builder_finish(struct block_builder *b, struct buf *out)
{
    struct block_compressor *c = b->compressor;
    put_head(b, &c->head);
    struct slice plain = join(b, &c->head);
    size_t bound = ZSTD_compressBound(plain.len);
    bool fits = buf_reserve(out, bound);
    ensure(fits);
    size_t level = 0;
    while (plain.len > compression[level].bytes_max) {
        level++;
    }
    size_t len = ZSTD_compress_usingCDict(c->zstd, out->data + out->len, bound, plain.data,
                                          plain.len, c->dictionaries[level]);
    ensure(!ZSTD_isError(len));
    out->len += len;
    block_builder_clear(b);
}

struct block_reader {
    struct buf plain;
    msgpack_zone zone;
    ZSTD_DCtx *zstd;
    ZSTD_DDict *dictionary;
    struct arena arena; /* ids turned back into text */
    size_t count;
    size_t at;
    int64_t received;
    struct slice types;
    uint8_t type_mask;
    const msgpack_object *columns[COLUMNS];
    struct slice uuids[UUID_COLUMNS];
    struct slice bodies;
};

struct block_reader *block_reader_new(void)
{
    struct block_reader *r = memory_allocate_zeroed(sizeof *r);
    struct slice dictionary = dictionary_bytes();
    buf_init(&r->plain, 4 * LIMIT_BLOCK_BYTES);
    bool made = msgpack_zone_init(&r->zone, 64 * 1024);
    arena_init(&r->arena, 64 * 1024);
    r->zstd = ZSTD_createDCtx();
    r->dictionary = ZSTD_createDDict(dictionary.data, dictionary.len);
    ensure(made && r->zstd != NULL && r->dictionary != NULL);
    return r;
}

void block_reader_free(struct block_reader **reader)
{
    struct block_reader *r = *reader;
    if (r == NULL) {
        return;
    }
    buf_done(&r->plain);
    msgpack_zone_destroy(&r->zone);
    arena_done(&r->arena);
    ZSTD_freeDCtx(r->zstd);
    ZSTD_freeDDict(r->dictionary);
    free(r);
    *reader = NULL;
}

static bool decompress(struct block_reader *r, struct slice block, struct error *err)
{
    unsigned long long size = ZSTD_getFrameContentSize(block.data, block.len);
    buf_clear(&r->plain);
    /* zstd would also take a second frame behind the first. */
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN ||
        ZSTD_findFrameCompressedSize(block.data, block.len) != block.len ||
        !buf_reserve(&r->plain, size)) {
        return error_set(err, ERROR_CORRUPT, "a block is no zstd frame of an allowed size");
    }
    size_t len = ZSTD_decompress_usingDDict(r->zstd, r->plain.data, size, block.data, block.len,
                                            r->dictionary);
    if (ZSTD_isError(len) || len != size) {
        return error_set(err, ERROR_CORRUPT, "a block does not decompress: %s",
                         ZSTD_isError(len) ? ZSTD_getErrorName(len) : "wrong size");
    }
    r->plain.len = len;
    return true;
}

/* Checks every entry, so that block_reader_next() cannot meet a surprise. */
static bool check_ids(const struct block_reader *r, enum column column, enum uuid_column uuids)
{
    size_t marked = 0;
    for (size_t i = 0; i < r->count; i++) {
        const msgpack_object *entry = &r->columns[column]->via.array.ptr[i];
        bool is_uuid = entry->type == MSGPACK_OBJECT_BOOLEAN && entry->via.boolean;
        if (!is_uuid && entry->type != MSGPACK_OBJECT_STR && entry->type != MSGPACK_OBJECT_NIL) {
            return false;
        }
        marked += is_uuid;
    }
    return marked * UUID_BYTES == r->uuids[uuids].len;
}

/* An event without a message id could not be told from its own copy. */
static bool check_message_ids(const struct block_reader *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const msgpack_object *entry = &r->columns[COLUMN_MESSAGE_IDS]->via.array.ptr[i];
        struct slice text;
        if (entry->type != MSGPACK_OBJECT_BOOLEAN && (!value_text(entry, &text) || text.len == 0)) {
            return false;
        }
    }
    return check_ids(r, COLUMN_MESSAGE_IDS, UUIDS_MESSAGE);
}

static bool check_entries(const struct block_reader *r, enum column column, bool numbers)
{
    for (size_t i = 0; i < r->count; i++) {
        const msgpack_object *entry = &r->columns[column]->via.array.ptr[i];
        int64_t number;
        bool fine =
            numbers
                ? value_int(entry, &number) && number >= -LIMIT_TIME_MS && number <= LIMIT_TIME_MS
                : entry->type == MSGPACK_OBJECT_STR || entry->type == MSGPACK_OBJECT_NIL;
        if (!fine) {
            return false;
        }
    }
    return true;
}

static bool check_bodies(const struct block_reader *r)
{
    uint64_t total = 0;
    for (size_t i = 0; i < r->count; i++) {
        int64_t len = 0;
        if (!value_int(&r->columns[COLUMN_BODY_LENGTHS]->via.array.ptr[i], &len) || len < 1 ||
            len > LIMIT_BLOCK_BYTES || (r->types.data[i] & r->type_mask) >= EVENT_TYPES) {
            return false;
        }
        total += (uint64_t)len;
    }
    return total == r->bodies.len;
}

static bool take_members(struct block_reader *r, const msgpack_object *root)
{
    int64_t version;
    int64_t count;
    if (root->type != MSGPACK_OBJECT_ARRAY || root->via.array.size != BLOCK_MEMBERS) {
        return false;
    }
    const msgpack_object *at = root->via.array.ptr;
    if (!value_int(&at[0], &version) || version < BLOCK_VERSION_OLDEST || version > BLOCK_VERSION ||
        !value_int(&at[1], &count) || count < 0 || count > LIMIT_BLOCK_EVENTS ||
        !value_int(&at[2], &r->received) || r->received < 0 || r->received > LIMIT_TIME_MS ||
        !value_bin(&at[3], &r->types) || r->types.len != (size_t)count) {
        return false;
    }
    r->count = (size_t)count;
    r->type_mask = version == BLOCK_VERSION_OLDEST ? 0xff : 0xff & ~TYPE_FLAGS;
    for (int i = COLUMN_TYPES + 1; i < COLUMNS; i++) {
        r->columns[i] = &at[3 + i];
        if (r->columns[i]->type != MSGPACK_OBJECT_ARRAY ||
            r->columns[i]->via.array.size != r->count) {
            return false;
        }
    }
    for (int i = 0; i < UUID_COLUMNS; i++) {
        if (!value_bin(&at[3 + COLUMNS + i], &r->uuids[i])) {
            return false;
        }
    }
    return value_bin(&at[3 + COLUMNS + UUID_COLUMNS], &r->bodies);
}

bool block_reader_open(struct block_reader *r, struct slice block, struct error *err)
{
    msgpack_object root;
    r->count = 0;
    r->at = 0;
    msgpack_zone_clear(&r->zone);
    arena_clear(&r->arena);
    if (!decompress(r, block, err) || !value_unpack(buf_slice(&r->plain), &r->zone, &root, err)) {
        return false;
    }
    bool fine = take_members(r, &root) && check_entries(r, COLUMN_RECEIVED, true) &&
                check_entries(r, COLUMN_AGES, true) && check_entries(r, COLUMN_SOURCES, false) &&
                check_entries(r, COLUMN_NAMES, false) && check_message_ids(r) &&
                check_ids(r, COLUMN_ANONYMOUS_IDS, UUIDS_ANONYMOUS) &&
                check_ids(r, COLUMN_USER_IDS, UUIDS_USER) && check_bodies(r);
    if (!fine) {
        r->count = 0;
        return error_set(err, ERROR_CORRUPT, "a block does not have the members of its version");
    }
    return true;
}

size_t block_reader_count(const struct block_reader *r)
{
    return r->count;
}

static const msgpack_object *entry_at(const struct block_reader *r, enum column column)
{
    return &r->columns[column]->via.array.ptr[r->at];
}

static int64_t take_int(const struct block_reader *r, enum column column)
{
    int64_t value = 0;
    bool is_int = value_int(entry_at(r, column), &value);
    ensure(is_int);
    return value;
}

static struct slice take_text(const struct block_reader *r, enum column column)
{
    struct slice text = slice_make(NULL, 0);
    (void)value_text(entry_at(r, column), &text);
    return text;
}

static struct slice take_id(struct block_reader *r, enum column column, enum uuid_column uuids)
{
    if (entry_at(r, column)->type != MSGPACK_OBJECT_BOOLEAN) {
        return take_text(r, column);
    }
    char *text = arena_allocate(&r->arena, UUID_TEXT_BYTES);
    uuid_format(r->uuids[uuids].data, text);
    r->uuids[uuids] = slice_skip(r->uuids[uuids], UUID_BYTES);
    return slice_make(text, UUID_TEXT_BYTES);
}

static int64_t clamp_time(int64_t ms)
{
    return ms < 0 ? 0 : ms > LIMIT_TIME_MS ? LIMIT_TIME_MS : ms;
}

bool block_reader_next(struct block_reader *r, struct event *ret)
{
    if (r->at == r->count) {
        return false;
    }
    r->received = clamp_time(r->received + take_int(r, COLUMN_RECEIVED));
    *ret = (struct event){
        .type = (enum event_type)(r->types.data[r->at] & r->type_mask),
        .has_client_time = (r->types.data[r->at] & ~r->type_mask & CLIENT_TIME) != 0,
        .is_quarantined = (r->types.data[r->at] & ~r->type_mask & QUARANTINED) != 0,
        .received_ms = r->received,
        .timestamp_ms = clamp_time(r->received - take_int(r, COLUMN_AGES)),
        .source = take_text(r, COLUMN_SOURCES),
        .name = take_text(r, COLUMN_NAMES),
        .message_id = take_id(r, COLUMN_MESSAGE_IDS, UUIDS_MESSAGE),
        .anonymous_id = take_id(r, COLUMN_ANONYMOUS_IDS, UUIDS_ANONYMOUS),
        .user_id = take_id(r, COLUMN_USER_IDS, UUIDS_USER),
        .body = slice_make(r->bodies.data, (size_t)take_int(r, COLUMN_BODY_LENGTHS)),
    };
    r->bodies = slice_skip(r->bodies, ret->body.len);
    r->at++;
    return true;
}
