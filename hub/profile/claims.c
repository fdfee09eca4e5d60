#include "hub/profile/claims.h"

#include "hub/keyspace.h"
#include "shared/limits.h"

/* stored: never renumber */
enum { PARTS = 5, CLAIM_MEMBERS = 6, TRAIT_MEMBERS = 6, DEVICE_MEMBERS = 6 };
enum { HASH_BYTES = 8, FIGURES = 4 };

static uint64_t hash_of_identifier(struct identifier id)
{
    struct key key = key_identifier(id);
    return hash_of(key_slice(&key));
}

/* Bounded lists: where one is full, the entry with the greatest hash makes room, or is not taken.
 */
static bool makes_room(size_t count, size_t max, size_t greatest, uint64_t greatest_hash,
                       uint64_t hash, size_t *ret_at)
{
    *ret_at = count < max ? count : greatest;
    return count < max || hash < greatest_hash;
}

/* ---- Claims ---- */

static struct profile_claim *find_claim(const struct profile *p, struct identifier id,
                                        bool by_server)
{
    for (size_t i = 0; i < p->claim_count; i++) {
        if (p->claims[i].by_server == by_server && slice_equal(p->claims[i].id.value, id.value) &&
            slice_equal(p->claims[i].id.type, id.type)) {
            return &p->claims[i];
        }
    }
    return NULL;
}

bool claims_have(const struct profile *p, struct identifier id)
{
    return find_claim(p, id, false) != NULL || find_claim(p, id, true) != NULL;
}

bool claims_have_own(const struct profile *p, struct identifier id)
{
    return find_claim(p, id, false) != NULL;
}

const struct profile_claim *claims_find(const struct profile *p, struct slice type)
{
    for (size_t i = 0; i < p->claim_count; i++) {
        if (slice_equal(p->claims[i].id.type, type)) {
            return &p->claims[i];
        }
    }
    return NULL;
}

/* The source of the earliest event that made the claim; of two at the same time the lesser. */
static void widen_claim(struct profile *p, struct profile_claim *claim,
                        const struct profile_claim *more)
{
    if (more->first_ms < claim->first_ms ||
        (more->first_ms == claim->first_ms && slice_compare(more->source, claim->source) < 0)) {
        claim->first_ms = more->first_ms;
        claim->source = arena_copy(&p->arena, more->source);
    }
    claim->last_ms = more->last_ms > claim->last_ms ? more->last_ms : claim->last_ms;
}

static uint64_t hash_of_claim(const struct profile_claim *claim)
{
    return hash_of_identifier(claim->id) ^ (uint64_t)claim->by_server;
}

bool claims_add(struct profile *p, const struct profile_claim *claim)
{
    struct profile_claim *found = find_claim(p, claim->id, claim->by_server);
    size_t greatest = 0;
    size_t at;
    if (found != NULL) {
        widen_claim(p, found, claim);
        return false;
    }
    for (size_t i = 1; i < p->claim_count; i++) {
        greatest =
            hash_of_claim(&p->claims[i]) > hash_of_claim(&p->claims[greatest]) ? i : greatest;
    }
    uint64_t greatest_hash = p->claim_count == 0 ? 0 : hash_of_claim(&p->claims[greatest]);
    p->claims_refused += p->claim_count >= CLAIMS_KEPT;
    if (!makes_room(p->claim_count, CLAIMS_KEPT, greatest, greatest_hash, hash_of_claim(claim),
                    &at)) {
        return false;
    }
    p->claims = profile_grow(p, p->claims, at, &p->claim_capacity, sizeof *p->claims);
    p->claim_count = at == p->claim_count ? at + 1 : p->claim_count;
    p->claims[at] = *claim;
    p->claims[at].id.type = arena_copy(&p->arena, claim->id.type);
    p->claims[at].id.value = arena_copy(&p->arena, claim->id.value);
    p->claims[at].source = arena_copy(&p->arena, claim->source);
    return true;
}

void claims_forget(struct profile *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->claim_count; i++) {
        if (p->claims[i].by_server) {
            p->claims[kept++] = p->claims[i];
        }
    }
    p->claim_count = kept;
    p->claimed_trait_count = 0;
}

/* ---- Claimed traits ---- */

static bool is_newer(const struct profile_trait *a, const struct profile_trait *b)
{
    return a->at_ms != b->at_ms ? a->at_ms > b->at_ms
                                : slice_compare(a->message_id, b->message_id) > 0;
}

static struct profile_trait copy_trait(struct profile *p, const struct profile_trait *t)
{
    return (struct profile_trait){arena_copy(&p->arena, t->name), arena_copy(&p->arena, t->value),
                                  t->at_ms, arena_copy(&p->arena, t->message_id),
                                  arena_copy(&p->arena, t->source)};
}

