#include "hub/partition/timeline.h"

#include <stdlib.h>
#include <zstd.h>
#include "shared/dictionary.h"
#include "shared/limits.h"

enum { LEVEL = 1, EVENT_BYTES_MAX = LIMIT_EVENT_BYTES * 2 };

struct timeline {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    ZSTD_CDict *compressing;
    ZSTD_DDict *decompressing;
};

struct timeline *timeline_new(void)
{
    struct timeline *t = memory_allocate_zeroed(sizeof *t);
    struct slice dictionary = dictionary_bytes();
    t->compressor = ZSTD_createCCtx();
    t->decompressor = ZSTD_createDCtx();
    t->compressing = ZSTD_createCDict(dictionary.data, dictionary.len, LEVEL);
    t->decompressing = ZSTD_createDDict(dictionary.data, dictionary.len);
    ensure(t->compressor != NULL && t->decompressor != NULL && t->compressing != NULL &&
           t->decompressing != NULL);
    return t;
}

void timeline_free(struct timeline **timeline)
{
    struct timeline *t = *timeline;
    if (t == NULL) {
        return;
    }
    ZSTD_freeCCtx(t->compressor);
    ZSTD_freeDCtx(t->decompressor);
    ZSTD_freeCDict(t->compressing);
    ZSTD_freeDDict(t->decompressing);
    free(t);
    *timeline = NULL;
}

void timeline_compress(struct timeline *t, struct slice event, struct buf *out)
{
    size_t bound = ZSTD_compressBound(event.len);
    bool fits = buf_reserve(out, bound);
    ensure(fits);
    size_t len = ZSTD_compress_usingCDict(t->compressor, out->data + out->len, bound, event.data,
                                          event.len, t->compressing);
    ensure(!ZSTD_isError(len));
    out->len += len;
}

bool timeline_decompress(struct timeline *t, struct slice record, struct buf *ret,
                         struct error *err)
{
    unsigned long long size = ZSTD_getFrameContentSize(record.data, record.len);
    buf_clear(ret);
    if (size > EVENT_BYTES_MAX || !buf_reserve(ret, size)) {
        return error_set(err, ERROR_CORRUPT, "a record of a timeline has no sensible size");
    }
    size_t len = ZSTD_decompress_usingDDict(t->decompressor, ret->data, size, record.data,
                                            record.len, t->decompressing);
    if (ZSTD_isError(len) || len != size) {
        return error_set(err, ERROR_CORRUPT, "a record of a timeline does not decompress");
    }
    ret->len = len;
    return true;
}
