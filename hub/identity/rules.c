#include "hub/identity/rules.h"

#include <sodium.h>
#include <strings.h>
#include "shared/blocked.h"
#include "shared/timetext.h"

enum { BLOCKED_MAX = 256 }; /* values and patterns of one type, each */

/* A merge is for ever, so that each type has a limit: one address that a shop types for everybody
 * must not make one person of them. */
const char identity_rules_default[] =
    "{\"identifiers\":["
    "{\"type\":\"user_id\",\"priority\":100,\"limit\":1,\"known\":true,\"normalizer\":\"trim\"},"
    "{\"type\":\"loyalty_id\",\"priority\":80,\"limit\":5,\"known\":true,"
    "\"normalizer\":\"trim\"},"
    "{\"type\":\"email\",\"priority\":70,\"limit\":5,\"known\":true,\"normalizer\":\"email\"},"
    "{\"type\":\"phone\",\"priority\":60,\"limit\":5,\"known\":true,\"normalizer\":\"phone\"},"
    "{\"type\":\"anonymous_id\",\"priority\":10,\"limit\":0,\"known\":false,"
    "\"normalizer\":\"trim\"}"
    "],\"me_for\":\"30d\"}";

enum { ME_FOR_DEFAULT_DAYS = 30 };

/* A list of texts, or NULL where there is none. */
static bool read_texts(const msgpack_object *rule, const char *member, const msgpack_object **ret,
                       struct error *err)
{
    const msgpack_object *list = value_member_c(rule, member);
    bool fine =
        list == NULL || (list->type == MSGPACK_OBJECT_ARRAY && list->via.array.size <= BLOCKED_MAX);
    for (uint32_t i = 0; fine && list != NULL && i < list->via.array.size; i++) {
        struct slice text;
        fine = value_text(&list->via.array.ptr[i], &text) && text.len <= LIMIT_IDENTIFIER_BYTES;
    }
    *ret = list;
    return fine ||
           error_set(err, ERROR_INVALID, "\"%s\" must be up to %d texts of at most %d bytes",
                     member, BLOCKED_MAX, LIMIT_IDENTIFIER_BYTES);
}

static bool read_rule(const msgpack_object *object, struct identity_rule *ret, struct error *err)
{
    struct slice normalizer;
    *ret = (struct identity_rule){.priority = 50, .is_known = true};
    if (!value_text(value_member_c(object, "type"), &ret->type) || ret->type.len == 0 ||
        ret->type.len > LIMIT_NAME_BYTES) {
        return error_set(err, ERROR_INVALID, "a rule needs a \"type\" of 1 to 128 bytes");
    }
    (void)value_int(value_member_c(object, "priority"), &ret->priority);
    (void)value_int(value_member_c(object, "limit"), &ret->limit);
    (void)value_bool(value_member_c(object, "known"), &ret->is_known);
    ret->normalizer = identifier_normalizer_default(ret->type);
    if (ret->limit < 0) {
        return error_set(err, ERROR_INVALID, "the limit of %.*s is below 0", SLICE_ARGS(ret->type));
    }
    if (value_text(value_member_c(object, "normalizer"), &normalizer) &&
        !identifier_normalizer_from(normalizer, &ret->normalizer)) {
        return error_set(err, ERROR_INVALID, "the normalizer of %.*s is none of trim, email, phone",
                         SLICE_ARGS(ret->type));
    }
    return read_texts(object, "blocked", &ret->blocked, err) &&
           read_texts(object, "blockedPatterns", &ret->blocked_patterns, err);
}

static bool read_me_for(const msgpack_object *object, int64_t *ret, struct error *err)
{
    struct slice text;
    *ret = (int64_t)ME_FOR_DEFAULT_DAYS * 24 * 60 * 60 * 1000;
    if (object != NULL && (!value_text(object, &text) || !duration_parse(text, ret) || *ret < 0)) {
        return error_set(err, ERROR_INVALID, "\"me_for\" must be a duration such as 12h or 30d");
    }
    return true;
}

