#include "shared/suppression.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/cursor.h"

/* Open addressing: the hashes are random already, so their first bytes are the place to begin.
 * A place of all zeroes is free; the one hash that is zero is as good as impossible. */
struct suppression_set {
    uint8_t key[SUPPRESSION_KEY_BYTES];
    size_t count;
    size_t capacity; /* a power of two, or 0 */
    struct suppression_hash *places;
};

static const struct suppression_hash free_place;

struct suppression_set *suppression_set_new(void)
{
    return memory_allocate_zeroed(sizeof(struct suppression_set));
}

void suppression_set_free(struct suppression_set **set)
{
    if (*set != NULL) {
        sodium_memzero((*set)->key, sizeof(*set)->key);
        free((*set)->places);
        free(*set);
        *set = NULL;
    }
}

void suppression_set_key(struct suppression_set *set, const uint8_t key[SUPPRESSION_KEY_BYTES])
{
    memcpy(set->key, key, sizeof set->key);
}

size_t suppression_set_count(const struct suppression_set *set)
{
    return set->count;
}

static bool is_same(const struct suppression_hash *a, const struct suppression_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static size_t home(const struct suppression_set *set, const struct suppression_hash *hash)
{
    return (size_t)read_u64(hash->bytes) & (set->capacity - 1);
}

/* Where the hash is, or the free place where it would be. */
static size_t place_of(const struct suppression_set *set, const struct suppression_hash *hash)
{
    size_t at = home(set, hash);
    while (!is_same(&set->places[at], &free_place) && !is_same(&set->places[at], hash)) {
        at = (at + 1) & (set->capacity - 1);
    }
    return at;
}

bool suppression_set_has(const struct suppression_set *set, struct suppression_hash hash)
{
    return set->count > 0 && !is_same(&hash, &free_place) &&
           is_same(&set->places[place_of(set, &hash)], &hash);
}

static void grow(struct suppression_set *set)
{
    struct suppression_hash *old = set->places;
    size_t old_capacity = set->capacity;
    set->capacity = old_capacity == 0 ? 64 : old_capacity * 2;
    set->places = memory_allocate_zeroed(set->capacity * sizeof *set->places);
    for (size_t i = 0; i < old_capacity; i++) {
        if (!is_same(&old[i], &free_place)) {
            set->places[place_of(set, &old[i])] = old[i];
        }
    }
    free(old);
}

static void add(struct suppression_set *set, const struct suppression_hash *hash)
{
    if (set->count * 5 >= set->capacity * 4) {
        grow(set);
    }
    size_t at = place_of(set, hash);
    if (is_same(&set->places[at], &free_place)) {
        set->places[at] = *hash;
        set->count++;
    }
}

/* What stands behind it moves up, so that nothing becomes unreachable. */
static void take_out(struct suppression_set *set, const struct suppression_hash *hash)
{
    if (set->count == 0) {
        return;
    }
    size_t hole = place_of(set, hash);
    if (is_same(&set->places[hole], &free_place)) {
        return;
    }
    size_t mask = set->capacity - 1;
    for (size_t at = (hole + 1) & mask; !is_same(&set->places[at], &free_place);
         at = (at + 1) & mask) {
        size_t wanted = home(set, &set->places[at]);
        if (((at - wanted) & mask) >= ((at - hole) & mask)) {
            set->places[hole] = set->places[at];
            hole = at;
        }
    }
    set->places[hole] = free_place;
    set->count--;
}

bool suppression_are_changes(struct slice changes)
{
    bool fine = changes.len % SUPPRESSION_CHANGE_BYTES == 0;
    for (size_t i = 0; fine && i < changes.len; i += SUPPRESSION_CHANGE_BYTES) {
        fine = changes.data[i] <= 1;
    }
    return fine;
}

bool suppression_set_apply(struct suppression_set *set, struct slice changes)
{
    if (!suppression_are_changes(changes)) {
        return false;
    }
    for (size_t i = 0; i < changes.len; i += SUPPRESSION_CHANGE_BYTES) {
        struct suppression_hash hash;
        memcpy(hash.bytes, changes.data + i + 1, sizeof hash.bytes);
        if (is_same(&hash, &free_place)) {
            continue;
        }
        if (changes.data[i] == 1) {
            add(set, &hash);
        } else {
            take_out(set, &hash);
        }
    }
    return true;
}

struct suppression_hash suppression_hash_of(const struct suppression_set *set, struct identifier id)
{
    struct suppression_hash hash;
    uint8_t bytes[SUPPRESSION_KEY_BYTES + LIMIT_NAME_BYTES + 1 + LIMIT_IDENTIFIER_BYTES];
    struct buf message = {.data = bytes, .capacity = sizeof bytes, .len_max = sizeof bytes};
    buf_put(&message, set->key, sizeof set->key);
    buf_put_slice(&message, id.type);
    buf_put_u8(&message, 0);
    buf_put_slice(&message, id.value);
    crypto_generichash(hash.bytes, sizeof hash.bytes, message.data, message.len, NULL, 0);
    return hash;
}

enum identifier_normalizer suppression_normalizer(const struct suppression_types *types,
                                                  struct slice type)
{
    for (size_t i = 0; i < types->count; i++) {
        if (slice_equal(types->types[i].type, type)) {
            return types->types[i].normalizer;
        }
    }
    return identifier_normalizer_default(type);
}

/* ---- The identifiers of an event ---- */

struct search {
    const struct suppression_set *set;
    const struct suppression_types *types;
    struct arena *arena;
    uint16_t country; /* of the source's national numbers */
};

static bool has_value(const struct search *s, struct slice type, struct slice value)
{
    if (value.len == 0 || type.len == 0 || type.len > LIMIT_NAME_BYTES) {
        return false;
    }
    value = identifier_normalize_in(suppression_normalizer(s->types, type), s->country, value,
                                    s->arena);
    return value.len > 0 &&
           suppression_set_has(s->set,
                               suppression_hash_of(s->set, (struct identifier){type, value}));
}

/* Identifiers are texts or whole numbers. */
static bool has_token(const struct search *s, struct slice type, const struct token *token)
{
    char digits[32];
    if (token->kind == TOKEN_TEXT) {
        return has_value(s, type, token->text);
    }
    if (token->kind != TOKEN_INTEGER) {
        return false;
    }
    int len = snprintf(digits, sizeof digits, "%lld", (long long)token->integer);
    return has_value(s, type, slice_make(digits, (size_t)len));
}

static bool is_trait_type(const struct search *s, struct slice name)
{
    for (size_t i = 0; i < s->types->count; i++) {
        if (slice_equal(s->types->types[i].type, name)) {
            return !slice_is(name, "user_id") && !slice_is(name, "anonymous_id");
        }
    }
    return false;
}

static bool has_trait(const struct search *s, struct cursor traits)
{
    struct token head;
    struct token key;
    struct token value;
    if (!cursor_next(&traits, &head) || head.kind != TOKEN_MAP) {
        return false;
    }
    for (uint32_t i = 0; i < head.count && cursor_next(&traits, &key); i++) {
        struct cursor at = traits;
        if (key.kind == TOKEN_TEXT && is_trait_type(s, key.text) && cursor_next(&at, &value) &&
            has_token(s, key.text, &value)) {
            return true;
        }
        if (!cursor_skip(&traits)) {
            return false;
        }
    }
    return false;
}

static bool has_external_id(const struct search *s, struct cursor ids)
{
    struct token head;
    struct token type;
    struct token id;
    struct cursor type_at;
    struct cursor id_at;
    if (!cursor_next(&ids, &head) || head.kind != TOKEN_ARRAY) {
        return false;
    }
    for (uint32_t i = 0; i < head.count; i++) {
        if (cursor_member(ids, "type", &type_at) && cursor_next(&type_at, &type) &&
            type.kind == TOKEN_TEXT && cursor_member(ids, "id", &id_at) &&
            cursor_next(&id_at, &id) && has_token(s, type.text, &id)) {
            return true;
        }
        if (!cursor_skip(&ids)) {
            return false;
        }
    }
    return false;
}

static bool has_in_body(const struct search *s, const struct event *event)
{
    enum { CONTEXT, TRAITS, PREVIOUS };
    static const char *const names[] = {"context", "traits", "previousId"};
    enum { CONTEXT_TRAITS, EXTERNAL_IDS };
    static const char *const context_names[] = {"traits", "externalIds"};
    struct cursor at[3];
    struct cursor in_context[2];
    struct token previous;
    unsigned found = cursor_members(cursor_of(event->body), names, 3, at);
    if (event->type == EVENT_ALIAS && (found >> PREVIOUS & 1) != 0 &&
        cursor_next(&at[PREVIOUS], &previous) &&
        has_token(s, slice_text("anonymous_id"), &previous)) {
        return true;
    }
    if (event->type == EVENT_IDENTIFY && (found >> TRAITS & 1) != 0 && has_trait(s, at[TRAITS])) {
        return true;
    }
    found =
        (found >> CONTEXT & 1) != 0 ? cursor_members(at[CONTEXT], context_names, 2, in_context) : 0;
    return ((found >> CONTEXT_TRAITS & 1) != 0 && has_trait(s, in_context[CONTEXT_TRAITS])) ||
           ((found >> EXTERNAL_IDS & 1) != 0 && has_external_id(s, in_context[EXTERNAL_IDS]));
}

bool suppression_set_matches(const struct suppression_set *set,
                             const struct suppression_types *types, const struct event *event,
                             struct arena *arena)
{
    struct search s = {set, types, arena, phone_country_of(&types->phone, event->source)};
    return set->count > 0 &&
           (has_value(&s, slice_text("anonymous_id"), event->anonymous_id) ||
            has_value(&s, slice_text("user_id"), event->user_id) || has_in_body(&s, event));
}

/* ---- Cutting them out ---- */

static bool has_object(const struct search *s, struct slice type, const msgpack_object *object)
{
    struct token token = {.kind = TOKEN_TEXT};
    int64_t integer;
    if (value_text(object, &token.text)) {
        return has_token(s, type, &token);
    }
    if (!value_int(object, &integer)) {
        return false;
    }
    token = (struct token){.kind = TOKEN_INTEGER, .integer = integer};
    return has_token(s, type, &token);
}

/* The next member of this name, which a map may have twice, from place *at on; NULL: no more. */
static msgpack_object *next_member(msgpack_object *map, const char *name, uint32_t *at)
{
    while (value_is(map, MSGPACK_OBJECT_MAP) && *at < map->via.map.size) {
        struct slice key;
        msgpack_object_kv *kv = &map->via.map.ptr[(*at)++];
        if (value_text(&kv->key, &key) && slice_is(key, name)) {
            return &kv->val;
        }
    }
    return NULL;
}

static void cut_member(msgpack_object *map, const char *name)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; value_is(map, MSGPACK_OBJECT_MAP) && i < map->via.map.size; i++) {
        struct slice key;
        if (!value_text(&map->via.map.ptr[i].key, &key) || !slice_is(key, name)) {
            map->via.map.ptr[kept++] = map->via.map.ptr[i];
        }
    }
    if (value_is(map, MSGPACK_OBJECT_MAP)) {
        map->via.map.size = kept;
    }
}

