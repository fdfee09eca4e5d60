#include "hub/profile/profile.h"

#include <sodium.h>
#include <stdlib.h>
#include "hub/profile/claims.h"
#include "hub/profile/purchases.h"
#include "shared/limits.h"

enum { ARENA_CHUNK = 512, REFUSED_MAX = 64 };

struct profile_id profile_id_make(int64_t ms, uint16_t partition, uint64_t hash)
{
    struct profile_id id;
    struct buf out = {.data = id.bytes, .capacity = sizeof id.bytes, .len_max = sizeof id.bytes};
    buf_put_u64(&out, (uint64_t)ms << 16 | partition);
    buf_put_u64(&out, hash);
    return id;
}

uint16_t profile_id_partition(struct profile_id id)
{
    return read_u16(id.bytes + 6);
}

int profile_id_compare(struct profile_id a, struct profile_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes);
}

struct slice profile_id_slice(const struct profile_id *id)
{
    return slice_make(id->bytes, sizeof id->bytes);
}

bool profile_id_from_slice(struct slice bytes, struct profile_id *ret)
{
    if (bytes.len != sizeof ret->bytes) {
        return false;
    }
    memcpy(ret->bytes, bytes.data, sizeof ret->bytes);
    return true;
}

bool profile_id_from_hex(struct slice text, struct profile_id *ret)
{
    size_t len = 0;
    return text.len == 2 * sizeof ret->bytes &&
           sodium_hex2bin(ret->bytes, sizeof ret->bytes, (const char *)text.data, text.len, NULL,
                          &len, NULL) == 0 &&
           len == sizeof ret->bytes;
}

struct profile_id_text profile_id_hex(struct profile_id id)
{
    struct profile_id_text text;
    sodium_bin2hex(text.text, sizeof text.text, id.bytes, sizeof id.bytes);
    return text;
}

struct profile *profile_new(struct profile_id id)
{
    struct profile *p = memory_allocate_zeroed(sizeof *p);
    p->id = id;
    p->created_ms = INT64_MAX;
    arena_init(&p->arena, ARENA_CHUNK);
    return p;
}

void profile_free(struct profile **profile)
{
    if (*profile != NULL) {
        arena_done(&(*profile)->arena);
        free(*profile);
        *profile = NULL;
    }
}

/* Arrays double in the arena and leave their old selves behind, which
 * go when the profile is unloaded. */
void *profile_grow(struct profile *p, void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    size_t more = *capacity == 0 ? 4 : *capacity * 2;
    void *bigger = arena_allocate(&p->arena, more * size);
    if (count > 0) {
        memcpy(bigger, array, count * size);
    }
    *capacity = more;
    return bigger;
}

