#include "hub/trust/judge.h"

#include <stdlib.h>
#include "hub/trust/source.h"

enum { TOKENS_REMEMBERED = 8192 };

struct judged_source {
    struct source source; /* refers into the judge's copy */
    struct proof_keys *keys;
};

struct judge {
    struct proof_verifier *verifier;
    struct buf bytes; /* of the sources */
    msgpack_zone zone;
    size_t count;
    struct judged_source *sources; /* by id */
    msgpack_zone event_zone;
    struct trust_counts *counts;
};

struct judge *judge_new(struct rand *rand, struct trust_counts *counts)
{
    struct judge *j = memory_allocate_zeroed(sizeof *j);
    j->counts = counts;
    j->verifier = proof_verifier_new(rand, TOKENS_REMEMBERED);
    buf_init(&j->bytes, SIZE_MAX / 2);
    bool made = msgpack_zone_init(&j->zone, 8192) && msgpack_zone_init(&j->event_zone, 4096);
    ensure(made);
    return j;
}

static void forget_sources(struct judge *j)
{
    for (size_t i = 0; i < j->count; i++) {
        proof_keys_free(&j->sources[i].keys);
    }
    free(j->sources);
    j->sources = NULL;
    j->count = 0;
    msgpack_zone_clear(&j->zone);
    buf_clear(&j->bytes);
}

void judge_free(struct judge **judge)
{
    struct judge *j = *judge;
    if (j != NULL) {
        forget_sources(j);
        proof_verifier_free(&j->verifier);
        msgpack_zone_destroy(&j->zone);
        msgpack_zone_destroy(&j->event_zone);
        buf_done(&j->bytes);
        free(j);
        *judge = NULL;
    }
}

static int compare_sources(const void *a, const void *b)
{
    return slice_compare(((const struct judged_source *)a)->source.id,
                         ((const struct judged_source *)b)->source.id);
}

static void set_types(struct judge *j, const struct identity_rules *rules)
{
    struct slice types[IDENTITY_RULES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < rules->count; i++) {
        if (rules->rules[i].is_known) {
            types[count++] = rules->rules[i].type;
        }
    }
    proof_verifier_set_types(j->verifier, types, count);
}

/* Keys that cannot be read any more prove nothing; they were read before they were defined. */
static void add_source(struct judge *j, struct slice id, const msgpack_object *definition)
{
    char pointer[PROOF_POINTER_BYTES];
    struct error err;
    struct judged_source *to = &j->sources[j->count++];
    to->source = source_read(id, definition);
    if (value_is(to->source.proof, MSGPACK_OBJECT_MAP) &&
        !proof_keys_read(to->source.proof, &to->keys, pointer, &err)) {
        to->keys = NULL;
    }
}

void judge_define(struct judge *j, const msgpack_object *sources,
                  const struct identity_rules *rules)
{
    msgpack_packer k;
    msgpack_object copy;
    struct error err;
    forget_sources(j);
    set_types(j, rules);
    if (!value_is(sources, MSGPACK_OBJECT_MAP) || sources->via.map.size == 0) {
        return;
    }
    value_packer_init(&k, &j->bytes);
    msgpack_pack_object(&k, *sources);
    bool fine = value_unpack(buf_slice(&j->bytes), &j->zone, &copy, &err);
    ensure(fine);
    j->sources = memory_allocate_zeroed(copy.via.map.size * sizeof *j->sources);
    for (uint32_t i = 0; i < copy.via.map.size; i++) {
        struct slice id;
        if (value_text(&copy.via.map.ptr[i].key, &id)) {
            add_source(j, id, &copy.via.map.ptr[i].val);
        }
    }
    qsort(j->sources, j->count, sizeof *j->sources, compare_sources);
}

static const struct judged_source *find_source(const struct judge *j, struct slice id)
{
    struct judged_source wanted = {.source.id = id};
    return j->count == 0
               ? NULL
               : bsearch(&wanted, j->sources, j->count, sizeof *j->sources, compare_sources);
}

bool judge_is_server(const struct judge *j, struct slice id)
{
    const struct judged_source *source = find_source(j, id);
    return source != NULL && source->source.is_server;
}

/* Most events have neither word: a look at the bytes spares taking them apart. */
static bool mentions(struct slice packed, const char *word)
{
    return memmem(packed.data, packed.len, word, strlen(word)) != NULL;
}

/* `context` of the event; NULL: none. */
static const msgpack_object *context_of(struct judge *j, struct slice packed, struct event *ret)
{
    struct error err;
    msgpack_zone_clear(&j->event_zone);
    return event_unpack(packed, &j->event_zone, ret, &err)
               ? value_member_c(&ret->body_map, "context")
               : NULL;
}

static void judge_proof(struct judge *j, const struct judged_source *source,
                        const struct event *event, struct slice packed, struct verdict *v)
{
    struct event whole;
    struct proof_claims claims;
    struct proof_check check = {.source_id = source->source.id,
                                .anonymous_id = event->anonymous_id,
                                .event_ms = event->timestamp_ms,
                                .received_ms = event->received_ms};
    if (!value_text(value_member_c(context_of(j, packed, &whole), "proof"), &check.token)) {
        return;
    }
    v->fault = proof_verify(j->verifier, source->keys, &check, &claims);
    trust_counts_add_proof(j->counts, source->source.id, v->fault);
    if (v->fault != PROOF_VALID) {
        return;
    }
    v->kid = claims.kid;
    for (size_t i = 0; i < claims.count; i++) {
        v->facts[v->count].id = claims.named[i];
        v->facts[v->count++].kind = EVIDENCE_PROOF;
    }
}

static void judge_client(struct judge *j, const struct judged_source *source,
                         const struct event *event, struct slice packed, struct verdict *v)
{
    const msgpack_object *open = source->source.open;
    if (mentions(packed, "proof")) {
        judge_proof(j, source, event, packed, v);
    }
    for (uint32_t i = 0; open != NULL && i < open->via.array.size; i++) {
        struct slice type;
        if (v->count < VERDICT_FACTS_MAX && value_text(&open->via.array.ptr[i], &type)) {
            v->facts[v->count].id = (struct identifier){type, slice_make("", 0)};
            v->facts[v->count++].kind = EVIDENCE_OPEN;
        }
    }
}

void judge_event(struct judge *j, const struct event *event, struct slice packed, struct buf *out,
                 struct verdict *ret)
{
    const struct judged_source *source = find_source(j, event->source);
    *ret = (struct verdict){0};
    if (source != NULL && source->source.is_server) {
        struct event whole;
        ret->is_server = true;
        if (mentions(packed, "authenticated")) {
            (void)value_bool(value_member_c(context_of(j, packed, &whole), "authenticated"),
                             &ret->is_authenticated);
        }
    } else if (source != NULL) {
        judge_client(j, source, event, packed, ret);
    }
    buf_clear(out);
    verdict_pack(ret, out);
}
