#include "collector/gate/gate.h"

#include <stdlib.h>
#include "collector/gate/plan.h"
#include "collector/gate/withdrawal.h"
#include "collector/request/body.h"
#include "shared/write_key.h"

struct gate_source {
    /* One of its write keys, or its hash: a source stands here once for each. */
    struct slice key;
    bool is_hashed;
    struct slice id;
    bool is_server;
    bool is_open; /* some identifiers count though nothing proves them */
    bool is_exempt;
    const msgpack_object *required; /* array of categories, or NULL */
    const msgpack_object *origins;
    struct rules rules;
    struct rate *rate;
    const struct suppression_types *types; /* of the gate */
    const struct tracking_plan *plan;
};

struct gate_plan {
    struct slice key;
    struct tracking_plan *plan;
};

struct gate {
    struct buf state;
    msgpack_zone zone;
    uint64_t version;
    int64_t made_ms; /* 0: not told */
    size_t source_count;
    struct gate_source *sources; /* by key */
    struct rate *rates;          /* one for each source that uses it: the only part that changes */
    struct suppression_types types;
    struct slice link_key;
    bool has_hashed;
    uint8_t key_salt[WRITE_KEY_SALT_BYTES];
    struct shown segments;
    struct shown traits;
    int64_t me_for_ms;
    size_t plan_count;
    struct gate_plan *plans;
};

static int compare_sources(const void *a, const void *b)
{
    const struct gate_source *one = a;
    const struct gate_source *other = b;
    return one->is_hashed != other->is_hashed ? one->is_hashed - other->is_hashed
                                              : slice_compare(one->key, other->key);
}

static const msgpack_object *array_or_null(const msgpack_object *object)
{
    return value_is(object, MSGPACK_OBJECT_ARRAY) ? object : NULL;
}

/* One that does not compile here comes of a newer hub: its sources are checked without. */
static void read_plans(struct gate *gate, const msgpack_object *plans)
{
    uint32_t count = value_is(plans, MSGPACK_OBJECT_MAP) ? plans->via.map.size : 0;
    gate->plans = memory_allocate_zeroed((count + 1) * sizeof *gate->plans);
    for (uint32_t i = 0; i < count; i++) {
        struct gate_plan *to = &gate->plans[gate->plan_count];
        struct schema_place where;
        struct error err;
        if (value_text(&plans->via.map.ptr[i].key, &to->key) &&
            tracking_plan_new(&plans->via.map.ptr[i].val, &to->plan, &where, &err)) {
            gate->plan_count++;
        }
    }
}

static const struct tracking_plan *find_plan(const struct gate *gate, const msgpack_object *name)
{
    struct slice key;
    for (size_t i = 0; value_text(name, &key) && i < gate->plan_count; i++) {
        if (slice_equal(gate->plans[i].key, key)) {
            return gate->plans[i].plan;
        }
    }
    return NULL;
}

static const struct gate_source *find_by_id(const struct gate *gate, struct slice id)
{
    for (size_t i = 0; i < gate->source_count; i++) {
        if (slice_equal(gate->sources[i].id, id)) {
            return &gate->sources[i];
        }
    }
    return NULL;
}

/* Hubs of earlier versions knew no ids: there the write key is the id. */
static void read_trust(struct gate_source *to, const msgpack_object *source)
{
    struct slice trust;
    const msgpack_object *open = value_member_c(source, "open");
    if (!value_text(value_member_c(source, "id"), &to->id)) {
        to->id = to->key;
    }
    to->is_server =
        value_text(value_member_c(source, "trust"), &trust) && slice_is(trust, "server");
    to->is_open = value_is(open, MSGPACK_OBJECT_ARRAY) && open->via.array.size > 0;
}

static void read_source(struct gate *gate, struct slice key, bool is_hashed,
                        const msgpack_object *source)
{
    const msgpack_object *consent = value_member_c(source, "consent");
    struct gate_source *to = &gate->sources[gate->source_count];
    to->key = key;
    to->is_hashed = is_hashed;
    (void)value_bool(value_member_c(consent, "exempt"), &to->is_exempt);
    to->required = array_or_null(value_member_c(consent, "required"));
    to->origins = array_or_null(value_member_c(source, "origins"));
    to->rules = rules_read(source);
    read_trust(to, source);
    const struct gate_source *same = find_by_id(gate, to->id); /* under another key */
    to->rate = same != NULL ? same->rate : &gate->rates[gate->source_count];
    to->types = &gate->types;
    to->plan = find_plan(gate, value_member_c(source, "tracking_plan"));
    gate->source_count++;
}