static void cut_traits(const struct search *s, msgpack_object *traits)
{
    uint32_t kept = 0;
    if (traits->type != MSGPACK_OBJECT_MAP) {
        return;
    }
    for (uint32_t i = 0; i < traits->via.map.size; i++) {
        const msgpack_object_kv *kv = &traits->via.map.ptr[i];
        struct slice name;
        if (!value_text(&kv->key, &name) || !is_trait_type(s, name) ||
            !has_object(s, name, &kv->val)) {
            traits->via.map.ptr[kept++] = *kv;
        }
    }
    traits->via.map.size = kept;
}

static void cut_external_ids(const struct search *s, msgpack_object *ids)
{
    uint32_t kept = 0;
    if (ids->type != MSGPACK_OBJECT_ARRAY) {
        return;
    }
    for (uint32_t i = 0; i < ids->via.array.size; i++) {
        const msgpack_object *one = &ids->via.array.ptr[i];
        struct slice type;
        if (!value_text(value_member_c(one, "type"), &type) ||
            !has_object(s, type, value_member_c(one, "id"))) {
            ids->via.array.ptr[kept++] = *one;
        }
    }
    ids->via.array.size = kept;
}

/* `cut` each member of this name. */
static void cut_in(const struct search *s, msgpack_object *map, const char *name,
                   void (*cut)(const struct search *s, msgpack_object *member))
{
    uint32_t at = 0;
    for (msgpack_object *m = next_member(map, name, &at); m != NULL;
         m = next_member(map, name, &at)) {
        cut(s, m);
    }
}

