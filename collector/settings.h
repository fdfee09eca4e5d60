/* The settings of a collector: a configuration file, the enrolment file that `tributary enroll`
 * wrote, and arguments. settings.c holds the table that documents each.
 */
#ifndef TRIBUTARY_COLLECTOR_SETTINGS_H
#define TRIBUTARY_COLLECTOR_SETTINGS_H

#include "shared/buf.h"
#include "shared/config.h"
#include "shared/seal.h"

struct settings {
    char data_dir[CONFIG_TEXT_BYTES];
    char enrolment[CONFIG_TEXT_BYTES];
    char edge_key_file[CONFIG_TEXT_BYTES];
    char http_listen[CONFIG_TEXT_BYTES];
    char https_listen[CONFIG_TEXT_BYTES];
    char metrics_listen[CONFIG_TEXT_BYTES];
    char tls_certificate[CONFIG_TEXT_BYTES];
    char tls_key[CONFIG_TEXT_BYTES];
    char tag_file[CONFIG_TEXT_BYTES];
    char tag_path[CONFIG_TEXT_BYTES];
    char analytics_js_file[CONFIG_TEXT_BYTES];
    char events_path_prefix[CONFIG_TEXT_BYTES];
    char cookie_name[CONFIG_TEXT_BYTES];
    char cookie_domain[CONFIG_TEXT_BYTES];
    int64_t cookie_lifetime_ms;
    char trusted_proxies[CONFIG_TEXT_BYTES];
    int64_t cookie_http_only;
    char cookie_same_site[CONFIG_TEXT_BYTES];
    int64_t http_threads;
    int64_t connections_max;
    int64_t connections_per_address_max;
    int64_t waiters_max;
    int64_t waiters_per_address_max;
    int64_t request_bytes_max;
    int64_t request_ms_max;
    int64_t idle_ms_max;
    int64_t spool_bytes_max;
    int64_t disk_free_bytes_min; /* 0: as disk_space.h says */
    char when_full[CONFIG_TEXT_BYTES];
    char priority_high_events[CONFIG_TEXT_BYTES];
    char priority_low_events[CONFIG_TEXT_BYTES];
    char blocks_aside[CONFIG_TEXT_BYTES];
    int64_t upload_bytes_per_second_max; /* 0: none */
    int64_t pending_bytes_max;
    int64_t blocks_in_flight;
    char drop_folder[CONFIG_TEXT_BYTES];
    char drop_zone[CONFIG_TEXT_BYTES];
    int64_t drop_settle_ms;
    int64_t drop_keep_days;
    int64_t verbose;
    bool salvage; /* for this start alone */
};

/* What the enrolment file says; secrets are in guarded memory. */
struct enrolment {
    char id[CONFIG_TEXT_BYTES];
    char hub_link[CONFIG_TEXT_BYTES];
    char customer_token[CONFIG_TEXT_BYTES];
    uint8_t hub_public[SEAL_KEY_BYTES];
    uint8_t *sign_secret; /* SEAL_SIGN_SECRET_BYTES, sodium_malloc */
    struct buf gate_state;
};

/* Values of when_full and of blocks_aside, which settings_read() has checked. */
bool settings_drops_oldest(const struct settings *settings);
bool settings_retries_aside(const struct settings *settings);
bool settings_drops_aside(const struct settings *settings);
/* Are there lanes? Only where it matters which events stay and go first: blocks are larger without.
 */
bool settings_has_lanes(const struct settings *settings);

/* Defaults, then arguments (and the files that they name). --help and --print-config are handled:
 * *ret_done says that the program has nothing more to do. */
MUST_CHECK bool settings_read(int argc, char *const *argv, struct settings *ret, bool *ret_done,
                              struct error *err);

MUST_CHECK bool enrolment_read(const char *path, struct enrolment *ret, struct error *err);
void enrolment_done(struct enrolment *enrolment);

#endif
