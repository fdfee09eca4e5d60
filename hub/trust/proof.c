#include "hub/trust/proof.h"

#include <sodium.h>
#include <stdlib.h>
#include "hub/trust/jwt.h"
#include "hub/trust/proof_cache.h"
#include "shared/json.h"
#include "shared/limits.h"

enum { NUMBERS_BYTES = 512, SECONDS_MAX = 100000000000 /* the year 5138; 1973 in milliseconds */ };

struct proof_verifier {
    struct jwt_reader *reader;
    struct proof_cache *cache;
    uint8_t cache_key[crypto_shorthash_siphashx24_KEYBYTES];
    struct buf hashed;
    struct arena numbers; /* of names that were numbers */
    uint64_t remembered;
    uint64_t verified;
    size_t type_count;
    struct slice types[PROOF_TYPES_MAX];
    struct arena types_arena;
};

static const struct {
    const char *name;
    const char *advice;
} faults[PROOF_FAULTS] = {
    [PROOF_VALID] = {"valid", "Nothing is wrong with it."},
    [PROOF_NO_KEYS] = {"no-keys", "The source has no keys: put those of the site's server into its "
                                  "definition, under \"proof\"."},
    [PROOF_TOO_LONG] = {"too-long",
                        "The token is longer than 4,096 bytes: sign only who the visitor is."},
    [PROOF_MALFORMED] = {"malformed",
                         "This is no compact JWT: three parts in base64url without padding, with "
                         "JSON objects that name nothing twice, and no \"crit\"."},
    [PROOF_WRONG_ALGORITHM] =
        {"wrong-algorithm", "The token's \"alg\" is not that of the key: the source's definition "
                            "says which each key is for."},
    [PROOF_UNKNOWN_KEY] = {"unknown-key", "No key of the source has the token's \"kid\"."},
    [PROOF_BAD_SIGNATURE] = {"bad-signature",
                             "The signature is not of the source's key: is it the key that the "
                             "site's server signs with, and the same form of the secret?"},
    [PROOF_WRONG_AUDIENCE] = {"wrong-audience", "\"aud\" must be the id of the source."},
    [PROOF_NO_LIFETIME] = {"no-lifetime",
                           "\"iat\" and \"exp\" must be there, and \"exp\" the later."},
    [PROOF_TIMES_NOT_IN_SECONDS] = {"times-not-in-seconds",
                                    "\"iat\", \"exp\" and \"nbf\" are seconds since 1970, not "
                                    "milliseconds."},
    [PROOF_LIVES_TOO_LONG] = {"lives-too-long", "\"exp\" may be at most 24 hours after \"iat\"."},
    [PROOF_NAMES_NOBODY] = {"names-nobody",
                            "The token has neither \"sub\" nor another identifier, as \"email\"."},
    [PROOF_BAD_NAME] = {"bad-name", "An identifier must be a text of 1 to 256 bytes or a whole "
                                    "number, and \"user_id\" the same as \"sub\"."},
    [PROOF_NO_BROWSER] = {"no-browser",
                          "\"aid\" must be the visitor's anonymous id, so that nobody else can use "
                          "the token; or the source says \"bind\": \"optional\"."},
    [PROOF_OTHER_BROWSER] = {"other-browser",
                             "\"aid\" is not the anonymous id that the event came with."},
    [PROOF_NOT_YET_VALID] = {"not-yet-valid", "The event is older than the token: is the clock of "
                                              "the site's server right?"},
    [PROOF_EXPIRED] = {"expired", "The token had expired when the event happened: give the page a "
                                  "new one with each sign-in and each page."},
    [PROOF_RECEIVED_TOO_LATE] = {"received-too-late",
                                 "The event came more than 7 days after the token had expired."},
};

const char *proof_fault_name(enum proof_fault fault)
{
    return fault < PROOF_FAULTS ? faults[fault].name : "";
}

const char *proof_fault_advice(enum proof_fault fault)
{
    return fault < PROOF_FAULTS ? faults[fault].advice : "";
}

