/* /v1/stats/overview, /v1/stats/profiles, /metrics */
#include "hub/api/internal.h"

#include "shared/metrics.h"

bool api_read_stats(struct hub *hub, struct partition_stats *ret, struct error *err)
{
    *ret = (struct partition_stats){0};
    for (uint32_t i = 0; i < hub->settings.partitions; i++) {
        struct partition_stats s;
        if (!partition_read_stats(hub->stores[i], NULL, &s, err)) {
            return false;
        }
        ret->profiles += s.profiles;
        ret->known += s.known;
        ret->events += s.events;
        ret->duplicates += s.duplicates;
        ret->merges += s.merges;
        ret->refused_links += s.refused_links;
        ret->unidentified += s.unidentified;
        ret->claims += s.claims;
    }
    return true;
}

static void show_overview(struct call *call)
{
    struct hub *hub = call->hub;
    struct json_writer *w = &call->w;
    struct partition_stats stats;
    struct trust_figures evidence = trust_counts_of_all(hub->trust_counts);
    struct error err;
    if (!api_read_stats(hub, &stats, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    struct scrub_figures scrub = scrub_figures(hub->scrub);
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"events", stats.events},
        {"profiles", stats.profiles},
        {"known", stats.known},
        {"duplicates", stats.duplicates},
        {"merges", stats.merges},
        {"refusedLinks", stats.refused_links},
        {"claims", stats.claims},
        {"unidentifiedEvents", stats.unidentified + router_unidentified(hub->router)},
        {"logRecords", eventlog_next(hub->log) - 1},
        {"logRecordsToRoute", eventlog_next(hub->log) - router_next(hub->router)},
        {"suppressedEvents", router_suppressed(hub->router)},
        {"suppressedIdentifiers", suppressions_count(hub->suppressions)},
        {"quarantinedEvents", router_quarantined(hub->router)},
        {"unreadableBlocks", router_failed_blocks(hub->router)},
        {"provenEvents", evidence.proven},
        {"claimedEvents", evidence.claimed},
        {"invalidProofs", trust_invalid(&evidence)},
        {"missingRecords", scrub.missing_records},
        {"missingBlocks", scrub.missing_blocks},
        {"damagedFiles", scrub.faults},
        {"scrubbedBytes", scrub.bytes},
        {"queuedBytes", workers_queued_bytes(hub->workers)},
        {"strangersRefused", messages_strangers(hub->messages)},
    };
    json_open_object(w);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        json_key(w, figures[i].name);
        json_int(w, (int64_t)figures[i].value);
    }
    json_key(w, "scrubbedAt");
    if (scrub.completed_ms > 0) {
        json_time(w, scrub.completed_ms);
    } else {
        json_null(w);
    }
    json_close_object(w);
    call_answer(call, 200);
}

/* ---- Ready ---- */

static void put_problem(struct json_writer *w, const char *code, const char *message)
{
    json_open_object(w);
    json_key(w, "code");
    json_cstr(w, code);
    json_key(w, "message");
    json_cstr(w, message);
    json_close_object(w);
}

void api_ready(struct call *call)
{
    struct json_writer *w = &call->w;
    struct scrub_figures scrub = scrub_figures(call->hub->scrub);
    struct clock_decision clock = clock_guard_decide(call->hub->clock_guard);
    bool is_ready = scrub.faults == 0 && !clock.is_held;
    json_open_object(w);
    json_key(w, "ready");
    json_bool(w, is_ready);
    if (!is_ready) {
        json_key(w, "problems");
        json_open_array(w);
        if (scrub.faults > 0) {
            put_problem(w, "damage-found", scrub.fault);
        }
        if (clock.is_held) {
            char sentence[CLOCK_GUARD_SENTENCE_BYTES];
            clock_guard_describe(&clock, sentence);
            put_problem(w, "clock-held", sentence);
        }
        json_close_array(w);
    }
    json_close_object(w);
    call_answer(call, is_ready ? 200 : 503);
}

/* ---- Profiles ---- */

struct profiles {
    struct json_writer *w;
    const struct catalog *catalog;
};

static void write_profile(void *user, const struct profile *profile)
{
    struct profiles *p = user;
    api_write_profile(p->w, profile, p->catalog);
}

