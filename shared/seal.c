#include "shared/seal.h"

#include <sodium.h>
#include "shared/value.h"

enum { HEADER_VERSION = 1, BLOCK_VERSION = 1, MESSAGE_VERSION = 1 };

static const char epoch_context[] = "tributary-epoch-v1";
static const char block_context[] = "tributary-block-v1";
static const char up_context[] = "tributary-up-v1";
static const char down_context[] = "tributary-down-v1";

struct seal_epoch {
    uint8_t key[SEAL_KEY_BYTES];
    uint64_t number;
    size_t id_len;
    uint8_t id[SEAL_COLLECTOR_ID_MAX];
};

struct seal_channel {
    uint8_t up[SEAL_KEY_BYTES];
    uint8_t down[SEAL_KEY_BYTES];
    size_t id_len;
    uint8_t id[SEAL_COLLECTOR_ID_MAX];
};

void seal_start(void)
{
    int started = sodium_init();
    ensure(started >= 0);
}

static struct seal_epoch *epoch_new(struct slice id, uint64_t number)
{
    struct seal_epoch *epoch = sodium_malloc(sizeof *epoch);
    ensure(epoch != NULL && id.len <= SEAL_COLLECTOR_ID_MAX);
    sodium_memzero(epoch, sizeof *epoch);
    epoch->number = number;
    epoch->id_len = id.len;
    memcpy(epoch->id, id.data, id.len);
    return epoch;
}

/* The signed bytes of a header: the context, then everything before the signature. */
static void sign_input(struct slice body, struct buf *out)
{
    buf_put(out, epoch_context, sizeof epoch_context);
    buf_put_slice(out, body);
}

struct seal_epoch *seal_epoch_begin(struct slice collector_id,
                                    const uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES],
                                    const uint8_t hub_public[SEAL_KEY_BYTES], uint64_t previous,
                                    int64_t now_ms, struct rand *rand, struct buf *ret_header)
{
    uint64_t number = ((uint64_t)now_ms << 16) | (rand_u64(rand) & 0xffff);
    number = number > previous ? number : previous + 1 + (rand_u64(rand) & 0xff);
    struct seal_epoch *epoch = epoch_new(collector_id, number);
    uint8_t sealed[SEAL_KEY_BYTES + crypto_box_SEALBYTES];
    uint8_t signature[crypto_sign_BYTES];
    struct buf body;
    struct buf input;
    msgpack_packer p;
    rand_fill(rand, epoch->key, sizeof epoch->key);
    int rv = crypto_box_seal(sealed, epoch->key, sizeof epoch->key, hub_public);
    ensure(rv == 0); /* a key of low order; opening a channel has refused it before */
    buf_init(&body, 1024);
    buf_init(&input, 1024);
    value_packer_init(&p, &body);
    msgpack_pack_array(&p, 6);
    msgpack_pack_int(&p, HEADER_VERSION);
    value_pack_text(&p, collector_id);
    msgpack_pack_uint64(&p, number);
    msgpack_pack_int64(&p, now_ms);
    value_pack_bin(&p, slice_make(sealed, sizeof sealed));
    sign_input(buf_slice(&body), &input);
    crypto_sign_detached(signature, NULL, input.data, input.len, sign_secret);
    buf_put_slice(ret_header, buf_slice(&body));
    value_packer_init(&p, ret_header);
    value_pack_bin(&p, slice_make(signature, sizeof signature));
    buf_done(&body);
    buf_done(&input);
    return epoch;
}

struct header {
    struct seal_header open;
    struct slice sealed;
    struct slice signature;
    struct slice body; /* what is signed */
};

static bool read_header(struct slice bytes, struct header *ret, struct error *err)
{
    msgpack_zone zone;
    msgpack_object root;
    int64_t version = 0;
    int64_t epoch = 0;
    bool made = msgpack_zone_init(&zone, 512);
    ensure(made);
    bool fine = value_unpack(bytes, &zone, &root, err) && root.type == MSGPACK_OBJECT_ARRAY &&
                root.via.array.size == 6;
    const msgpack_object *at = fine ? root.via.array.ptr : NULL;
    fine = fine && value_int(&at[0], &version) && version == HEADER_VERSION &&
           value_text(&at[1], &ret->open.collector_id) && ret->open.collector_id.len > 0 &&
           ret->open.collector_id.len <= SEAL_COLLECTOR_ID_MAX && value_int(&at[2], &epoch) &&
           epoch >= 0 && value_int(&at[3], &ret->open.created_ms) &&
           value_bin(&at[4], &ret->sealed) &&
           ret->sealed.len == SEAL_KEY_BYTES + crypto_box_SEALBYTES &&
           value_bin(&at[5], &ret->signature) && ret->signature.len == crypto_sign_BYTES;
    if (fine) {
        ret->open.epoch = (uint64_t)epoch;
        /* The signature is the last member: 2 bytes of head and 64 of content. */
        ret->body = slice_make(bytes.data, bytes.len - crypto_sign_BYTES - 2);
    }
    msgpack_zone_destroy(&zone);
    return fine || error_set(err, ERROR_CORRUPT, "this is no epoch header of version 1");
}

