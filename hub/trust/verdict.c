#include "hub/trust/verdict.h"

/* stored: never renumber */
enum { FLAG_SERVER = 1, FLAG_AUTHENTICATED = 2 };
enum { HEAD_MEMBERS = 3, FACT_MEMBERS = 3 };

const char *evidence_name(enum evidence_kind kind)
{
    static const char *const names[] = {
        [EVIDENCE_SERVER] = "server-event",
        [EVIDENCE_PROOF] = "proof",
        [EVIDENCE_LINK] = "link",
        [EVIDENCE_OPEN] = "open",
    };
    return (size_t)kind < sizeof names / sizeof *names ? names[kind] : NULL;
}

static void pack_optional(msgpack_packer *k, struct slice text)
{
    if (text.len == 0) {
        msgpack_pack_nil(k);
    } else {
        value_pack_text(k, text);
    }
}

/* stored: a number of flags; or, where there is more to say, [flags, kid | nil, fault, then for
 * each fact its type, value | nil, evidence]. */
void verdict_pack(const struct verdict *v, struct buf *out)
{
    msgpack_packer k;
    int flags = (v->is_server ? FLAG_SERVER : 0) | (v->is_authenticated ? FLAG_AUTHENTICATED : 0);
    value_packer_init(&k, out);
    if (v->count == 0 && v->fault == PROOF_VALID) {
        msgpack_pack_int(&k, flags);
        return;
    }
    msgpack_pack_array(&k, HEAD_MEMBERS + v->count * FACT_MEMBERS);
    msgpack_pack_int(&k, flags);
    pack_optional(&k, v->kid);
    msgpack_pack_int(&k, (int)v->fault);
    for (size_t i = 0; i < v->count; i++) {
        value_pack_text(&k, v->facts[i].id.type);
        pack_optional(&k, v->facts[i].id.value);
        msgpack_pack_int(&k, (int)v->facts[i].kind);
    }
}

static struct slice read_optional(const msgpack_object *object)
{
    struct slice text = slice_make("", 0);
    (void)value_text(object, &text);
    return text;
}

static void read_facts(const msgpack_object *at, size_t count, struct verdict *ret)
{
    for (size_t i = 0; i < count && i < VERDICT_FACTS_MAX; i++) {
        int64_t kind = EVIDENCE_NONE;
        (void)value_int(&at[i * FACT_MEMBERS + 2], &kind);
        ret->facts[ret->count].id = (struct identifier){read_optional(&at[i * FACT_MEMBERS]),
                                                        read_optional(&at[i * FACT_MEMBERS + 1])};
        ret->facts[ret->count++].kind = (enum evidence_kind)kind;
    }
}

struct verdict verdict_read(const msgpack_object *object)
{
    struct verdict v = {0};
    int64_t flags = FLAG_SERVER | FLAG_AUTHENTICATED;
    int64_t fault = PROOF_VALID;
    if (object != NULL && !value_int(object, &flags)) {
        flags = 0;
    }
    if (value_is(object, MSGPACK_OBJECT_ARRAY) && object->via.array.size >= HEAD_MEMBERS &&
        object->via.array.size % FACT_MEMBERS == 0) {
        const msgpack_object *at = object->via.array.ptr;
        (void)value_int(&at[0], &flags);
        v.kid = read_optional(&at[1]);
        (void)value_int(&at[2], &fault);
        read_facts(at + HEAD_MEMBERS, object->via.array.size / FACT_MEMBERS - 1, &v);
    }
    v.is_server = (flags & FLAG_SERVER) != 0;
    v.is_authenticated = (flags & FLAG_AUTHENTICATED) != 0;
    v.fault = fault >= 0 && fault < PROOF_FAULTS ? (enum proof_fault)fault : PROOF_MALFORMED;
    return v;
}

bool verdict_is_server(const msgpack_object *object)
{
    int64_t flags = object == NULL ? FLAG_SERVER : 0;
    const msgpack_object *head =
        value_is(object, MSGPACK_OBJECT_ARRAY) && object->via.array.size > 0
            ? &object->via.array.ptr[0]
            : object;
    (void)value_int(head, &flags);
    return (flags & FLAG_SERVER) != 0;
}

static enum evidence_kind evidence_of(const struct verdict *v, const struct identity_rules *rules,
                                      struct identifier id, struct arena *arena)
{
    for (size_t i = 0; i < v->count; i++) {
        struct identifier fact = v->facts[i].id;
        if (!slice_equal(fact.type, id.type)) {
            continue;
        }
        struct identity_rule rule = identity_rule_of(rules, id.type);
        if (fact.value.len == 0 ||
            slice_equal(identity_normalize(&rule, fact.value, arena), id.value)) {
            return v->facts[i].kind;
        }
    }
    return EVIDENCE_NONE;
}

static void add_fact(struct parties *p, struct identifier id, enum evidence_kind kind)
{
    p->facts[p->fact_count] = id;
    p->evidence[p->fact_count++] = kind;
}

static bool is_anonymous(struct identifier id)
{
    return slice_is(id.type, "anonymous_id");
}

/* A browser speaks for itself: of several anonymous ids the first is its own. */
static void sort_client(const struct verdict *v, const struct identity_rules *rules,
                        const struct identifier *ids, size_t count, struct arena *arena,
                        struct parties *ret)
{
    for (size_t i = 0; i < count; i++) {
        enum evidence_kind kind = evidence_of(v, rules, ids[i], arena);
        if (kind != EVIDENCE_NONE || (i == 0 && is_anonymous(ids[i]))) {
            add_fact(ret, ids[i], kind);
        } else {
            ret->claims[ret->claim_count++] = ids[i];
        }
    }
}

static void sort_server(const struct verdict *v, const struct identifier *ids, size_t count,
                        struct parties *ret)
{
    bool is_of_browser = count > 0 && is_anonymous(ids[0]);
    bool is_tied = v->is_authenticated;
    size_t named = 0;
    for (size_t i = 0; i < count; i++) {
        is_tied = is_tied || slice_is(ids[i].type, "user_id");
        named += !is_anonymous(ids[i]);
    }
    bool is_guest = is_of_browser && !is_tied && named > 0;
    ret->bystander = is_guest ? ids[0] : ret->bystander;
    for (size_t i = 0; i < count; i++) {
        if (!is_guest || !is_anonymous(ids[i])) {
            add_fact(ret, ids[i], EVIDENCE_SERVER);
        }
    }
}

void verdict_sort(const struct verdict *v, const struct identity_rules *rules,
                  const struct event *event, struct arena *arena, struct parties *ret)
{
    struct identifier ids[LIMIT_EVENT_IDENTIFIERS];
    struct identifier signed_names[VERDICT_FACTS_MAX];
    size_t signed_count = 0;
    for (size_t i = 0; i < v->count; i++) {
        if (v->facts[i].id.value.len > 0) {
            signed_names[signed_count++] = v->facts[i].id;
        }
    }
    size_t count = identity_extract(rules, event, signed_names, signed_count, arena, ids);
    *ret = (struct parties){.bystander = {slice_make("", 0), slice_make("", 0)}};
    if (v->is_server) {
        sort_server(v, ids, count, ret);
    } else {
        sort_client(v, rules, ids, count, arena, ret);
    }
}
