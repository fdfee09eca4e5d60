/* What is left of an event whose person denies what storing needs: the hub must learn of it, or it
 * would go on as if consent still held.
 *
 * Left are the ids, the times, the source and the preferences; no name, no properties, no page, no
 * message id of the client's. The hub applies it to people whom it knows and forgets it otherwise.
 */
#ifndef TRIBUTARY_COLLECTOR_WITHDRAWAL_H
#define TRIBUTARY_COLLECTOR_WITHDRAWAL_H

#include "collector/gate/rules.h"

/* Reduce a refused event to it, with a message id out of `rand`; the new body lives as long as the
 * request. Nothing happens to an event that names nobody or says nothing of consent. */
void withdrawal_make(struct visit *visit, struct request_event *event, struct rand *rand);

#endif
