/* What SDKs in browsers ask for before they send: Segment's and RudderStack's settings. */
#include "collector/api/api_internal.h"

enum { HOST_BYTES_MAX = 512 };

bool api_is_secure(const struct http_request *http)
{
    return http_is_secure(http) || slice_is(http_header(http, "X-Forwarded-Proto"), "https");
}

static bool knows_source(struct api *api, struct http_request *http, struct slice key)
{
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    bool is_known = gate_find_source(api->collector->gate, key) != NULL;
    pthread_rwlock_unlock(&api->collector->gate_lock);
    if (!is_known) {
        http_answer_error(http, 404, "unknown-write-key", "No source has this write key.", NULL);
    }
    return is_known;
}

/* Where events go: the host that was asked, and the prefix without its last slash. */
static void write_api_host(struct json_writer *w, struct slice host, struct slice prefix)
{
    struct buf text;
    buf_init(&text, HOST_BYTES_MAX + CONFIG_TEXT_BYTES);
    buf_put(&text, host.data, host.len > HOST_BYTES_MAX ? HOST_BYTES_MAX : host.len);
    buf_put(&text, prefix.data, prefix.len - 1);
    json_key(w, "apiHost");
    json_text(w, buf_slice(&text));
    buf_done(&text);
}

void api_get_settings(struct api *api, struct http_request *http, struct slice key,
                      struct slice prefix)
{
    struct json_writer w;
    if (!knows_source(api, http, key)) {
        return;
    }
    struct scratch *s = api_take_scratch(api);
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "integrations");
    json_open_object(&w);
    json_key(&w, "Segment.io");
    json_open_object(&w);
    json_key(&w, "apiKey");
    json_text(&w, key);
    write_api_host(&w, http_header(http, "Host"), prefix);
    json_key(&w, "protocol");
    json_cstr(&w, api_is_secure(http) ? "https" : "http");
    json_close_object(&w);
    json_close_object(&w);
    /* The SDK's own figures would go to its makers. */
    json_key(&w, "metrics");
    json_open_object(&w);
    json_key(&w, "sampleRate");
    json_int(&w, 0);
    json_close_object(&w);
    json_close_object(&w);
    http_answer(http, 200, "application/json", buf_slice(&s->body));
    api_give_scratch(api, s);
}

/* RudderStack's own reports of errors and figures would go to its makers as well. */
static void write_statistics(struct json_writer *w)
{
    static const char *const kinds[] = {"errors", "metrics"};
    json_key(w, "statsCollection");
    json_open_object(w);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        json_key(w, kinds[i]);
        json_open_object(w);
        json_key(w, "enabled");
        json_bool(w, false);
        json_close_object(w);
    }
    json_close_object(w);
}

void api_get_source_config(struct api *api, struct http_request *http)
{
    char scratch[API_WRITE_KEY_BYTES];
    struct json_writer w;
    struct slice key = api_write_key(http, NULL, scratch);
    if (!knows_source(api, http, key)) {
        return;
    }
    struct scratch *s = api_take_scratch(api);
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "source");
    json_open_object(&w);
    json_key(&w, "id");
    json_text(&w, key);
    json_key(&w, "name");
    json_text(&w, key);
    json_key(&w, "writeKey");
    json_text(&w, key);
    json_key(&w, "enabled");
    json_bool(&w, true);
    json_key(&w, "workspaceId");
    json_cstr(&w, "tributary");
    json_key(&w, "config");
    json_open_object(&w);
    write_statistics(&w);
    json_close_object(&w);
    json_key(&w, "destinations");
    json_open_array(&w);
    json_close_array(&w);
    json_close_object(&w);
    json_close_object(&w);
    http_answer(http, 200, "application/json", buf_slice(&s->body));
    api_give_scratch(api, s);
}
