#include "hub/hub.h"

#include <sodium.h>
#include <stdlib.h>
#include "hub/api/api.h"
#include "hub/own_key.h"
#include "hub/stores.h"
#include "shared/daemon.h"
#include "shared/log.h"

static bool read_keys(struct hub *h, struct error *err)
{
    h->secret_key = sodium_malloc(SEAL_KEY_BYTES);
    ensure(h->secret_key != NULL);
    if (!hub_settings_read_key(h->settings.key_file, h->secret_key, SEAL_KEY_BYTES, err) ||
        !hub_settings_read_line(h->settings.admin_token_file, h->admin_token, sizeof h->admin_token,
                                err)) {
        return false;
    }
    crypto_scalarmult_base(h->public_key, h->secret_key);
    return true;
}

static bool open_log(struct hub *h, struct error *err)
{
    return stores_prepare(&h->settings, err) && stores_open_log(&h->settings, &h->log_store, err) &&
           eventlog_open(h->log_store, &h->log, err);
}

/* From here on the hub goes by a clock that is believed. */
static bool open_clock(struct hub *h, struct error *err)
{
    if (!clock_guard_open(h->log, &clock_real, h->settings.trust_clock, &h->clock_guard, err)) {
        return false;
    }
    h->clock = clock_guard_clock(h->clock_guard);
    return true;
}

/* How many partitions there are is decided once: identifiers and ids depend on it. */
static bool check_partitions(struct hub *h, struct error *err)
{
    struct store_batch batch;
    struct buf value;
    bool found = false;
    buf_init(&value, 64);
    bool fine = store_get(h->log_store, NULL, slice_text("P"), &value, &found, err);
    if (fine && found && (value.len != 4 || read_u32(value.data) != h->settings.partitions)) {
        fine = error_set(
            err, ERROR_INVALID, "this hub was made with %u partitions; set partitions = %u",
            value.len == 4 ? read_u32(value.data) : 0, value.len == 4 ? read_u32(value.data) : 0);
    }
    if (fine && !found) {
        buf_clear(&value);
        buf_put_u32(&value, (uint32_t)h->settings.partitions);
        store_batch_init(&batch);
        store_batch_put(&batch, slice_text("P"), buf_slice(&value));
        fine = store_write(h->log_store, &batch, true, err);
        store_batch_done(&batch);
    }
    buf_done(&value);
    return fine;
}

static bool open_stores(struct hub *h, struct error *err)
{
    h->stores = memory_allocate_zeroed((size_t)h->settings.partitions * sizeof(struct store *));
    return stores_open_partitions(&h->settings, h->stores, err);
}

static void on_edge(void *user, uint32_t collector)
{
    edges_notify(((struct hub *)user)->edges, collector);
}

/* Where a thousand tables are mapped LevelDB opens the others, up to a fifth of all files. */
struct hub_files hub_share_files(const struct hub_settings *settings, size_t files)
{
    size_t stores = (size_t)settings->partitions + 1;
    size_t room = daemon_files_for_connections(files, stores, files / 5);
    size_t http = (size_t)settings->connections_max;
    size_t link = (size_t)settings->link_connections_max;
    http = http < room / 4 ? http : room / 4;
    link = link < room - http ? link : room - http;
    return (struct hub_files){files, http, link};
}

/* Said at the start and with each enrolment: a box that finds no place would only see that the hub
 * does not answer. */
static void check_fleet(struct hub *h)
{
    size_t fleet = collectors_enrolled(h->collectors);
    if (fleet > h->files.link_connections) {
        log_warn_limited("fleet-too-large",
                         "More collectors are enrolled than connections may be open: raise the "
                         "limit of open files (LimitNOFILE of systemd, ulimit -Hn) or "
                         "link_connections_max. enrolled=%zu connections_max=%zu files_max=%zu",
                         fleet, h->files.link_connections, h->files.files);
    }
}

static bool note_collector(void *user, const struct registry_entry *entry)
{
    (void)entry;
    *(bool *)user = true;
    return true;
}

static void tell_clock_guard(struct hub *h)
{
    bool has_collectors = false;
    registry_each(h->registry, REGISTRY_COLLECTOR, note_collector, &has_collectors);
    clock_guard_set_collectors(h->clock_guard, has_collectors);
}

static void on_registry_changed(void *user)
{
    struct hub *h = user;
    tell_clock_guard(h);
    definitions_reload(h->definitions, h->registry);
    collectors_reload(h->collectors);
    check_fleet(h);
    edges_notify_all(h->edges);
}

static void on_suppressions_changed(void *user)
{
    edges_notify_all(((struct hub *)user)->edges);
}

struct reader hub_reader(const struct hub *h)
{
    return (struct reader){h->stores, (uint32_t)h->settings.partitions};
}

static void open_services(struct hub *h)
{
    definitions_reload(h->definitions, h->registry);
    tell_clock_guard(h);
    h->collectors = collectors_new(h->registry, h->secret_key);
    collectors_reload(h->collectors);
    h->reports = reports_new();
    h->trust_counts = trust_counts_new();
    struct edges_parts parts = {
        .registry = h->registry,
        .suppressions = h->suppressions,
        .incarnations = h->incarnations,
        .reports = h->reports,
        .collectors = h->collectors,
        .definitions = h->definitions,
        .reader = hub_reader(h),
        .lookups = {h->settings.lookups_per_second, h->settings.lookups_outside_per_minute},
        .clock = h->clock,
        .clock_guard = h->clock_guard};
    h->intake = intake_open(h->log, h->collectors, h->public_key, h->secret_key, h->clock);
    h->edges = edges_open(&parts);
}

