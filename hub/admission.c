#include "hub/admission.h"

#include <stdlib.h>
#include "hub/trust/carriage.h"
#include "shared/buf.h"
#include "shared/cursor.h"

/* BEFORE_MS: an event may have waited for so long before the epoch began in which it was sealed. */
enum { BEFORE_MS = 10 * 60 * 1000, AHEAD_MS = 24 * 3600 * 1000 };

struct admission_source {
    struct slice id;
    int64_t at_ms; /* when its definition was set: what was received before had another one */
    bool is_exempt;
    const msgpack_object *required; /* array of categories, or NULL */
};

struct carrier {
    uint32_t collector;
    const msgpack_object *sources;
};

struct admission {
    size_t source_count;
    struct admission_source *sources; /* by id */
    size_t carrier_count;
    struct carrier *carriers; /* that may not carry everything, by number */
    const struct admission_source *last;
};

const char *admission_verdict_name(enum admission_verdict verdict)
{
    static const char *const names[ADMISSION_VERDICTS] = {"admitted", "source", "consent", "time"};
    return names[verdict];
}

/* ---- Definitions ---- */

static int compare_sources(const void *a, const void *b)
{
    return slice_compare(((const struct admission_source *)a)->id,
                         ((const struct admission_source *)b)->id);
}

static int compare_carriers(const void *a, const void *b)
{
    uint32_t one = ((const struct carrier *)a)->collector;
    uint32_t other = ((const struct carrier *)b)->collector;
    return (one > other) - (one < other);
}

static void read_sources(struct admission *a, const msgpack_object *map)
{
    uint32_t count = value_is(map, MSGPACK_OBJECT_MAP) ? map->via.map.size : 0;
    a->sources = memory_allocate_zeroed((count + 1) * sizeof *a->sources);
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *consent = value_member_c(&map->via.map.ptr[i].val, "consent");
        const msgpack_object *required = value_member_c(consent, "required");
        struct admission_source *to = &a->sources[a->source_count];
        if (value_text(&map->via.map.ptr[i].key, &to->id) &&
            value_int(value_member_c(&map->via.map.ptr[i].val, "at"), &to->at_ms)) {
            (void)value_bool(value_member_c(consent, "exempt"), &to->is_exempt);
            to->required = value_is(required, MSGPACK_OBJECT_ARRAY) ? required : NULL;
            a->source_count++;
        }
    }
    qsort(a->sources, a->source_count, sizeof *a->sources, compare_sources);
}

static void read_carriers(struct admission *a, const msgpack_object *list)
{
    uint32_t count = value_is(list, MSGPACK_OBJECT_ARRAY) ? list->via.array.size : 0;
    a->carriers = memory_allocate_zeroed((count + 1) * sizeof *a->carriers);
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *pair = &list->via.array.ptr[i];
        int64_t collector;
        if (value_is(pair, MSGPACK_OBJECT_ARRAY) && pair->via.array.size == 2 &&
            value_int(&pair->via.array.ptr[0], &collector)) {
            a->carriers[a->carrier_count++] =
                (struct carrier){(uint32_t)collector, &pair->via.array.ptr[1]};
        }
    }
    qsort(a->carriers, a->carrier_count, sizeof *a->carriers, compare_carriers);
}

struct admission *admission_new(const msgpack_object *catalog)
{
    struct admission *a = memory_allocate_zeroed(sizeof *a);
    read_sources(a, value_member_c(catalog, "sources"));
    read_carriers(a, value_member_c(catalog, "carriers"));
    return a;
}

void admission_free(struct admission **admission)
{
    if (*admission != NULL) {
        free((*admission)->sources);
        free((*admission)->carriers);
        free(*admission);
        *admission = NULL;
    }
}

/* ---- Consent ---- */

static bool is_granted(struct cursor preferences, struct slice category)
{
    struct token head;
    struct token token;
    bool granted = false;
    bool fine = cursor_next(&preferences, &head) && head.kind == TOKEN_MAP;
    for (uint32_t i = 0; fine && i < head.count; i++) {
        fine = cursor_next(&preferences, &token) && token.kind == TOKEN_TEXT;
        bool is_it = fine && slice_equal(token.text, category);
        struct cursor value = preferences;
        fine = fine && cursor_skip(&preferences);
        if (fine && is_it) { /* of a category given twice the last counts */
            granted = cursor_next(&value, &token) && token.kind == TOKEN_BOOL && token.boolean;
        }
    }
    return fine && granted;
}