bool seal_header_peek(struct slice header, struct seal_header *ret, struct error *err)
{
    struct header h;
    if (!read_header(header, &h, err)) {
        return false;
    }
    *ret = h.open;
    return true;
}

bool seal_epoch_open(struct slice header, const uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES],
                     const uint8_t hub_public[SEAL_KEY_BYTES],
                     const uint8_t hub_secret[SEAL_KEY_BYTES], struct seal_epoch **ret,
                     struct error *err)
{
    struct header h;
    struct buf input;
    if (!read_header(header, &h, err)) {
        return false;
    }
    buf_init(&input, 4096);
    sign_input(h.body, &input);
    bool genuine = sign_public == NULL || crypto_sign_verify_detached(h.signature.data, input.data,
                                                                      input.len, sign_public) == 0;
    buf_done(&input);
    if (!genuine) {
        return error_set(err, ERROR_CORRUPT, "the signature of an epoch header is wrong");
    }
    struct seal_epoch *epoch = epoch_new(h.open.collector_id, h.open.epoch);
    if (crypto_box_seal_open(epoch->key, h.sealed.data, h.sealed.len, hub_public, hub_secret) !=
        0) {
        seal_epoch_end(&epoch);
        return error_set(err, ERROR_CORRUPT, "an epoch key is not sealed to this hub");
    }
    *ret = epoch;
    return true;
}

void seal_epoch_end(struct seal_epoch **epoch)
{
    sodium_free(*epoch);
    *epoch = NULL;
}

uint64_t seal_epoch_number(const struct seal_epoch *epoch)
{
    return epoch->number;
}

/* What a block is bound to beside its key. */
static size_t block_data(const struct seal_epoch *epoch, uint64_t sequence, uint32_t count,
                         uint8_t ret[sizeof block_context + SEAL_COLLECTOR_ID_MAX + 32])
{
    struct buf data = {.data = ret,
                       .capacity = sizeof block_context + SEAL_COLLECTOR_ID_MAX + 32,
                       .len_max = sizeof block_context + SEAL_COLLECTOR_ID_MAX + 32};
    buf_put(&data, block_context, sizeof block_context);
    buf_put_u8(&data, (uint8_t)epoch->id_len);
    buf_put(&data, epoch->id, epoch->id_len);
    buf_put_u64(&data, epoch->number);
    buf_put_u64(&data, sequence);
    buf_put_u32(&data, count);
    return data.len;
}

/* Unique as long as a sequence number is: the key is the epoch's own. */
static void block_nonce(uint64_t epoch, uint64_t sequence, uint8_t ret[SEAL_NONCE_BYTES])
{
    struct buf nonce = {.data = ret, .capacity = SEAL_NONCE_BYTES, .len_max = SEAL_NONCE_BYTES};
    buf_put_u64(&nonce, epoch);
    buf_put_u64(&nonce, sequence);
    buf_put_u64(&nonce, 0);
}

static void encrypt(const uint8_t key[SEAL_KEY_BYTES], const uint8_t nonce[SEAL_NONCE_BYTES],
                    struct slice data, struct slice plain, struct buf *out)
{
    msgpack_packer p;
    value_packer_init(&p, out);
    msgpack_pack_bin(&p, plain.len + crypto_aead_xchacha20poly1305_ietf_ABYTES);
    bool fits = buf_reserve(out, plain.len + crypto_aead_xchacha20poly1305_ietf_ABYTES);
    ensure(fits);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out->data + out->len, NULL, plain.data, plain.len,
                                               data.data, data.len, NULL, nonce, key);
    out->len += plain.len + crypto_aead_xchacha20poly1305_ietf_ABYTES;
}

static bool decrypt(const uint8_t key[SEAL_KEY_BYTES], const uint8_t nonce[SEAL_NONCE_BYTES],
                    struct slice data, struct slice cipher, struct buf *ret)
{
    buf_clear(ret);
    if (cipher.len < crypto_aead_xchacha20poly1305_ietf_ABYTES ||
        !buf_reserve(ret, cipher.len - crypto_aead_xchacha20poly1305_ietf_ABYTES + 1) ||
        crypto_aead_xchacha20poly1305_ietf_decrypt(ret->data, NULL, NULL, cipher.data, cipher.len,
                                                   data.data, data.len, nonce, key) != 0) {
        return false;
    }
    ret->len = cipher.len - crypto_aead_xchacha20poly1305_ietf_ABYTES;
    return true;
}