/* `sources` by their keys, `secret` by the hashes of theirs. */
static void read_sources(struct gate *gate, const msgpack_object *sources,
                         const msgpack_object *secret)
{
    uint32_t count = value_is(sources, MSGPACK_OBJECT_MAP) ? sources->via.map.size : 0;
    uint32_t secret_count = value_is(secret, MSGPACK_OBJECT_MAP) ? secret->via.map.size : 0;
    size_t all = (size_t)count + secret_count;
    struct slice key;
    gate->sources = memory_allocate_zeroed((all + 1) * sizeof *gate->sources);
    gate->rates = memory_allocate_zeroed((all + 1) * sizeof *gate->rates);
    for (uint32_t i = 0; i < count; i++) {
        if (value_text(&sources->via.map.ptr[i].key, &key)) {
            read_source(gate, key, false, &sources->via.map.ptr[i].val);
        }
    }
    for (uint32_t i = 0; i < secret_count; i++) {
        if (value_bin(&secret->via.map.ptr[i].key, &key) && key.len == WRITE_KEY_HASH_BYTES) {
            read_source(gate, key, true, &secret->via.map.ptr[i].val);
            gate->has_hashed = true;
        }
    }
    qsort(gate->sources, gate->source_count, sizeof *gate->sources, compare_sources);
}

static void read_salt(struct gate *gate, const msgpack_object *object)
{
    struct slice salt;
    if (value_bin(object, &salt) && salt.len == sizeof gate->key_salt) {
        memcpy(gate->key_salt, salt.data, salt.len);
    }
}

static void read_types(struct gate *gate, const msgpack_object *normalizers)
{
    uint32_t count = value_is(normalizers, MSGPACK_OBJECT_MAP) ? normalizers->via.map.size : 0;
    for (uint32_t i = 0; i < count && gate->types.count < LIMIT_IDENTIFIER_TYPES; i++) {
        const msgpack_object_kv *kv = &normalizers->via.map.ptr[i];
        struct slice type;
        int64_t normalizer;
        if (value_text(&kv->key, &type)) {
            bool is_known = value_int(&kv->val, &normalizer) && normalizer >= 0 &&
                            normalizer <= NORMALIZE_PHONE;
            gate->types.types[gate->types.count].type = type;
            gate->types.types[gate->types.count].normalizer =
                is_known ? (enum identifier_normalizer)normalizer
                         : identifier_normalizer_default(type);
            gate->types.count++;
        }
    }
}

/* A country that is not known here comes of a newer hub: national numbers stay as they are. */
static void read_phone(struct gate *gate, const msgpack_object *phone)
{
    struct error err;
    if (!value_is(phone, MSGPACK_OBJECT_MAP) ||
        !phone_countries_read(phone, &gate->types.phone, &err)) {
        gate->types.phone = (struct phone_countries){0};
    }
}

bool gate_new(struct slice state, struct gate **ret, struct error *err)
{
    struct gate *gate = memory_allocate_zeroed(sizeof *gate);
    msgpack_object root = {.type = MSGPACK_OBJECT_NIL};
    int64_t version = 0;
    bool made = msgpack_zone_init(&gate->zone, 8192);
    ensure(made);
    buf_init(&gate->state, 16 * 1024 * 1024);
    if (!buf_append(&gate->state, state.data, state.len) ||
        (state.len > 0 && !value_unpack(buf_slice(&gate->state), &gate->zone, &root, err))) {
        gate_free(&gate);
        return error_set(err, ERROR_CORRUPT, "the gate's definitions cannot be read");
    }
    (void)value_int(value_member_c(&root, "version"), &version);
    gate->version = (uint64_t)version;
    (void)value_int(value_member_c(&root, "made"), &gate->made_ms);
    (void)value_bin(value_member_c(&root, "link_key"), &gate->link_key);
    (void)value_int(value_member_c(&root, "me_for"), &gate->me_for_ms);
    gate->segments = shown_read(value_member_c(&root, "segments"));
    gate->traits = shown_read(value_member_c(&root, "traits"));
    read_types(gate, value_member_c(&root, "normalizers"));
    read_phone(gate, value_member_c(&root, "phone"));
    read_plans(gate, value_member_c(&root, "tracking_plans"));
    read_salt(gate, value_member_c(&root, "key_salt"));
    read_sources(gate, value_member_c(&root, "sources"), value_member_c(&root, "secret_sources"));
    *ret = gate;
    return true;
}

