/* From the JSON form of the segment language to trees over shared conditions. */
#include "hub/segment/catalog_internal.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include "shared/members.h"
#include "shared/timetext.h"
#include "shared/utf8.h"

struct compiler {
    struct catalog *catalog;
    struct segment *segment;
    struct catalog_error *where;
    struct error *err;
    size_t path_len;  /* of where->field */
    uint64_t version; /* the newest of the definitions that are being put in each other's place */
    int depth;
};

static struct node *compile_node(struct compiler *c, const msgpack_object *object);

static struct node *fail(struct compiler *c, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static struct node *fail(struct compiler *c, const char *code, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(c->where->code, sizeof c->where->code, "%s", code);
    if (c->where->field[0] == 0) {
        snprintf(c->where->field, sizeof c->where->field, "/where");
    }
    error_set(c->err, ERROR_INVALID, "%s", text);
    return NULL;
}

/* Step into a member for error messages; the path is cut back by leave(). */
static size_t enter(struct compiler *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static size_t enter(struct compiler *c, const char *format, ...)
{
    size_t before = c->path_len;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(c->where->field + before, sizeof c->where->field - before, format, args);
    va_end(args);
    size_t room = sizeof c->where->field - 1;
    c->path_len = before + (size_t)n > room ? room : before + (size_t)n;
    return before;
}

static void leave(struct compiler *c, size_t before)
{
    c->path_len = before;
    c->where->field[before] = 0;
}

static struct node *new_node(struct compiler *c, enum node_kind kind)
{
    if (c->catalog->node_count >= NODES_MAX * LIMIT_SEGMENTS / 8) {
        return fail(c, "segment-too-large", "The definitions together are too large.");
    }
    c->catalog->node_count++;
    struct node *node = arena_allocate(&c->catalog->arena, sizeof *node);
    *node = (struct node){.kind = kind};
    return node;
}

enum { MEMBERS_MAX = 32 };

/* Refuse a member that is none of these, ended by NULL, nor an operator where one may stand. */
static struct node *fail_unknown(struct compiler *c, struct slice key, const char *const *allowed,
                                 bool has_operator)
{
    const char *known[MEMBERS_MAX];
    char text[200];
    size_t count = 0;
    for (; allowed[count] != NULL && count < MEMBERS_MAX; count++) {
        known[count] = allowed[count];
    }
    for (int op = 0; has_operator && op < OPS && count < MEMBERS_MAX; op++) {
        known[count++] = comparison_op_name((enum comparison_op)op);
    }
    members_tell_unknown(key, known, count, text, sizeof text);
    size_t room = sizeof c->where->field - c->path_len;
    (void)enter(c, "/%.*s", (int)utf8_cut(key, room > 2 ? room - 2 : 0), (const char *)key.data);
    return fail(c, "unknown-member", "%s", text);
}

/* A member too many would be a mistake that passes for something else. */
static bool has_only(struct compiler *c, const msgpack_object *object, const char *const *allowed,
                     bool has_operator)
{
    for (uint32_t i = 0; i < object->via.map.size; i++) {
        struct slice key = slice_make("", 0);
        bool found = value_text(&object->via.map.ptr[i].key, &key) && has_operator &&
                     comparison_op_from(key) != OPS;
        for (size_t a = 0; !found && allowed[a] != NULL; a++) {
            found = slice_is(key, allowed[a]);
        }
        if (!found) {
            (void)fail_unknown(c, key, allowed, has_operator);
            return false;
        }
    }
    return true;
}

static bool read_comparison(struct compiler *c, const msgpack_object *object,
                            struct comparison *ret)
{
    struct error err;
    if (!comparison_read(object, ret, &err)) {
        (void)fail(c, "invalid-segment", "%s.", err.message);
        return false;
    }
    return true;
}

static bool read_name(struct compiler *c, const msgpack_object *object, const char *member,
                      struct slice *ret)
{
    const msgpack_object *name = value_member_c(object, member);
    if (!value_text(name, ret) || ret->len == 0 || ret->len > 4096) {
        (void)fail(c, "invalid-segment", "\"%s\" must be a text.", member);
        return false;
    }
    return true;
}

static struct node *compile_list(struct compiler *c, const msgpack_object *object,
                                 enum node_kind kind, const char *member)
{
    const char *const allowed[] = {member, NULL};
    const msgpack_object *list = value_member_c(object, member);
    if (!has_only(c, object, allowed, false)) {
        return NULL;
    }
    size_t before = enter(c, "/%s", member);
    if (!value_is(list, MSGPACK_OBJECT_ARRAY) || list->via.array.size == 0) {
        return fail(c, "invalid-segment", "\"%s\" must be an array of conditions.", member);
    }
    struct node *node = new_node(c, kind);
    struct node **link = node == NULL ? NULL : &node->child;
    for (uint32_t i = 0; link != NULL && i < list->via.array.size; i++) {
        size_t inner = enter(c, "/%u", i);
        struct node *child = compile_node(c, &list->via.array.ptr[i]);
        if (child == NULL) {
            return NULL;
        }
        *link = child;
        link = &child->next;
        leave(c, inner);
    }
    leave(c, before);
    return node;
}

static struct node *compile_not(struct compiler *c, const msgpack_object *object)
{
    static const char *const allowed[] = {"not", NULL};
    if (!has_only(c, object, allowed, false)) {
        return NULL;
    }
    size_t before = enter(c, "/not");
    struct node *node = new_node(c, NODE_NOT);
    struct node *child = node == NULL ? NULL : compile_node(c, value_member_c(object, "not"));
    if (child == NULL) {
        return NULL;
    }
    node->child = child;
    leave(c, before);
    return node;
}

static struct node *compile_trait(struct compiler *c, const msgpack_object *object)
{
    static const char *const allowed[] = {"trait", NULL};
    struct node *node = new_node(c, NODE_TRAIT);
    if (node == NULL || !has_only(c, object, allowed, true) ||
        !read_name(c, object, "trait", &node->name) ||
        !read_comparison(c, object, &node->comparison)) {
        return NULL;
    }
    c->segment->depends.traits = true;
    return node;
}

static bool compile_where(struct compiler *c, const msgpack_object *list, struct where *ret,
                          size_t *ret_count);

/* {"property":"products[]","where":[…]}: one element for all of them. */
static bool compile_element(struct compiler *c, const msgpack_object *item, struct where *ret)
{
    static const char *const allowed[] = {"property", "where", NULL};
    struct slice name = ret->property;
    bool is_array =
        name.len > 2 && name.data[name.len - 2] == '[' && name.data[name.len - 1] == ']';
    if (!is_array) {
        (void)fail(c, "invalid-segment",
                   "\"where\" inside a comparison belongs to the elements of an array, as in "
                   "\"products[]\".");
        return false;
    }
    ret->where = arena_allocate(&c->catalog->arena, WHERE_MAX * sizeof *ret->where);
    memset(ret->where, 0, WHERE_MAX * sizeof *ret->where);
    if (!has_only(c, item, allowed, false) ||
        !compile_where(c, value_member_c(item, "where"), ret->where, &ret->where_count)) {
        return false;
    }
    if (ret->where_count == 0) {
        (void)fail(c, "invalid-segment", "\"where\" must have a comparison.");
        return false;
    }
    return true;
}

static bool compile_comparison(struct compiler *c, const msgpack_object *item, struct where *ret)
{
    static const char *const allowed[] = {"property", NULL};
    if (item->type != MSGPACK_OBJECT_MAP) {
        (void)fail(c, "invalid-segment", "A comparison must be an object.");
        return false;
    }
    if (value_member_c(item, "where") != NULL) {
        return read_name(c, item, "property", &ret->property) && compile_element(c, item, ret);
    }
    return has_only(c, item, allowed, true) && read_name(c, item, "property", &ret->property) &&
           read_comparison(c, item, &ret->comparison);
}

static bool compile_where(struct compiler *c, const msgpack_object *list, struct where *ret,
                          size_t *ret_count)
{
    if (list == NULL) {
        return true;
    }
    size_t before = enter(c, "/where");
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size > WHERE_MAX) {
        (void)fail(c, "invalid-segment", "\"where\" must be an array of up to %d comparisons.",
                   WHERE_MAX);
        return false;
    }
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        size_t inner = enter(c, "/%u", i);
        if (!compile_comparison(c, &list->via.array.ptr[i], &ret[i])) {
            return false;
        }
        leave(c, inner);
    }
    *ret_count = list->via.array.size;
    leave(c, before);
    return true;
}

