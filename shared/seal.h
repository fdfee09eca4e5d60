/* Sealing: what leaves an edge can be read by the hub alone.
 *
 * A collector has an Ed25519 signing pair, the hub an X25519 pair. Each start of a collector, and
 * each hour, begins an epoch with a fresh 256-bit data key, known to the collector's memory only
 * and, sealed to the hub, kept in the epoch's signed header. Blocks are XChaCha20-Poly1305 under
 * that key. FORMATS.md describes the bytes, with worked examples.
 *
 * Guarantee: without the hub's secret key a block tells no more than its length and its event
 * count, not even to the collector that wrote it once the epoch is over; and a block cannot be
 * altered, moved to another place, epoch or collector without seal_open_block() noticing.
 * An epoch belongs to one thread.
 */
#ifndef TRIBUTARY_SHARED_SEAL_H
#define TRIBUTARY_SHARED_SEAL_H

#include "shared/buf.h"
#include "shared/error.h"
#include "shared/rand.h"

enum {
    SEAL_KEY_BYTES = 32, /* public and secret keys of the hub, data keys, seeds */
    SEAL_SIGN_PUBLIC_BYTES = 32,
    SEAL_SIGN_SECRET_BYTES = 64,
    SEAL_COLLECTOR_ID_MAX = 64,
};

/* Must be called once before anything else here; stops the process where libsodium cannot start. */
void seal_start(void);

/* The state of one epoch; the key lives in guarded memory. */
struct seal_epoch;

/* Begin an epoch on a collector. Its number is later than `previous`, and random enough in its
 * low 16 bits that a collector restored from an old copy of its disk does not repeat one. The
 * signed header is appended to *ret_header. */
struct seal_epoch *seal_epoch_begin(struct slice collector_id,
                                    const uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES],
                                    const uint8_t hub_public[SEAL_KEY_BYTES], uint64_t previous,
                                    int64_t now_ms, struct rand *rand, struct buf *ret_header);

struct seal_header {
    struct slice collector_id; /* borrowed from the header's bytes */
    uint64_t epoch;
    int64_t created_ms;
};

/* What a header says, before its signature is checked. */
MUST_CHECK bool seal_header_peek(struct slice header, struct seal_header *ret, struct error *err);

/* Enter an epoch on the hub: check the signature and unseal the key. sign_public is NULL where
 * the header was checked before, for instance because it comes from the hub's own log. */
MUST_CHECK bool seal_epoch_open(struct slice header,
                                const uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES],
                                const uint8_t hub_public[SEAL_KEY_BYTES],
                                const uint8_t hub_secret[SEAL_KEY_BYTES], struct seal_epoch **ret,
                                struct error *err);

void seal_epoch_end(struct seal_epoch **epoch);
uint64_t seal_epoch_number(const struct seal_epoch *epoch);

struct seal_block {
    uint64_t epoch;
    uint64_t sequence;
    uint32_t event_count;
    struct slice cipher;
};

/* Append the sealed block to *out. A sequence number must not be used twice in an epoch. */
void seal_write_block(const struct seal_epoch *epoch, uint64_t sequence, uint32_t event_count,
                      struct slice plain, struct buf *out);

/* The open part of a sealed block. */
MUST_CHECK bool seal_block_peek(struct slice sealed, struct seal_block *ret, struct error *err);

/* Check and decrypt into *ret (replacing what was in it). */
MUST_CHECK bool seal_open_block(const struct seal_epoch *epoch, const struct seal_block *block,
                                struct buf *ret, struct error *err);

/* A channel encrypts and authenticates single messages between the hub and one collector, each
 * way under a key of its own. A reply is bound to the request that it answers. */
struct seal_channel;

struct seal_channel *seal_channel_of_collector(struct slice collector_id,
                                               const uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES],
                                               const uint8_t hub_public[SEAL_KEY_BYTES]);
/* NULL where sign_public is no valid Ed25519 key. */
struct seal_channel *seal_channel_of_hub(struct slice collector_id,
                                         const uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES],
                                         const uint8_t hub_secret[SEAL_KEY_BYTES]);
void seal_channel_free(struct seal_channel **channel);

enum { SEAL_NONCE_BYTES = 24 };

/* Requests carry the collector's id in the open; *ret_nonce is what the reply must be bound to. */
void seal_write_request(const struct seal_channel *channel, struct slice plain, struct rand *rand,
                        struct buf *out, uint8_t ret_nonce[SEAL_NONCE_BYTES]);
/* Whom a request says it is from, unchecked. */
MUST_CHECK bool seal_request_peek(struct slice request, struct slice *ret_collector_id,
                                  struct error *err);
MUST_CHECK bool seal_open_request(const struct seal_channel *channel, struct slice request,
                                  struct buf *ret, uint8_t ret_nonce[SEAL_NONCE_BYTES],
                                  struct error *err);
void seal_write_reply(const struct seal_channel *channel,
                      const uint8_t request_nonce[SEAL_NONCE_BYTES], struct slice plain,
                      struct rand *rand, struct buf *out);
MUST_CHECK bool seal_open_reply(const struct seal_channel *channel,
                                const uint8_t request_nonce[SEAL_NONCE_BYTES], struct slice reply,
                                struct buf *ret, struct error *err);

#endif
