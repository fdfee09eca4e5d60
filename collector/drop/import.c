#include "collector/drop/import.h"

#include "collector/collector.h"

/* What the committer's thread tells the one that waits. */
struct outcome {
    pthread_mutex_t lock;
    pthread_cond_t known;
    bool is_awaited; /* something of the request was handed over */
    bool is_known;
    bool fine;
    struct error err;
};

static void on_committed(void *user, const struct error *err)
{
    struct outcome *outcome = user;
    pthread_mutex_lock(&outcome->lock);
    outcome->is_known = true;
    outcome->fine = err == NULL;
    if (err != NULL) {
        outcome->err = *err;
    }
    pthread_cond_signal(&outcome->known);
    pthread_mutex_unlock(&outcome->lock);
}

static bool wait_for(struct outcome *outcome, struct error *err)
{
    pthread_mutex_lock(&outcome->lock);
    while (!outcome->is_known) {
        pthread_cond_wait(&outcome->known, &outcome->lock);
    }
    pthread_mutex_unlock(&outcome->lock);
    if (!outcome->fine) {
        *err = outcome->err;
    }
    return outcome->fine;
}

/* The times that a file gives are right as they are; `timestamp` is the one that was corrected,
 * where it came out of somebody's archive. */
static void take_times_as_given(struct request *request)
{
    request->sent_ms = TIME_ABSENT;
    for (size_t i = 0; i < request->count; i++) {
        struct request_event *e = &request->events[i];
        e->sent_ms = TIME_ABSENT;
        e->original_ms = e->timestamp_ms != TIME_ABSENT ? TIME_ABSENT : e->original_ms;
    }
}

/* All or none of it: rows that fit no block never will. */
static void refuse_all(struct collector *c, struct slice source, struct request *request)
{
    request->refusal = (struct refusal){
        "request-too-large", "With its neighbours and what is added the row is too large.", NULL};
    refusals_add(c->refusals, source, request->refusal.code, request->count);
    refusals_note(c->refusals, source, &request->refusal, NULL);
}

/* A mapping names its source by id; those of earlier versions by write key. */
static const struct gate_source *find_source(const struct gate *gate, struct slice name)
{
    const struct gate_source *source = gate_find_source_by_id(gate, name);
    return source != NULL ? source : gate_find_source(gate, name);
}

/* Inside the gate's read lock, because events refer to the source's id. */
static enum import_result hand_over(struct collector *c, struct slice name, struct request *request,
                                    struct outcome *outcome, struct error *err)
{
    struct committer_waiter waiter = {on_committed, outcome};
    struct visit visit; /* of nobody: a file comes from no browser and no address */
    const struct gate_source *source = find_source(c->gate, name);
    if (source == NULL || !gate_source_is_server(source)) {
        error_set(err, ERROR_UNAVAILABLE,
                  source == NULL ? "no source is called \"%.*s\""
                                 : "the source \"%.*s\" does not say \"trust\": \"server\", which "
                                   "files need",
                  name.len > 64 ? 64 : (int)name.len, (const char *)name.data);
        return IMPORT_NO_SOURCE;
    }
    take_times_as_given(request);
    request_stamp(request, gate_source_id(source), clock_now_ms(c->clock));
    visit_init(&visit);
    visit.rules = gate_rules(source);
    visit.bots = c->bots;
    visit.suppression = c->suppression;
    visit.arena = &request->arena;
    (void)gate_pass_all(source, &visit, request, c->refusals);
    outcome->is_awaited = request_is_stored(request);
    bool fine = !outcome->is_awaited || committer_add_for(c->committer, request, &waiter, err);
    visit_done(&visit);
    if (!fine && err->kind == ERROR_INVALID) {
        refuse_all(c, gate_source_id(source), request);
        outcome->is_awaited = false;
        fine = true;
    }
    return fine ? IMPORT_DURABLE : IMPORT_LATER;
}

enum import_result import_events(struct collector *c, struct slice source, struct request *request,
                                 struct error *err)
{
    struct outcome outcome = {0};
    struct standing_refusal refusal = standing_refusal(c->standing);
    if (refusal.code != NULL) {
        error_set(err, ERROR_UNAVAILABLE, "%s", refusal.message);
        return IMPORT_LATER;
    }
    if (spool_bytes(c->spool) / 9 * 10 >= (uint64_t)c->settings.spool_bytes_max) {
        error_set(err, ERROR_FULL, "the spool is nine tenths full");
        return IMPORT_LATER;
    }
    pthread_mutex_init(&outcome.lock, NULL);
    pthread_cond_init(&outcome.known, NULL);
    pthread_rwlock_rdlock(&c->gate_lock);
    enum import_result result = hand_over(c, source, request, &outcome, err);
    pthread_rwlock_unlock(&c->gate_lock);
    if (result == IMPORT_DURABLE && outcome.is_awaited && !wait_for(&outcome, err)) {
        result = IMPORT_LATER;
    }
    pthread_mutex_destroy(&outcome.lock);
    pthread_cond_destroy(&outcome.known);
    return result;
}
