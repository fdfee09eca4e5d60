/* Slows down whoever guesses tokens: an address that has sent some wrong ones within a minute is
 * refused, whatever it sends, until that minute is over.
 *
 * Memory is fixed: addresses share slots by a keyed hash, and those of one IPv6 network are one.
 * Behind a reverse proxy that the settings do not trust all clients are one. Any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_TOKEN_GUARD_H
#define TRIBUTARY_COLLECTOR_TOKEN_GUARD_H

#include <stdbool.h>
#include "shared/attributes.h"
#include "shared/slice.h"

struct token_guard;

enum { TOKEN_GUARD_WRONG_MAX = 10, TOKEN_GUARD_MS = 60000 };

struct token_guard *token_guard_new(void);
void token_guard_free(struct token_guard **guard);

/* How long this address (4 or 16 bytes, or none) has to wait; 0: its token may be looked at. */
int64_t token_guard_wait_ms(struct token_guard *guard, struct slice address, int64_t now_ms);
void token_guard_note_wrong(struct token_guard *guard, struct slice address, int64_t now_ms);

#endif
