/* The bytes between NNG's req and rep over TCP ("SP"), as the server reads them.
 *
 * Each side greets with 8 bytes. Then come messages: 8 bytes of length, the ids under which one is
 * answered (4 bytes each, the last with its highest bit set; all but one are of devices between),
 * and the body. Pure; nothing is copied.
 */
#ifndef TRIBUTARY_SHARED_LINK_FRAME_H
#define TRIBUTARY_SHARED_LINK_FRAME_H

#include "shared/attributes.h"
#include "shared/slice.h"

enum {
    LINK_FRAME_GREETING_BYTES = 8,
    LINK_FRAME_LENGTH_BYTES = 8,
    LINK_FRAME_IDS_BYTES_MAX = 32,
};

enum link_taken {
    LINK_TAKEN,
    LINK_NOT_YET, /* more has to come */
    LINK_WRONG,   /* whatever comes: it is another protocol, or over LIMIT_WIRE_BYTES */
};

/* What a server sends, and what a client does. */
extern const uint8_t link_frame_greeting[LINK_FRAME_GREETING_BYTES];
extern const uint8_t link_frame_client_greeting[LINK_FRAME_GREETING_BYTES];

/* Take what a client sends from the front of *rest. */
MUST_CHECK enum link_taken link_frame_take_greeting(struct slice *rest);
/* Likewise the next message: its ids, which the answer begins with, and its body. */
MUST_CHECK enum link_taken link_frame_take(struct slice *rest, struct slice *ret_ids,
                                           struct slice *ret_body);

#endif
