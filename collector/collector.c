#include "collector/collector.h"

#include <sodium.h>
#include <stdlib.h>
#include "collector/api.h"
#include "collector/edge_key.h"
#include "shared/daemon.h"
#include "shared/log.h"

/* The spool is a queue of sealed blocks; the edge cache is small. What is encrypted does not
 * compress. */
static const struct store_options spool_options = {
    .write_buffer_bytes = 2 * 1024 * 1024,
    .cache_bytes = 256 * 1024,
    .table_bytes = 8 * 1024 * 1024,
    .open_files_max = 100,
    .compress = false,
};
static const struct store_options edge_options = {
    .write_buffer_bytes = 1024 * 1024,
    .cache_bytes = 1024 * 1024,
    .table_bytes = 2 * 1024 * 1024,
    .open_files_max = 100,
    .compress = false,
};

static bool open_edge(struct collector *c, const char *path, const uint8_t *key, struct error *err)
{
    if (!store_leveldb_open(path, &edge_options, &c->edge_store, err)) {
        return false;
    }
    if (!edge_open(c->edge_store, key, &c->edge, err)) {
        store_close(&c->edge_store);
        return false;
    }
    return true;
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
                 "The edge cache is emptied and filled by the hub anew, because it cannot be read "
                 "with this key: %s",
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
    if (!store_leveldb_open(path, &spool_options, &c->spool_store, err) ||
        !spool_open(c->spool_store, (uint64_t)c->settings.spool_bytes_max, &c->spool, err)) {
        return false;
    }
    return open_or_empty_edge(c, err);
}

static void set_gate(struct collector *c, struct gate *gate)
{
    pthread_rwlock_wrlock(&c->gate_lock);
    struct gate *old = c->gate;
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
        log_error("gate-refused", "%s", err.message);
        return;
    }
    log_info("gate-changed", "The hub sent new definitions. version=%llu",
             (unsigned long long)gate_version(gate));
    set_gate(c, gate);
}

/* The last definitions that arrived, or those of the enrolment, whichever are newer. */
static bool load_gate(struct collector *c, struct error *err)
{
    struct buf state;
    struct gate *kept = NULL;
    struct gate *enrolled = NULL;
    buf_init(&state, 16 * 1024 * 1024);
    bool fine = edge_gate_state(c->edge, &state, err) && gate_new(buf_slice(&state), &kept, err) &&
                gate_new(buf_slice(&c->enrolment.gate_state), &enrolled, err);
    buf_done(&state);
    if (fine && gate_version(kept) < gate_version(enrolled)) {
        struct gate *swap = kept;
        kept = enrolled;
        enrolled = swap;
    }
    gate_free(&enrolled);
    if (!fine) {
        gate_free(&kept);
        return false;
    }
    set_gate(c, kept);
    return true;
}

static void on_appended(void *user)
{
    uplink_wake(((struct collector *)user)->uplink);
}

static bool open_parts(struct collector *c, struct error *err)
{
    if (!enrolment_read(c->settings.enrolment, &c->enrolment, err) || !open_stores(c, err) ||
        !load_gate(c, err)) {
        return false;
    }
    c->channel = seal_channel_of_collector(slice_text(c->enrolment.id), c->enrolment.sign_secret,
                                           c->enrolment.hub_public);
    if (c->channel == NULL) {
        return error_set(err, ERROR_INVALID, "%s: the hub's public key is no valid key",
                         c->settings.enrolment);
    }
    if (!link_client_open(c->enrolment.hub_link, &c->link, err)) {
        return error_add_context(err, "hub_link");
    }
    c->refusals = refusals_new();
    c->clock_offset = clock_offset_new(&clock_real);
    c->uplink = uplink_open(c->spool, c->link, c->channel, c->clock_offset,
                            (unsigned)c->settings.blocks_in_flight, &clock_real);
    struct downlink_parts parts = {
        .edge = c->edge,
        .spool = c->spool,
        .link = c->link,
        .channel = c->channel,
        .offset = c->clock_offset,
        .clock = &clock_real,
        .gate_version = gate_version(c->gate),
        .gate_changed = on_gate_changed,
        .user = c,
    };
    c->downlink = downlink_open(&parts);
    return committer_open(c->spool, &c->enrolment, (size_t)c->settings.pending_bytes_max,
                          &clock_real, on_appended, c, &c->committer, err) &&
           api_open(c, &c->api, err);
}

bool collector_open(const struct settings *settings, struct collector **ret, struct error *err)
{
    struct collector *c = memory_allocate_zeroed(sizeof *c);
    c->settings = *settings;
    pthread_rwlock_init(&c->gate_lock, NULL);
    if (!open_parts(c, err)) {
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

void collector_close(struct collector **collector)
{
    struct collector *c = *collector;
    if (c == NULL) {
        return;
    }
    if (c->api != NULL) {
        api_quiesce(c->api);
        committer_stop(c->committer); /* answers whoever waits for the disk */
    }
    api_close(&c->api); /* waits for look-ups, which have their own time limit */
    committer_close(&c->committer);
    if (c->uplink != NULL) {
        uplink_stop(c->uplink);
        downlink_stop(c->downlink);
    }
    link_client_close(&c->link); /* ends polls and blocks in flight */
    uplink_close(&c->uplink);
    downlink_close(&c->downlink);
    clock_offset_free(&c->clock_offset);
    seal_channel_free(&c->channel);
    gate_free(&c->gate);
    refusals_free(&c->refusals);
    edge_close(&c->edge);
    spool_close(&c->spool);
    store_close(&c->edge_store);
    store_close(&c->spool_store);
    enrolment_done(&c->enrolment);
    pthread_rwlock_destroy(&c->gate_lock);
    free(c);
    *collector = NULL;
}
