/* Trains the shared zstd dictionary and measures what it does, on the bytes that the product really
 * compresses: packed events (timelines) and the columns of blocks.
 *
 *     samples train BYTES FILE   < requests    write a dictionary
 *     samples measure [FILE]     < requests    figures as JSON; without FILE: no dictionary
 *
 * Each line of the input is the JSON of one batch request.
 */
#define ZDICT_STATIC_LINKING_ONLY
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zdict.h>
#include <zstd.h>
#include "collector/request/request.h"
#include "shared/block.h"
#include "shared/dictionary.h"

enum { BYTES_MAX = 1 << 30, RECEIVED_MS = 1000, WRITE_KEYS = 8 };

struct samples {
    struct buf bytes;
    size_t *sizes;
    size_t count;
    size_t capacity;
    size_t events;
};

static const char *const write_keys[WRITE_KEYS] = {
    "wk_7Qe2mXfLr0Vb", "shop-web",         "Zl9KdT3uHy6Pn1Rc", "store-lyon",
    "aXk29vLmQ0",      "b81f6a2c97e04d35", "website",          "pK4cJw8tYs5Gz2"};

static void samples_init(struct samples *s)
{
    *s = (struct samples){0};
    buf_init(&s->bytes, BYTES_MAX);
}

static void samples_done(struct samples *s)
{
    buf_done(&s->bytes);
    free(s->sizes);
}

static void samples_add(struct samples *s, struct slice sample, size_t events)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 1024 : s->capacity * 2;
        s->sizes = memory_resize(s->sizes, s->capacity * sizeof *s->sizes);
    }
    buf_put_slice(&s->bytes, sample);
    s->sizes[s->count++] = sample.len;
    s->events += events;
}

/* What block.c put into the compressor. */
static void add_block(struct samples *s, struct block_builder *builder)
{
    struct buf compressed;
    struct buf plain;
    struct slice dictionary = dictionary_bytes();
    size_t events = block_builder_count(builder);
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    buf_init(&compressed, BYTES_MAX);
    buf_init(&plain, BYTES_MAX);
    block_builder_finish(builder, &compressed);
    size_t size = (size_t)ZSTD_getFrameContentSize(compressed.data, compressed.len);
    bool fits = buf_reserve(&plain, size);
    ensure(fits);
    plain.len = ZSTD_decompress_usingDict(zstd, plain.data, size, compressed.data, compressed.len,
                                          dictionary.data, dictionary.len);
    ensure(plain.len == size);
    samples_add(s, buf_slice(&plain), events);
    ZSTD_freeDCtx(zstd);
    buf_done(&compressed);
    buf_done(&plain);
}

/* All events of the input, each as if it had come a few milliseconds after the one before, with the
 * age of events that a browser sends at once. */
static struct event *read_events(struct arena *arena, size_t *ret_count)
{
    struct request request;
    struct event *events = NULL;
    size_t count = 0;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    struct rand rand;
    rand_seeded_init(&rand, 7);
    request_init(&request);
    while ((len = getline(&line, &capacity, stdin)) > 0) {
        request_parse(&request, EVENT_TYPES, slice_make(line, (size_t)len), &rand);
        ensure(request.refusal.code == NULL);
        struct slice key = slice_text(write_keys[rand_below(&rand, WRITE_KEYS)]);
        request_stamp(&request, key, RECEIVED_MS);
        events = memory_resize(events, (count + request.count) * sizeof *events);
        for (size_t i = 0; i < request.count; i++) {
            struct event e = request.events[i].event;
            ensure(request.events[i].refusal.code == NULL);
            e.received_ms = 1790000000000 + (int64_t)(count * 3 + rand_below(&rand, 3));
            e.timestamp_ms = e.received_ms - (int64_t)rand_below(&rand, 3000);
            e.message_id = arena_copy(arena, e.message_id);
            e.anonymous_id = arena_copy(arena, e.anonymous_id);
            e.user_id = arena_copy(arena, e.user_id);
            e.name = arena_copy(arena, e.name);
            e.body = arena_copy(arena, e.body);
            events[count++] = e;
        }
    }
    free(line);
    request_done(&request);
    *ret_count = count;
    return events;
}

static void add_single_events(struct samples *s, const struct event *events, size_t count)
{
    struct buf packed;
    buf_init(&packed, BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_clear(&packed);
        event_pack(&events[i], &packed);
        samples_add(s, buf_slice(&packed), 1);
    }
    buf_done(&packed);
}

