/* A compact JSON Web Token (RFC 7519 in the form of RFC 7515), taken apart but not believed:
 * header, claims, signature, and the bytes that were signed.
 *
 * Strict where tokens are forged by ambiguity: base64url without padding and in its one canonical
 * form, UTF-8, a header and claims that are JSON objects in which no name comes twice, at most
 * JWT_MEMBERS_MAX members each. A header with "crit" is refused, since nothing here understands
 * what it would demand.
 *
 * Safe for any bytes. One thread for each reader.
 */
#ifndef TRIBUTARY_HUB_TRUST_JWT_H
#define TRIBUTARY_HUB_TRUST_JWT_H

#include "shared/json_doc.h"

enum {
    JWT_BYTES_MAX = 4096,
    JWT_SIGNATURE_BYTES_MAX = 512, /* RSA with 4,096 bits */
    JWT_MEMBERS_MAX = 64,
};

struct jwt {
    struct slice algorithm; /* its "alg" */
    struct slice kid;       /* its "kid"; empty: it has none */
    struct json_doc claims; /* JSON_ROOT is an object */
    struct slice signed_bytes;
    struct slice signature;
};

/* Memory for one token after another. */
struct jwt_reader;

struct jwt_reader *jwt_reader_new(void);
void jwt_reader_free(struct jwt_reader **reader);

/* False: it is no such token, or longer than JWT_BYTES_MAX. *ret is the reader's until its next
 * token, but for the signed bytes, which are the token's. */
MUST_CHECK bool jwt_read(struct jwt_reader *reader, struct slice token, struct jwt *ret);

/* The value of a claim, as a place in the document; 0: there is none, or it is null. */
size_t jwt_claim(const struct jwt *jwt, struct slice name);

#endif