struct refused {
    enum admission_verdict why;
    uint64_t events;
};

static void note_refused(struct collector_figures *figures, void *user)
{
    const struct refused *refused = user;
    figures->events_refused[refused->why] += refused->events;
}

static void on_refused(void *user, struct slice collector_id, enum admission_verdict why,
                       uint64_t events)
{
    struct hub *h = user;
    struct refused refused = {why, events};
    collectors_note(h->collectors, collector_id, note_refused, &refused);
}

static bool open_partitions(struct hub *h, struct error *err)
{
    struct workers_options options = {
        .partitions = (uint32_t)h->settings.partitions,
        .threads = (unsigned)h->settings.workers,
        .cache_bytes = (size_t)h->settings.cache_bytes,
        .queued_bytes_max = (size_t)h->settings.queue_bytes,
        .clock = h->clock,
        .edge = on_edge,
        .user = h,
    };
    struct buf catalog;
    if (!workers_open(h->stores, &options, &h->workers, err)) {
        return false;
    }
    edges_set_workers(h->edges, h->workers);
    buf_init(&catalog, SIZE_MAX / 2);
    workers_slowest_catalog(h->workers, &catalog);
    struct router_parts parts = {.log = h->log,
                                 .workers = h->workers,
                                 .partitions = options.partitions,
                                 .hub_public = h->public_key,
                                 .hub_secret = h->secret_key,
                                 .suppressions = h->suppressions,
                                 .trust_counts = h->trust_counts,
                                 .quarantine = h->quarantine,
                                 .clock_guard = h->clock_guard,
                                 .refused = on_refused,
                                 .user = h};
    bool fine = router_open(&parts, buf_slice(&catalog), &h->router, err);
    buf_done(&catalog);
    return fine;
}

static bool open_link(struct hub *h, struct error *err)
{
    struct link_server_options options = {
        .url = h->settings.link_listen,
        .connections_max = h->files.link_connections,
        .strangers_per_address_max = (size_t)h->settings.link_strangers_per_address_max,
        .greeting_ms = LINK_GREETING_MS,
        .first_message_ms = LINK_FIRST_MESSAGE_MS,
        .handler = messages_take,
        .user = h->messages,
    };
    check_fleet(h);
    return link_server_open(&options, &h->link, err) || error_add_context(err, "link_listen");
}

static void open_scrub(struct hub *h)
{
    struct scrub_options options = {
        .data_dir = h->settings.data_dir,
        .partitions = (uint32_t)h->settings.partitions,
        .log = h->log,
        .bytes_per_second = (uint64_t)h->settings.scrub_bytes_per_second,
        .pause_ms = h->settings.scrub_every_ms,
    };
    h->scrub = scrub_open(&options);
}

static bool open_parts(struct hub *h, struct error *err)
{
    h->definitions = definitions_new();
    if (!read_keys(h, err) || !open_log(h, err) || !open_clock(h, err) ||
        !own_key_check(h->log_store, h->public_key, h->secret_key, err) ||
        !check_partitions(h, err) || !open_stores(h, err) ||
        !registry_open(h->log, h->clock, on_registry_changed, h, &h->registry, err) ||
        !suppressions_open(h->log, h->secret_key, h->clock, on_suppressions_changed, h,
                           &h->suppressions, err) ||
        !incarnations_open(h->log, h->registry, h->suppressions, &rand_secure, &h->incarnations,
                           err) ||
        !quarantine_open(h->log, h->clock, &h->quarantine, err)) {
        return false;
    }
    registry_set_link_key(h->registry, h->secret_key);
    open_services(h);
    if (!open_partitions(h, err)) {
        return false;
    }
    h->messages = messages_new(h->collectors, h->intake, h->edges);
    open_scrub(h);
    return open_link(h, err) && api_open(h, &h->api, err);
}

bool hub_open(const struct hub_settings *settings, struct hub **ret, struct error *err)
{
    struct hub *h = memory_allocate_zeroed(sizeof *h);
    h->settings = *settings;
    h->files = hub_share_files(settings, daemon_raise_files());
    if (!open_parts(h, err)) {
        hub_close(&h);
        return false;
    }
    *ret = h;
    return true;
}

void hub_look(struct hub *h)
{
    clock_guard_look(h->clock_guard);
}

void hub_close(struct hub **hub)
{
    struct hub *h = *hub;
    if (h == NULL) {
        return;
    }
    api_close(&h->api);
    scrub_close(&h->scrub);
    if (h->link != NULL) {
        link_server_stop(h->link);
    }
    if (h->edges != NULL) {
        edges_stop(h->edges); /* answers waiting polls */
    }
    intake_close(&h->intake); /* answers waiting blocks */
    link_server_close(&h->link);
    router_close(&h->router);
    workers_close(&h->workers);
    edges_close(&h->edges);
    messages_free(&h->messages);
    collectors_free(&h->collectors);
    quarantine_close(&h->quarantine);
    incarnations_close(&h->incarnations);
    suppressions_close(&h->suppressions);
    reports_free(&h->reports);
    trust_counts_free(&h->trust_counts);
    registry_close(&h->registry);
    definitions_free(&h->definitions);
    clock_guard_close(&h->clock_guard);
    eventlog_close(&h->log);
    for (size_t i = 0; h->stores != NULL && i < (size_t)h->settings.partitions; i++) {
        store_close(&h->stores[i]);
    }
    free(h->stores);
    store_close(&h->log_store);
    sodium_free(h->secret_key);
    sodium_memzero(h->admin_token, sizeof h->admin_token);
    free(h);
    *hub = NULL;
}
