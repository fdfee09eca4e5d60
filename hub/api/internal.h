/* What the handlers of the API share. */
#ifndef TRIBUTARY_HUB_API_INTERNAL_H
#define TRIBUTARY_HUB_API_INTERNAL_H

#include <pthread.h>
#include "hub/api/api.h"
#include "hub/api/known_members.h"
#include "shared/http.h"
#include "shared/json.h"

/* One request: made before and freed after its handler, which writes its answer with `w`. */
struct call {
    struct hub *hub;
    struct http_request *http;
    pthread_mutex_t *changing; /* held from reading a definition to writing it back changed */
    struct arena arena;
    struct buf body; /* of the answer */
    struct buf json; /* the request's body as MessagePack */
    msgpack_zone zone;
    struct json_writer w;
};

/* The body as an object that has no other members than these (NULL: any). False: answered with
 * 400. */
bool call_read_json(struct call *call, const struct member *known, msgpack_object *ret);
/* edge_member.c: to whom a segment or trait is shown. Check it; false: answered with 400 and this
 * code. And write it, as the list that it means, whatever an older version stored. */
bool call_check_edge(struct call *call, const msgpack_object *body, const char *code);
void call_write_edge(struct call *call, const msgpack_object *body);
/* Answer with what was written. */
void call_answer(struct call *call, unsigned status);
void call_answer_not_found(struct call *call, const char *what);
/* A failure of the store: logged, answered with 503. */
void call_answer_failure(struct call *call, const struct error *err);
/* A definition that was refused. */
void call_answer_invalid(struct call *call, const struct catalog_error *where,
                         const struct error *err);
/* The `limit` of a listing. False: answered with 400. */
bool call_read_limit(struct call *call, size_t initial, size_t max, size_t *ret);
/* A cursor over partitions and ids, as text in the query; the start where there is none. False:
 * answered with 400. */
bool call_read_cursor(struct call *call, struct reader_place *ret);
void call_write_next(struct call *call, const struct reader_place *place);

/* Handlers of a path under /v1 whose first part was `head`; `rest` is what follows it, without
 * slashes at its ends. */
void api_profiles(struct call *call, struct slice method, struct slice rest);
void api_segments(struct call *call, struct slice method, struct slice rest);
void api_preview(struct call *call);
void api_definitions(struct call *call, struct slice method, enum registry_kind kind,
                     struct slice key);
void api_collectors(struct call *call, struct slice method, struct slice key);
void api_stats(struct call *call, struct slice rest);
void api_suppressions(struct call *call, struct slice method);
void api_quarantine(struct call *call, struct slice method, struct slice rest);
void api_refusals(struct call *call, struct slice method);
void api_metrics(struct call *call);
/* Whether the hub does its work, and what keeps it from it. */
void api_ready(struct call *call);

void api_write_profile(struct json_writer *w, const struct profile *profile,
                       const struct catalog *catalog);
/* An event as members of an object that is open, in the form in which it was sent; without members
 * of the client's own that are named like those that the hub writes. */
void api_write_event_members(struct json_writer *w, const struct event *event);
/* A collector's refusals of the last hour by reason, as the member "refusalsLastHour". */
void api_write_refusal_sums(struct call *call, struct slice collector);
/* How many events of a source were proven and how many only claimed, as the member "evidence". */
void api_write_evidence(struct call *call, struct slice source, bool has_keys);
void api_put_evidence_metrics(struct hub *hub, struct buf *out);
/* The figures of all partitions together. */
MUST_CHECK bool api_read_stats(struct hub *hub, struct partition_stats *ret, struct error *err);

/* The part of a path before the first slash; *rest becomes what follows. */
struct slice api_next_part(struct slice *rest);

#endif
