/* Blocks: the events of one commit in columns, compressed. FORMATS.md describes the bytes.
 *
 * A builder collects events; block_builder_finish() gives the compressed block. A reader
 * decompresses one and hands its events out in order. Both keep their memory for the next block.
 * One thread at a time for each.
 */
#ifndef TRIBUTARY_SHARED_BLOCK_H
#define TRIBUTARY_SHARED_BLOCK_H

#include "shared/event.h"

struct block_compressor;
struct block_builder;
struct block_reader;

/* What compressing needs, a few hundred KiB: shared by builders that are finished one at a time. */
struct block_compressor *block_compressor_new(void);
void block_compressor_free(struct block_compressor **compressor);

/* The compressor is borrowed. */
struct block_builder *block_builder_new(struct block_compressor *compressor);
void block_builder_free(struct block_builder **builder);

/* Append an event, copied. False when the block is full (LIMIT_BLOCK_EVENTS, LIMIT_BLOCK_BYTES):
 * finish it first. */
MUST_CHECK bool block_builder_add(struct block_builder *builder, const struct event *event);
size_t block_builder_count(const struct block_builder *builder);

/* Give up what was added, and start an empty block. */
void block_builder_clear(struct block_builder *builder);

/* Append the compressed block to *out and start an empty one. */
void block_builder_finish(struct block_builder *builder, struct buf *out);

struct block_reader *block_reader_new(void);
void block_reader_free(struct block_reader **reader);

/* Take a compressed block from anywhere: ERROR_CORRUPT for whatever is not exactly a block. */
MUST_CHECK bool block_reader_open(struct block_reader *reader, struct slice block,
                                  struct error *err);
size_t block_reader_count(const struct block_reader *reader);

/* The next event: its head and its raw body (body_map is not set), borrowed until the next block
 * is opened. False at the end. */
bool block_reader_next(struct block_reader *reader, struct event *ret);

#endif
