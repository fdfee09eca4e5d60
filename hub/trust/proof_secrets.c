#include "hub/trust/proof_secrets.h"

#include "hub/trust/proof_key.h"

const char proof_secret_word[] = "(secret)";

static bool is_named(const msgpack_object_kv *member, const char *name)
{
    struct slice text;
    return value_text(&member->key, &text) && slice_is(text, name);
}

static const msgpack_object *keys_of(const msgpack_object *source)
{
    const msgpack_object *keys = value_member_c(value_member_c(source, "proof"), "keys");
    return value_is(keys, MSGPACK_OBJECT_ARRAY) ? keys : NULL;
}

static bool has_word(const msgpack_object *key)
{
    struct slice text;
    return value_text(value_member_c(key, "key"), &text) && slice_is(text, proof_secret_word);
}

/* ---- Hiding ---- */

static bool is_public(const msgpack_object *key)
{
    struct slice name = slice_make(NULL, 0);
    (void)value_text(value_member_c(key, "alg"), &name);
    enum proof_algorithm algorithm = proof_algorithm_from(name);
    return algorithm != PROOF_HS256 && algorithm != PROOF_ALGORITHMS;
}

static void write_key(struct json_writer *w, const msgpack_object *key)
{
    if (key->type != MSGPACK_OBJECT_MAP) {
        json_cstr(w, proof_secret_word);
        return;
    }
    json_open_object(w);
    for (uint32_t i = 0; i < key->via.map.size; i++) {
        const msgpack_object_kv *member = &key->via.map.ptr[i];
        struct slice name;
        if (!value_text(&member->key, &name)) {
            continue;
        }
        json_key_slice(w, name);
        if (is_public(key) || is_named(member, "kid") || is_named(member, "alg")) {
            json_value(w, &member->val);
        } else {
            json_cstr(w, proof_secret_word);
        }
    }
    json_close_object(w);
}

void proof_write_hidden(struct json_writer *w, const msgpack_object *proof)
{
    const msgpack_object *keys = value_member_c(proof, "keys");
    const msgpack_object *bind = value_member_c(proof, "bind");
    json_open_object(w);
    if (value_is(keys, MSGPACK_OBJECT_ARRAY)) {
        json_key(w, "keys");
        json_open_array(w);
        for (uint32_t i = 0; i < keys->via.array.size; i++) {
            write_key(w, &keys->via.array.ptr[i]);
        }
        json_close_array(w);
    }
    if (bind != NULL) {
        json_key(w, "bind");
        json_value(w, bind);
    }
    json_close_object(w);
}

/* ---- Keeping what was hidden ---- */

bool proof_has_hidden(const msgpack_object *source)
{
    const msgpack_object *keys = keys_of(source);
    bool found = false;
    for (uint32_t i = 0; !found && keys != NULL && i < keys->via.array.size; i++) {
        found = has_word(&keys->via.array.ptr[i]);
    }
    return found;
}

/* The secret that the key had before; its own value where it had none. */
static const msgpack_object *secret_of(const msgpack_object *key, const msgpack_object *before)
{
    const msgpack_object *keys = keys_of(before);
    struct slice kid;
    struct slice other;
    bool has_kid = value_text(value_member_c(key, "kid"), &kid);
    for (uint32_t i = 0; has_kid && keys != NULL && i < keys->via.array.size; i++) {
        const msgpack_object *old = &keys->via.array.ptr[i];
        if (value_text(value_member_c(old, "kid"), &other) && slice_equal(kid, other) &&
            !is_public(old) && value_member_c(old, "key") != NULL) {
            return value_member_c(old, "key");
        }
    }
    return value_member_c(key, "key");
}

static void pack_key(msgpack_packer *k, const msgpack_object *key, const msgpack_object *before)
{
    if (!has_word(key)) {
        msgpack_pack_object(k, *key);
        return;
    }
    msgpack_pack_map(k, key->via.map.size);
    for (uint32_t i = 0; i < key->via.map.size; i++) {
        const msgpack_object_kv *member = &key->via.map.ptr[i];
        msgpack_pack_object(k, member->key);
        msgpack_pack_object(k, is_named(member, "key") ? *secret_of(key, before) : member->val);
    }
}

static void pack_proof(msgpack_packer *k, const msgpack_object *proof, const msgpack_object *before)
{
    msgpack_pack_map(k, proof->via.map.size);
    for (uint32_t i = 0; i < proof->via.map.size; i++) {
        const msgpack_object_kv *member = &proof->via.map.ptr[i];
        msgpack_pack_object(k, member->key);
        if (!is_named(member, "keys") || member->val.type != MSGPACK_OBJECT_ARRAY) {
            msgpack_pack_object(k, member->val);
            continue;
        }
        msgpack_pack_array(k, member->val.via.array.size);
        for (uint32_t n = 0; n < member->val.via.array.size; n++) {
            pack_key(k, &member->val.via.array.ptr[n], before);
        }
    }
}

void proof_restore_hidden(const msgpack_object *source, const msgpack_object *before,
                          struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_map(&k, source->via.map.size);
    for (uint32_t i = 0; i < source->via.map.size; i++) {
        const msgpack_object_kv *member = &source->via.map.ptr[i];
        msgpack_pack_object(&k, member->key);
        if (is_named(member, "proof") && member->val.type == MSGPACK_OBJECT_MAP) {
            pack_proof(&k, &member->val, before);
        } else {
            msgpack_pack_object(&k, member->val);
        }
    }
}
