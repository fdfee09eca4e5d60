/* The settings of a hub; settings.c holds the table that documents each. */
#ifndef TRIBUTARY_HUB_SETTINGS_H
#define TRIBUTARY_HUB_SETTINGS_H

#include "shared/config.h"
#include "shared/seal.h"

struct hub_settings {
    char data_dir[CONFIG_TEXT_BYTES];
    char key_file[CONFIG_TEXT_BYTES];
    char admin_token_file[CONFIG_TEXT_BYTES];
    char http_listen[CONFIG_TEXT_BYTES];
    char metrics_listen[CONFIG_TEXT_BYTES];
    char link_listen[CONFIG_TEXT_BYTES];
    int64_t http_threads;
    int64_t connections_max;
    int64_t connections_per_address_max;
    int64_t link_connections_max;
    int64_t link_strangers_per_address_max;
    int64_t partitions;
    int64_t workers;
    int64_t cache_bytes;
    int64_t write_buffer_bytes;
    int64_t queue_bytes;
    int64_t lookups_per_second;
    int64_t lookups_outside_per_minute;
    int64_t scrub_bytes_per_second;
    int64_t scrub_every_ms;
    int64_t verbose;
    /* For this start alone. */
    bool salvage;
    bool rebuild;
    bool trust_clock;
};

/* Defaults, then arguments (and the files that they name). --help and --print-config are handled:
 * *ret_done says that the program has nothing more to do. */
MUST_CHECK bool hub_settings_read(int argc, char *const *argv, struct hub_settings *ret,
                                  bool *ret_done, struct error *err);

/* One line of hex of `len` bytes from a file. */
MUST_CHECK bool hub_settings_read_key(const char *path, uint8_t *ret, size_t len,
                                      struct error *err);
/* One line of text. */
MUST_CHECK bool hub_settings_read_line(const char *path, char *ret, size_t size, struct error *err);

#endif
