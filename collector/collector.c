#include "collector/collector.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>
#include "collector/api/api.h"
#include "collector/edge/edge_key.h"
#include "collector/spool/shipper.h"
#include "shared/damage/store_salvage.h"
#include "shared/daemon.h"
#include "shared/localtime.h"
#include "shared/log.h"

/* The spool is a queue of sealed blocks; the edge cache is small. What is encrypted does not
 * compress. Of open tables the indexes stay in memory: so few files are the fewest that LevelDB
 * takes. */
static const struct store_options spool_options = {
    .write_buffer_bytes = 2 * 1024 * 1024,
    .cache_bytes = 256 * 1024,
    .table_bytes = 8 * 1024 * 1024,
    .open_files_max = 74,
    .check_bytes_max = 32 * 1024 * 1024,
    .compress = false,
    .reopens = true,
};
static const struct store_options edge_options = {
    .write_buffer_bytes = 1024 * 1024,
    .cache_bytes = 1024 * 1024,
    .table_bytes = 2 * 1024 * 1024,
    .open_files_max = 74,
    .check_bytes_max = 8 * 1024 * 1024,
    .compress = false,
    .reopens = true,
};

static void on_salvaged(void *user, const char *sentence)
{
    (void)user;
    log_warn("salvaged", "In the spool: %s", sentence);
}

static bool salvage_spool(const char *path, struct error *err)
{
    struct salvage_report report = {.say = on_salvaged};
    if (!store_leveldb_salvage(path, &spool_options, &report, err)) {
        return false;
    }
    log_info("salvage-done",
             "What could not be read of the spool is left out, and kept in its folder \"lost\". "
             "files=%llu bits_mended=%llu changes_lost=%llu bytes_lost=%llu",
             (unsigned long long)report.damaged_files, (unsigned long long)report.mended,
             (unsigned long long)report.lost_changes, (unsigned long long)report.lost_bytes);
    return true;
}

static bool open_spool(struct collector *c, struct error *err)
{
    const struct settings *settings = &c->settings;
    c->disk = disk_space_new(settings->data_dir, (uint64_t)settings->disk_free_bytes_min,
                             disk_measure_statvfs, &clock_real);
    struct spool_options options = {
        .bytes_max = (uint64_t)settings->spool_bytes_max,
        .disk = c->disk,
        .drops_oldest = settings_drops_oldest(settings),
    };
    bool releases = settings_retries_aside(settings) || settings_drops_aside(settings);
    if (!spool_open(c->spool_store, &options, &c->spool, err) ||
        (releases && !spool_release_aside(c->spool, settings_drops_aside(settings), err)) ||
        !eras_open(c->spool_store, c->spool, &clock_machine_real, &c->eras, err)) {
        return false;
    }
    c->clock = eras_clock(c->eras);
    if (settings_has_lanes(settings)) {
        c->lanes = lanes_new(settings->priority_high_events, settings->priority_low_events);
    }
    return true;
}

/* The last definitions that arrived. Those that this collector cannot read are passed over: it then
 * asks the hub for what is newer than the enrolment's. */
static bool read_kept_gate(struct collector *c, struct error *err)
{
    struct buf state;
    struct error refused;
    buf_init(&state, LIMIT_WIRE_BYTES);
    bool fine = edge_gate_state(c->edge, &state, err);
    if (fine && !gate_new(buf_slice(&state), &c->gate, &refused)) {
        log_warn("gate-refused", "Those kept in the edge cache: %s", refused.message);
    }
    buf_done(&state);
    return fine;
}

static void close_edge(struct collector *c)
{
    gate_free(&c->gate);
    suppression_close(&c->suppression);
    edge_close(&c->edge);
    store_close(&c->edge_store);
}

/* The cache, and what else stands in its store. */
static bool open_edge(struct collector *c, const char *path, const uint8_t *key, struct error *err)
{
    bool fine = store_leveldb_open(path, &edge_options, &c->edge_store, err) &&
                edge_open(c->edge_store, key, &c->edge, err) &&
                suppression_open(c->edge_store, edge_vault(c->edge), &c->suppression, err) &&
                read_kept_gate(c, err);
    if (!fine) {
        close_edge(c);
    }
    return fine;
}