static void list_profiles(struct call *call)
{
    struct reader reader = hub_reader(call->hub);
    struct profiles profiles = {.w = &call->w};
    struct reader_place place;
    struct error err;
    size_t limit;
    if (!call_read_limit(call, 100, 1000, &limit) || !call_read_cursor(call, &place)) {
        return;
    }
    json_open_object(&call->w);
    json_key(&call->w, "profiles");
    json_open_array(&call->w);
    profiles.catalog = definitions_borrow(call->hub->definitions);
    bool fine = reader_profiles(&reader, &place, limit, write_profile, &profiles, &err);
    definitions_release(call->hub->definitions);
    if (!fine) {
        call_answer_failure(call, &err);
        return;
    }
    json_close_array(&call->w);
    call_write_next(call, &place);
    json_close_object(&call->w);
    call_answer(call, 200);
}

void api_stats(struct call *call, struct slice rest)
{
    if (slice_is(rest, "overview")) {
        show_overview(call);
    } else if (slice_is(rest, "profiles")) {
        list_profiles(call);
    } else {
        call_answer_not_found(call, "figure");
    }
}

static void put_link_metrics(struct hub *hub, struct buf *out)
{
    static const char closed[] = "tributary_link_closed_connections_total";
    struct link_server_stats s = link_server_stats(hub->link);
    const struct {
        const char *reason;
        uint64_t count;
    } reasons[] = {{"slow", s.too_slow}, {"crowded", s.crowded}, {"form", s.wrong_form}};
    metrics_put(out, "tributary_link_connections", "gauge", "Connections to the link's port.",
                (double)s.connections);
    metrics_put(out, "tributary_link_strangers", "gauge",
                "Of these, connections on which no enrolled collector has spoken.",
                (double)s.strangers);
    metrics_put(out, "tributary_link_connections_max", "gauge",
                "How many of them the settings and the limit of open files allow.",
                (double)hub->files.link_connections);
    metrics_put(out, "tributary_collectors_enrolled", "gauge",
                "Collectors that are enrolled and not revoked.",
                (double)collectors_enrolled(hub->collectors));
    metrics_put_head(out, closed, "counter", "Connections to the link's port that were closed.");
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        metrics_put_sample(out, closed, "reason", slice_text(reasons[i].reason), NULL,
                           slice_text(""), (double)reasons[i].count);
    }
}

static void put_refused(void *user, struct slice id, const struct collector_figures *figures)
{
    for (enum collector_refusal i = 0; i < COLLECTOR_REFUSALS; i++) {
        if (figures->messages_refused[i] > 0) {
            metrics_put_sample(user, "tributary_collector_messages_refused_total", "collector", id,
                               "reason", slice_text(collector_refusal_name(i)),
                               (double)figures->messages_refused[i]);
        }
    }
}

static void put_refused_events(void *user, struct slice id, const struct collector_figures *figures)
{
    for (enum admission_verdict i = ADMISSION_YES + 1; i < ADMISSION_VERDICTS; i++) {
        if (figures->events_refused[i] > 0) {
            metrics_put_sample(user, "tributary_collector_events_refused_total", "collector", id,
                               "reason", slice_text(admission_verdict_name(i)),
                               (double)figures->events_refused[i]);
        }
    }
}

static void put_lookups(void *user, struct slice id, const struct collector_figures *figures)
{
    for (enum lookups_result i = 0; i < LOOKUPS_RESULTS; i++) {
        if (figures->lookups.counts[i] > 0) {
            metrics_put_sample(user, "tributary_collector_lookups_total", "collector", id, "result",
                               slice_text(lookups_result_name(i)),
                               (double)figures->lookups.counts[i]);
        }
    }
}

static void put_refused_collectors(struct hub *hub, struct buf *out)
{
    metrics_put_head(
        out, "tributary_collector_messages_refused_total", "counter",
        "Messages under an enrolled name that were not taken: revoked, with a key that "
        "was replaced, or with one that the name never had.");
    collectors_each(hub->collectors, put_refused, out);
    metrics_put_head(out, "tributary_collector_events_refused_total", "counter",
                     "Events that the hub did not take: of a source that the collector may not "
                     "carry, without the consent that the source demands, or of an impossible "
                     "time.");
    collectors_each(hub->collectors, put_refused_events, out);
    metrics_put_head(out, "tributary_collector_lookups_total", "counter",
                     "People that collectors asked for: somebody in their scope, outside it, "
                     "nobody, or not answered because there were too many.");
    collectors_each(hub->collectors, put_lookups, out);
}

