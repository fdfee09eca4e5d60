#include "hub/settings.h"

#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include "shared/daemon.h"
#include "shared/limits.h"

#define ROW(field, type, initial, min, max, sentence)                                              \
    {                                                                                              \
#field, type, offsetof(struct hub_settings, field), initial, min, max, sentence            \
    }

static const struct config_row rows[] = {
    ROW(data_dir, CONFIG_TEXT, "/var/lib/tributary-hub", 0, 0,
        "Folder for the log and the partitions; made when it is missing."),
    ROW(key_file, CONFIG_TEXT, "/etc/tributary/hub.key", 0, 0,
        "The hub's secret key; `tributary keygen` makes it."),
    ROW(admin_token_file, CONFIG_TEXT, "/etc/tributary/admin.token", 0, 0,
        "The token of the first admin; `tributary keygen` makes it."),
    ROW(http_listen, CONFIG_TEXT, "127.0.0.1:8090", 0, 0,
        "Address and port of the API; port 0 takes a free one."),
    ROW(metrics_listen, CONFIG_TEXT, "", 0, 0,
        "Address and port for /metrics alone, which the API then answers 404; empty: at "
        "http_listen."),
    ROW(link_listen, CONFIG_TEXT, "tcp://127.0.0.1:8091", 0, 0,
        "Where collectors connect: tcp://ADDRESS:PORT, or tcp://*:PORT for every address."),
    ROW(http_threads, CONFIG_NUMBER, "2", 1, 64, "Threads that serve the API."),
    ROW(connections_max, CONFIG_NUMBER, "1024", 1, 100000, "Connections held at once."),
    ROW(connections_per_address_max, CONFIG_NUMBER, "256", 1, 100000,
        "Of these, those of one address (IPv6: of one /64); this machine has no bound."),
    ROW(link_connections_max, CONFIG_NUMBER, "16384", 16, 1000000,
        "Connections of collectors held at once; less where the limit of open files is lower."),
    ROW(link_strangers_per_address_max, CONFIG_NUMBER, "64", 1, 10000,
        "Connections of one address on which no enrolled collector has spoken yet."),
    ROW(partitions, CONFIG_NUMBER, "16", 1, LIMIT_PARTITIONS,
        "Parts of the state; fixed when the hub is first started."),
    ROW(workers, CONFIG_NUMBER, "2", 1, 256, "Threads that work on partitions; one a core."),
    ROW(cache_bytes, CONFIG_BYTES, "256MiB", 1 << 20, INT64_MAX,
        "Memory for decoded profiles, over all partitions."),
    ROW(write_buffer_bytes, CONFIG_BYTES, "64MiB", 1 << 20, 1LL << 40,
        "Memory for writes that are not in tables yet, over all partitions."),
    ROW(queue_bytes, CONFIG_BYTES, "64MiB", 1 << 20, 1LL << 40,
        "Messages waiting for partitions; reading the log waits beyond it."),
    ROW(lookups_per_second, CONFIG_NUMBER, "50", 1, 1000000,
        "People that one collector may look up, on average."),
    ROW(lookups_outside_per_minute, CONFIG_NUMBER, "120", 1, 1000000,
        "Of these, nobodies and people outside its scope, or whom it has not seen."),
    ROW(scrub_bytes_per_second, CONFIG_BYTES, "4MiB", 0, 1LL << 40,
        "How fast everything on disk is read, again and again, to find damage; 0: it is not."),
    ROW(scrub_every_ms, CONFIG_DURATION, "1h", 1000, 365LL * 24 * 3600 * 1000,
        "How long it rests between two times."),
    ROW(verbose, CONFIG_FLAG, "no", 0, 0, "Log what only developers want to know."),
};
enum { ROWS = sizeof rows / sizeof *rows };

static const struct daemon_switch switches[] = {
    {"salvage", offsetof(struct hub_settings, salvage),
     "Where stores are damaged, keep what can be read of them, and say what is lost."},
    {"rebuild", offsetof(struct hub_settings, rebuild),
     "Put the partitions aside and make them anew from the log."},
    {"trust-clock", offsetof(struct hub_settings, trust_clock),
     "Go by this machine's clock, whatever the collectors' say."},
};

static const char help[] =
    "tributary-hub - takes sealed events from collectors, keeps one profile per person\n"
    "and exact segments, and hands them back to the edges.\n\n"
    "usage: tributary-hub [--config FILE] [--NAME VALUE ...]\n"
    "       tributary-hub --print-config   the settings as a commented file\n"
    "       tributary-hub --version\n\n"
    "A first start:\n"
    "       tributary keygen ./keys\n"
    "       tributary-hub --data_dir ./hub --key_file ./keys/hub.key \\\n"
    "                     --admin_token_file ./keys/admin.token\n";

bool hub_settings_read(int argc, char *const *argv, struct hub_settings *ret, bool *ret_done,
                       struct error *err)
{
    struct daemon_settings table = {
        "tributary-hub", rows, ROWS, help, switches, sizeof switches / sizeof *switches};
    ret->salvage = ret->rebuild = ret->trust_clock = false;
    return daemon_read_settings(&table, argc, argv, ret, ret_done, err);
}

bool hub_settings_read_line(const char *path, char *ret, size_t size, struct error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return error_set(err, ERROR_INVALID, "%s: %s (`tributary keygen` makes it)", path,
                         strerror(errno));
    }
    bool read = fgets(ret, (int)size, file) != NULL;
    fclose(file);
    ret[read ? strcspn(ret, "\r\n") : 0] = 0;
    return (read && ret[0] != 0) || error_set(err, ERROR_INVALID, "%s is empty", path);
}

bool hub_settings_read_key(const char *path, uint8_t *ret, size_t len, struct error *err)
{
    char line[CONFIG_TEXT_BYTES];
    size_t got = 0;
    if (!hub_settings_read_line(path, line, sizeof line, err)) {
        return false;
    }
    bool fine = sodium_hex2bin(ret, len, line, strlen(line), NULL, &got, NULL) == 0 && got == len;
    sodium_memzero(line, sizeof line);
    return fine || error_set(err, ERROR_INVALID, "%s is not %zu bytes in hex", path, len);
}