/* A cache that cannot be read is no loss that the hub could not make good. */
static bool open_or_empty_edge(struct collector *c, struct error *err)
{
    char path[CONFIG_TEXT_BYTES + 16];
    char key_path[CONFIG_TEXT_BYTES + 16];
    uint8_t *key;
    size_t len = strlen(c->settings.data_dir);
    while (len > 1 && c->settings.data_dir[len - 1] == '/') {
        len--;
    }
    snprintf(path, sizeof path, "%s/edge", c->settings.data_dir);
    snprintf(key_path, sizeof key_path, "%.*s.key", (int)len, c->settings.data_dir);
    bool is_set = c->settings.edge_key_file[0] != 0;
    if (!edge_key_read(is_set ? c->settings.edge_key_file : key_path, &key, err)) {
        return false;
    }
    bool fine = open_edge(c, path, key, err);
    if (!fine && err->kind == ERROR_CORRUPT) {
        log_warn("edge-emptied",
                 "The edge cache is emptied and filled by the hub anew, because it is damaged, or "
                 "was written with another key: %s",
                 err->message);
        fine = store_leveldb_destroy(path, err) && open_edge(c, path, key, err);
    }
    sodium_free(key);
    return fine;
}

static bool open_stores(struct collector *c, struct error *err)
{
    char path[CONFIG_TEXT_BYTES + 16];
    if (!daemon_make_folder(c->settings.data_dir, err)) {
        return false;
    }
    snprintf(path, sizeof path, "%s/spool", c->settings.data_dir);
    if ((c->settings.salvage && !salvage_spool(path, err)) ||
        !store_leveldb_open(path, &spool_options, &c->spool_store, err) || !open_spool(c, err)) {
        return false;
    }
    return open_or_empty_edge(c, err);
}

static void set_gate(struct collector *c, struct gate *gate)
{
    pthread_rwlock_wrlock(&c->gate_lock);
    struct gate *old = c->gate;
    gate_continue(gate, old);
    c->gate = gate;
    pthread_rwlock_unlock(&c->gate_lock);
    gate_free(&old);
}

static void on_gate_changed(void *user, struct slice state)
{
    struct collector *c = user;
    struct gate *gate;
    struct error err;
    if (!gate_new(state, &gate, &err)) {
        log_error_limited("gate-refused", "%s", err.message);
        return;
    }
    log_info_limited("gate-changed", "The hub sent new definitions. version=%llu",
                     (unsigned long long)gate_version(gate));
    set_gate(c, gate);
    edge_tell_all(c->edge);
}

/* The last definitions that arrived, or those of the enrolment, whichever are newer. Of the latter
 * the hub is told no version: what is stored with the moment of the last answer is the former. */
static bool load_gate(struct collector *c, uint64_t *ret_told_version, struct error *err)
{
    struct gate *enrolled;
    *ret_told_version = c->gate == NULL ? 0 : gate_version(c->gate);
    if (!gate_new(buf_slice(&c->enrolment.gate_state), &enrolled, err)) {
        return error_add_context(err, "gate_state_file");
    }
    if (c->gate == NULL || gate_is_newer(enrolled, c->gate)) {
        *ret_told_version = 0;
        set_gate(c, enrolled);
    } else {
        gate_free(&enrolled);
    }
    return true;
}

static void wake_uplink(void *user)
{
    uplink_wake(((struct collector *)user)->uplink);
}

static void on_hub_is_back(void *user)
{
    uplink_hub_is_back(((struct collector *)user)->uplink);
}

/* Each of these keeps what it had of memory and threads; only a new process gets rid of them. */
enum { STUCK_LINKS_MAX = 8, EXIT_RESTART = 70 };