bool identity_rules_read(const msgpack_object *object, struct identity_rules *ret,
                         struct error *err)
{
    const msgpack_object *list = value_member_c(object, "identifiers");
    ret->count = 0;
    if (!read_me_for(value_member_c(object, "me_for"), &ret->me_for_ms, err)) {
        return false;
    }
    if (!value_is(list, MSGPACK_OBJECT_ARRAY) || list->via.array.size > IDENTITY_RULES_MAX) {
        return error_set(err, ERROR_INVALID, "\"identifiers\" must be an array of up to %d rules",
                         IDENTITY_RULES_MAX);
    }
    if (!phone_countries_read(value_member_c(object, "phone"), &ret->phone, err)) {
        return error_add_context(err, "phone");
    }
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (!read_rule(&list->via.array.ptr[i], &ret->rules[ret->count], err)) {
            return error_add_context(err, "rule %u", i);
        }
        ret->rules[ret->count].country = ret->phone.otherwise;
        ret->count++;
    }
    return true;
}

struct identity_rule identity_rule_of(const struct identity_rules *rules, struct slice type)
{
    for (size_t i = 0; i < rules->count; i++) {
        if (slice_equal(rules->rules[i].type, type)) {
            return rules->rules[i];
        }
    }
    return (struct identity_rule){.type = type,
                                  .priority = 50,
                                  .is_known = !slice_is(type, identity_seat_type),
                                  .normalizer = identifier_normalizer_default(type),
                                  .country = rules->phone.otherwise};
}

static bool is_listed(const msgpack_object *list, struct slice value,
                      bool (*matches)(struct slice listed, struct slice value))
{
    for (uint32_t i = 0; list != NULL && i < list->via.array.size; i++) {
        struct slice listed;
        if (value_text(&list->via.array.ptr[i], &listed) && matches(listed, value)) {
            return true;
        }
    }
    return false;
}

static bool is_same(struct slice listed, struct slice value)
{
    return listed.len == value.len &&
           strncasecmp((const char *)listed.data, (const char *)value.data, value.len) == 0;
}

struct slice identity_normalize(const struct identity_rule *rule, struct slice value,
                                struct arena *arena)
{
    static const struct slice nobody = {0};
    /* Before it is normalised, too: what a spreadsheet has rounded looks like a phone after it. */
    if (blocked_value(rule->type, rule->normalizer, value)) {
        return nobody;
    }
    value = identifier_normalize_in(rule->normalizer, rule->country, value, arena);
    bool is_blocked = value.len == 0 || blocked_value(rule->type, rule->normalizer, value) ||
                      is_listed(rule->blocked, value, is_same) ||
                      is_listed(rule->blocked_patterns, value, blocked_matches);
    return is_blocked ? nobody : value;
}

struct extraction {
    const struct identity_rules *rules;
    struct arena *arena;
    uint16_t country; /* of the source's national telephone numbers */
    size_t count;
    int64_t priorities[LIMIT_EVENT_IDENTIFIERS];
    struct identifier *ret;
};

static void add(struct extraction *x, struct slice type, struct slice value)
{
    struct identity_rule rule = identity_rule_of(x->rules, type);
    /* A NUL separates type and value in keys. */
    if (type.len == 0 || type.len > LIMIT_NAME_BYTES || slice_is(type, identity_seat_type) ||
        memchr(type.data, 0, type.len) != NULL || value.len == 0 ||
        x->count == LIMIT_EVENT_IDENTIFIERS) {
        return;
    }
    rule.country = x->country;
    value = identity_normalize(&rule, value, x->arena);
    if (value.len == 0) {
        return;
    }
    bool is_anonymous = slice_is(type, "anonymous_id");
    int64_t priority = is_anonymous ? INT64_MAX : rule.priority;
    size_t at = x->count;
    int64_t same_type = 0;
    for (size_t i = 0; i < x->count; i++) {
        if (slice_equal(x->ret[i].type, type)) {
            same_type++;
            if (slice_equal(x->ret[i].value, value)) {
                return;
            }
        }
    }
    if (rule.limit > 0 && same_type >= rule.limit) {
        return; /* one event cannot be about more people than a profile may be */
    }
    for (; at > 0 && x->priorities[at - 1] < priority; at--) {
        x->ret[at] = x->ret[at - 1];
        x->priorities[at] = x->priorities[at - 1];
    }
    x->ret[at] = (struct identifier){type, value};
    x->priorities[at] = priority;
    x->count++;
}