static void cut_context(const struct search *s, msgpack_object *context)
{
    cut_in(s, context, "traits", cut_traits);
    cut_in(s, context, "externalIds", cut_external_ids);
    cut_member(context, "proof");
}

static void cut_body(const struct search *s, const struct event *event, msgpack_object *body)
{
    uint32_t at = 0;
    bool cuts_previous = false;
    for (msgpack_object *m = next_member(body, "previousId", &at); m != NULL;
         m = next_member(body, "previousId", &at)) {
        cuts_previous = cuts_previous || has_object(s, slice_text("anonymous_id"), m);
    }
    if (event->type == EVENT_ALIAS && cuts_previous) {
        cut_member(body, "previousId");
    }
    if (event->type == EVENT_IDENTIFY) {
        cut_in(s, body, "traits", cut_traits);
    }
    cut_in(s, body, "context", cut_context);
}

static struct slice make_body(const struct search *s, const struct event *event)
{
    msgpack_zone zone;
    msgpack_object body;
    msgpack_packer packer;
    struct buf out;
    struct error err;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    buf_init(&out, event->body.len + 64);
    struct slice cut = slice_text("\x80"); /* bytes that are no body say nothing */
    if (value_unpack(event->body, &zone, &body, &err)) {
        cut_body(s, event, &body);
        value_packer_init(&packer, &out);
        msgpack_pack_object(&packer, body);
        cut = buf_slice(&out);
    }
    cut = arena_copy(s->arena, cut);
    msgpack_zone_destroy(&zone);
    buf_done(&out);
    return cut;
}

bool suppression_set_cut(const struct suppression_set *set, const struct suppression_types *types,
                         struct event *event, struct arena *arena)
{
    struct search s = {set, types, arena, phone_country_of(&types->phone, event->source)};
    if (!suppression_set_matches(set, types, event, arena)) {
        return false;
    }
    if (has_value(&s, slice_text("anonymous_id"), event->anonymous_id)) {
        event->anonymous_id = slice_make(NULL, 0);
    }
    if (has_value(&s, slice_text("user_id"), event->user_id)) {
        event->user_id = slice_make(NULL, 0);
    }
    event->body = make_body(&s, event);
    return true;
}

bool suppression_set_has_identifier(const struct suppression_set *set,
                                    const struct suppression_types *types, struct slice source,
                                    struct identifier identifier, struct arena *arena)
{
    struct search s = {set, types, arena, phone_country_of(&types->phone, source)};
    return set->count > 0 && has_value(&s, identifier.type, identifier.value);
}

void suppression_cut_proof(struct event *event, struct arena *arena)
{
    static const struct suppression_set nobody;
    static const struct suppression_types none;
    struct search s = {&nobody, &none, arena, 0};
    event->body = make_body(&s, event);
}