static uint64_t hash_of_claimed(struct slice named, struct slice name)
{
    uint64_t hashes[2] = {hash_of(named), hash_of(name)};
    return hash_of(slice_make((const uint8_t *)hashes, sizeof hashes));
}

static bool set_claimed(struct profile *p, struct slice named, const struct profile_trait *trait)
{
    uint64_t greatest_hash = 0;
    size_t greatest = 0;
    size_t at;
    for (size_t i = 0; i < p->claimed_trait_count; i++) {
        struct profile_claimed_trait *one = &p->claimed_traits[i];
        if (slice_equal(one->named, named) && slice_equal(one->trait.name, trait->name)) {
            bool wins = is_newer(trait, &one->trait);
            one->trait = wins ? copy_trait(p, trait) : one->trait;
            return wins;
        }
        uint64_t hash = hash_of_claimed(one->named, one->trait.name);
        greatest = hash >= greatest_hash ? i : greatest;
        greatest_hash = hash >= greatest_hash ? hash : greatest_hash;
    }
    p->claims_refused += p->claimed_trait_count >= CLAIMED_TRAITS_KEPT;
    if (!makes_room(p->claimed_trait_count, CLAIMED_TRAITS_KEPT, greatest, greatest_hash,
                    hash_of_claimed(named, trait->name), &at)) {
        return false;
    }
    p->claimed_traits = profile_grow(p, p->claimed_traits, at, &p->claimed_trait_capacity,
                                     sizeof *p->claimed_traits);
    p->claimed_trait_count = at == p->claimed_trait_count ? at + 1 : p->claimed_trait_count;
    p->claimed_traits[at] =
        (struct profile_claimed_trait){arena_copy(&p->arena, named), copy_trait(p, trait)};
    return true;
}

bool claims_set_trait(struct profile *p, const struct identifier *named, size_t count,
                      const struct profile_trait *trait)
{
    uint64_t hashes[LIMIT_EVENT_IDENTIFIERS];
    uint8_t bytes[LIMIT_EVENT_IDENTIFIERS * HASH_BYTES];
    struct buf out = {.data = bytes, .capacity = sizeof bytes, .len_max = sizeof bytes};
    for (size_t i = 0; i < count; i++) { /* in order, so that equal sets are equal bytes */
        uint64_t hash = hash_of_identifier(named[i]);
        size_t at = i;
        for (; at > 0 && hashes[at - 1] > hash; at--) {
            hashes[at] = hashes[at - 1];
        }
        hashes[at] = hash;
    }
    for (size_t i = 0; i < count; i++) {
        buf_put_u64(&out, hashes[i]);
    }
    return set_claimed(p, buf_slice(&out), trait);
}

const struct profile_trait *profile_effective_trait(const struct profile *p, struct slice name,
                                                    bool *ret_is_claimed)
{
    const struct profile_trait *found = profile_find_trait(p, name);
    *ret_is_claimed = found == NULL;
    for (size_t i = 0; *ret_is_claimed && i < p->claimed_trait_count; i++) {
        const struct profile_trait *one = &p->claimed_traits[i].trait;
        if (slice_equal(one->name, name) && (found == NULL || is_newer(one, found))) {
            found = one;
        }
    }
    return found;
}

/* ---- Evidence ---- */

static bool is_fact(const struct profile *p, uint64_t hash)
{
    for (size_t i = 0; i < p->identifier_count; i++) {
        if (hash_of_identifier(p->identifiers[i].id) == hash) {
            return true;
        }
    }
    return false;
}

static bool are_facts(const struct profile *p, struct slice named)
{
    bool all = true;
    for (size_t at = 0; all && at + HASH_BYTES <= named.len; at += HASH_BYTES) {
        all = is_fact(p, read_u64(named.data + at));
    }
    return all;
}

bool claims_promote(struct profile *p)
{
    size_t claims = 0;
    size_t traits = 0;
    for (size_t i = 0; i < p->claim_count; i++) {
        struct profile_identifier *fact = profile_find_identifier(p, p->claims[i].id);
        if (fact == NULL) {
            p->claims[claims++] = p->claims[i];
        } else if (!p->claims[i].by_server) {
            (void)profile_see_identifier(p, fact->id, p->claims[i].first_ms, p->claims[i].last_ms);
        }
    }
    bool changed = claims != p->claim_count;
    p->claim_count = claims;
    for (size_t i = 0; changed && i < p->claimed_trait_count; i++) {
        if (are_facts(p, p->claimed_traits[i].named)) {
            (void)profile_set_trait(p, &p->claimed_traits[i].trait);
        } else {
            p->claimed_traits[traits++] = p->claimed_traits[i];
        }
    }
    p->claimed_trait_count = changed ? traits : p->claimed_trait_count;
    return changed;
}

/* ---- Devices ---- */