/* How many times must be remembered so that the count can be compared: one more than the number,
 * since "more than k" and "exactly k" must be told apart. */
static bool read_count(struct compiler *c, const msgpack_object *object, struct comparison *ret,
                       int64_t *ret_keep)
{
    static const char *const none[] = {NULL};
    static const msgpack_object one = {.type = MSGPACK_OBJECT_POSITIVE_INTEGER, .via.u64 = 1};
    const msgpack_object *count = value_member_c(object, "count");
    int64_t number;
    size_t before = enter(c, "/count");
    *ret = (struct comparison){OP_GTE, &one};
    if (count != NULL && count->type != MSGPACK_OBJECT_MAP) {
        (void)fail(c, "invalid-segment", "\"count\" must be an object with one operator.");
        return false;
    }
    if (count != NULL && (!has_only(c, count, none, true) || !read_comparison(c, count, ret))) {
        return false;
    }
    if (ret->op > OP_LTE || !value_int(ret->value, &number) || number < 0 ||
        number > LIMIT_CONDITION_COUNT) {
        (void)fail(c, "invalid-segment",
                   "\"count\" compares (eq ne gt gte lt lte) with a whole number from 0 to %d.",
                   LIMIT_CONDITION_COUNT);
        return false;
    }
    *ret_keep = number + 1;
    leave(c, before);
    return true;
}

