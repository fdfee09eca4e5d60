/* Tokens by which a visitor's anonymous id goes from one site to another in a link.
 *
 * A token names an id and its own end, and carries a MAC under a key that all collectors of one hub
 * have: nobody else can make one, and none is good for longer than LINK_TOKEN_LIFETIME_MS. It may
 * be used more than once in that time. FORMATS.md of shared/ has its bytes. Pure; any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_LINK_TOKEN_H
#define TRIBUTARY_COLLECTOR_LINK_TOKEN_H

#include "collector/api/cookie.h"

enum {
    LINK_KEY_BYTES = 32,
    LINK_TOKEN_LIFETIME_MS = 120000,
    /* The longest token with its terminating zero: base64 of end, id and MAC. */
    LINK_TOKEN_BYTES = (4 + COOKIE_ID_BYTES_MAX + 16) * 4 / 3 + 4
};

/* A token for this id, which must be one by cookie_is_id(). */
void link_token_make(const uint8_t key[LINK_KEY_BYTES], struct slice id, int64_t now_ms,
                     char ret[LINK_TOKEN_BYTES]);

enum link_token_state {
    LINK_TOKEN_GOOD,
    LINK_TOKEN_WRONG, /* not made with this key */
    LINK_TOKEN_EXPIRED
};

/* Good: *ret_id, which refers into `scratch`, is an id by cookie_is_id(). */
enum link_token_state link_token_check(const uint8_t key[LINK_KEY_BYTES], struct slice token,
                                       int64_t now_ms, uint8_t scratch[LINK_TOKEN_BYTES],
                                       struct slice *ret_id);

#endif
