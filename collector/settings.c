#include "collector/settings.h"

#include <sodium.h>
#include <stddef.h>
#include <stdlib.h>
#include "collector/api/cookie.h"
#include "shared/buf.h"
#include "shared/daemon.h"
#include "shared/limits.h"

#define ROW(field, type, initial, min, max, sentence)                                              \
    {                                                                                              \
#field, type, offsetof(struct settings, field), initial, min, max, sentence                \
    }

static const struct config_row rows[] = {
    ROW(data_dir, CONFIG_TEXT, "/var/lib/tributary-collector", 0, 0,
        "Folder for the spool and the edge cache; made when it is missing."),
    ROW(enrolment, CONFIG_TEXT, "/etc/tributary/collector.enrolment", 0, 0,
        "The file that `tributary enroll` wrote for this collector."),
    ROW(edge_key_file, CONFIG_TEXT, "", 0, 0,
        "Key of the edge cache, 32 bytes in hex; made when it is missing. Empty: data_dir with "
        "\".key\" behind it."),
    ROW(http_listen, CONFIG_TEXT, "127.0.0.1:8080", 0, 0,
        "Address and port for HTTP; port 0 takes a free one."),
    ROW(https_listen, CONFIG_TEXT, "", 0, 0,
        "Address and port for HTTPS (TLS 1.2 and 1.3); port 0 takes a free one; empty: no HTTPS."),
    ROW(metrics_listen, CONFIG_TEXT, "", 0, 0,
        "Address and port for /metrics alone, which the other ports then answer 404; empty: at "
        "these."),
    ROW(tls_certificate, CONFIG_TEXT, "/etc/tributary/tls/certificate.pem", 0, 0,
        "Certificate for HTTPS and its chain, PEM; taken anew when the file is replaced."),
    ROW(tls_key, CONFIG_TEXT, "/etc/tributary/tls/key.pem", 0, 0,
        "Key that belongs to the certificate, PEM; taken anew when the file is replaced."),
    ROW(tag_file, CONFIG_TEXT, "/usr/share/tributary/t.js", 0, 0,
        "The browser tag; served too: FILE.gz and FILE.br beside it, and t.more.js beside a t.js."),
    ROW(tag_path, CONFIG_TEXT, "/t.js", 0, 0, "Path under which the tag is served."),
    ROW(analytics_js_file, CONFIG_TEXT, "", 0, 0,
        "Segment's standalone analytics.js, served as /analytics.js/v1/KEY/analytics.min.js; "
        "empty: "
        "not served."),
    ROW(events_path_prefix, CONFIG_TEXT, "", 0, 0,
        "A second prefix for what is under /v1/, such as \"/x7/\", that no blocker's list knows; "
        "empty: none."),
    ROW(cookie_name, CONFIG_TEXT, "trb_aid", 0, 0, "Name of the first-party cookie."),
    ROW(cookie_domain, CONFIG_TEXT, "", 0, 0,
        "Domain of the cookie; empty: the host that was asked."),
    ROW(cookie_lifetime_ms, CONFIG_DURATION, "395d", 1000, 400LL * 86400000,
        "Lifetime of the cookie, renewed with each page view; browsers allow at most 400 days."),
    ROW(trusted_proxies, CONFIG_TEXT, "", 0, 0,
        "Addresses and networks of proxies whose X-Forwarded-For is believed."),
    ROW(cookie_http_only, CONFIG_FLAG, "no", 0, 0,
        "Hide the cookie from scripts; the tag then keeps its own copy of the id."),
    ROW(cookie_same_site, CONFIG_TEXT, "lax", 0, 0,
        "lax, strict or none; none also reaches other sites' pages, whose origin a source must "
        "name, "
        "and needs TLS."),
    ROW(http_threads, CONFIG_NUMBER, "1", 1, 64, "Threads that serve HTTP."),
    ROW(connections_max, CONFIG_NUMBER, "4096", 1, 100000,
        "Connections held at once, on each port."),
    ROW(connections_per_address_max, CONFIG_NUMBER, "256", 1, 100000,
        "Connections of one address (IPv6: of one /64), on each port; trusted proxies and this "
        "machine have no bound."),
    ROW(waiters_max, CONFIG_NUMBER, "1024", 1, 100000,
        "Requests for /v1/me that may wait for news at once."),
    ROW(waiters_per_address_max, CONFIG_NUMBER, "64", 1, 100000,
        "Of these, those of one address; trusted proxies and this machine have no bound."),
    ROW(request_bytes_max, CONFIG_BYTES, "512KiB", 1024, LIMIT_REQUEST_BYTES,
        "Largest request body, after unpacking."),
    ROW(request_ms_max, CONFIG_DURATION, "20s", 1000, 3600000,
        "Longest time a client may take to send one request."),
    ROW(idle_ms_max, CONFIG_DURATION, "75s", 1000, 3600000,
        "Connections that are idle for longer are closed."),
    ROW(spool_bytes_max, CONFIG_BYTES, "4GiB", 1 << 20, INT64_MAX,
        "What the spool may hold; then it is full."),
    ROW(disk_free_bytes_min, CONFIG_BYTES, "0", 0, INT64_MAX,
        "When less of the disk is free, the spool is full; 0: 256 MiB, or 5 % of a smaller disk."),
    ROW(when_full, CONFIG_TEXT, "refuse", 0, 0,
        "What happens then: `refuse` answers new events 503, `drop-oldest` drops the oldest blocks "
        "of the lowest priority."),
    ROW(priority_high_events, CONFIG_TEXT,
        "Order Completed, Order Updated, Order Refunded, Order Cancelled, Checkout Started, "
        "Checkout Step Completed, Payment Info Entered",
        0, 0, "Track events that go first and are dropped last, as identify, alias and group are."),
    ROW(priority_low_events, CONFIG_TEXT, "", 0, 0,
        "Track events that go last and are dropped first, as page and screen are."),
    ROW(upload_bytes_per_second_max, CONFIG_BYTES, "0", 0, 1 << 30,
        "What of the line to the hub events may take; 0: all of it. At least 1KiB."),
    ROW(blocks_aside, CONFIG_TEXT, "keep", 0, 0,
        "Blocks that the hub refused as damaged: at the start `keep` them, `retry` or `drop` "
        "them."),
    ROW(pending_bytes_max, CONFIG_BYTES, "16MiB", 1 << 20, 1 << 30,
        "Events waiting for the disk; beyond it, new ones are answered 503."),
    ROW(blocks_in_flight, CONFIG_NUMBER, "8", 1, 64, "Blocks sent before the first is answered."),
    ROW(drop_folder, CONFIG_TEXT, "", 0, 0,
        "Folder for files that a till writes, with their mappings; empty: none."),
    ROW(drop_zone, CONFIG_TEXT, "", 0, 0,
        "Time zone of the dates in those files, such as Europe/Paris; empty: the machine's."),
    ROW(drop_settle_ms, CONFIG_DURATION, "2s", 1000, 3600000,
        "A file in the drop folder is complete when it has not changed for this long."),
    ROW(drop_keep_days, CONFIG_NUMBER, "30", 0, 36500,
        "Days that files which were taken are kept in done/; 0: for ever."),
    ROW(verbose, CONFIG_FLAG, "no", 0, 0, "Log what only developers want to know."),
};
enum { ROWS = sizeof rows / sizeof *rows };