void gate_free(struct gate **gate)
{
    if (*gate != NULL) {
        for (size_t i = 0; i < (*gate)->plan_count; i++) {
            tracking_plan_free(&(*gate)->plans[i].plan);
        }
        free((*gate)->plans);
        shown_done(&(*gate)->segments);
        shown_done(&(*gate)->traits);
        free((*gate)->sources);
        free((*gate)->rates);
        msgpack_zone_destroy(&(*gate)->zone);
        buf_done(&(*gate)->state);
        free(*gate);
        *gate = NULL;
    }
}

uint64_t gate_version(const struct gate *gate)
{
    return gate->version;
}

bool gate_is_newer(const struct gate *gate, const struct gate *other)
{
    bool both_tell = gate->made_ms != 0 && other->made_ms != 0;
    return both_tell ? gate->made_ms > other->made_ms : gate->version > other->version;
}

static const struct gate_source *search(const struct gate *gate, struct slice key, bool is_hashed)
{
    struct gate_source wanted = {.key = key, .is_hashed = is_hashed};
    return gate->source_count == 0 ? NULL
                                   : bsearch(&wanted, gate->sources, gate->source_count,
                                             sizeof *gate->sources, compare_sources);
}

/* A hash is made only where no page's key fits. */
const struct gate_source *gate_find_source(const struct gate *gate, struct slice write_key)
{
    const struct gate_source *found = search(gate, write_key, false);
    if (found == NULL && gate->has_hashed && write_key.len > 0) {
        struct write_key_hash hash = write_key_hash(gate->key_salt, write_key);
        found = search(gate, slice_make(hash.bytes, sizeof hash.bytes), true);
    }
    return found;
}

bool gate_has_sources(const struct gate *gate)
{
    return gate->source_count > 0;
}

const struct gate_source *gate_find_source_by_id(const struct gate *gate, struct slice id)
{
    return find_by_id(gate, id);
}

struct slice gate_source_id(const struct gate_source *source)
{
    return source->id;
}

bool gate_source_is_server(const struct gate_source *source)
{
    return source->is_server;
}

const struct tracking_plan *gate_source_plan(const struct gate_source *source)
{
    return source->plan;
}

static const struct consent_preference *find_preference(const struct request_event *event,
                                                        struct slice category)
{
    for (size_t i = event->preference_count; i-- > 0;) {
        if (slice_equal(event->preferences[i].category, category)) {
            return &event->preferences[i];
        }
    }
    return NULL;
}

static struct refusal check_category(const struct request_event *event, struct slice category)
{
    static const char pointer[] = "/context/consent/categoryPreferences";
    const struct consent_preference *preference = find_preference(event, category);
    if (preference == NULL) {
        return (struct refusal){
            "consent-missing", "The event does not say that storing it was consented to.", pointer};
    }
    if (!preference->granted) {
        return (struct refusal){"consent-denied", "The person has not consented to storing.",
                                pointer};
    }
    return (struct refusal){NULL, NULL, NULL};
}

const struct rules *gate_rules(const struct gate_source *source)
{
    return &source->rules;
}

bool gate_take_rate(const struct gate_source *source, uint64_t events, int64_t now_ns,
                    int64_t *ret_wait_ns)
{
    return rate_take(source->rate, source->rules.rate, events, now_ns, ret_wait_ns);
}

void gate_continue(struct gate *gate, struct gate *old)
{
    for (size_t i = 0; old != NULL && i < gate->source_count; i++) {
        const struct gate_source *same = find_by_id(old, gate->sources[i].id);
        if (same != NULL) {
            rate_continue(gate->sources[i].rate, same->rate);
        }
    }
}

struct refusal gate_check(const struct gate_source *source, const struct request_event *event)
{
    struct refusal refusal = {NULL, NULL, NULL};
    uint32_t count = source->required == NULL ? 0 : source->required->via.array.size;
    bool has_category = source->is_exempt;
    for (uint32_t i = 0; !source->is_exempt && i < count && refusal.code == NULL; i++) {
        struct slice category;
        if (value_text(&source->required->via.array.ptr[i], &category)) {
            refusal = check_category(event, category);
            has_category = true;
        }
    }
    return has_category ? refusal : check_category(event, slice_text("analytics"));
}

/* Whoever reads a page's write key may send anybody's address: the answer must not tell who is
 * suppressed, and the visitor's own event counts, without the address. A server is told. */
static struct refusal suppress(const struct gate_source *source, const struct visit *visit,
                               struct request_event *e)
{
    struct refusal none = {NULL, NULL, NULL};
    if (visit->suppression == NULL) {
        return none;
    }
    if (source->is_server) {
        return suppression_refuses(visit->suppression, source->types, &e->event, visit->arena)
                   ? (struct refusal){"suppressed", "This person's events are not taken.", NULL}
                   : none;
    }
    e->is_cut = suppression_cuts(visit->suppression, source->types, &e->event, visit->arena);
    e->is_emptied = e->is_cut && e->event.anonymous_id.len == 0 &&
                    (!source->is_open || e->event.user_id.len == 0);
    return none;
}