#define GROW(p, field)                                                                             \
    ((p)->field##s = profile_grow((p), (p)->field##s, (p)->field##_count, &(p)->field##_capacity,  \
                                  sizeof *(p)->field##s))

struct profile_identifier *profile_find_identifier(const struct profile *p, struct identifier id)
{
    for (size_t i = 0; i < p->identifier_count; i++) {
        if (slice_equal(p->identifiers[i].id.value, id.value) &&
            slice_equal(p->identifiers[i].id.type, id.type)) {
            return &p->identifiers[i];
        }
    }
    return NULL;
}

static bool is_browser(struct identifier id)
{
    return slice_is(id.type, "anonymous_id");
}

/* Somebody with very many browsers: what names the person takes the place of the browser that was
 * not seen for longest. */
static bool make_room(struct profile *p, struct identifier id)
{
    struct profile_identifier *oldest = NULL;
    for (size_t i = 0; !is_browser(id) && i < p->identifier_count; i++) {
        struct profile_identifier *one = &p->identifiers[i];
        if (is_browser(one->id) && (oldest == NULL || one->last_seen_ms < oldest->last_seen_ms)) {
            oldest = one;
        }
    }
    if (oldest != NULL) {
        profile_drop_identifier(p, oldest->id);
    }
    return oldest != NULL;
}

bool profile_see_identifier(struct profile *p, struct identifier id, int64_t first_ms,
                            int64_t last_ms)
{
    struct profile_identifier *found = profile_find_identifier(p, id);
    if (found != NULL) {
        found->first_seen_ms = first_ms < found->first_seen_ms ? first_ms : found->first_seen_ms;
        found->last_seen_ms = last_ms > found->last_seen_ms ? last_ms : found->last_seen_ms;
        return false;
    }
    if (p->identifier_count >= LIMIT_PROFILE_IDENTIFIERS && !make_room(p, id)) {
        return false;
    }
    GROW(p, identifier);
    p->identifiers[p->identifier_count++] = (struct profile_identifier){
        {arena_copy(&p->arena, id.type), arena_copy(&p->arena, id.value)},
        first_ms,
        last_ms,
        0,
        0,
        0};
    return true;
}

void profile_part_identifier(struct profile *p, struct identifier id, int64_t at_ms)
{
    struct profile_identifier *found = at_ms > 0 ? profile_find_identifier(p, id) : NULL;
    if (found != NULL && at_ms > found->parted_ms) {
        found->parted_ms = at_ms;
    }
}

void profile_prove_identifier(struct profile *p, struct identifier id, int64_t at_ms)
{
    struct profile_identifier *found = at_ms > 0 ? profile_find_identifier(p, id) : NULL;
    if (found != NULL && at_ms > found->evidence_ms) {
        found->evidence_ms = at_ms;
    }
}

/* The bit of a collector in seen_at; 0: it has no interest. */
static uint64_t place_bit(const struct profile *p, uint32_t collector)
{
    const struct profile_interest *interest = profile_find_interest(p, collector);
    return interest == NULL ? 0 : UINT64_C(1) << (interest - p->interests);
}

bool profile_see_at(struct profile *p, struct profile_identifier *identifier, uint32_t collector)
{
    uint64_t before = identifier->seen_at;
    identifier->seen_at |= place_bit(p, collector);
    return identifier->seen_at != before;
}

bool profile_is_seen_at(const struct profile *p, const struct profile_identifier *identifier,
                        uint32_t collector)
{
    return (identifier->seen_at & place_bit(p, collector)) != 0;
}

void profile_drop_identifier(struct profile *p, struct identifier id)
{
    struct profile_identifier *found = profile_find_identifier(p, id);
    if (found != NULL) {
        size_t at = (size_t)(found - p->identifiers);
        p->identifier_count--;
        memmove(found, found + 1, (p->identifier_count - at) * sizeof *found);
    }
}

size_t profile_count_identifiers(const struct profile *p, struct slice type)
{
    size_t count = 0;
    for (size_t i = 0; i < p->identifier_count; i++) {
        count += slice_equal(p->identifiers[i].id.type, type);
    }
    return count;
}

struct profile_trait *profile_find_trait(const struct profile *p, struct slice name)
{
    for (size_t i = 0; i < p->trait_count; i++) {
        if (slice_equal(p->traits[i].name, name)) {
            return &p->traits[i];
        }
    }
    return NULL;
}

static bool is_newer(int64_t at_a, struct slice message_a, int64_t at_b, struct slice message_b)
{
    return at_a != at_b ? at_a > at_b : slice_compare(message_a, message_b) > 0;
}

static struct profile_trait copy_trait(struct profile *p, const struct profile_trait *t)
{
    return (struct profile_trait){arena_copy(&p->arena, t->name), arena_copy(&p->arena, t->value),
                                  t->at_ms, arena_copy(&p->arena, t->message_id),
                                  arena_copy(&p->arena, t->source)};
}

bool profile_set_trait(struct profile *p, const struct profile_trait *t)
{
    struct profile_trait *found = profile_find_trait(p, t->name);
    if (found != NULL) {
        if (!is_newer(t->at_ms, t->message_id, found->at_ms, found->message_id)) {
            return false;
        }
        bool changed = !slice_equal(found->value, t->value);
        if (changed) {
            *found = copy_trait(p, t);
        } else {
            found->at_ms = t->at_ms;
            found->message_id = arena_copy(&p->arena, t->message_id);
            found->source = arena_copy(&p->arena, t->source);
        }
        return changed;
    }
    if (p->trait_count >= LIMIT_PROFILE_TRAITS) {
        p->traits_refused++;
        return false;
    }
    GROW(p, trait);
    p->traits[p->trait_count++] = copy_trait(p, t);
    return true;
}

bool profile_set_consent(struct profile *p, const struct profile_consent *c)
{
    struct profile_consent copy = *c;
    struct profile_consent *found = NULL;
    for (size_t i = 0; i < p->consent_count && found == NULL; i++) {
        found = slice_equal(p->consents[i].category, c->category) ? &p->consents[i] : NULL;
    }
    if (found != NULL && !is_newer(c->at_ms, c->message_id, found->at_ms, found->message_id)) {
        return false;
    }
    if (found == NULL && p->consent_count >= LIMIT_CONSENT_CATEGORIES) {
        return false;
    }
    bool changed = found == NULL || found->granted != c->granted;
    if (found == NULL) {
        GROW(p, consent);
        found = &p->consents[p->consent_count++];
        copy.category = arena_copy(&p->arena, c->category);
    } else {
        copy.category = found->category;
    }
    copy.message_id = arena_copy(&p->arena, c->message_id);
    copy.source = arena_copy(&p->arena, c->source);
    *found = copy;
    return changed;
}

struct profile_state *profile_find_state(const struct profile *p, uint64_t condition)
{
    for (size_t i = 0; i < p->state_count; i++) {
        if (p->states[i].condition == condition) {
            return &p->states[i];
        }
    }
    return NULL;
}

struct profile_state *profile_make_state(struct profile *p, uint64_t condition)
{
    struct profile_state *found = profile_find_state(p, condition);
    if (found == NULL) {
        GROW(p, state);
        found = &p->states[p->state_count++];
        *found = (struct profile_state){.condition = condition};
    }
    return found;
}

void profile_drop_state(struct profile *p, uint64_t condition)
{
    struct profile_state *found = profile_find_state(p, condition);
    if (found != NULL) {
        *found = p->states[--p->state_count];
    }
}

void profile_state_add(struct profile *p, struct profile_state *state, int64_t ms)
{
    size_t capacity = state->capacity;
    state->times = profile_grow(p, state->times, state->count, &capacity, sizeof *state->times);
    state->capacity = (uint32_t)capacity;
    uint32_t at = state->count++;
    for (; at > 0 && state->times[at - 1] > ms; at--) {
        state->times[at] = state->times[at - 1];
    }
    state->times[at] = ms;
}

struct profile_membership *profile_find_membership(const struct profile *p, uint32_t segment)
{
    for (size_t i = 0; i < p->membership_count; i++) {
        if (p->memberships[i].segment == segment) {
            return &p->memberships[i];
        }
    }
    return NULL;
}

void profile_enter(struct profile *p, uint32_t segment, int64_t since_ms)
{
    GROW(p, membership);
    p->memberships[p->membership_count++] = (struct profile_membership){segment, since_ms};
}

void profile_leave(struct profile *p, uint32_t segment)
{
    struct profile_membership *found = profile_find_membership(p, segment);
    if (found != NULL) {
        *found = p->memberships[--p->membership_count];
    }
}

struct profile_interest *profile_find_interest(const struct profile *p, uint32_t collector)
{
    for (size_t i = 0; i < p->interest_count; i++) {
        if (p->interests[i].collector == collector) {
            return &p->interests[i];
        }
    }
    return NULL;
}

bool profile_was_told(const struct profile *p)
{
    for (size_t i = 0; i < p->interest_count; i++) {
        if (p->interests[i].sequence > 0) {
            return true;
        }
    }
    return false;
}

/* Those behind it move up, and with them their bits. */
static void drop_interest(struct profile *p, size_t at)
{
    uint64_t before = (UINT64_C(1) << at) - 1;
    p->interest_count--;
    memmove(&p->interests[at], &p->interests[at + 1],
            (p->interest_count - at) * sizeof *p->interests);
    for (size_t i = 0; i < p->identifier_count; i++) {
        uint64_t bits = p->identifiers[i].seen_at;
        p->identifiers[i].seen_at = (bits & before) | (bits >> 1 & ~before);
    }
}

struct profile_interest *profile_make_interest(struct profile *p, uint32_t collector,
                                               bool *ret_is_new)
{
    struct profile_interest *found = profile_find_interest(p, collector);
    *ret_is_new = found == NULL;
    if (found != NULL) {
        return found;
    }
    size_t shared = profile_find_interest(p, SHARED_OUTBOX) != NULL;
    if (p->interest_count >= LIMIT_PROFILE_COLLECTORS + shared) {
        drop_interest(p, p->interests[0].collector == SHARED_OUTBOX);
    }
    GROW(p, interest);
    struct profile_interest *made = &p->interests[p->interest_count++];
    *made = (struct profile_interest){.collector = collector};
    return made;
}

void profile_add_merged(struct profile *p, struct profile_id id)
{
    p->merged = profile_grow(p, p->merged, p->merged_count, &p->merged_capacity, sizeof *p->merged);
    p->merged[p->merged_count++] = id;
}

bool profile_add_refused(struct profile *p, uint64_t hash)
{
    for (size_t i = 0; i < p->refused_count; i++) {
        if (p->refused[i] == hash) {
            return false;
        }
    }
    if (p->refused_count >= REFUSED_MAX) {
        memmove(p->refused, p->refused + 1, (p->refused_count - 1) * sizeof *p->refused);
        p->refused_count--;
    }
    p->refused =
        profile_grow(p, p->refused, p->refused_count, &p->refused_capacity, sizeof *p->refused);
    p->refused[p->refused_count++] = hash;
    return true;
}

/* What was seen where goes by collectors: their places differ. */
static void merge_interests(struct profile *into, const struct profile *from)
{
    for (size_t i = 0; i < from->interest_count; i++) {
        bool is_new;
        (void)profile_make_interest(into, from->interests[i].collector, &is_new);
    }
    for (size_t i = 0; i < from->identifier_count; i++) {
        const struct profile_identifier *other = &from->identifiers[i];
        struct profile_identifier *id =
            other->seen_at == 0 ? NULL : profile_find_identifier(into, other->id);
        for (size_t at = 0; id != NULL && at < from->interest_count; at++) {
            if ((other->seen_at >> at & 1) != 0) {
                (void)profile_see_at(into, id, from->interests[at].collector);
            }
        }
    }
}

void profile_merge(struct profile *into, const struct profile *from)
{
    into->created_ms = from->created_ms < into->created_ms ? from->created_ms : into->created_ms;
    into->last_seen_ms =
        from->last_seen_ms > into->last_seen_ms ? from->last_seen_ms : into->last_seen_ms;
    into->event_count += from->event_count;
    into->version = (from->version > into->version ? from->version : into->version) + 1;
    for (size_t i = 0; i < from->identifier_count; i++) {
        const struct profile_identifier *id = &from->identifiers[i];
        (void)profile_see_identifier(into, id->id, id->first_seen_ms, id->last_seen_ms);
        profile_prove_identifier(into, id->id, id->evidence_ms);
        profile_part_identifier(into, id->id, id->parted_ms);
    }
    for (size_t i = 0; i < from->trait_count; i++) {
        (void)profile_set_trait(into, &from->traits[i]);
    }
    for (size_t i = 0; i < from->consent_count; i++) {
        (void)profile_set_consent(into, &from->consents[i]);
    }
    for (size_t i = 0; i < from->state_count; i++) {
        struct profile_state *state = profile_make_state(into, from->states[i].condition);
        for (uint32_t t = 0; t < from->states[i].count; t++) {
            profile_state_add(into, state, from->states[i].times[t]);
        }
    }
    claims_merge(into, from);
    merge_interests(into, from);
    purchases_merge(into, from);
    profile_add_merged(into, from->id);
    for (size_t i = 0; i < from->merged_count; i++) {
        profile_add_merged(into, from->merged[i]);
    }
}
