/* The watch: requests that wait until what the edge knows of a visitor changes.
 *
 * Guarantee: whoever was added is woken exactly once: when something was stored about its visitor,
 * when its time is over, when it is cancelled, or when the watch is stopped; sometimes also without
 * a reason. At most `waiters_max` wait at once, of one address `per_address_max`, in memory that is
 * taken at the start. Any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_WATCH_H
#define TRIBUTARY_COLLECTOR_WATCH_H

#include "shared/address.h"
#include "shared/buf.h"
#include "shared/clock.h"

struct watch;

/* `wake` is called on the thread that tells the change or on the watch's own; it may not call the
 * watch. */
struct watch *watch_open(size_t waiters_max, size_t per_address_max, const struct clock *clock,
                         void (*wake)(void *user, void *waiter), void *user);
/* Wake all, and let nobody wait from now on; returns when all were woken by it. The watch may still
 * be called. The same thread closes it. */
void watch_stop(struct watch *watch);
/* Stop and free. Nobody may call the watch any more. Closing NULL is allowed. */
void watch_close(struct watch **watch);

/* Wait for the visitor with this anonymous id, which is not kept; `from` is whose request it is
 * (NULL: nobody's that has a bound). False: too many wait already, or the watch has stopped. True:
 * the waiter may be woken, by another thread, before this returns. */
MUST_CHECK bool watch_add(struct watch *watch, struct slice anonymous_id, int64_t wait_ms,
                          const struct address *from, void *waiter);

/* Wake this waiter now, if it waits: it is compared and not looked at. */
void watch_cancel(struct watch *watch, const void *waiter);

/* Wake those who wait for this visitor. */
void watch_changed(struct watch *watch, struct slice anonymous_id);

/* Wake everybody: what all are told may have changed. */
void watch_changed_all(struct watch *watch);

size_t watch_waiters(struct watch *watch);

#endif