#define NAME(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
static const struct slice proof_names[] = {NAME("context"), NAME("proof")};
static const struct body_path proof_path = {proof_names, 2};

/* A client whose event has no visitor, and nothing that could prove a person, speaks of nobody. */
static bool is_nobodys(const struct gate_source *source, const struct request_event *e)
{
    struct slice proof;
    return !source->is_server && !source->is_open && e->event.anonymous_id.len == 0 &&
           !body_get(e->event.body, proof_path, &proof);
}

/* All but the withdrawal, so that the event is still as it was sent where it is refused. */
static void judge(const struct gate_source *source, struct visit *visit, struct request *request,
                  struct request_event *e)
{
    rules_object(visit, e);
    e->refusal = rules_check(visit, e);
    bool speaks_of_nobody = is_nobodys(source, e); /* before something is cut out of it */
    if (e->refusal.code == NULL) {
        e->refusal = suppress(source, visit, e);
    }
    if (e->refusal.code != NULL) {
        return;
    }
    e->refusal = gate_check(source, e);
    if (e->refusal.code == NULL && speaks_of_nobody) {
        e->refusal = (struct refusal){"nobody",
                                      "An event of a page or an app needs an anonymousId or a "
                                      "proof; a server's source says \"trust\": \"server\".",
                                      "/anonymousId"};
    }
    if (e->refusal.code != NULL) {
        return;
    }
    /* First the rules: they keep to the client's limit, the plan may write beyond it. */
    e->refusal = rules_change(visit, e);
    if (e->refusal.code == NULL && source->plan != NULL) {
        plan_pass(source->plan, visit, request, e);
    }
}

static void withdraw_denied(struct visit *visit, struct request_event *e)
{
    if (e->refusal.code != NULL && strcmp(e->refusal.code, "consent-denied") == 0 &&
        !e->is_emptied) {
        withdrawal_make(visit, e, &rand_secure);
    }
}

void gate_pass(const struct gate_source *source, struct visit *visit, struct request *request,
               struct request_event *e)
{
    judge(source, visit, request, e);
    withdraw_denied(visit, e);
}

size_t gate_pass_all(const struct gate_source *source, struct visit *visit, struct request *request,
                     struct refusals *refusals)
{
    size_t refused = 0;
    for (size_t i = 0; i < request->count; i++) {
        struct request_event *e = &request->events[i];
        if (e->refusal.code == NULL) {
            judge(source, visit, request, e);
        }
        if (e->refusal.code == NULL && e->is_cut) {
            refusals_count(refusals, source->id, "identifier-suppressed"); /* nobody is told */
        }
        if (e->refusal.code != NULL) {
            refusals_count(refusals, source->id, e->refusal.code);
            if (refused++ < REFUSALS_LAST_OF_SOURCE) {
                refusals_note(refusals, source->id, &e->refusal, e);
            }
            withdraw_denied(visit, e);
        }
    }
    return refused;
}

bool gate_source_allows_origin(const struct gate_source *source, struct slice origin)
{
    const msgpack_object *origins = source->origins;
    for (uint32_t i = 0; origin.len > 0 && origins != NULL && i < origins->via.array.size; i++) {
        struct slice allowed;
        if (value_text(&origins->via.array.ptr[i], &allowed) && slice_equal(allowed, origin)) {
            return true;
        }
    }
    return false;
}

bool gate_allows_origin(const struct gate *gate, struct slice origin)
{
    bool allowed = false;
    for (size_t s = 0; !allowed && s < gate->source_count; s++) {
        allowed = gate_source_allows_origin(&gate->sources[s], origin);
    }
    return allowed;
}

const struct shown *gate_segments(const struct gate *gate)
{
    return &gate->segments;
}

const struct shown *gate_traits(const struct gate *gate)
{
    return &gate->traits;
}

int64_t gate_me_for_ms(const struct gate *gate)
{
    return gate->me_for_ms;
}

struct slice gate_link_key(const struct gate *gate)
{
    return gate->link_key;
}

const struct suppression_types *gate_identifier_types(const struct gate *gate)
{
    return &gate->types;
}

enum identifier_normalizer gate_normalizer(const struct gate *gate, struct slice type)
{
    return suppression_normalizer(&gate->types, type);
}

uint16_t gate_phone_country(const struct gate *gate)
{
    return gate->types.phone.otherwise;
}