struct proof_verifier *proof_verifier_new(struct rand *rand, size_t slots)
{
    struct proof_verifier *v = memory_allocate_zeroed(sizeof *v);
    v->reader = jwt_reader_new();
    v->cache = proof_cache_new(slots);
    rand_fill(rand, v->cache_key, sizeof v->cache_key);
    buf_init(&v->hashed, PROOF_DIGEST_BYTES + sizeof(uint32_t) + LIMIT_NAME_BYTES + JWT_BYTES_MAX);
    arena_init(&v->numbers, NUMBERS_BYTES);
    arena_init(&v->types_arena, NUMBERS_BYTES);
    return v;
}

void proof_verifier_free(struct proof_verifier **verifier)
{
    struct proof_verifier *v = *verifier;
    if (v != NULL) {
        jwt_reader_free(&v->reader);
        proof_cache_free(&v->cache);
        buf_done(&v->hashed);
        arena_done(&v->numbers);
        arena_done(&v->types_arena);
        free(v);
        *verifier = NULL;
    }
}

void proof_verifier_set_types(struct proof_verifier *v, const struct slice *types, size_t count)
{
    ensure(count <= PROOF_TYPES_MAX);
    arena_clear(&v->types_arena);
    for (size_t i = 0; i < count; i++) {
        v->types[i] = arena_copy(&v->types_arena, types[i]);
    }
    v->type_count = count;
    /* What a token names was read by the types before. */
    proof_cache_clear(v->cache);
}

/* ---- What holds of a token whatever event brought it ---- */

static enum proof_fault check_signature(const struct proof_keys *keys, const struct jwt *jwt,
                                        struct slice *ret_kid)
{
    enum proof_algorithm algorithm = proof_algorithm_from(jwt->algorithm);
    unsigned tries = 0;
    bool has_kid = false;
    for (size_t i = 0; i < proof_keys_count(keys); i++) {
        const struct proof_key *key = proof_keys_at(keys, i);
        *ret_kid = proof_keys_kid(keys, i);
        if (jwt->kid.len > 0 && !slice_equal(jwt->kid, *ret_kid)) {
            continue;
        }
        has_kid = true;
        if (proof_key_algorithm(key) == algorithm && tries++ < PROOF_TRIES_MAX &&
            proof_key_verify(key, jwt->signed_bytes, jwt->signature)) {
            return PROOF_VALID;
        }
    }
    return !has_kid ? PROOF_UNKNOWN_KEY : tries == 0 ? PROOF_WRONG_ALGORITHM : PROOF_BAD_SIGNATURE;
}

static bool is_text(const struct json_doc *doc, size_t at, struct slice text)
{
    return json_doc_kind(doc, at) == JSON_TEXT && slice_equal(json_doc_text(doc, at), text);
}

static bool is_for(const struct jwt *jwt, struct slice source_id)
{
    const struct json_doc *doc = &jwt->claims;
    size_t audience = jwt_claim(jwt, slice_text("aud"));
    bool found = audience != 0 && is_text(doc, audience, source_id);
    if (audience != 0 && json_doc_kind(doc, audience) == JSON_ARRAY) {
        for (size_t at = json_doc_first(audience); !found && !json_doc_is_end(doc, at);
             at = json_doc_next(doc, at)) {
            found = is_text(doc, at, source_id);
        }
    }
    return found;
}

/* A moment that the token gives in seconds, also in parts of them. */
static enum proof_fault read_moment(const struct jwt *jwt, const char *name, int64_t *ret_ms)
{
    size_t at = jwt_claim(jwt, slice_text(name));
    enum json_kind kind = at == 0 ? JSON_NULL : json_doc_kind(&jwt->claims, at);
    double seconds = kind == JSON_INT      ? (double)json_doc_int(&jwt->claims, at)
                     : kind == JSON_DOUBLE ? json_doc_double(&jwt->claims, at)
                                           : -1;
    if (seconds < 0) {
        return PROOF_NO_LIFETIME;
    }
    if (seconds > (double)SECONDS_MAX) {
        return PROOF_TIMES_NOT_IN_SECONDS;
    }
    *ret_ms = (int64_t)(seconds * 1000);
    return PROOF_VALID;
}

