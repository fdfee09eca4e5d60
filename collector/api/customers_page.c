#include "collector/api/customers_page.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* The file becomes part of the program as it is. */
__asm__(".section .rodata\n"
        ".global tributary_customers_html\n"
        ".global tributary_customers_html_end\n"
        "tributary_customers_html:\n"
        ".incbin \"collector/api/customers.html\"\n"
        "tributary_customers_html_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const uint8_t tributary_customers_html[];
extern const uint8_t tributary_customers_html_end[];

struct customers_page {
    char policy[512];
    char etag[crypto_hash_sha256_BYTES * 2 + 3];
};

enum {
    HASH_TEXT_BYTES =
        sodium_base64_ENCODED_LEN(crypto_hash_sha256_BYTES, sodium_base64_VARIANT_ORIGINAL)
};

static struct slice page_bytes(void)
{
    return slice_make(tributary_customers_html,
                      (size_t)(tributary_customers_html_end - tributary_customers_html));
}

/* The hash of what stands between two tags, in the form of a content security policy. */
static void hash_between(const char *open, const char *close, char ret[HASH_TEXT_BYTES])
{
    struct slice page = page_bytes();
    uint8_t hash[crypto_hash_sha256_BYTES];
    const uint8_t *from = memmem(page.data, page.len, open, strlen(open));
    const uint8_t *to = memmem(page.data, page.len, close, strlen(close));
    ensure(from != NULL && to != NULL && from < to); /* the file is part of the program */
    from += strlen(open);
    crypto_hash_sha256(hash, from, (size_t)(to - from));
    sodium_bin2base64(ret, HASH_TEXT_BYTES, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL);
}

struct customers_page *customers_page_new(void)
{
    struct customers_page *page = memory_allocate_zeroed(sizeof *page);
    char style[HASH_TEXT_BYTES];
    char script[HASH_TEXT_BYTES];
    uint8_t hash[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof hash + 1];
    hash_between("<style>", "</style>", style);
    hash_between("<script>", "</script>", script);
    snprintf(page->policy, sizeof page->policy,
             "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; connect-src "
             "'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             style, script);
    crypto_hash_sha256(hash, page_bytes().data, page_bytes().len);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(page->etag, sizeof page->etag, "\"%s\"", hex);
    return page;
}

void customers_page_free(struct customers_page **page)
{
    free(*page);
    *page = NULL;
}

void customers_page_answer(const struct customers_page *page, struct http_request *http)
{
    http_add_header(http, "Content-Security-Policy", slice_text(page->policy));
    http_add_header(http, "X-Content-Type-Options", slice_text("nosniff"));
    http_add_header(http, "Referrer-Policy", slice_text("no-referrer"));
    http_add_header(http, "Cross-Origin-Opener-Policy", slice_text("same-origin"));
    http_add_header(http, "ETag", slice_text(page->etag));
    http_add_header(http, "Cache-Control", slice_text("no-cache"));
    if (slice_is(http_header(http, "If-None-Match"), page->etag)) {
        http_answer_static(http, 304, NULL, slice_text(""));
    } else {
        http_answer_static(http, 200, "text/html; charset=utf-8", page_bytes());
    }
}