static bool read_within(struct compiler *c, const msgpack_object *object, int64_t *ret)
{
    const msgpack_object *within = value_member_c(object, "within");
    struct slice text;
    *ret = 0;
    if (within != NULL && (!value_text(within, &text) || !duration_parse(text, ret))) {
        (void)enter(c, "/within");
        (void)fail(c, "invalid-segment",
                   "\"within\" must be a duration such as 30s, 15m, 12h or 7d.");
        return false;
    }
    return true;
}

static void pack_where(msgpack_packer *p, const struct where *where, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        value_pack_text(p, where[i].property);
        if (where[i].where_count > 0) {
            msgpack_pack_array(p, where[i].where_count);
            pack_where(p, where[i].where, where[i].where_count);
        } else {
            msgpack_pack_int(p, (int)where[i].comparison.op);
            msgpack_pack_object(p, *where[i].comparison.value);
        }
    }
}

/* The canonical form: what the condition means, without how often. */
static uint64_t condition_hash(const struct condition *k)
{
    static const uint8_t key[crypto_shorthash_KEYBYTES] = "tributary-cond1";
    struct buf form;
    msgpack_packer p;
    uint8_t hash[crypto_shorthash_BYTES];
    buf_init(&form, 1024 * 1024);
    value_packer_init(&p, &form);
    msgpack_pack_int(&p, k->by_name ? -1 : (int)k->type);
    value_pack_text(&p, k->name);
    msgpack_pack_int64(&p, k->within_ms);
    pack_where(&p, k->where, k->where_count);
    msgpack_pack_int64(&p, k->keep);
    if (k->from_server) {
        value_pack_cstr(&p, "from server");
    }
    crypto_shorthash(hash, form.data, form.len, key);
    buf_done(&form);
    return read_u64(hash);
}

/* The place of an equal condition, or of this one, appended. */
static size_t share_condition(struct catalog *catalog, const struct condition *k)
{
    for (size_t i = 0; i < catalog->condition_count; i++) {
        struct condition *other = &catalog->conditions[i];
        if (other->id == k->id) {
            other->version = k->version < other->version ? k->version : other->version;
            return i;
        }
    }
    if (catalog->condition_count == catalog->condition_capacity) {
        size_t capacity = catalog->condition_capacity == 0 ? 16 : catalog->condition_capacity * 2;
        catalog->conditions =
            memory_resize(catalog->conditions, capacity * sizeof *catalog->conditions);
        catalog->condition_capacity = capacity;
    }
    catalog->conditions[catalog->condition_count] = *k;
    return catalog->condition_count++;
}

/* Whose events count: all, or those of server sources alone. */
static bool read_from(struct compiler *c, const msgpack_object *object, bool *ret)
{
    const msgpack_object *from = value_member_c(object, "from");
    struct slice text;
    *ret = from != NULL;
    if (from != NULL && (!value_text(from, &text) || !slice_is(text, "server"))) {
        (void)fail(c, "invalid-segment", "\"from\" can only be \"server\".");
        return false;
    }
    return true;
}

