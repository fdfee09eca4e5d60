#include "hub/trust/proof_keys.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

struct proof_keys {
    bool bind;
    uint8_t digest[PROOF_DIGEST_BYTES];
    size_t count;
    struct {
        char kid[PROOF_KID_BYTES_MAX];
        size_t kid_len;
        struct proof_key *key;
    } keys[PROOF_KEYS_MAX];
};

static void point_at(char *pointer, const char *where)
{
    snprintf(pointer, PROOF_POINTER_BYTES, "/proof%s", where);
}

static void point_at_key(char *pointer, size_t index, const char *member)
{
    snprintf(pointer, PROOF_POINTER_BYTES, "/proof/keys/%zu%s", index, member);
}

static bool read_kid(struct proof_keys *keys, size_t index, const msgpack_object *key,
                     struct error *err)
{
    struct slice kid;
    if (!value_text(value_member_c(key, "kid"), &kid) || kid.len == 0 ||
        kid.len > PROOF_KID_BYTES_MAX) {
        return error_set(err, ERROR_INVALID, "\"kid\" must be a text of 1 to %d bytes.",
                         PROOF_KID_BYTES_MAX);
    }
    for (size_t i = 0; i < index; i++) {
        if (slice_equal(kid, proof_keys_kid(keys, i))) {
            return error_set(err, ERROR_INVALID, "Another key has this \"kid\" already.");
        }
    }
    memcpy(keys->keys[index].kid, kid.data, kid.len);
    keys->keys[index].kid_len = kid.len;
    return true;
}

static bool read_key(struct proof_keys *keys, size_t index, const msgpack_object *key,
                     char *ret_pointer, struct error *err)
{
    struct slice name = slice_make(NULL, 0);
    point_at_key(ret_pointer, index, "");
    if (key->type != MSGPACK_OBJECT_MAP) {
        return error_set(err, ERROR_INVALID,
                         "A key must be an object with \"kid\", \"alg\" and \"key\".");
    }
    point_at_key(ret_pointer, index, "/kid");
    if (!read_kid(keys, index, key, err)) {
        return false;
    }
    point_at_key(ret_pointer, index, "/alg");
    (void)value_text(value_member_c(key, "alg"), &name);
    enum proof_algorithm algorithm = proof_algorithm_from(name);
    if (algorithm == PROOF_ALGORITHMS) {
        return error_set(err, ERROR_INVALID,
                         "\"alg\" must be \"EdDSA\", \"ES256\", \"RS256\" or \"HS256\".");
    }
    point_at_key(ret_pointer, index, "/key");
    return proof_key_read(algorithm, value_member_c(key, "key"), &keys->keys[index].key, err);
}

static bool read_bind(struct proof_keys *keys, const msgpack_object *bind, char *ret_pointer,
                      struct error *err)
{
    struct slice text;
    point_at(ret_pointer, "/bind");
    keys->bind = bind == NULL;
    return bind == NULL || (value_text(bind, &text) && slice_is(text, "optional")) ||
           error_set(err, ERROR_INVALID,
                     "\"bind\" may only be \"optional\": a proof need not name the browser then.");
}

static void make_digest(struct proof_keys *keys)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, PROOF_DIGEST_BYTES);
    for (size_t i = 0; i < keys->count; i++) {
        uint8_t digest[PROOF_DIGEST_BYTES];
        uint8_t kid_len = (uint8_t)keys->keys[i].kid_len;
        proof_key_digest(keys->keys[i].key, digest);
        crypto_generichash_update(&state, digest, sizeof digest);
        crypto_generichash_update(&state, &kid_len, 1);
        crypto_generichash_update(&state, (const uint8_t *)keys->keys[i].kid, kid_len);
    }
    crypto_generichash_final(&state, keys->digest, PROOF_DIGEST_BYTES);
}

static bool read_all(struct proof_keys *keys, const msgpack_object *proof, char *ret_pointer,
                     struct error *err)
{
    point_at(ret_pointer, "");
    if (proof->type != MSGPACK_OBJECT_MAP) {
        return error_set(err, ERROR_INVALID,
                         "\"proof\" must be an object with \"keys\" and perhaps \"bind\".");
    }
    const msgpack_object *list = value_member_c(proof, "keys");
    point_at(ret_pointer, "/keys");
    if (!value_is(list, MSGPACK_OBJECT_ARRAY) || list->via.array.size == 0 ||
        list->via.array.size > PROOF_KEYS_MAX) {
        return error_set(err, ERROR_INVALID, "\"keys\" must be an array of 1 to %d keys.",
                         PROOF_KEYS_MAX);
    }
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (!read_key(keys, i, &list->via.array.ptr[i], ret_pointer, err)) {
            return false;
        }
        keys->count++;
    }
    return read_bind(keys, value_member_c(proof, "bind"), ret_pointer, err);
}

bool proof_keys_read(const msgpack_object *proof, struct proof_keys **ret,
                     char ret_pointer[PROOF_POINTER_BYTES], struct error *err)
{
    struct proof_keys *keys = memory_allocate_zeroed(sizeof *keys);
    bool fine = read_all(keys, proof, ret_pointer, err);
    if (fine) {
        make_digest(keys);
    } else {
        proof_keys_free(&keys);
    }
    *ret = keys;
    return fine;
}

void proof_keys_free(struct proof_keys **keys)
{
    if (*keys != NULL) {
        for (size_t i = 0; i < PROOF_KEYS_MAX; i++) {
            proof_key_free(&(*keys)->keys[i].key);
        }
        free(*keys);
        *keys = NULL;
    }
}

bool proof_keys_bind(const struct proof_keys *keys)
{
    return keys->bind;
}

const uint8_t *proof_keys_digest(const struct proof_keys *keys)
{
    return keys->digest;
}

size_t proof_keys_count(const struct proof_keys *keys)
{
    return keys->count;
}

struct slice proof_keys_kid(const struct proof_keys *keys, size_t index)
{
    return slice_make(keys->keys[index].kid, keys->keys[index].kid_len);
}

const struct proof_key *proof_keys_at(const struct proof_keys *keys, size_t index)
{
    return keys->keys[index].key;
}
