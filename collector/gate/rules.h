/* What a source asks of its events beside consent, and what is done about it: objections, bots,
 * addresses. gate.c reads the rules out of its definitions and calls these for each event.
 *
 * Of one event, in this order: rules_object(), rules_check(), then consent, then rules_change() or,
 * where consent is denied, withdrawal_make(). A source without rules pays for none but the bot
 * filter, which is on by default. Any thread, each with a visit of its own.
 */
#ifndef TRIBUTARY_COLLECTOR_RULES_H
#define TRIBUTARY_COLLECTOR_RULES_H

#include "shared/address.h"
#include "collector/gate/bots.h"
#include "collector/gate/rate.h"
#include "collector/request/request.h"
#include "collector/gate/suppression.h"

enum ip_rule {
    IP_AS_SENT,  /* context.ip as the client sent it */
    IP_KEEP,     /* and the client's address where a browser's event has none */
    IP_TRUNCATE, /* the same, cut to its network */
    IP_DROP,     /* no context.ip */
};

struct rules {
    const msgpack_object *objections; /* categories that Sec-GPC denies; an array, or NULL */
    bool keeps_bots;
    enum ip_rule ip;
    struct rate_rule rate;
};

/* Read them out of a source's definition (NULL or a value of any type), to which they refer. What
 * is missing, unknown or of another type counts as not given. */
struct rules rules_read(const msgpack_object *source);

/* Who sends a request, as far as HTTP shows, and what its rules need while they look at it. Kept
 * for the next request; one thread at a time. visit.c fills it. */
struct visit {
    const struct rules *rules;
    struct bots *bots;
    struct suppression *suppression; /* NULL: nobody is suppressed */
    struct arena *arena;             /* of the request: changed bodies live there */
    bool is_browser;
    bool objects; /* Sec-GPC: 1 */
    bool has_address;
    struct address address;
    struct slice user_agent; /* of the browser */
    struct slice judged;     /* the last user agent that was looked at: most events repeat it */
    bool judged_as_bot;
    size_t growth; /* bytes by which rules and tracking plan made this request's bodies grow */
    struct buf changed[2];
};

void visit_init(struct visit *visit);
void visit_done(struct visit *visit);
/* Take the room that a body needs which grew. False: it is not there, because all events of a
 * request must fit one block beside the largest request. */
bool visit_grow(struct visit *visit, size_t from, size_t to);

/* Take the objection that came with the request or the event: the preferences for the source's
 * categories become false, as the gate sees them. */
void rules_object(const struct visit *visit, struct request_event *event);

/* May it pass, as far as the user agent says? No code: yes. */
struct refusal rules_check(struct visit *visit, const struct request_event *event);

/* Change the body to what may be stored: objections noted, context.ip as the source wants it. */
struct refusal rules_change(struct visit *visit, struct request_event *event);

#endif
