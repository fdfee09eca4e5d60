/* One NNG socket of a link's client and the requests that go through it. It is dialled when it is
 * told to, once: what has lost its connection is never used again, because NNG 1.5 may never dial
 * again after a connection has died in the midst of a large message, and pauses between its dials
 * for as long as it likes. Whoever owns it opens another one.
 *
 * Any thread, but for closing.
 */
#ifndef TRIBUTARY_SHARED_LINK_CHANNEL_H
#define TRIBUTARY_SHARED_LINK_CHANNEL_H

#include "shared/link.h"

struct link_channel;
struct link_exchange;

/* `changed` is called on a thread of NNG after each change of the state below, also when the
 * channel was left behind: what it needs must live as long as that. */
MUST_CHECK bool link_channel_open(const char *url, void (*changed)(void *user), void *user,
                                  struct link_channel **ret, struct error *err);

/* Dial, in the background. A dial that is refused is repeated by NNG, after up to ten seconds. */
void link_channel_dial(struct link_channel *channel);
/* Dial no more until told to again; what waits goes on waiting. For one that was never there. */
void link_channel_rest(struct link_channel *channel);

enum link_channel_state {
    LINK_CHANNEL_RESTS,    /* not dialled yet: requests wait */
    LINK_CHANNEL_DIALS,    /* since the time that is told */
    LINK_CHANNEL_IS_THERE, /* likewise */
    LINK_CHANNEL_IS_LOST,  /* likewise */
};
struct link_channel_status {
    enum link_channel_state state;
    int64_t since_ns;
    int64_t lasted_ms;       /* of one that is lost: how long it was there */
    int64_t silent_since_ns; /* something was asked then and nothing was answered since; or 0 */
};
struct link_channel_status link_channel_status(struct link_channel *channel);

/* A request of a channel, which keeps the channel from being freed. NULL: the channel has ended.
 * Then it is begun, without the owner's locks, because `done` may be called before that returns. */
struct link_exchange *link_channel_take(struct link_channel *channel, link_done *done, void *user);
void link_exchange_begin(struct link_exchange *exchange, struct slice bytes, int timeout_ms);

/* What is under way is done unanswered before this returns, whatever NNG still does with it, and
 * nothing more is taken or sent. */
void link_channel_end(struct link_channel *channel);
/* End, and free. False: NNG does not let go of it, and it had to be left behind. */
bool link_channel_close(struct link_channel *channel);

#endif