static struct node *compile_count(struct compiler *c, const msgpack_object *object)
{
    static const char *const allowed[] = {"event",  "type",  "from", "where",
                                          "within", "count", NULL};
    static const char *const later[] = {"sum", "average", "min", "max"};
    struct condition k = {.version = c->version};
    struct slice type;
    struct node *node = new_node(c, NODE_COUNT);
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (value_member_c(object, later[i]) != NULL) {
            return fail(c, "unsupported-condition", "\"%s\" is not supported by this version.",
                        later[i]);
        }
    }
    k.by_name = value_member_c(object, "event") != NULL;
    if (node == NULL || !has_only(c, object, allowed, false)) {
        return NULL;
    }
    if (k.by_name ? !read_name(c, object, "event", &k.name)
                  : !read_name(c, object, "type", &type)) {
        return NULL;
    }
    k.type = k.by_name ? EVENT_TRACK : event_type_from(type);
    if (k.type == EVENT_TYPES) {
        return fail(c, "invalid-segment", "\"type\" is no type of event.");
    }
    if (!read_from(c, object, &k.from_server) ||
        !compile_where(c, value_member_c(object, "where"), k.where, &k.where_count) ||
        !read_within(c, object, &k.within_ms) ||
        !read_count(c, object, &node->comparison, &k.keep)) {
        return NULL;
    }
    k.id = condition_hash(&k);
    node->condition = share_condition(c->catalog, &k);
    c->segment->depends.conditions = true;
    return node;
}

static struct node *compile_flag(struct compiler *c, const msgpack_object *object)
{
    static const char *const allowed[] = {"known",   "identifier", "claim",
                                          "consent", "exists",     NULL};
    bool is_known = value_member_c(object, "known") != NULL;
    bool is_consent = value_member_c(object, "consent") != NULL;
    bool is_claim = value_member_c(object, "claim") != NULL;
    struct node *node = new_node(c, is_known     ? NODE_KNOWN
                                    : is_consent ? NODE_CONSENT
                                    : is_claim   ? NODE_CLAIM
                                                 : NODE_IDENTIFIER);
    if (node == NULL || !has_only(c, object, allowed, false)) {
        return NULL;
    }
    if (is_known) {
        c->segment->depends.identifiers = true;
        return value_bool(value_member_c(object, "known"), &node->wanted)
                   ? node
                   : fail(c, "invalid-segment", "\"known\" must be true or false.");
    }
    if (is_consent) {
        c->segment->depends.consents = true;
        c->segment->depends.identifiers = true; /* of a visitor it is the device's */
        return read_name(c, object, "consent", &node->name) ? node : NULL;
    }
    const char *what = is_claim ? "claim" : "identifier";
    c->segment->depends.identifiers = !is_claim || c->segment->depends.identifiers;
    c->segment->depends.claims = is_claim || c->segment->depends.claims;
    if (!read_name(c, object, what, &node->name)) {
        return NULL;
    }
    return value_bool(value_member_c(object, "exists"), &node->wanted)
               ? node
               : fail(c, "invalid-segment", "\"%s\" needs \"exists\":true or false.", what);
}

static struct segment *find_segment(struct catalog *catalog, struct slice key)
{
    for (size_t i = 0; i < catalog->segment_count; i++) {
        if (slice_equal(catalog->segments[i].key, key)) {
            return &catalog->segments[i];
        }
    }
    return NULL;
}

/* The names on the way round, for the person who has to break the circle. */
static struct node *fail_cycle(struct compiler *c, struct slice key)
{
    struct buf names;
    buf_init(&names, 64 * 1024);
    for (size_t i = 0; i < c->catalog->segment_count && names.len < 120; i++) {
        if (c->catalog->segments[i].is_open) {
            buf_put(&names, c->catalog->segments[i].key.data, c->catalog->segments[i].key.len);
            buf_put_format(&names, ", ");
        }
    }
    struct node *none =
        fail(c, "segment-cycle", "The segments %.*suse each other in a circle, by way of \"%.*s\".",
             (int)names.len, (const char *)names.data, SLICE_ARGS(key));
    buf_done(&names);
    return none;
}

/* Put the other definition in place of its name. Conditions in it are as new as the newer of the
 * two: profiles lack their states also where only the other was changed. */
static struct node *compile_segment_use(struct compiler *c, const msgpack_object *object)
{
    static const char *const allowed[] = {"segment", NULL};
    struct slice key;
    uint64_t version = c->version;
    if (!has_only(c, object, allowed, false) || !read_name(c, object, "segment", &key)) {
        return NULL;
    }
    struct segment *other = find_segment(c->catalog, key);
    if (other == NULL) {
        return fail(c, "unknown-segment", "There is no segment \"%.*s\".", SLICE_ARGS(key));
    }
    if (other->is_open) {
        return fail_cycle(c, key);
    }
    other->is_open = true;
    c->version = other->version > version ? other->version : version;
    size_t before = enter(c, "/segment");
    struct node *node = compile_node(c, other->where);
    if (node != NULL) {
        leave(c, before);
    }
    other->is_open = false;
    c->version = version;
    return node;
}