static void on_link_stuck(void *user, unsigned count)
{
    (void)user;
    log_warn_limited(
        "link-stuck",
        "A connection to the hub was given up and could not be taken down; a new one takes its "
        "place. count=%u",
        count);
    if (count >= STUCK_LINKS_MAX) {
        log_error("link-lost", "Ending, to be started again: too many connections are stuck.");
        /* At once: the spool holds what was answered, and closing might not come back either. */
        _exit(EXIT_RESTART);
    }
}

static bool open_link(struct collector *c, struct error *err)
{
    struct link_client_options options = {
        .url = c->enrolment.hub_link,
        .silence_ms = LINK_SILENCE_MS,
        .stuck = on_link_stuck,
        .user = c,
    };
    return link_client_open(&options, &c->link, err);
}

static enum import_result on_import(void *user, struct slice write_key, struct request *request,
                                    struct error *err)
{
    return import_events(user, write_key, request, err);
}

static bool open_drop_folder(struct collector *c, struct error *err)
{
    struct drop_options options = {
        .path = c->settings.drop_folder,
        .data_dir = c->settings.data_dir,
        .settle_ms = c->settings.drop_settle_ms,
        .keep_ms = c->settings.drop_keep_days * 24 * 3600 * 1000,
        .clock = &clock_real,
        .import = on_import,
        .user = c,
    };
    return c->settings.drop_folder[0] == 0 || drop_folder_open(&options, &c->drop_folder, err);
}

static void open_uplink(struct collector *c)
{
    struct uplink_parts parts = {
        .spool = c->spool,
        .eras = c->eras,
        .link = c->link,
        .channel = c->channel,
        .offset = c->clock_offset,
        .standing = c->standing,
        .window = (unsigned)c->settings.blocks_in_flight,
        .bytes_per_second_max = (uint64_t)c->settings.upload_bytes_per_second_max,
    };
    c->uplink = uplink_open(&parts);
    clock_offset_watch(c->clock_offset, wake_uplink, c);
}

/* Where the line is limited, a block takes a second of it at most. */
static size_t block_bytes_max(const struct collector *c)
{
    int64_t line = c->settings.upload_bytes_per_second_max;
    int64_t room = line - SHIPPER_ENVELOPE_BYTES;
    return line == 0 || room > LIMIT_BLOCK_BYTES ? LIMIT_BLOCK_BYTES : (size_t)room;
}

static void count_refused(void *user, struct slice source, const char *code, size_t events)
{
    struct collector *c = user;
    refusals_add(c->refusals, source, code, events);
}

static bool open_committer(struct collector *c, struct error *err)
{
    struct committer_parts parts = {
        .spool = c->spool,
        .eras = c->eras,
        .enrolment = &c->enrolment,
        .lanes = c->lanes,
        .pending_bytes_max = (size_t)c->settings.pending_bytes_max,
        .block_bytes_max = block_bytes_max(c),
        .appended = wake_uplink,
        .refused = count_refused,
        .user = c,
    };
    return committer_open(&parts, &c->committer, err);
}

static bool open_parts(struct collector *c, struct error *err)
{
    uint64_t told_gate_version;
    if (!enrolment_read(c->settings.enrolment, &c->enrolment, err) || !open_stores(c, err) ||
        !load_gate(c, &told_gate_version, err)) {
        return false;
    }
    c->channel = seal_channel_of_collector(slice_text(c->enrolment.id), c->enrolment.sign_secret,
                                           c->enrolment.hub_public);
    if (c->channel == NULL) {
        return error_set(err, ERROR_INVALID, "%s: the hub's public key is no valid key",
                         c->settings.enrolment);
    }
    if (!open_link(c, err)) {
        return error_add_context(err, "hub_link");
    }
    if (!networks_parse(slice_text(c->settings.trusted_proxies), &c->trusted_proxies, err)) {
        return error_add_context(err, "trusted_proxies");
    }
    c->refusals = refusals_new(c->clock);
    c->report = report_open(c->refusals, c->spool, c->clock, &clock_real, &rand_secure);
    c->bots = bots_new();
    c->clock_offset = clock_offset_new(c->clock);
    c->standing = standing_new(c->clock);
    open_uplink(c);
    struct downlink_parts parts = {
        .edge = c->edge,
        .spool = c->spool,
        .link = c->link,
        .channel = c->channel,
        .offset = c->clock_offset,
        .standing = c->standing,
        .clock = c->clock,
        .suppression = c->suppression,
        .report = c->report,
        .gate_version = told_gate_version,
        .hub_is_back = on_hub_is_back,
        .gate_changed = on_gate_changed,
        .user = c,
    };
    c->downlink = downlink_open(&parts);
    return true;
}

