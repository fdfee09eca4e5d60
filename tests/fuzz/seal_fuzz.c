/* Everything of seal.h that reads bytes before it knows whose they are. Nothing made up may open:
 * the keys are unknown to the fuzzer. */
#include "shared/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct seal_channel *channel;
static struct seal_epoch *epoch;

static void start(void)
{
    struct rand rand;
    struct buf header;
    uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES];
    static const uint8_t hub_public[SEAL_KEY_BYTES] = {9}; /* the base point: a valid key */
    seal_start();
    rand_seeded_init(&rand, 1);
    rand_fill(&rand, sign_secret, sizeof sign_secret);
    buf_init(&header, 1024);
    channel = seal_channel_of_collector(slice_text("store-1"), sign_secret, hub_public);
    epoch = seal_epoch_begin(slice_text("store-1"), sign_secret, hub_public, 0, 1, &rand, &header);
    ensure(channel != NULL);
    buf_done(&header);
}

static bool opens(struct slice bytes)
{
    static const uint8_t key[SEAL_KEY_BYTES] = {1};
    uint8_t nonce[SEAL_NONCE_BYTES] = {0};
    struct seal_header header;
    struct seal_block block;
    struct seal_epoch *opened = NULL;
    struct slice id;
    struct buf plain;
    struct error err = {.kind = ERROR_CORRUPT};
    buf_init(&plain, 8 * 1024 * 1024);
    if (seal_header_peek(bytes, &header, &err)) {
        ensure(header.collector_id.len > 0 && header.collector_id.len <= SEAL_COLLECTOR_ID_MAX);
    }
    bool fine = seal_epoch_open(bytes, key, key, key, &opened, &err);
    ensure(err.kind == ERROR_CORRUPT);
    if (seal_block_peek(bytes, &block, &err)) {
        fine |= seal_open_block(epoch, &block, &plain, &err);
        block.epoch = seal_epoch_number(epoch);
        fine |= seal_open_block(epoch, &block, &plain, &err);
    }
    if (seal_request_peek(bytes, &id, &err)) {
        ensure(id.len > 0 && id.len <= SEAL_COLLECTOR_ID_MAX);
    }
    fine |= seal_open_request(channel, bytes, &plain, nonce, &err);
    fine |= seal_open_reply(channel, nonce, bytes, &plain, &err);
    ensure(err.kind == ERROR_CORRUPT);
    buf_done(&plain);
    return fine;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (channel == NULL) {
        start();
    }
    bool fine = opens(slice_make(data, size));
    ensure(!fine);
    return 0;
}