static void put_scrub_metrics(struct buf *out, struct hub *hub)
{
    struct scrub_figures scrub = scrub_figures(hub->scrub);
    metrics_put(out, "tributary_scrubbed_bytes_total", "counter",
                "Bytes on disk that were read to find damage.", (double)scrub.bytes);
    metrics_put(out, "tributary_scrub_completed_seconds", "gauge",
                "When everything was last read, in Unix time; 0: not since the start.",
                (double)scrub.completed_ms / 1000);
    metrics_put(out, "tributary_damaged_files", "gauge", "Files on disk that are damaged.",
                (double)scrub.faults);
    metrics_put(out, "tributary_missing_log_records", "gauge",
                "Numbers of the log that no record has.", (double)scrub.missing_records);
    metrics_put(out, "tributary_missing_blocks", "gauge",
                "Blocks of collectors' past epochs that have not come.",
                (double)scrub.missing_blocks);
}

void api_metrics(struct call *call)
{
    struct hub *hub = call->hub;
    struct partition_stats s;
    struct error err;
    if (!api_read_stats(hub, &s, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    struct buf *out = &call->body;
    metrics_put_build_info(out);
    metrics_put(out, "tributary_events_total", "counter", "Events counted once.", (double)s.events);
    metrics_put(out, "tributary_duplicate_events_total", "counter",
                "Events whose messageId was there already.", (double)s.duplicates);
    metrics_put(out, "tributary_profiles", "gauge", "Profiles.", (double)s.profiles);
    metrics_put(out, "tributary_known_profiles", "gauge", "Profiles that are not anonymous.",
                (double)s.known);
    metrics_put(out, "tributary_merges_total", "counter", "Profiles merged into others.",
                (double)s.merges);
    metrics_put(out, "tributary_refused_links_total", "counter",
                "Links refused by the identity rules.", (double)s.refused_links);
    metrics_put(out, "tributary_unidentified_events_total", "counter",
                "Events whose identifiers identify nobody.",
                (double)(s.unidentified + router_unidentified(hub->router)));
    metrics_put(out, "tributary_claims", "gauge", "Identifiers that are claimed without evidence.",
                (double)s.claims);
    metrics_put(out, "tributary_log_records", "gauge", "Records in the log.",
                (double)(eventlog_next(hub->log) - 1));
    metrics_put(out, "tributary_log_records_to_route", "gauge", "Records not yet routed.",
                (double)(eventlog_next(hub->log) - router_next(hub->router)));
    metrics_put(out, "tributary_unreadable_blocks_total", "counter",
                "Blocks of the log that could not be opened.",
                (double)router_failed_blocks(hub->router));
    metrics_put(out, "tributary_suppressed_events_total", "counter",
                "Events that were refused because their person is suppressed.",
                (double)router_suppressed(hub->router));
    metrics_put(out, "tributary_quarantined_events_total", "counter",
                "Events that were put into quarantine.", (double)router_quarantined(hub->router));
    put_scrub_metrics(out, hub);
    struct clock_decision clock = clock_guard_decide(hub->clock_guard);
    metrics_put(out, "tributary_clock_held", "gauge",
                "1: the hub's clock is not believed, and nothing is routed.", clock.is_held);
    metrics_put(out, "tributary_clock_ahead_seconds", "gauge",
                "While it is not believed: how far it is ahead.", (double)clock.ahead_ms / 1000);
    metrics_put(out, "tributary_queued_bytes", "gauge", "Messages waiting for partitions.",
                (double)workers_queued_bytes(hub->workers));
    metrics_put(out, "tributary_partition_commits_total", "counter", "Commits of partitions.",
                (double)workers_commits(hub->workers));
    metrics_put(out, "tributary_strangers_refused_total", "counter",
                "Messages that no enrolled collector sent.",
                (double)messages_strangers(hub->messages));
    api_put_evidence_metrics(hub, out);
    put_link_metrics(hub, out);

    put_refused_collectors(hub, out);
    http_answer(call->http, 200, "text/plain; version=0.0.4", buf_slice(out));
}