struct opening {
    struct collector *collector;
    struct error *err;
    bool fine;
};

static void *open_in_background(void *arg)
{
    struct opening *o = arg;
    daemon_let_others_go_first();
    o->fine = open_parts(o->collector, o->err);
    return NULL;
}

/* What goes to the hub and comes from it can wait a moment, and the till's question and the page's
 * event should not: on one core the threads of the former must not keep those of the latter waiting
 * for the end of their time slice. Threads inherit that from the one that starts them, NNG's too.
 */
static bool open_all(struct collector *c, struct error *err)
{
    struct opening opening = {.collector = c, .err = err};
    /* Before there is another thread. */
    if (!local_zone_set(c->settings.drop_zone, err)) {
        return error_add_context(err, "drop_zone");
    }
    pthread_join(daemon_start_thread("opening", open_in_background, &opening), NULL);
    return opening.fine && open_committer(c, err) && open_drop_folder(c, err) &&
           api_open(c, &c->api, err);
}

enum { STORES = 2 };

bool collector_open(const struct settings *settings, struct collector **ret, struct error *err)
{
    struct collector *c = memory_allocate_zeroed(sizeof *c);
    c->settings = *settings;
    c->files_for_connections = daemon_files_for_connections(
        daemon_raise_files(), STORES,
        (size_t)spool_options.open_files_max + (size_t)edge_options.open_files_max);
    pthread_rwlock_init(&c->gate_lock, NULL);
    if (!open_all(c, err)) {
        collector_close(&c);
        return false;
    }
    log_info("spool-opened", "Blocks of earlier runs wait for the hub. blocks=%llu bytes=%llu",
             (unsigned long long)spool_blocks(c->spool), (unsigned long long)spool_bytes(c->spool));
    *ret = c;
    return true;
}

uint16_t collector_port(const struct collector *c)
{
    return api_port(c->api);
}

uint16_t collector_https_port(const struct collector *c)
{
    return api_https_port(c->api);
}

void collector_look(struct collector *c)
{
    api_look(c->api);
}

void collector_close(struct collector **collector)
{
    struct collector *c = *collector;
    if (c == NULL) {
        return;
    }
    drop_folder_close(&c->drop_folder);
    if (c->api != NULL) {
        api_drain(c->api); /* everything else still works */
        link_client_stop(c->link);
        committer_stop(c->committer); /* answers whoever waits for the disk */
    }
    api_close(&c->api); /* nobody waits for the hub or the disk any more */
    committer_close(&c->committer);
    if (c->uplink != NULL) {
        uplink_stop(c->uplink);
        downlink_stop(c->downlink);
    }
    link_client_close(&c->link);
    uplink_close(&c->uplink);
    downlink_close(&c->downlink);
    clock_offset_free(&c->clock_offset);
    standing_free(&c->standing);
    seal_channel_free(&c->channel);
    report_close(&c->report);
    refusals_free(&c->refusals);
    bots_free(&c->bots);
    close_edge(c);
    lanes_free(&c->lanes);
    eras_close(&c->eras);
    spool_close(&c->spool);
    disk_space_free(&c->disk);
    store_close(&c->spool_store);
    enrolment_done(&c->enrolment);
    pthread_rwlock_destroy(&c->gate_lock);
    free(c);
    *collector = NULL;
}
