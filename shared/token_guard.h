/* Looks at secret tokens, and slows down whoever guesses them.
 *
 * Guarantee: the right token is taken, whatever came before it from the same address, so that
 * nobody can lock out whom he shares an address with. Of wrong ones an address has
 * TOKEN_GUARD_WRONG_MAX a minute; then it is told to wait. What keeps a token from being guessed is
 * its length: those that `tributary` makes have 128 random bits or more.
 *
 * Memory is fixed: addresses share slots by a keyed hash, and those of one IPv6 network are one.
 * Behind a reverse proxy that the settings do not trust all clients are one. Any thread.
 */
#ifndef TRIBUTARY_SHARED_TOKEN_GUARD_H
#define TRIBUTARY_SHARED_TOKEN_GUARD_H

#include <stdint.h>
#include "shared/slice.h"

struct token_guard;

enum { TOKEN_GUARD_WRONG_MAX = 10, TOKEN_GUARD_MS = 60000 };

struct token_guard *token_guard_new(void);
void token_guard_free(struct token_guard **guard);

enum token_verdict {
    TOKEN_RIGHT,
    TOKEN_MISSING,  /* there is none, which is no guess */
    TOKEN_WRONG,    /* and counted */
    TOKEN_TOO_MANY, /* wrong, as were too many before */
};

/* Judge what the header Authorization says: "Bearer " and the token. An empty `wanted` is nobody's.
 * `address` has 4 or 16 bytes, or none. *ret_wait_ms: how long the address has to wait after too
 * many. */
enum token_verdict token_guard_judge(struct token_guard *guard, struct slice authorization,
                                     struct slice wanted, struct slice address, int64_t now_ms,
                                     int64_t *ret_wait_ms);

#endif
