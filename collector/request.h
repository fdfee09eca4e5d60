/* A request in Segment's HTTP API, parsed once, at the edge, into events.
 *
 * JSON is streamed straight into MessagePack: members that the collector needs are taken, the rest
 * becomes the body of the event. One bad event never harms its neighbours: it is marked with a
 * code and the parse goes on; only text that is no JSON spoils a whole request.
 *
 * The result refers into the request's own memory, valid until the next request_parse(). The text
 * parsed need not outlive the call. One thread at a time.
 */
#ifndef TRIBUTARY_COLLECTOR_REQUEST_H
#define TRIBUTARY_COLLECTOR_REQUEST_H

#include "shared/arena.h"
#include "shared/event.h"
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
    bool has_external_id; /* looked for where there is neither user nor anonymous id */
    bool has_type;
    bool has_preferences;
    size_t preference_count;
    struct consent_preference preferences[LIMIT_CONSENT_CATEGORIES];
    size_t body_at;
    size_t body_len;
};

struct request {
    struct refusal refusal; /* of the whole */
    struct slice write_key;
    int64_t sent_ms;
    bool is_batch;
    size_t count;
    struct request_event *events;
    size_t capacity;
    struct arena arena;
    size_t added_bytes; /* what a tracking plan has added to the events */
    struct buf bodies;
    struct buf outer[REQUEST_OUTER_MAPS]; /* context and integrations of a batch, where given */
    msgpack_zone zone;                    /* of the event that is looked at */
    msgpack_zone outer_zone;              /* of the batch's context and integrations */
};

void request_init(struct request *request);
void request_done(struct request *request);

/* Parse a single event of `type`, or a batch where type is EVENT_TYPES. Each event of a batch that
 * is fine has a type, a message id, an identifier, and sizes within limits.h. */
void request_parse(struct request *request, enum event_type type, struct slice json,
                   struct rand *rand);

/* Set source and times of every event: Segment's rule
 * timestamp = receivedAt - (sentAt - originalTimestamp); without sentAt the time as given; without
 * any, or more than 23 hours ahead, receivedAt. */
void request_stamp(struct request *request, struct slice source, int64_t received_ms);

#endif
