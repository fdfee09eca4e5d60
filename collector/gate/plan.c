#include "collector/gate/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include "collector/request/body.h"

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

static void pack_violations(const struct schema_violations *found, struct buf *out)
{
    msgpack_packer p;
    value_packer_init(&p, out);
    msgpack_pack_array(&p, found->count);
    for (size_t i = 0; i < found->count; i++) {
        msgpack_pack_map(&p, 2);
        value_pack_cstr(&p, "pointer");
        value_pack_cstr(&p, found->list[i].pointer);
        value_pack_cstr(&p, "rule");
        value_pack_cstr(&p, found->list[i].rule);
    }
}

/* False: the request has no room for them. */
static bool add_violations(struct visit *visit, struct request_event *e,
                           struct schema_violations *found)
{
    const struct slice names[] = {slice_text("context"), slice_text("violations")};
    struct body_path path = {names, 2};
    struct buf value;
    struct buf out;
    if (visit->growth > DETAILED_BYTES_MAX) {
        found->count = 1;
    }
    buf_init(&value, LIMIT_ANNOTATION_BYTES);
    buf_init(&out, e->event.body.len + LIMIT_ANNOTATION_BYTES);
    pack_violations(found, &value);
    bool put = body_put(e->event.body, path, buf_slice(&value), &out);
    ensure(put); /* the request's own MessagePack, and room for the longest list */
    bool fits = visit_grow(visit, e->event.body.len, out.len);
    if (fits) {
        e->event.body = arena_copy(visit->arena, buf_slice(&out));
    }
    buf_done(&value);
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
