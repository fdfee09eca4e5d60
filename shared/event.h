/* The event: what happened, to whom, when, and where it was seen.
 *
 * Its head holds what every part needs without looking further: type, times, source, ids and
 * name. Its body is the rest of what the client sent (context, properties or traits,
 * integrations…), one MessagePack map. An event is written as one MessagePack array:
 *
 *     [type, timestamp, receivedAt, source, messageId, anonymousId | nil, userId | nil, name | nil,
 * body]
 *
 * Inside the hub a tenth member may follow, the verdict.
 *
 * The first member is the type, and 256 times the event's place in its block; what was written
 * before there were places has none.
 *
 * Times are milliseconds since 1970. Slices are borrowed from whoever made the event.
 */
#ifndef TRIBUTARY_SHARED_EVENT_H
#define TRIBUTARY_SHARED_EVENT_H

#include "shared/value.h"

/* stored: never renumber */
enum event_type {
    EVENT_TRACK = 0,
    EVENT_IDENTIFY = 1,
    EVENT_PAGE = 2,
    EVENT_SCREEN = 3,
    EVENT_GROUP = 4,
    EVENT_ALIAS = 5,
    EVENT_TYPES
};

struct event {
    enum event_type type;
    int64_t timestamp_ms;
    int64_t received_ms;
    /* The timestamp is the client's own word, without a sentAt to set it right by: it has nothing
     * to do with the collector's clock. Only from the collector to the hub's router, in blocks. */
    bool has_client_time;
    struct slice source; /* its id */
    struct slice message_id;
    struct slice anonymous_id; /* empty: none */
    struct slice user_id;
    struct slice name; /* of a track event; of a page or screen where it has one */
    uint16_t place; /* in its block, from 1: what one client sent in one moment keeps its order */
    bool is_quarantined; /* counts only once it is released; blocks carry it, event_pack() not */
    struct slice body;   /* as MessagePack, for writing; empty after event_unpack() */
    msgpack_object body_map; /* for reading, after event_unpack() */
    /* What the hub judged of it (hub/trust/verdict.h); inside the hub alone, in blocks never. */
    const msgpack_object *verdict; /* after event_unpack(); NULL: none */
};

/* The name of an identify event that says nothing but that consent was withdrawn; no other identify
 * has a name. stored: never change */
extern const char event_withdrawal_name[];
/* What a value of context.consent.categoryPreferences says. Only true grants: what is unclear, as
 * "yes", 1 or "granted", denies, because nobody has agreed to a guess. False: it says nothing. */
static inline bool event_consent_from(const msgpack_object *value, bool *ret_granted)
{
    *ret_granted = value_is(value, MSGPACK_OBJECT_BOOLEAN) && value->via.boolean;
    return value != NULL && value->type != MSGPACK_OBJECT_NIL;
}

static inline bool event_is_withdrawal(const struct event *event)
{
    return event->type == EVENT_IDENTIFY && slice_is(event->name, event_withdrawal_name);
}

/* Where it stands among the events of one profile and millisecond, in timelines: by its place, then
 * by the hash of its message id. stored: never change */
static inline uint64_t event_rank(const struct event *event, uint64_t message_id_hash)
{
    return (uint64_t)event->place << 48 | message_id_hash >> 16;
}

/* "track", "identify"… */
const char *event_type_name(enum event_type type);
/* EVENT_TYPES where the text names no type. */
enum event_type event_type_from(struct slice text);

void event_pack(const struct event *event, struct buf *out);
/* Add the verdict, one MessagePack value, to what event_pack() wrote. */
void event_add_verdict(struct buf *packed, struct slice verdict);

/* Read what event_pack() wrote; the event refers into `bytes` and `zone`. */
MUST_CHECK bool event_unpack(struct slice bytes, msgpack_zone *zone, struct event *ret,
                             struct error *err);

/* The raw body of what event_pack() wrote; empty where it did not. */
struct slice event_raw_body(struct slice bytes);

/* Is everything in the event, after event_unpack(), what JSON can say? Collectors see to it; but
 * one that was taken over can send anything, and must not stop the hub. */
bool event_is_clean(const struct event *event);

/* The traits of an identify or group, the properties of others: a map, or NULL. Some clients send
 * an identify's traits in the context alone. */
const msgpack_object *event_properties(const struct event *event);

#endif