/* Where the body has a member of this name anywhere: nearly always that of the context's consent,
 * and found in a third of the time that it takes to walk there. Whoever puts another one into an
 * event could as well put in a false consent. */
static bool guess_preferences(struct slice body, struct cursor *ret)
{
    static const char member[] = "\xb3"
                                 "categoryPreferences"; /* as MessagePack has it */
    const uint8_t *found = memmem(body.data, body.len, member, sizeof member - 1);
    if (found != NULL) {
        *ret = cursor_of(slice_skip(body, (size_t)(found - body.data) + sizeof member - 1));
    }
    return found != NULL;
}

static bool find_preferences(struct slice body, struct cursor *ret)
{
    struct cursor context;
    struct cursor consent;
    return cursor_member(cursor_of(body), "context", &context) &&
           cursor_member(context, "consent", &consent) &&
           cursor_member(consent, "categoryPreferences", ret);
}

/* Do these preferences grant what the source demands? */
static bool suffices(const struct admission_source *source, struct cursor preferences)
{
    uint32_t count = source->required == NULL ? 0 : source->required->via.array.size;
    bool fine = true;
    for (uint32_t i = 0; fine && i < count; i++) {
        struct slice category;
        fine = !value_text(&source->required->via.array.ptr[i], &category) ||
               is_granted(preferences, category);
    }
    return fine && (count > 0 || is_granted(preferences, slice_text("analytics")));
}

/* What was guessed right is not refused; what was not is looked for where it belongs. */
static bool has_consent(const struct admission_source *source, const struct event *event)
{
    struct cursor preferences;
    return source->is_exempt ||
           (guess_preferences(event->body, &preferences) && suffices(source, preferences)) ||
           (find_preferences(event->body, &preferences) && suffices(source, preferences));
}

/* A withdrawal says nothing but who withdraws what: only then it needs no consent. */
static bool is_bare_withdrawal(const struct event *event)
{
    static const char *const allowed[] = {"consent", "externalIds"};
    struct cursor body = cursor_of(event->body);
    struct cursor context;
    struct cursor found[2];
    struct token head;
    if (!event_is_withdrawal(event) || !cursor_next(&body, &head) || head.kind != TOKEN_MAP ||
        head.count != 1 || !cursor_member(cursor_of(event->body), "context", &context)) {
        return false;
    }
    unsigned has = cursor_members(context, allowed, 2, found);
    return cursor_next(&context, &head) && head.kind == TOKEN_MAP &&
           head.count == (has & 1) + (has >> 1);
}

/* ---- Judging ---- */

static const struct admission_source *find_source(struct admission *a, struct slice id)
{
    struct admission_source wanted = {.id = id};
    if (a->last == NULL || !slice_equal(a->last->id, id)) {
        a->last = a->source_count == 0 ? NULL
                                       : bsearch(&wanted, a->sources, a->source_count,
                                                 sizeof *a->sources, compare_sources);
    }
    return a->last;
}

static bool may_carry(const struct admission *a, uint32_t collector, struct slice source)
{
    struct carrier wanted = {.collector = collector};
    const struct carrier *found = a->carrier_count == 0
                                      ? NULL
                                      : bsearch(&wanted, a->carriers, a->carrier_count,
                                                sizeof *a->carriers, compare_carriers);
    return found == NULL || carriage_has(found->sources, source);
}

/* What is stamped by the collector's clock moves with it; a client's own time stands. */
static void set_back(struct event *event, int64_t received_ms)
{
    int64_t by_ms = event->received_ms - received_ms;
    if (by_ms > 0) {
        event->received_ms = received_ms;
        event->timestamp_ms -= event->has_client_time ? 0 : by_ms;
        event->timestamp_ms = event->timestamp_ms < 0 ? 0 : event->timestamp_ms;
    }
}

enum admission_verdict admission_judge(struct admission *a, const struct admission_block *block,
                                       struct event *event)
{
    if (!may_carry(a, block->collector, event->source)) {
        return ADMISSION_SOURCE;
    }
    if (event->received_ms < block->begun_ms - BEFORE_MS ||
        event->received_ms > block->received_ms + AHEAD_MS) {
        return ADMISSION_TIME;
    }
    set_back(event, block->received_ms);
    const struct admission_source *source = find_source(a, event->source);
    bool is_ruled = source != NULL && event->received_ms >= source->at_ms;
    return !is_ruled || has_consent(source, event) || is_bare_withdrawal(event) ? ADMISSION_YES
                                                                                : ADMISSION_CONSENT;
}
