#include "collector/gate/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include "shared/cursor.h"

/* Once the events of a request have grown by so much, the others name their first violation only.
 */
enum { DETAILED_BYTES_MAX = 128 * 1024 };

static struct slice copy_text(struct arena *arena, const char *text)
{
    char *copy = arena_allocate(arena, strlen(text) + 1);
    memcpy(copy, text, strlen(text) + 1);
    return slice_make(copy, strlen(text));
}

static struct refusal refusal_of(struct request *request, const struct schema_violations *found)
{
    const struct schema_violation *first = &found->list[0];
    char message[160];
    snprintf(message, sizeof message,
             "The event is not as the source's tracking plan says: \"%s\" does not hold.",
             first->rule);
    return (struct refusal){"plan-violation",
                            (const char *)copy_text(&request->arena, message).data,
                            (const char *)copy_text(&request->arena, first->pointer).data};
}

static void pack_violations(msgpack_packer *p, const struct schema_violations *found)
{
    value_pack_cstr(p, "violations");
    msgpack_pack_array(p, found->count);
    for (size_t i = 0; i < found->count; i++) {
        msgpack_pack_map(p, 2);
        value_pack_cstr(p, "pointer");
        value_pack_cstr(p, found->list[i].pointer);
        value_pack_cstr(p, "rule");
        value_pack_cstr(p, found->list[i].rule);
    }
}

/* Members of the map at *map except those of this name, as they stand. */
static uint32_t copy_others(struct cursor map, const char *name, struct buf *out)
{
    struct token head;
    struct token key;
    uint32_t kept = 0;
    bool fine = cursor_next(&map, &head) && head.kind == TOKEN_MAP;
    for (uint32_t i = 0; fine && i < head.count; i++) {
        const uint8_t *start = map.at;
        fine = cursor_next(&map, &key) && cursor_skip(&map);
        if (fine && !(key.kind == TOKEN_TEXT && slice_is(key.text, name))) {
            buf_put(out, start, (size_t)(map.at - start));
            kept++;
        }
    }
    ensure(fine); /* the request's own MessagePack */
    return kept;
}

/* The body with the violations in its context. */
static void pack_body(struct slice body, const struct schema_violations *found, struct buf *members,
                      struct buf *out)
{
    struct cursor context;
    msgpack_packer p;
    uint32_t count = 0;
    value_packer_init(&p, out);
    buf_clear(members);
    count = copy_others(cursor_of(body), "context", members);
    msgpack_pack_map(&p, count + 1);
    buf_put_slice(out, buf_slice(members));
    value_pack_cstr(&p, "context");
    buf_clear(members);
    bool has_context =
        cursor_member(cursor_of(body), "context", &context) && context.at[0] != 0xc0; /* null */
    count = has_context ? copy_others(context, "violations", members) : 0;
    msgpack_pack_map(&p, count + 1);
    buf_put_slice(out, buf_slice(members));
    pack_violations(&p, found);
}

/* False: the request has no room for them. */
static bool add_violations(struct visit *visit, struct request_event *e,
                           struct schema_violations *found)
{
    struct buf members;
    struct buf out;
    if (visit->growth > DETAILED_BYTES_MAX) {
        found->count = 1;
    }
    buf_init(&members, e->event.body.len);
    buf_init(&out, e->event.body.len + LIMIT_ANNOTATION_BYTES);
    pack_body(e->event.body, found, &members, &out);
    bool fits = visit_grow(visit, e->event.body.len, out.len);
    if (fits) {
        e->event.body = arena_copy(visit->arena, buf_slice(&out));
    }
    buf_done(&members);
    buf_done(&out);
    return fits;
}

void plan_pass(const struct tracking_plan *plan, struct visit *visit, struct request *request,
               struct request_event *e)
{
    struct schema_violations found;
    if (e->event.type != EVENT_TRACK) {
        return;
    }
    enum plan_verdict verdict = tracking_plan_check(plan, e->event.name, e->event.body, &found);
    if (verdict == PLAN_REFUSE) {
        e->refusal = refusal_of(request, &found);
    } else if (verdict != PLAN_FINE && !add_violations(visit, e, &found)) {
        e->refusal =
            (struct refusal){"request-too-large",
                             "With what the tracking plan adds the request is too large.", NULL};
    } else {
        e->event.is_quarantined = verdict == PLAN_QUARANTINE;
    }
}