static bool is_later(const struct profile_consent *a, const struct profile_consent *b)
{
    return a->at_ms != b->at_ms ? a->at_ms > b->at_ms
                                : slice_compare(a->message_id, b->message_id) > 0;
}

bool devices_set_consent(struct profile *p, struct slice device, const struct profile_consent *c)
{
    struct profile_device_consent *found = NULL;
    size_t oldest = 0;
    for (size_t i = 0; i < p->device_consent_count && found == NULL; i++) {
        struct profile_device_consent *one = &p->device_consents[i];
        bool is_it =
            slice_equal(one->consent.category, c->category) && slice_equal(one->device, device);
        found = is_it ? one : NULL;
        oldest = is_later(&p->device_consents[oldest].consent, &one->consent) ? i : oldest;
    }
    bool is_full = p->device_consent_count >= DEVICE_CONSENTS_KEPT;
    if (found != NULL ? !is_later(c, &found->consent)
                      : is_full && !is_later(c, &p->device_consents[oldest].consent)) {
        return false;
    }
    bool changed = found == NULL || found->consent.granted != c->granted;
    if (found == NULL) {
        size_t at = is_full ? oldest : p->device_consent_count;
        p->device_consents = profile_grow(p, p->device_consents, at, &p->device_consent_capacity,
                                          sizeof *p->device_consents);
        p->device_consent_count += !is_full;
        found = &p->device_consents[at];
        found->device = arena_copy(&p->arena, device);
        found->consent.category = arena_copy(&p->arena, c->category);
    }
    found->consent = (struct profile_consent){found->consent.category, c->granted, c->at_ms,
                                              arena_copy(&p->arena, c->message_id),
                                              arena_copy(&p->arena, c->source)};
    return changed;
}

const struct profile_consent *devices_latest_consent(const struct profile *p, struct slice category)
{
    const struct profile_consent *latest = NULL;
    for (size_t i = 0; i < p->device_consent_count; i++) {
        const struct profile_consent *one = &p->device_consents[i].consent;
        if (slice_equal(one->category, category) && (latest == NULL || is_later(one, latest))) {
            latest = one;
        }
    }
    return latest;
}

void claims_merge(struct profile *into, const struct profile *from)
{
    for (size_t i = 0; i < from->claim_count; i++) {
        (void)claims_add(into, &from->claims[i]);
    }
    for (size_t i = 0; i < from->claimed_trait_count; i++) {
        (void)set_claimed(into, from->claimed_traits[i].named, &from->claimed_traits[i].trait);
    }
    for (size_t i = 0; i < from->device_consent_count; i++) {
        (void)devices_set_consent(into, from->device_consents[i].device,
                                  &from->device_consents[i].consent);
    }
    into->keyed_count += from->keyed_count;
    into->claims_refused += from->claims_refused;
    into->traits_refused += from->traits_refused;
}

/* ---- On disk ---- */

static void pack_claims(const struct profile *p, msgpack_packer *k)
{
    msgpack_pack_array(k, p->claim_count * CLAIM_MEMBERS);
    for (size_t i = 0; i < p->claim_count; i++) {
        value_pack_text(k, p->claims[i].id.type);
        value_pack_text(k, p->claims[i].id.value);
        msgpack_pack_int(k, p->claims[i].by_server);
        msgpack_pack_int64(k, p->claims[i].first_ms);
        msgpack_pack_int64(k, p->claims[i].last_ms);
        value_pack_text(k, p->claims[i].source);
    }
    msgpack_pack_array(k, p->claimed_trait_count * TRAIT_MEMBERS);
    for (size_t i = 0; i < p->claimed_trait_count; i++) {
        const struct profile_trait *t = &p->claimed_traits[i].trait;
        value_pack_bin(k, p->claimed_traits[i].named);
        value_pack_text(k, t->name);
        value_pack_bin(k, t->value);
        msgpack_pack_int64(k, t->at_ms);
        value_pack_text(k, t->message_id);
        value_pack_text(k, t->source);
    }
}

void claims_pack(const struct profile *p, msgpack_packer *k)
{
    msgpack_pack_array(k, PARTS);
    pack_claims(p, k);
    msgpack_pack_array(k, p->device_consent_count * DEVICE_MEMBERS);
    for (size_t i = 0; i < p->device_consent_count; i++) {
        const struct profile_consent *c = &p->device_consents[i].consent;
        value_pack_text(k, p->device_consents[i].device);
        value_pack_text(k, c->category);
        msgpack_pack_int(k, c->granted);
        msgpack_pack_int64(k, c->at_ms);
        value_pack_text(k, c->message_id);
        value_pack_text(k, c->source);
    }
    msgpack_pack_array(k, 2 * p->identifier_count);
    for (size_t i = 0; i < p->identifier_count; i++) {
        msgpack_pack_int64(k, p->identifiers[i].evidence_ms);
        msgpack_pack_int64(k, p->identifiers[i].parted_ms);
    }
    msgpack_pack_array(k, FIGURES);
    msgpack_pack_uint64(k, p->claims_refused);
    msgpack_pack_uint64(k, p->traits_refused);
    msgpack_pack_uint64(k, p->keyed_count);
    msgpack_pack_uint64(k, p->keys_id);
}