static const char help[] =
    "tributary-collector - takes events at the edge, keeps them sealed until the hub has\n"
    "them, and answers which segments a visitor is in.\n\n"
    "usage: tributary-collector [--config FILE] [--NAME VALUE ...]\n"
    "       tributary-collector [...] --print-config   the settings as a commented file\n"
    "       tributary-collector --version\n\n"
    "Start it with the file that `tributary enroll` wrote:\n"
    "       tributary-collector --enrolment shop.enrolment --data_dir ./shop\n";

static bool is(const char *value, const char *word)
{
    return strcmp(value, word) == 0;
}

bool settings_drops_oldest(const struct settings *settings)
{
    return is(settings->when_full, "drop-oldest");
}

bool settings_retries_aside(const struct settings *settings)
{
    return is(settings->blocks_aside, "retry");
}

bool settings_drops_aside(const struct settings *settings)
{
    return is(settings->blocks_aside, "drop");
}

bool settings_has_lanes(const struct settings *settings)
{
    return settings_drops_oldest(settings) || settings->upload_bytes_per_second_max > 0;
}

/* What the rows cannot say. */
static bool check_words(const struct settings *s, struct error *err)
{
    if (!is(s->when_full, "refuse") && !settings_drops_oldest(s)) {
        return error_set(err, ERROR_INVALID, "when_full is \"%s\", not refuse or drop-oldest",
                         s->when_full);
    }
    if (!is(s->blocks_aside, "keep") && !settings_retries_aside(s) && !settings_drops_aside(s)) {
        return error_set(err, ERROR_INVALID, "blocks_aside is \"%s\", not keep, retry or drop",
                         s->blocks_aside);
    }
    if (s->upload_bytes_per_second_max > 0 && s->upload_bytes_per_second_max < 1024) {
        return error_set(err, ERROR_INVALID,
                         "upload_bytes_per_second_max is %lld, not 0 or 1KiB up",
                         (long long)s->upload_bytes_per_second_max);
    }
    return true;
}

static bool check_paths_and_cookie(const struct settings *settings, struct error *err)
{
    const char *prefix = settings->events_path_prefix;
    size_t len = strlen(prefix);
    enum cookie_same_site same_site;
    if (!cookie_same_site_from(settings->cookie_same_site, &same_site)) {
        return error_set(err, ERROR_INVALID, "cookie_same_site is \"%s\", not lax, strict or none",
                         settings->cookie_same_site);
    }
    if (len > 0 && (len < 2 || prefix[0] != '/' || prefix[len - 1] != '/')) {
        return error_set(err, ERROR_INVALID,
                         "events_path_prefix is \"%s\"; it must begin and end with a slash, as in "
                         "\"/x7/\"",
                         prefix);
    }
    if (settings->tag_path[0] != '/') {
        return error_set(err, ERROR_INVALID,
                         "tag_path is \"%s\"; it must begin with a slash, as in \"/t.js\"",
                         settings->tag_path);
    }
    return true;
}

