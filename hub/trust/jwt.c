#include "hub/trust/jwt.h"

#include <sodium.h>
#include <stdlib.h>
#include "shared/buf.h"

struct jwt_reader {
    struct json_parser *header_parser;
    struct json_parser *claims_parser;
    uint8_t header[JWT_BYTES_MAX];
    uint8_t claims[JWT_BYTES_MAX];
    uint8_t signature[JWT_SIGNATURE_BYTES_MAX];
};

struct jwt_reader *jwt_reader_new(void)
{
    struct jwt_reader *r = memory_allocate_zeroed(sizeof *r);
    r->header_parser = json_parser_new();
    r->claims_parser = json_parser_new();
    return r;
}

void jwt_reader_free(struct jwt_reader **reader)
{
    if (*reader != NULL) {
        json_parser_free(&(*reader)->header_parser);
        json_parser_free(&(*reader)->claims_parser);
        free(*reader);
        *reader = NULL;
    }
}

/* The bytes before the next dot, which are taken off *rest with it. */
static bool take_part(struct slice *rest, struct slice *ret)
{
    const uint8_t *dot = rest->len == 0 ? NULL : memchr(rest->data, '.', rest->len);
    if (dot == NULL) {
        return false;
    }
    *ret = slice_make(rest->data, (size_t)(dot - rest->data));
    *rest = slice_skip(*rest, ret->len + 1);
    return true;
}

static bool decode(struct slice text, uint8_t *out, size_t out_max, struct slice *ret)
{
    size_t len = 0;
    if (text.len == 0 ||
        sodium_base642bin(out, out_max, (const char *)text.data, text.len, NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0) {
        return false;
    }
    *ret = slice_make(out, len);
    return true;
}

/* Two readers of an object that names something twice may each see another value. */
static bool names_are_unique(const struct json_doc *doc)
{
    struct slice names[JWT_MEMBERS_MAX];
    size_t count = 0;
    for (size_t at = json_doc_first(JSON_ROOT); !json_doc_is_end(doc, at);
         at = json_doc_next(doc, at + 1)) {
        if (count == JWT_MEMBERS_MAX || json_doc_kind(doc, at) != JSON_TEXT) {
            return false;
        }
        names[count] = json_doc_text(doc, at);
        for (size_t i = 0; i < count; i++) {
            if (slice_equal(names[i], names[count])) {
                return false;
            }
        }
        count++;
    }
    return true;
}

static bool read_object(struct json_parser *parser, struct slice json, struct json_doc *ret)
{
    return json_parse(parser, json, ret) && json_doc_kind(ret, JSON_ROOT) == JSON_OBJECT &&
           names_are_unique(ret);
}

/* The value of a member; 0: none. */
static size_t find_member(const struct json_doc *doc, struct slice name)
{
    for (size_t at = json_doc_first(JSON_ROOT); !json_doc_is_end(doc, at);
         at = json_doc_next(doc, at + 1)) {
        if (slice_equal(json_doc_text(doc, at), name)) {
            return at + 1;
        }
    }
    return 0;
}

static bool read_header(const struct json_doc *header, struct jwt *ret)
{
    size_t algorithm = find_member(header, slice_text("alg"));
    size_t kid = find_member(header, slice_text("kid"));
    ret->kid = slice_make(NULL, 0);
    if (find_member(header, slice_text("crit")) != 0 || algorithm == 0 ||
        json_doc_kind(header, algorithm) != JSON_TEXT) {
        return false;
    }
    ret->algorithm = json_doc_text(header, algorithm);
    if (kid != 0) {
        if (json_doc_kind(header, kid) != JSON_TEXT || json_doc_text(header, kid).len == 0) {
            return false;
        }
        ret->kid = json_doc_text(header, kid);
    }
    return true;
}

bool jwt_read(struct jwt_reader *r, struct slice token, struct jwt *ret)
{
    struct slice rest = token;
    struct slice header;
    struct slice claims;
    struct json_doc doc;
    if (token.len > JWT_BYTES_MAX || !take_part(&rest, &header) || !take_part(&rest, &claims)) {
        return false;
    }
    ret->signed_bytes = slice_make(token.data, header.len + 1 + claims.len);
    return decode(header, r->header, sizeof r->header, &header) &&
           decode(claims, r->claims, sizeof r->claims, &claims) &&
           decode(rest, r->signature, sizeof r->signature, &ret->signature) &&
           read_object(r->header_parser, header, &doc) && read_header(&doc, ret) &&
           read_object(r->claims_parser, claims, &ret->claims);
}

size_t jwt_claim(const struct jwt *jwt, struct slice name)
{
    size_t at = find_member(&jwt->claims, name);
    return at != 0 && json_doc_kind(&jwt->claims, at) == JSON_NULL ? 0 : at;
}
