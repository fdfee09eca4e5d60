#include "collector/api/tag.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/log.h"

enum { FORMS = 3, TAG_BYTES_MAX = 1024 * 1024 };

static const struct {
    const char *suffix;
    const char *encoding;
} forms[FORMS] = {{"", NULL}, {".gz", "gzip"}, {".br", "br"}};

struct tag {
    struct buf bytes[FORMS];
    char etag[2 + 2 * crypto_generichash_BYTES_MIN + 1];
};

static void read_file(const char *path, const char *suffix, struct buf *ret)
{
    char name[1024];
    char chunk[4096];
    size_t n;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *file = fopen(name, "re");
    while (file != NULL && (n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        if (!buf_append(ret, chunk, n)) {
            log_warn("tag-too-large", "The tag is over 1 MiB and is not served. file=%s", name);
            buf_clear(ret);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

struct tag *tag_load(const char *path)
{
    struct tag *tag = memory_allocate_zeroed(sizeof *tag);
    uint8_t hash[crypto_generichash_BYTES_MIN];
    char hex[2 * sizeof hash + 1];
    for (int i = 0; i < FORMS; i++) {
        buf_init(&tag->bytes[i], TAG_BYTES_MAX);
        read_file(path, forms[i].suffix, &tag->bytes[i]);
    }
    if (tag->bytes[0].len == 0) {
        log_warn("tag-missing", "The script is not there and is answered 404. file=%s", path);
    }
    crypto_generichash(hash, sizeof hash, tag->bytes[0].data, tag->bytes[0].len, NULL, 0);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(tag->etag, sizeof tag->etag, "\"%s\"", hex);
    return tag;
}

void tag_free(struct tag **tag)
{
    if (*tag != NULL) {
        for (int i = 0; i < FORMS; i++) {
            buf_done(&(*tag)->bytes[i]);
        }
        free(*tag);
        *tag = NULL;
    }
}

void tag_second_name(const char *first, char *ret, size_t size)
{
    size_t len = strlen(first);
    bool has_suffix = len >= 3 && strcmp(first + len - 3, ".js") == 0;
    snprintf(ret, size, "%.*s.more.js", (int)(has_suffix ? len - 3 : len), first);
}

static bool accepts(struct slice header, const char *encoding)
{
    return memmem(header.data, header.len, encoding, strlen(encoding)) != NULL;
}

void tag_answer(const struct tag *tag, struct http_request *http)
{
    struct slice accept = http_header(http, "Accept-Encoding");
    int form = 0;
    if (tag->bytes[0].len == 0) {
        http_answer_error(http, 404, "no-tag", "This collector has no tag to serve.", NULL);
        return;
    }
    for (int i = FORMS - 1; i > 0 && form == 0; i--) {
        form = tag->bytes[i].len > 0 && accepts(accept, forms[i].encoding) ? i : 0;
    }
    http_add_header(http, "ETag", slice_text(tag->etag));
    http_add_header(http, "Cache-Control", slice_text("public, max-age=300"));
    http_add_header(http, "Vary", slice_text("Accept-Encoding"));
    http_add_header(http, "Access-Control-Allow-Origin", slice_text("*"));
    http_add_header(http, "X-Content-Type-Options", slice_text("nosniff"));
    http_add_header(http, "Cross-Origin-Resource-Policy", slice_text("cross-origin"));
    if (slice_is(http_header(http, "If-None-Match"), tag->etag)) {
        http_answer_static(http, 304, NULL, slice_text(""));
        return;
    }
    if (form > 0) {
        http_add_header(http, "Content-Encoding", slice_text(forms[form].encoding));
    }
    http_answer_static(http, 200, "text/javascript; charset=utf-8", buf_slice(&tag->bytes[form]));
}
