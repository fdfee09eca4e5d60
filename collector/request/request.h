/* A request, parsed once, at the edge, into events.
 *
 * One bad event never harms its neighbours: it is marked with a code and the parse goes on; only
 * text that is no JSON spoils a whole request. request_parse() reads Segment's HTTP API: members
 * that the collector needs are taken, the rest becomes the body of the event, in MessagePack. The
 * parser of another protocol (snowplow.c) adds events one by one, and request_finish() holds them
 * to the same rules.
 *
 * The result refers into the request's own memory, valid until it parses again or is trimmed. The
 * text parsed need not outlive the call. One thread at a time.
 */
#ifndef TRIBUTARY_COLLECTOR_REQUEST_H
#define TRIBUTARY_COLLECTOR_REQUEST_H

#include "shared/arena.h"
#include "shared/event.h"
#include "shared/json_doc.h"
#include "shared/limits.h"
#include "shared/rand.h"

struct consent_preference {
    struct slice category;
    bool granted;
};

/* Why an event or a request is refused; no code: it is fine. */
struct refusal {
    const char *code;
    const char *message;
    const char *field; /* JSON pointer into the event, or NULL */
};

enum { TIME_ABSENT = -1, REQUEST_OUTER_MAPS = 2 };

struct request_event {
    struct event event; /* times and source are set later, by request_stamp() */
    struct refusal refusal;
    struct slice event_name; /* the members as the client sent them */
    struct slice page_name;
    int64_t timestamp_ms; /* TIME_ABSENT or the client's time, likewise the next two */
    int64_t original_ms;
    int64_t sent_ms;
    unsigned micros;       /* of the client's time, beyond its milliseconds */
    bool has_external_id;  /* looked for where there is neither user nor anonymous id */
    bool lacks_identifier; /* its refusal, which request_adopt() can lift */
    bool names_nobody;     /* some id of it is one that names nobody, and was not taken */
    bool has_unreadable_time;
    bool has_type;
    bool has_preferences;
    size_t user_agent_at; /* context.userAgent, in the body; its length is 0 where there is none */
    size_t user_agent_len;
    bool objects;       /* set by rules.c: a signal such as Sec-GPC came with it */
    bool is_cut;        /* set by gate.c: a suppressed identifier was cut out of it */
    bool is_emptied;    /* likewise: nobody is left, and nothing of it is stored */
    bool is_withdrawal; /* set by withdrawal.c: refused, but what is left of it is stored */
    size_t preference_count;
    struct consent_preference preferences[LIMIT_CONSENT_CATEGORIES];
    size_t body_at;
    size_t body_len;
};

/* What the committer stores: what is not refused, and what says that consent was withdrawn. */
static inline bool request_event_is_stored(const struct request_event *event)
{
    return (event->refusal.code == NULL && !event->is_emptied) || event->is_withdrawal;
}

struct request {
    struct refusal refusal; /* of the whole */
    struct slice write_key;
    int64_t sent_ms;
    bool is_batch;
    size_t without_anonymous_id; /* events that request_adopt() would give one */
    size_t count;
    struct request_event *events;
    size_t capacity;
    struct json_parser *parser; /* the events refer to the texts of its document */
    struct arena arena;
    struct buf bodies;
    struct buf outer[REQUEST_OUTER_MAPS]; /* context and integrations of a batch, where given */
    msgpack_zone zone;                    /* of the event that is looked at */
    msgpack_zone outer_zone;              /* of the batch's context and integrations */
};

void request_init(struct request *request);
void request_done(struct request *request);
/* Its events are done with: give back what a large one took. */
void request_trim(struct request *request);

/* Parse a single event of `type`, or a batch where type is EVENT_TYPES. Each event of a batch that
 * is fine has a type, a message id, an identifier, and sizes within limits.h. */
void request_parse(struct request *request, enum event_type type, struct slice json,
                   struct rand *rand);

/* For parsers of other protocols: forget the events there are; add one, to be filled in (NULL where
 * the request has too many, which its refusal then says); and, when all are there, check them as
 * request_parse() does. Bodies are MessagePack maps in request->bodies. */
void request_reset(struct request *request);
struct request_event *request_add(struct request *request);
void request_finish(struct request *request, enum event_type type, struct rand *rand);
/* An event's id as it is kept, out of a text that stays as long as the request: white space around
 * it is nobody's intention. Empty where it names nobody (shared/blocked.h), which is noted. */
struct slice request_take_id(struct request *request, struct request_event *event,
                             struct slice text);

/* Give this anonymous id, known from a cookie or a header, to each event that has none. An event
 * that was refused for want of an identifier is then fine. An id that cannot be one is ignored. */
void request_adopt(struct request *request, struct slice anonymous_id);

/* Set source and times of every event: Segment's rule
 * timestamp = receivedAt - (sentAt - originalTimestamp), unless that is before 1970 or more than 23
 * hours ahead; without sentAt the time as given, marked as the client's own; without any that can
 * be read, receivedAt. */
void request_stamp(struct request *request, struct slice source, int64_t received_ms);

/* Put events of one millisecond into the order of their microseconds; those of equal times stay in
 * the order of the request. For what is read of the request before that, indices do not change. */
void request_order(struct request *request);

/* Something of it is to be stored. */
static inline bool request_is_stored(const struct request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        if (request_event_is_stored(&request->events[i])) {
            return true;
        }
    }
    return false;
}

#endif