static void add_blocks(struct samples *s, const struct event *events, size_t count, size_t size)
{
    struct block_compressor *compressor = block_compressor_new();
    struct block_builder *builder = block_builder_new(compressor);
    for (size_t i = 0; i + size <= count; i += size) {
        for (size_t j = 0; j < size; j++) {
            bool added = block_builder_add(builder, &events[i + j]);
            ensure(added);
        }
        add_block(s, builder);
    }
    block_builder_free(&builder);
    block_compressor_free(&compressor);
}

static int train(const struct event *events, size_t count, size_t bytes, const char *path)
{
    struct samples s;
    void *dictionary = memory_allocate(bytes);
    samples_init(&s);
    add_single_events(&s, events, count);
    add_blocks(&s, events, count / 2, 1);
    add_blocks(&s, events, count, 4);
    add_blocks(&s, events, count, 16);
    ZDICT_fastCover_params_t params = {.d = 8,
                                       .f = 20,
                                       .accel = 1,
                                       .steps = 40,
                                       .nbThreads = 2,
                                       .zParams = {.compressionLevel = 3}};
    size_t len = ZDICT_optimizeTrainFromBuffer_fastCover(dictionary, bytes, s.bytes.data, s.sizes,
                                                         (unsigned)s.count, &params);
    if (ZDICT_isError(len)) {
        fprintf(stderr, "training failed: %s\n", ZDICT_getErrorName(len));
        return 1;
    }
    FILE *out = fopen(path, "wb");
    bool fine = out != NULL && fwrite(dictionary, 1, len, out) == len && fclose(out) == 0;
    fprintf(stderr, "%zu bytes from %zu samples of %zu bytes; k=%u\n", len, s.count, s.bytes.len,
            params.k);
    samples_done(&s);
    free(dictionary);
    return fine ? 0 : 1;
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void print_figure(const char *name, const struct samples *s, struct slice dictionary,
                         int level)
{
    size_t bound = BYTES_MAX / 32;
    void *out = memory_allocate(bound);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_CDict *dict = ZSTD_createCDict(dictionary.data, dictionary.len, level);
    size_t total = 0;
    double best = 1e18;
    for (int round = 0; round < 3; round++) {
        size_t at = 0;
        total = 0;
        double start = now_us();
        for (size_t i = 0; i < s->count; i++) {
            size_t len =
                ZSTD_compress_usingCDict(zstd, out, bound, s->bytes.data + at, s->sizes[i], dict);
            ensure(!ZSTD_isError(len));
            total += len;
            at += s->sizes[i];
        }
        double took = now_us() - start;
        best = took < best ? took : best;
    }
    printf("{\"what\": \"%s\", \"level\": %d, \"plain\": %.1f, \"bytes\": %.1f, \"us\": %.2f}\n",
           name, level, (double)s->bytes.len / (double)s->events, (double)total / (double)s->events,
           best / (double)s->events);
    ZSTD_freeCCtx(zstd);
    ZSTD_freeCDict(dict);
    free(out);
}

static int measure(const struct event *events, size_t count, struct slice dictionary)
{
    static const size_t sizes[] = {0, 1, 16, 50, 256, 1024};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[64];
        struct samples s;
        samples_init(&s);
        if (sizes[i] == 0) {
            snprintf(name, sizeof name, "timeline record");
            add_single_events(&s, events, count);
        } else {
            snprintf(name, sizeof name, "block of %zu", sizes[i]);
            add_blocks(&s, events, count, sizes[i]);
        }
        print_figure(name, &s, dictionary, 1);
        print_figure(name, &s, dictionary, 3);
        print_figure(name, &s, dictionary, 6);
        samples_done(&s);
    }
    return 0;
}

static bool read_file(const char *path, struct buf *ret)
{
    char chunk[4096];
    size_t n;
    FILE *in = fopen(path, "rb");
    while (in != NULL && (n = fread(chunk, 1, sizeof chunk, in)) > 0) {
        buf_put(ret, chunk, n);
    }
    return in != NULL && fclose(in) == 0;
}

int main(int argc, char **argv)
{
    struct arena arena;
    struct buf dictionary;
    size_t count;
    bool trains = argc == 4 && strcmp(argv[1], "train") == 0;
    bool measures = (argc == 2 || argc == 3) && strcmp(argv[1], "measure") == 0;
    buf_init(&dictionary, BYTES_MAX);
    if ((!trains && !measures) || (measures && argc == 3 && !read_file(argv[2], &dictionary))) {
        fprintf(stderr, "usage: samples train BYTES FILE | measure [FILE]\n");
        return 2;
    }
    arena_init(&arena, 1 << 20);
    struct event *events = read_events(&arena, &count);
    int code = trains ? train(events, count, (size_t)atol(argv[2]), argv[3])
                      : measure(events, count, buf_slice(&dictionary));
    free(events);
    buf_done(&dictionary);
    arena_done(&arena);
    return code;
}
