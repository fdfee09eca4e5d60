#include "hub/cli/client.h"

#include <curl/curl.h>
#include <sodium.h>
#include <stdlib.h>
#include "hub/cli/files.h"
#include "shared/json.h"

enum {
    REPLY_BYTES_MAX = 64 * 1024 * 1024,
    TOKEN_BYTES_MAX = 1024,
    CONNECT_MS_MAX = 10 * 1000,
    REQUEST_MS_MAX = 60 * 1000,
    RETRY_AFTER_S_MAX = 3600,
};

struct client {
    CURL *curl;
    struct curl_slist *headers;
    char *base; /* without a slash at its end */
    char failure[CURL_ERROR_SIZE];
};

void client_reply_init(struct client_reply *reply)
{
    *reply = (struct client_reply){.retry_after_ms = -1};
    buf_init(&reply->body, REPLY_BYTES_MAX);
    buf_init(&reply->json_bytes, REPLY_BYTES_MAX);
    bool made = msgpack_zone_init(&reply->zone, 8192);
    ensure(made);
}

void client_reply_done(struct client_reply *reply)
{
    buf_done(&reply->body);
    buf_done(&reply->json_bytes);
    msgpack_zone_destroy(&reply->zone);
}

static size_t keep_body(char *bytes, size_t size, size_t count, void *user)
{
    struct buf *body = user;
    return buf_append(body, bytes, size * count) ? size * count : 0;
}

/* A proxy of the environment is for other machines. */
static bool is_loopback(const char *url)
{
    char *host = NULL;
    CURLU *parts = curl_url();
    ensure(parts != NULL);
    bool is_local = curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                    curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                    (strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
                     strcmp(host, "[::1]") == 0);
    curl_free(host);
    curl_url_cleanup(parts);
    return is_local;
}

static void add_header(struct client *client, const char *header)
{
    struct curl_slist *longer = curl_slist_append(client->headers, header);
    ensure(longer != NULL);
    client->headers = longer;
}

static void set_up(struct client *client)
{
    CURL *curl = client->curl;
    add_header(client, "Content-Type: application/json");
    add_header(client, "Expect:");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS_MAX);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)REQUEST_MS_MAX);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->failure);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "tributary");
    if (is_loopback(client->base)) {
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
}

static bool open_client(const char *url, struct client **ret, struct error *err)
{
    size_t len = strlen(url);
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        return error_set(err, ERROR_INVALID, "\"%s\" is no URL: it begins with http:// or https://",
                         url);
    }
    while (url[len - 1] == '/') {
        len--;
    }
    struct client *client = memory_allocate_zeroed(sizeof *client);
    client->base = memory_allocate(len + 1);
    memcpy(client->base, url, len);
    client->base[len] = 0;
    /* Not counted: libcurl initialises once and the process ends it. */
    client->curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    ensure(client->curl != NULL);
    set_up(client);
    *ret = client;
    return true;
}

void client_close(struct client **client)
{
    if (*client != NULL) {
        curl_easy_cleanup((*client)->curl);
        curl_slist_free_all((*client)->headers);
        free((*client)->base);
        free(*client);
        *client = NULL;
    }
}

/* The token without white space around it; it goes into a header, so it must be plain. */
static bool trim_token(struct buf *token, struct error *err)
{
    while (token->len > 0 && strchr(" \t\r\n", token->data[token->len - 1]) != NULL) {
        token->len--;
    }
    for (size_t i = 0; i < token->len; i++) {
        if (token->data[i] <= ' ' || token->data[i] > '~') {
            return error_set(err, ERROR_INVALID, "the token holds a character that no token has");
        }
    }
    return token->len > 0 || error_set(err, ERROR_INVALID, "the token is empty");
}

static bool read_token(const struct cli *cli, struct buf *ret, struct error *err)
{
    const char *text = cli_environment("TRIBUTARY_TOKEN");
    const char *file = cli->token_file;
    if (file == NULL && text != NULL) {
        if (!buf_append(ret, text, strlen(text))) {
            return error_set(err, ERROR_INVALID, "TRIBUTARY_TOKEN is too long for a token");
        }
        return trim_token(ret, err) || error_add_context(err, "TRIBUTARY_TOKEN");
    }
    file = file == NULL ? cli_environment("TRIBUTARY_TOKEN_FILE") : file;
    if (file == NULL) {
        return error_set(err, ERROR_INVALID,
                         "the hub wants a token: give --token_file FILE before the command, or "
                         "set TRIBUTARY_TOKEN_FILE or TRIBUTARY_TOKEN");
    }
    return file_read(file, ret, err) &&
           (trim_token(ret, err) || error_add_context(err, "%s", file));
}

bool client_open_hub(const struct cli *cli, struct client **ret, struct error *err)
{
    struct buf token;
    struct buf header;
    *ret = NULL;
    buf_init(&token, TOKEN_BYTES_MAX);
    bool opened = read_token(cli, &token, err) && open_client(cli->hub, ret, err);
    if (opened) {
        buf_init(&header, TOKEN_BYTES_MAX + 64);
        buf_put_format(&header, "Authorization: Bearer ");
        buf_put_slice(&header, buf_slice(&token));
        buf_put_u8(&header, 0);
        add_header(*ret, (const char *)header.data);
        sodium_memzero(header.data, header.len);
        buf_done(&header);
    }
    if (token.len > 0) {
        sodium_memzero(token.data, token.len);
    }
    buf_done(&token);
    return opened;
}