void seal_write_block(const struct seal_epoch *epoch, uint64_t sequence, uint32_t event_count,
                      struct slice plain, struct buf *out)
{
    uint8_t data[sizeof block_context + SEAL_COLLECTOR_ID_MAX + 32];
    uint8_t nonce[SEAL_NONCE_BYTES];
    size_t data_len = block_data(epoch, sequence, event_count, data);
    msgpack_packer p;
    block_nonce(epoch->number, sequence, nonce);
    value_packer_init(&p, out);
    msgpack_pack_array(&p, 5);
    msgpack_pack_int(&p, BLOCK_VERSION);
    msgpack_pack_uint64(&p, epoch->number);
    msgpack_pack_uint64(&p, sequence);
    msgpack_pack_uint32(&p, event_count);
    encrypt(epoch->key, nonce, slice_make(data, data_len), plain, out);
}

bool seal_block_peek(struct slice sealed, struct seal_block *ret, struct error *err)
{
    msgpack_zone zone;
    msgpack_object root;
    int64_t version = 0;
    int64_t epoch = 0;
    int64_t sequence = 0;
    int64_t count = 0;
    bool made = msgpack_zone_init(&zone, 512);
    ensure(made);
    bool fine = value_unpack(sealed, &zone, &root, err) && root.type == MSGPACK_OBJECT_ARRAY &&
                root.via.array.size == 5;
    const msgpack_object *at = fine ? root.via.array.ptr : NULL;
    fine = fine && value_int(&at[0], &version) && version == BLOCK_VERSION &&
           value_int(&at[1], &epoch) && value_int(&at[2], &sequence) && value_int(&at[3], &count) &&
           epoch >= 0 && sequence >= 0 && count >= 0 && count <= UINT32_MAX &&
           value_bin(&at[4], &ret->cipher);
    ret->epoch = (uint64_t)epoch;
    ret->sequence = (uint64_t)sequence;
    ret->event_count = (uint32_t)count;
    msgpack_zone_destroy(&zone);
    return fine || error_set(err, ERROR_CORRUPT, "this is no sealed block of version 1");
}

bool seal_open_block(const struct seal_epoch *epoch, const struct seal_block *block,
                     struct buf *ret, struct error *err)
{
    uint8_t data[sizeof block_context + SEAL_COLLECTOR_ID_MAX + 32];
    uint8_t nonce[SEAL_NONCE_BYTES];
    size_t data_len = block_data(epoch, block->sequence, block->event_count, data);
    block_nonce(epoch->number, block->sequence, nonce);
    if (block->epoch != epoch->number ||
        !decrypt(epoch->key, nonce, slice_make(data, data_len), block->cipher, ret)) {
        return error_set(err, ERROR_CORRUPT, "block %llu was altered or is not of this epoch",
                         (unsigned long long)block->sequence);
    }
    return true;
}

static struct seal_channel *channel_new(struct slice id, const uint8_t box_public[32],
                                        const uint8_t box_secret[32])
{
    struct seal_channel *c = sodium_malloc(sizeof *c);
    uint8_t shared[crypto_box_BEFORENMBYTES];
    ensure(c != NULL && id.len <= SEAL_COLLECTOR_ID_MAX);
    sodium_memzero(c, sizeof *c);
    if (crypto_box_beforenm(shared, box_public, box_secret) != 0) {
        seal_channel_free(&c);
        return NULL;
    }
    crypto_generichash(c->up, sizeof c->up, (const uint8_t *)up_context, sizeof up_context, shared,
                       sizeof shared);
    crypto_generichash(c->down, sizeof c->down, (const uint8_t *)down_context, sizeof down_context,
                       shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    c->id_len = id.len;
    memcpy(c->id, id.data, id.len);
    return c;
}

struct seal_channel *seal_channel_of_collector(struct slice collector_id,
                                               const uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES],
                                               const uint8_t hub_public[SEAL_KEY_BYTES])
{
    uint8_t box_secret[crypto_box_SECRETKEYBYTES];
    if (crypto_sign_ed25519_sk_to_curve25519(box_secret, sign_secret) != 0) {
        return NULL;
    }
    struct seal_channel *channel = channel_new(collector_id, hub_public, box_secret);
    sodium_memzero(box_secret, sizeof box_secret);
    return channel;
}

