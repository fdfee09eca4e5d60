/* What the files that read an event of Snowplow share. */
#ifndef TRIBUTARY_COLLECTOR_SNOWPLOW_INTERNAL_H
#define TRIBUTARY_COLLECTOR_SNOWPLOW_INTERNAL_H

#include "collector/request/snowplow_event.h"

/* Where in an event a parameter goes. */
enum snowplow_place {
    PLACE_HEAD, /* read by name, below */
    PLACE_PROPERTIES,
    PLACE_PAGE,
    PLACE_SCREEN,
    PLACE_CONTEXT,
    PLACE_SNOWPLOW,
};

enum snowplow_head {
    HEAD_NONE,
    HEAD_E,
    HEAD_EID,
    HEAD_UID,
    HEAD_DUID,
    HEAD_DTM,
    HEAD_STM,
    HEAD_TTM,
    HEAD_ACTION,
    HEAD_CO,
    HEAD_CX,
    HEAD_UE_PR,
    HEAD_UE_PX,
    HEADS
};

enum snowplow_form { FORM_TEXT, FORM_NUMBER, FORM_SIZE };

struct snowplow_row {
    const char *name;
    enum snowplow_place place;
    const char *member; /* of a size two names, one behind the other */
    enum snowplow_form form;
    enum snowplow_head head;
};

/* snowplow_parameters.c: what is known of a parameter; NULL: it has no place of its own. */
const struct snowplow_row *snowplow_find_row(struct slice name);

struct snowplow_member {
    const struct snowplow_row *row;
    struct slice name;
    struct slice value;
};

/* The event that is being read. */
struct snowplow_reading {
    struct snowplow_reader *reader;
    struct request_event *event;
    struct slice heads[HEADS];
    struct snowplow_member members[SNOWPLOW_PARAMETERS_MAX];
    size_t count;
    const msgpack_object *contexts; /* array or NULL */
    struct slice schema;            /* of a self-describing event */
    const msgpack_object *data;     /* its properties, a map or NULL */
    struct slice proof;             /* a token that says who the visitor is; empty: none */
};

/* Is this entity the proof of who the visitor is, and what is its token? */
bool snowplow_is_proof(const msgpack_object *entity, struct slice *ret_token);

/* snowplow_body.c: write the event's body behind request->bodies. False: it does not fit, which the
 * event's refusal then says. */
bool snowplow_write_body(struct snowplow_reading *reading);

#endif