static enum proof_fault read_lifetime(const struct jwt *jwt, struct proof_facts *ret)
{
    enum proof_fault fault = read_moment(jwt, "iat", &ret->claims.issued_ms);
    if (fault == PROOF_VALID) {
        fault = read_moment(jwt, "exp", &ret->claims.expires_ms);
    }
    ret->not_before_ms = ret->claims.issued_ms;
    if (fault == PROOF_VALID && jwt_claim(jwt, slice_text("nbf")) != 0) {
        fault = read_moment(jwt, "nbf", &ret->not_before_ms);
    }
    if (fault != PROOF_VALID) {
        return fault;
    }
    if (ret->not_before_ms < ret->claims.issued_ms) {
        ret->not_before_ms = ret->claims.issued_ms;
    }
    int64_t lifetime = ret->claims.expires_ms - ret->claims.issued_ms;
    return lifetime <= 0                  ? PROOF_NO_LIFETIME
           : lifetime > PROOF_LIFETIME_MS ? PROOF_LIVES_TOO_LONG
                                          : PROOF_VALID;
}

/* Sites number their customers, and PHP signs a number as one. */
static bool read_name(struct proof_verifier *v, const struct jwt *jwt, size_t at, struct slice *ret)
{
    enum json_kind kind = json_doc_kind(&jwt->claims, at);
    if (kind == JSON_INT || kind == JSON_UINT) {
        *ret = json_number_text(&jwt->claims, at, &v->numbers);
    } else if (kind == JSON_TEXT) {
        *ret = json_doc_text(&jwt->claims, at);
    } else {
        return false;
    }
    return ret->len > 0 && ret->len <= LIMIT_IDENTIFIER_BYTES;
}

/* An identifier under the name of its type, where it is there. */
static enum proof_fault add_name(struct proof_verifier *v, const struct jwt *jwt,
                                 struct slice claim, struct slice type, struct proof_claims *ret)
{
    struct slice value;
    size_t at = jwt_claim(jwt, claim);
    if (at == 0) {
        return PROOF_VALID;
    }
    if (!read_name(v, jwt, at, &value)) {
        return PROOF_BAD_NAME;
    }
    for (size_t i = 0; i < ret->count; i++) {
        if (slice_equal(ret->named[i].type, type)) {
            return slice_equal(ret->named[i].value, value) ? PROOF_VALID : PROOF_BAD_NAME;
        }
    }
    if (ret->count == PROOF_NAMES_MAX) {
        return PROOF_BAD_NAME;
    }
    ret->named[ret->count++] = (struct identifier){type, value};
    return PROOF_VALID;
}

static enum proof_fault read_names(struct proof_verifier *v, const struct jwt *jwt,
                                   struct proof_claims *ret)
{
    enum proof_fault fault = add_name(v, jwt, slice_text("sub"), slice_text("user_id"), ret);
    for (size_t i = 0; fault == PROOF_VALID && i < v->type_count; i++) {
        fault = add_name(v, jwt, v->types[i], v->types[i], ret);
    }
    return fault == PROOF_VALID && ret->count == 0 ? PROOF_NAMES_NOBODY : fault;
}

static enum proof_fault read_browser(const struct jwt *jwt, struct proof_facts *ret)
{
    const struct slice nothing = slice_make(NULL, 0);
    size_t at = jwt_claim(jwt, slice_text("aid"));
    if (at == 0) {
        return PROOF_VALID;
    }
    ret->has_browser = true;
    ret->browser =
        json_doc_kind(&jwt->claims, at) == JSON_TEXT ? json_doc_text(&jwt->claims, at) : nothing;
    if (ret->browser.len == 0 || ret->browser.len > LIMIT_IDENTIFIER_BYTES) {
        return PROOF_OTHER_BROWSER;
    }
    return PROOF_VALID;
}

