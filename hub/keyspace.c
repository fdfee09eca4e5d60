#include "hub/keyspace.h"

#include <sodium.h>

/* Not secret: it only has to be the same for ever. */
static const uint8_t hash_key[16] = "tributary-hash1";

static struct buf start(struct key *key, char kind)
{
    struct buf out = {.data = key->bytes, .capacity = KEY_BYTES_MAX, .len_max = KEY_BYTES_MAX};
    buf_put_u8(&out, (uint8_t)kind);
    return out;
}

static void put_id(struct buf *out, struct profile_id id)
{
    buf_put(out, id.bytes, sizeof id.bytes);
}

struct key key_fact(const char *name)
{
    struct key key;
    struct buf out = start(&key, 'a');
    buf_put(&out, name, strlen(name));
    key.len = out.len;
    return key;
}

struct key key_dedup(const uint8_t hash[16])
{
    struct key key;
    struct buf out = start(&key, 'd');
    buf_put(&out, hash, 16);
    key.len = out.len;
    return key;
}

static struct key number_key(char kind, uint32_t number, uint64_t sequence)
{
    struct key key;
    struct buf out = start(&key, kind);
    buf_put_u32(&out, number);
    buf_put_u64(&out, sequence);
    key.len = out.len;
    return key;
}

struct key key_edge(uint32_t collector, uint64_t sequence)
{
    return number_key('e', collector, sequence);
}

struct key key_outbox(uint32_t partition, uint64_t sequence)
{
    return number_key('o', partition, sequence);
}

static struct key profile_number_key(char kind, struct profile_id profile, uint64_t n)
{
    struct key key;
    struct buf out = start(&key, kind);
    put_id(&out, profile);
    buf_put_u64(&out, n);
    key.len = out.len;
    return key;
}

struct key key_deferred(struct profile_id profile, uint64_t n)
{
    return profile_number_key('f', profile, n);
}

struct key key_business(struct profile_id profile, uint64_t hash)
{
    return profile_number_key('k', profile, hash);
}

struct key key_journal(struct profile_id profile, uint64_t n)
{
    return profile_number_key('j', profile, n);
}

struct key key_identifier(struct identifier id)
{
    struct key key;
    struct buf out = start(&key, 'i');
    buf_put_slice(&out, id.type);
    buf_put_u8(&out, 0);
    buf_put_slice(&out, id.value);
    key.len = out.len;
    return key;
}

struct key key_claim(struct identifier id, struct profile_id profile)
{
    struct key key;
    struct buf out = start(&key, 'c');
    buf_put_slice(&out, id.type);
    buf_put_u8(&out, 0);
    buf_put_slice(&out, id.value);
    buf_put_u8(&out, 0);
    put_id(&out, profile);
    key.len = out.len;
    return key;
}

struct key key_member(uint32_t segment, struct profile_id profile)
{
    struct key key;
    struct buf out = start(&key, 'm');
    buf_put_u32(&out, segment);
    put_id(&out, profile);
    key.len = out.len;
    return key;
}

static struct key profile_key(char kind, struct profile_id profile)
{
    struct key key;
    struct buf out = start(&key, kind);
    put_id(&out, profile);
    key.len = out.len;
    return key;
}

struct key key_profile(struct profile_id profile)
{
    return profile_key('p', profile);
}

struct key key_redirect(struct profile_id profile)
{
    return profile_key('x', profile);
}

struct key key_position(uint32_t source)
{
    struct key key;
    struct buf out = start(&key, 's');
    buf_put_u32(&out, source);
    key.len = out.len;
    return key;
}

struct key key_timeline(struct profile_id profile, int64_t ms, uint64_t rank)
{
    struct key key;
    struct buf out = start(&key, 't');
    put_id(&out, profile);
    buf_put_u64(&out, (uint64_t)ms);
    buf_put_u64(&out, rank);
    key.len = out.len;
    return key;
}

struct key key_timer(int64_t due_ms, struct profile_id profile)
{
    struct key key;
    struct buf out = start(&key, 'w');
    buf_put_u64(&out, (uint64_t)due_ms);
    put_id(&out, profile);
    key.len = out.len;
    return key;
}

struct slice key_prefix(const struct key *key, size_t n)
{
    return slice_make(key->bytes, n);
}

struct profile_id key_profile_at(struct slice key, size_t at)
{
    struct profile_id id = {0};
    ensure(key.len >= at + sizeof id.bytes);
    memcpy(id.bytes, key.data + at, sizeof id.bytes);
    return id;
}

uint64_t hash_of(struct slice bytes)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, bytes.data, bytes.len, hash_key);
    return read_u64(hash);
}

void hash128_of(struct slice bytes, uint8_t ret[16])
{
    crypto_shorthash_siphashx24(ret, bytes.data, bytes.len, hash_key);
}

uint32_t home_of(struct identifier id, uint32_t partitions)
{
    struct key key = key_identifier(id);
    return (uint32_t)(hash_of(key_slice(&key)) % partitions);
}
