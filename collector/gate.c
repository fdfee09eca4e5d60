#include "collector/gate.h"

#include <stdlib.h>

struct gate_source {
    struct slice key;
    bool is_exempt;
    const msgpack_object *required; /* array of categories, or NULL */
    const msgpack_object *origins;
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
    size_t source_count;
    struct gate_source *sources; /* by key */
    struct suppression_types types;
    size_t plan_count;
    struct gate_plan *plans;
};

static int compare_sources(const void *a, const void *b)
{
    return slice_compare(((const struct gate_source *)a)->key,
                         ((const struct gate_source *)b)->key);
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

static void read_sources(struct gate *gate, const msgpack_object *sources)
{
    uint32_t count = value_is(sources, MSGPACK_OBJECT_MAP) ? sources->via.map.size : 0;
    gate->sources = memory_allocate_zeroed(count * sizeof *gate->sources);
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *source = &sources->via.map.ptr[i].val;
        const msgpack_object *consent = value_member_c(source, "consent");
        struct gate_source *to = &gate->sources[gate->source_count];
        if (!value_text(&sources->via.map.ptr[i].key, &to->key)) {
            continue;
        }
        (void)value_bool(value_member_c(consent, "exempt"), &to->is_exempt);
        to->required = array_or_null(value_member_c(consent, "required"));
        to->origins = array_or_null(value_member_c(source, "origins"));
        to->plan = find_plan(gate, value_member_c(source, "tracking_plan"));
        gate->source_count++;
    }
    qsort(gate->sources, gate->source_count, sizeof *gate->sources, compare_sources);
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
    read_types(gate, value_member_c(&root, "normalizers"));
    read_plans(gate, value_member_c(&root, "tracking_plans"));
    read_sources(gate, value_member_c(&root, "sources"));
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
        free((*gate)->sources);
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

const struct gate_source *gate_find_source(const struct gate *gate, struct slice write_key)
{
    struct gate_source wanted = {.key = write_key};
    return gate->source_count == 0 ? NULL
                                   : bsearch(&wanted, gate->sources, gate->source_count,
                                             sizeof *gate->sources, compare_sources);
}

struct slice gate_source_key(const struct gate_source *source)
{
    return source->key;
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

bool gate_allows_origin(const struct gate *gate, struct slice origin)
{
    for (size_t s = 0; origin.len > 0 && s < gate->source_count; s++) {
        const msgpack_object *origins = gate->sources[s].origins;
        for (uint32_t i = 0; origins != NULL && i < origins->via.array.size; i++) {
            struct slice allowed;
            if (value_text(&origins->via.array.ptr[i], &allowed) && slice_equal(allowed, origin)) {
                return true;
            }
        }
    }
    return false;
}

const struct suppression_types *gate_identifier_types(const struct gate *gate)
{
    return &gate->types;
}

enum identifier_normalizer gate_normalizer(const struct gate *gate, struct slice type)
{
    return suppression_normalizer(&gate->types, type);
}