/* The signature first: what nobody signed is not looked into. */
static enum proof_fault find_facts(struct proof_verifier *v, const struct proof_keys *keys,
                                   const struct proof_check *check, struct proof_facts *ret)
{
    struct jwt jwt;
    if (!jwt_read(v->reader, check->token, &jwt)) {
        return PROOF_MALFORMED;
    }
    enum proof_fault fault = check_signature(keys, &jwt, &ret->claims.kid);
    if (fault == PROOF_VALID && !is_for(&jwt, check->source_id)) {
        fault = PROOF_WRONG_AUDIENCE;
    }
    if (fault == PROOF_VALID) {
        fault = read_lifetime(&jwt, ret);
    }
    if (fault == PROOF_VALID) {
        fault = read_names(v, &jwt, &ret->claims);
    }
    return fault == PROOF_VALID ? read_browser(&jwt, ret) : fault;
}

static void verify_anew(struct proof_verifier *v, const struct proof_keys *keys,
                        const struct proof_check *check, struct proof_facts *ret)
{
    arena_clear(&v->numbers);
    *ret = (struct proof_facts){.fault = PROOF_VALID};
    enum proof_fault fault = find_facts(v, keys, check, ret);
    if (fault != PROOF_VALID) {
        *ret = (struct proof_facts){.fault = fault};
    }
}

static void recall(struct proof_verifier *v, const struct proof_keys *keys,
                   const struct proof_check *check, struct proof_facts *ret)
{
    uint8_t key[PROOF_CACHE_KEY_BYTES];
    _Static_assert(sizeof key == crypto_shorthash_siphashx24_BYTES, "the hash is the key");
    buf_clear(&v->hashed);
    buf_put(&v->hashed, proof_keys_digest(keys), PROOF_DIGEST_BYTES);
    buf_put_u32(&v->hashed, (uint32_t)check->source_id.len);
    buf_put_slice(&v->hashed, check->source_id);
    buf_put_slice(&v->hashed, check->token);
    (void)crypto_shorthash_siphashx24(key, v->hashed.data, v->hashed.len, v->cache_key);
    if (proof_cache_find(v->cache, key, ret)) {
        v->remembered++;
    } else {
        verify_anew(v, keys, check, ret);
        proof_cache_put(v->cache, key, ret);
        v->verified++;
    }
}

/* ---- What depends on the event ---- */

static enum proof_fault check_event(const struct proof_keys *keys, const struct proof_facts *facts,
                                    const struct proof_check *check)
{
    if (!facts->has_browser && proof_keys_bind(keys)) {
        return PROOF_NO_BROWSER;
    }
    if (facts->has_browser && !slice_equal(facts->browser, check->anonymous_id)) {
        return PROOF_OTHER_BROWSER;
    }
    if (check->event_ms < facts->not_before_ms - PROOF_GRACE_MS) {
        return PROOF_NOT_YET_VALID;
    }
    if (check->event_ms > facts->claims.expires_ms + PROOF_GRACE_MS) {
        return PROOF_EXPIRED;
    }
    return check->received_ms > facts->claims.expires_ms + PROOF_LATE_MS ? PROOF_RECEIVED_TOO_LATE
                                                                         : PROOF_VALID;
}

enum proof_fault proof_verify(struct proof_verifier *v, const struct proof_keys *keys,
                              const struct proof_check *check, struct proof_claims *ret)
{
    struct proof_facts facts;
    if (keys == NULL) {
        return PROOF_NO_KEYS;
    }
    if (check->token.len > JWT_BYTES_MAX) {
        return PROOF_TOO_LONG;
    }
    ensure(check->source_id.len <= LIMIT_NAME_BYTES);
    recall(v, keys, check, &facts);
    enum proof_fault fault =
        facts.fault == PROOF_VALID ? check_event(keys, &facts, check) : facts.fault;
    if (fault == PROOF_VALID) {
        *ret = facts.claims;
    }
    return fault;
}

uint64_t proof_verifier_remembered(const struct proof_verifier *v)
{
    return v->remembered;
}

uint64_t proof_verifier_verified(const struct proof_verifier *v)
{
    return v->verified;
}