struct seal_channel *seal_channel_of_hub(struct slice collector_id,
                                         const uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES],
                                         const uint8_t hub_secret[SEAL_KEY_BYTES])
{
    uint8_t box_public[crypto_box_PUBLICKEYBYTES];
    if (crypto_sign_ed25519_pk_to_curve25519(box_public, sign_public) != 0) {
        return NULL;
    }
    return channel_new(collector_id, box_public, hub_secret);
}

void seal_channel_free(struct seal_channel **channel)
{
    sodium_free(*channel);
    *channel = NULL;
}

void seal_write_request(const struct seal_channel *channel, struct slice plain, struct rand *rand,
                        struct buf *out, uint8_t ret_nonce[SEAL_NONCE_BYTES])
{
    msgpack_packer p;
    struct slice id = slice_make(channel->id, channel->id_len);
    rand_fill(rand, ret_nonce, SEAL_NONCE_BYTES);
    value_packer_init(&p, out);
    msgpack_pack_array(&p, 4);
    msgpack_pack_int(&p, MESSAGE_VERSION);
    value_pack_text(&p, id);
    value_pack_bin(&p, slice_make(ret_nonce, SEAL_NONCE_BYTES));
    encrypt(channel->up, ret_nonce, id, plain, out);
}

struct message {
    struct slice id;
    struct slice nonce;
    struct slice cipher;
};

/* Requests are [version, id, nonce, cipher], replies [version, nonce, cipher]. */
static bool read_message(struct slice bytes, bool is_request, struct message *ret,
                         struct error *err)
{
    msgpack_zone zone;
    msgpack_object root;
    int64_t version = 0;
    uint32_t members = is_request ? 4 : 3;
    bool made = msgpack_zone_init(&zone, 512);
    ensure(made);
    bool fine = value_unpack(bytes, &zone, &root, err) && root.type == MSGPACK_OBJECT_ARRAY &&
                root.via.array.size == members;
    const msgpack_object *at = fine ? root.via.array.ptr : NULL;
    fine = fine && value_int(&at[0], &version) && version == MESSAGE_VERSION &&
           (!is_request || (value_text(&at[1], &ret->id) && ret->id.len > 0 &&
                            ret->id.len <= SEAL_COLLECTOR_ID_MAX)) &&
           value_bin(&at[members - 2], &ret->nonce) && ret->nonce.len == SEAL_NONCE_BYTES &&
           value_bin(&at[members - 1], &ret->cipher);
    msgpack_zone_destroy(&zone);
    return fine || error_set(err, ERROR_CORRUPT, "this is no message between collector and hub");
}

bool seal_request_peek(struct slice request, struct slice *ret_collector_id, struct error *err)
{
    struct message m;
    if (!read_message(request, true, &m, err)) {
        return false;
    }
    *ret_collector_id = m.id;
    return true;
}

bool seal_open_request(const struct seal_channel *channel, struct slice request, struct buf *ret,
                       uint8_t ret_nonce[SEAL_NONCE_BYTES], struct error *err)
{
    struct message m;
    if (!read_message(request, true, &m, err)) {
        return false;
    }
    struct slice id = slice_make(channel->id, channel->id_len);
    if (!slice_equal(m.id, id) || !decrypt(channel->up, m.nonce.data, id, m.cipher, ret)) {
        return error_set(err, ERROR_CORRUPT, "a request is not from the collector it names");
    }
    memcpy(ret_nonce, m.nonce.data, SEAL_NONCE_BYTES);
    return true;
}

void seal_write_reply(const struct seal_channel *channel,
                      const uint8_t request_nonce[SEAL_NONCE_BYTES], struct slice plain,
                      struct rand *rand, struct buf *out)
{
    uint8_t nonce[SEAL_NONCE_BYTES];
    msgpack_packer p;
    rand_fill(rand, nonce, sizeof nonce);
    value_packer_init(&p, out);
    msgpack_pack_array(&p, 3);
    msgpack_pack_int(&p, MESSAGE_VERSION);
    value_pack_bin(&p, slice_make(nonce, sizeof nonce));
    encrypt(channel->down, nonce, slice_make(request_nonce, SEAL_NONCE_BYTES), plain, out);
}

bool seal_open_reply(const struct seal_channel *channel,
                     const uint8_t request_nonce[SEAL_NONCE_BYTES], struct slice reply,
                     struct buf *ret, struct error *err)
{
    struct message m;
    if (!read_message(reply, false, &m, err)) {
        return false;
    }
    if (!decrypt(channel->down, m.nonce.data, slice_make(request_nonce, SEAL_NONCE_BYTES), m.cipher,
                 ret)) {
        return error_set(err, ERROR_CORRUPT, "a reply is not the hub's to this request");
    }
    return true;
}
