/* Blocks: any bytes as they come, and any bytes as the content of a well-formed zstd frame, where
 * a fuzzer would hardly get by itself. What is accepted yields the events it counts, and a block
 * built of them is accepted as well. */
#include "shared/block.h"

#include <zstd.h>
#include "shared/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct block_reader *reader;
static struct block_reader *second_reader;
static struct block_builder *builder;

static void rebuild(void)
{
    struct event event;
    struct error err;
    struct buf block;
    size_t count = 0;
    buf_init(&block, 4 * LIMIT_BLOCK_BYTES);
    while (block_reader_next(reader, &event)) {
        ensure(event.type < EVENT_TYPES && event.body.len > 0 && event.message_id.len > 0);
        ensure(event.timestamp_ms >= 0 && event.timestamp_ms <= LIMIT_TIME_MS);
        ensure(event.received_ms >= 0 && event.received_ms <= LIMIT_TIME_MS);
        bool added = block_builder_add(builder, &event);
        ensure(added);
        count++;
    }
    ensure(count == block_reader_count(reader));
    block_builder_finish(builder, &block);
    bool fine = block_reader_open(second_reader, buf_slice(&block), &err);
    ensure(fine && block_reader_count(second_reader) == count);
    buf_done(&block);
}

static void try_block(struct slice block)
{
    struct error err;
    if (block_reader_open(reader, block, &err)) {
        rebuild();
    } else {
        ensure(err.kind == ERROR_CORRUPT);
        ensure(block_reader_count(reader) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf frame;
    if (reader == NULL) {
        reader = block_reader_new();
        second_reader = block_reader_new();
        builder = block_builder_new(block_compressor_new());
    }
    try_block(slice_make(data, size));
    buf_init(&frame, SIZE_MAX / 2);
    bool fits = buf_reserve(&frame, ZSTD_compressBound(size));
    ensure(fits);
    frame.len = ZSTD_compress(frame.data, frame.capacity, data, size, 1);
    ensure(!ZSTD_isError(frame.len));
    try_block(buf_slice(&frame));
    buf_done(&frame);
    return 0;
}