bool client_open_collector(const char *url, const char *write_key, struct client **ret,
                           struct error *err)
{
    *ret = NULL;
    if (!open_client(url, ret, err)) {
        return false;
    }
    curl_easy_setopt((*ret)->curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt((*ret)->curl, CURLOPT_USERNAME, write_key);
    curl_easy_setopt((*ret)->curl, CURLOPT_PASSWORD, "");
    return true;
}

static void read_reply_head(struct client *client, struct client_reply *reply)
{
    struct curl_header *header;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &reply->status);
    reply->retry_after_ms = -1;
    if (curl_easy_header(client->curl, "Retry-After", 0, CURLH_HEADER, -1, &header) == CURLHE_OK &&
        header->value[0] >= '0' && header->value[0] <= '9') {
        long seconds = strtol(header->value, NULL, 10);
        reply->retry_after_ms = 1000L * (seconds < RETRY_AFTER_S_MAX ? seconds : RETRY_AFTER_S_MAX);
    }
}

bool client_request(struct client *client, const char *method, const char *path, struct slice body,
                    struct client_reply *reply, struct error *err)
{
    CURL *curl = client->curl;
    struct buf url;
    buf_init(&url, SIZE_MAX);
    buf_put_slice(&url, slice_text(client->base));
    buf_put_slice(&url, slice_text(path));
    buf_put_u8(&url, 0);
    buf_clear(&reply->body);
    client->failure[0] = 0;
    curl_easy_setopt(curl, CURLOPT_URL, (const char *)url.data);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply->body);
    if (body.len > 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)body.data);
    } else {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    CURLcode result = curl_easy_perform(curl);
    buf_done(&url);
    if (result != CURLE_OK) {
        return error_set(err, ERROR_UNAVAILABLE, "no answer from %.100s: %s", client->base,
                         client->failure[0] != 0 ? client->failure : curl_easy_strerror(result));
    }
    read_reply_head(client, reply);
    return true;
}

/* The server's {"error":{code,message,field}} as a sentence; false where the body is not that. */
static bool put_refusal(const msgpack_object *json, struct error *err)
{
    struct slice code;
    struct slice message;
    struct slice field;
    const msgpack_object *object = value_member_c(json, "error");
    if (!value_text(value_member_c(object, "message"), &message)) {
        return false;
    }
    if (!value_text(value_member_c(object, "code"), &code)) {
        code = slice_text("refused");
    }
    if (value_text(value_member_c(object, "field"), &field) && field.len > 0) {
        error_set(err, ERROR_INVALID, "%.*s (%.*s, at %.*s)", SLICE_ARGS(message), SLICE_ARGS(code),
                  SLICE_ARGS(field));
    } else {
        error_set(err, ERROR_INVALID, "%.*s (%.*s)", SLICE_ARGS(message), SLICE_ARGS(code));
    }
    return true;
}

bool client_check(const struct client_reply *reply, struct error *err)
{
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object json;
    struct error unread;
    if (reply->status >= 200 && reply->status <= 299) {
        return true;
    }
    buf_init(&bytes, REPLY_BYTES_MAX);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool told = reply->body.len > 0 &&
                json_read_value(buf_slice(&reply->body), &bytes, &zone, &json, &unread) &&
                put_refusal(&json, err);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    if (told) {
        return false;
    }
    if (reply->status == 401 || reply->status == 403) {
        return error_set(err, ERROR_INVALID, "the server refuses the token or key (HTTP %ld)",
                         reply->status);
    }
    return error_set(err, ERROR_INVALID, "the server answered HTTP %ld without a reason",
                     reply->status);
}

bool client_call(struct client *client, const char *method, const char *path, struct slice body,
                 struct client_reply *reply, struct error *err)
{
    if (!client_request(client, method, path, body, reply, err) || !client_check(reply, err)) {
        return false;
    }
    buf_clear(&reply->json_bytes);
    msgpack_zone_clear(&reply->zone);
    return json_read_value(buf_slice(&reply->body), &reply->json_bytes, &reply->zone, &reply->json,
                           err) ||
           error_add_context(err, "the answer to %s %.80s", method, path);
}

bool client_get(struct client *client, const char *path, struct client_reply *reply,
                struct error *err)
{
    return client_call(client, "GET", path, slice_make(NULL, 0), reply, err);
}

bool client_put(struct client *client, const char *path, struct slice body,
                struct client_reply *reply, struct error *err)
{
    return client_call(client, "PUT", path, body, reply, err);
}

void client_put_encoded(struct buf *path, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (is_plain) {
            buf_put_u8(path, c);
        } else {
            buf_put_format(path, "%%%02X", c);
        }
    }
}

void client_print_body(const struct client_reply *reply)
{
    fwrite(reply->body.data, 1, reply->body.len, stdout);
    fputc('\n', stdout);
}

bool client_show(const struct cli *cli, const char *path, bool as_json,
                 bool (*print)(struct client *client, const msgpack_object *json, void *user,
                               struct error *err),
                 void *user, struct error *err)
{
    struct client *client;
    struct client_reply reply;
    if (!client_open_hub(cli, &client, err)) {
        return false;
    }
    client_reply_init(&reply);
    bool shown = client_get(client, path, &reply, err);
    if (shown && as_json) {
        client_print_body(&reply);
    } else if (shown) {
        shown = print(client, &reply.json, user, err);
    }
    client_reply_done(&reply);
    client_close(&client);
    return shown;
}

void client_put_path(struct buf *path, const char *prefix, struct slice text)
{
    buf_clear(path);
    buf_put_slice(path, slice_text(prefix));
    client_put_encoded(path, text);
    buf_put_u8(path, 0);
}
