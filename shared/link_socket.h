/* NNG's sockets, closed in bounded time, and its messages.
 *
 * nng_close() of NNG before 1.8 can wait for ever for a connection that is being taken down (its
 * issues 1543 and 1813). Closing is therefore given to a thread of its own: when that does not
 * come back within a second, the socket is left behind, which costs its memory until the
 * process ends. Any thread but NNG's own.
 */
#ifndef TRIBUTARY_SHARED_LINK_SOCKET_H
#define TRIBUTARY_SHARED_LINK_SOCKET_H

#include <nng/nng.h>
#include "shared/buf.h"
#include "shared/error.h"

/* Set the error to what NNG says of its result, and give false. */
bool link_socket_fail(struct error *err, int rv, const char *what);

/* A copy of the bytes, which is the caller's until NNG has sent it. */
nng_msg *link_socket_message(struct slice bytes);

/* False: the socket is still open, and whatever belongs to it must stay. */
MUST_CHECK bool link_socket_close(nng_socket socket);

/* Keep what belongs to a socket that is still open: not used again, and not lost, as a leak checker
 * would think. */
void link_socket_leave_behind(void *owner);

#endif