/* Traits may hold an identifier as text or as a number. */
static void add_object(struct extraction *x, struct slice type, const msgpack_object *object)
{
    struct slice text;
    int64_t number;
    if (value_text(object, &text)) {
        add(x, type, text);
    } else if (value_int(object, &number)) {
        struct buf digits;
        buf_init(&digits, 32);
        buf_put_format(&digits, "%lld", (long long)number);
        add(x, type, arena_copy(x->arena, buf_slice(&digits)));
        buf_done(&digits);
    }
}

static void add_traits(struct extraction *x, const msgpack_object *traits)
{
    for (size_t i = 0; traits != NULL && i < x->rules->count; i++) {
        struct slice type = x->rules->rules[i].type;
        if (!slice_is(type, "user_id") && !slice_is(type, "anonymous_id")) {
            add_object(x, type, value_member(traits, type));
        }
    }
}

static void add_external_ids(struct extraction *x, const msgpack_object *ids)
{
    uint32_t count = value_is(ids, MSGPACK_OBJECT_ARRAY) ? ids->via.array.size : 0;
    for (uint32_t i = 0; i < count && i < LIMIT_EXTERNAL_IDS; i++) {
        const msgpack_object *pair = &ids->via.array.ptr[i];
        struct slice type;
        if (value_text(value_member_c(pair, "type"), &type)) {
            add_object(x, type, value_member_c(pair, "id"));
        }
    }
}

const char identity_seat_type[] = "seat"; /* stored: never change */

struct identifier identity_seat(struct slice anonymous_id, struct identifier person,
                                struct arena *arena)
{
    struct buf value;
    buf_init(&value, 3 * (LIMIT_IDENTIFIER_BYTES + LIMIT_NAME_BYTES));
    uint8_t hash[16];
    buf_put_u32(&value, (uint32_t)anonymous_id.len);
    buf_put_slice(&value, anonymous_id);
    buf_put_u32(&value, (uint32_t)person.type.len);
    buf_put_slice(&value, person.type);
    buf_put_slice(&value, person.value);
    crypto_generichash(hash, sizeof hash, value.data, value.len, NULL, 0);
    char hex[2 * sizeof hash + 1];
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    buf_done(&value);
    return (struct identifier){slice_text(identity_seat_type), arena_copy(arena, slice_text(hex))};
}

size_t identity_extract(const struct identity_rules *rules, const struct event *event,
                        const struct identifier *named, size_t named_count, struct arena *arena,
                        struct identifier ret[LIMIT_EVENT_IDENTIFIERS])
{
    struct extraction x = {.rules = rules, .arena = arena, .ret = ret};
    x.country = phone_country_of(&rules->phone, event->source);
    const msgpack_object *context = value_member_c(&event->body_map, "context");
    for (size_t i = 0; i < named_count; i++) {
        add(&x, named[i].type, named[i].value);
    }
    add(&x, slice_text("anonymous_id"), event->anonymous_id);
    add(&x, slice_text("user_id"), event->user_id);
    if (event->type == EVENT_ALIAS) {
        /* What an alias calls the previous id was an anonymous one: two user ids are two people. */
        add_object(&x, slice_text("anonymous_id"), value_member_c(&event->body_map, "previousId"));
    }
    if (event->type == EVENT_IDENTIFY) {
        add_traits(&x, event_properties(event));
    }
    if (context != NULL) {
        add_traits(&x, value_member_c(context, "traits"));
        add_external_ids(&x, value_member_c(context, "externalIds"));
    }
    return x.count;
}