bool settings_read(int argc, char *const *argv, struct settings *ret, bool *ret_done,
                   struct error *err)
{
    static const struct daemon_switch switches[] = {
        {"salvage", offsetof(struct settings, salvage),
         "Where the spool is damaged, keep what can be read of it, and say what is lost."},
    };
    struct daemon_settings table = {"tributary-collector", rows, ROWS, help, switches, 1};
    ret->salvage = false;
    return daemon_read_settings(&table, argc, argv, ret, ret_done, err) && check_words(ret, err) &&
           check_paths_and_cookie(ret, err);
}

struct enrolment_text {
    char collector[CONFIG_TEXT_BYTES];
    char sign_seed[CONFIG_TEXT_BYTES];
    char hub_public[CONFIG_TEXT_BYTES];
    char hub_link[CONFIG_TEXT_BYTES];
    char customer_token[CONFIG_TEXT_BYTES];
    char gate_state_file[CONFIG_TEXT_BYTES];
};

#define ENROLMENT_ROW(field, sentence)                                                             \
    {                                                                                              \
#field, CONFIG_TEXT, offsetof(struct enrolment_text, field), NULL, 0, 0, sentence          \
    }

static const struct config_row enrolment_rows[] = {
    ENROLMENT_ROW(collector, "Name of the collector."),
    ENROLMENT_ROW(sign_seed, "Seed of its Ed25519 key, hex. Keep it secret."),
    ENROLMENT_ROW(hub_public, "The hub's X25519 key, hex."),
    ENROLMENT_ROW(hub_link, "Where the hub listens for collectors."),
    ENROLMENT_ROW(customer_token, "Bearer token for /v1/customers."),
    ENROLMENT_ROW(gate_state_file, "The gate's definitions at the time of enrolment."),
};

static bool from_hex(const char *name, const char *text, uint8_t *ret, size_t len,
                     struct error *err)
{
    size_t got = 0;
    if (sodium_hex2bin(ret, len, text, strlen(text), NULL, &got, NULL) != 0 || got != len) {
        return error_set(err, ERROR_INVALID, "%s is not %zu bytes in hex", name, len);
    }
    return true;
}

static bool read_gate_state(const char *path, const char *file, struct buf *ret, struct error *err)
{
    char full[2 * CONFIG_TEXT_BYTES];
    char chunk[4096];
    size_t n;
    const char *slash = strrchr(path, '/');
    if (file[0] == 0) {
        return true;
    }
    /* A relative name is beside the enrolment file. */
    snprintf(full, sizeof full, "%.*s%s",
             slash == NULL || file[0] == '/' ? 0 : (int)(slash - path) + 1, path, file);
    FILE *in = fopen(full, "re");
    if (in == NULL) {
        return error_set(err, ERROR_INVALID, "cannot read %s", full);
    }
    bool fits = true;
    while (fits && (n = fread(chunk, 1, sizeof chunk, in)) > 0) {
        fits = buf_append(ret, chunk, n);
    }
    fclose(in);
    return fits || error_set(err, ERROR_INVALID, "%s is too large", full);
}

bool enrolment_read(const char *path, struct enrolment *ret, struct error *err)
{
    struct enrolment_text text;
    uint8_t seed[crypto_sign_SEEDBYTES];
    uint8_t sign_public[crypto_sign_PUBLICKEYBYTES];
    size_t count = sizeof enrolment_rows / sizeof *enrolment_rows;
    *ret = (struct enrolment){0};
    buf_init(&ret->gate_state, 16 * 1024 * 1024);
    config_defaults(enrolment_rows, count, &text);
    if (!config_read_file(enrolment_rows, count, path, &text, err)) {
        return error_add_context(err, "the enrolment file (write one with `tributary enroll`)");
    }
    if (!from_hex("sign_seed", text.sign_seed, seed, sizeof seed, err) ||
        !from_hex("hub_public", text.hub_public, ret->hub_public, sizeof ret->hub_public, err) ||
        !read_gate_state(path, text.gate_state_file, &ret->gate_state, err)) {
        return error_add_context(err, "%s", path);
    }
    if (text.collector[0] == 0 || strlen(text.collector) > SEAL_COLLECTOR_ID_MAX) {
        return error_set(err, ERROR_INVALID, "%s: \"collector\" must have 1 to 64 bytes", path);
    }
    ret->sign_secret = sodium_malloc(SEAL_SIGN_SECRET_BYTES);
    ensure(ret->sign_secret != NULL);
    crypto_sign_seed_keypair(sign_public, ret->sign_secret, seed);
    memcpy(ret->id, text.collector, sizeof ret->id);
    memcpy(ret->hub_link, text.hub_link, sizeof ret->hub_link);
    memcpy(ret->customer_token, text.customer_token, sizeof ret->customer_token);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(&text, sizeof text);
    return true;
}

void enrolment_done(struct enrolment *enrolment)
{
    sodium_free(enrolment->sign_secret);
    enrolment->sign_secret = NULL;
    buf_done(&enrolment->gate_state);
}