/* What a condition is told by, and what may stand beside that. */
static const char *const kinds[] = {"all",   "any",      "not",     "trait", "event",
                                    "type",  "segment",  "consent", "known", "identifier",
                                    "claim", "sequence", NULL};
static const char *const companions[] = {"from", "where", "within", "count", NULL};

static bool is_among(const char *const *names, struct slice name)
{
    while (*names != NULL && !slice_is(name, *names)) {
        names++;
    }
    return *names != NULL;
}

/* It has no member that tells what it is: perhaps because that is misspelt. */
static struct node *fail_without_kind(struct compiler *c, const msgpack_object *object)
{
    for (uint32_t i = 0; i < object->via.map.size; i++) {
        struct slice key = slice_make("", 0);
        (void)value_text(&object->via.map.ptr[i].key, &key);
        if (!is_among(companions, key) && comparison_op_from(key) == OPS) {
            return fail_unknown(c, key, kinds, false);
        }
    }
    return fail(c, "invalid-segment",
                "A condition needs one of all, any, not, trait, event, type, segment, consent, "
                "known, identifier.");
}

static bool is_of_one_kind(struct compiler *c, const msgpack_object *object)
{
    const char *first = NULL;
    for (size_t i = 0; kinds[i] != NULL; i++) {
        if (value_member_c(object, kinds[i]) == NULL) {
            continue;
        }
        if (first != NULL) {
            (void)fail(c, "invalid-segment", "A condition has \"%s\" or \"%s\", not both.", first,
                       kinds[i]);
            return false;
        }
        first = kinds[i];
    }
    return true;
}

static struct node *compile_kind(struct compiler *c, const msgpack_object *object)
{
    if (!is_of_one_kind(c, object)) {
        return NULL;
    }
    if (value_member_c(object, "all") != NULL) {
        return compile_list(c, object, NODE_ALL, "all");
    }
    if (value_member_c(object, "any") != NULL) {
        return compile_list(c, object, NODE_ANY, "any");
    }
    if (value_member_c(object, "not") != NULL) {
        return compile_not(c, object);
    }
    if (value_member_c(object, "trait") != NULL) {
        return compile_trait(c, object);
    }
    if (value_member_c(object, "event") != NULL || value_member_c(object, "type") != NULL) {
        return compile_count(c, object);
    }
    if (value_member_c(object, "segment") != NULL) {
        return compile_segment_use(c, object);
    }
    if (value_member_c(object, "known") != NULL || value_member_c(object, "identifier") != NULL ||
        value_member_c(object, "claim") != NULL || value_member_c(object, "consent") != NULL) {
        return compile_flag(c, object);
    }
    if (value_member_c(object, "sequence") != NULL) {
        return fail(c, "unsupported-condition", "\"sequence\" is not supported by this version.");
    }
    return fail_without_kind(c, object);
}

static struct node *compile_node(struct compiler *c, const msgpack_object *object)
{
    if (object == NULL || object->type != MSGPACK_OBJECT_MAP) {
        return fail(c, "invalid-segment", "A condition must be an object.");
    }
    if (c->depth == LIMIT_SEGMENT_DEPTH) {
        return fail(c, "invalid-segment", "Conditions are nested deeper than %d levels.",
                    LIMIT_SEGMENT_DEPTH);
    }
    c->depth++;
    struct node *node = compile_kind(c, object);
    c->depth--;
    return node;
}

bool catalog_compile(struct catalog *catalog, struct catalog_error *where, struct error *err)
{
    for (size_t i = 0; i < catalog->segment_count; i++) {
        struct segment *segment = &catalog->segments[i];
        struct compiler c = {.catalog = catalog,
                             .segment = segment,
                             .where = where,
                             .err = err,
                             .version = segment->version};
        snprintf(where->segment, sizeof where->segment, "%.*s", SLICE_ARGS(segment->key));
        where->field[0] = 0;
        (void)enter(&c, "/where");
        segment->is_open = true;
        segment->root = compile_node(&c, segment->where);
        segment->is_open = false;
        if (segment->root == NULL) {
            return false;
        }
    }
    return true;
}