static bool is_list(const msgpack_object *list, uint32_t width)
{
    return list->type == MSGPACK_OBJECT_ARRAY && list->via.array.size % width == 0;
}

static bool unpack_claims(const msgpack_object *list, struct profile *p)
{
    bool fine = is_list(list, CLAIM_MEMBERS);
    for (uint32_t i = 0; fine && i < list->via.array.size; i += CLAIM_MEMBERS) {
        const msgpack_object *at = &list->via.array.ptr[i];
        struct profile_claim claim = {0};
        int64_t by_server;
        fine = value_text(&at[0], &claim.id.type) && value_text(&at[1], &claim.id.value) &&
               value_int(&at[2], &by_server) && value_int(&at[3], &claim.first_ms) &&
               value_int(&at[4], &claim.last_ms) && value_text(&at[5], &claim.source);
        claim.by_server = fine && by_server != 0;
        fine = fine && claim.id.type.len + claim.id.value.len + 2 < KEY_BYTES_MAX;
        if (fine) {
            (void)claims_add(p, &claim);
        }
    }
    return fine;
}

static bool unpack_traits(const msgpack_object *list, struct profile *p)
{
    bool fine = is_list(list, TRAIT_MEMBERS);
    for (uint32_t i = 0; fine && i < list->via.array.size; i += TRAIT_MEMBERS) {
        const msgpack_object *at = &list->via.array.ptr[i];
        struct profile_trait trait = {0};
        struct slice named;
        fine = value_bin(&at[0], &named) && value_text(&at[1], &trait.name) &&
               value_bin(&at[2], &trait.value) && value_int(&at[3], &trait.at_ms) &&
               value_text(&at[4], &trait.message_id) && value_text(&at[5], &trait.source);
        if (fine) {
            (void)set_claimed(p, named, &trait);
        }
    }
    return fine;
}

static bool unpack_devices(const msgpack_object *list, struct profile *p)
{
    bool fine = is_list(list, DEVICE_MEMBERS);
    for (uint32_t i = 0; fine && i < list->via.array.size; i += DEVICE_MEMBERS) {
        const msgpack_object *at = &list->via.array.ptr[i];
        struct profile_consent consent = {0};
        struct slice device;
        int64_t granted;
        fine = value_text(&at[0], &device) && value_text(&at[1], &consent.category) &&
               value_int(&at[2], &granted) && value_int(&at[3], &consent.at_ms) &&
               value_text(&at[4], &consent.message_id) && value_text(&at[5], &consent.source);
        consent.granted = fine && granted != 0;
        if (fine) {
            (void)devices_set_consent(p, device, &consent);
        }
    }
    return fine;
}

static bool unpack_evidence(const msgpack_object *list, struct profile *p)
{
    bool fine =
        list->type == MSGPACK_OBJECT_ARRAY && list->via.array.size == 2 * p->identifier_count;
    for (size_t i = 0; fine && i < p->identifier_count; i++) {
        fine = value_int(&list->via.array.ptr[2 * i], &p->identifiers[i].evidence_ms) &&
               value_int(&list->via.array.ptr[2 * i + 1], &p->identifiers[i].parted_ms);
    }
    return fine;
}

bool claims_unpack(const msgpack_object *object, struct profile *p)
{
    int64_t claims = 0;
    int64_t traits = 0;
    int64_t keyed = 0;
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != PARTS) {
        return false;
    }
    const msgpack_object *part = object->via.array.ptr;
    bool fine = unpack_claims(&part[0], p) && unpack_traits(&part[1], p) &&
                unpack_devices(&part[2], p) && unpack_evidence(&part[3], p) &&
                part[4].type == MSGPACK_OBJECT_ARRAY && part[4].via.array.size == FIGURES &&
                value_int(&part[4].via.array.ptr[0], &claims) &&
                value_int(&part[4].via.array.ptr[1], &traits) &&
                value_int(&part[4].via.array.ptr[2], &keyed) &&
                part[4].via.array.ptr[3].type == MSGPACK_OBJECT_POSITIVE_INTEGER;
    p->keyed_count = (uint64_t)keyed;
    p->keys_id = fine ? part[4].via.array.ptr[3].via.u64 : 0;
    p->claims_refused = (uint64_t)claims;
    p->traits_refused = (uint64_t)traits;
    return fine;
}
