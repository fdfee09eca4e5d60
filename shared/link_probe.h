/* The probe of a link: is a hub listening there again? A connection of its own, which greets as
 * NNG does and goes away when it was greeted. That costs some 30 us of CPU time where nobody
 * listens; a dial of NNG costs 2 to 3 ms.
 *
 * Whatever takes connections for a hub that is away, a tunnel or a proxy, does not greet. Names are
 * resolved on a thread of their own, so that a resolver that does not answer keeps nobody waiting.
 * One thread at a time.
 */
#ifndef TRIBUTARY_SHARED_LINK_PROBE_H
#define TRIBUTARY_SHARED_LINK_PROBE_H

#include <stdatomic.h>
#include <stdbool.h>

struct link_probe;

/* For tcp://HOST:PORT. What is at other addresses, which NNG may know, cannot be asked for: it is
 * always taken to be there. */
struct link_probe *link_probe_new(const char *url);
void link_probe_free(struct link_probe **probe);

/* Wait up to timeout_ms for a greeting; *stop ends that early. */
bool link_probe_ask(struct link_probe *probe, int timeout_ms, const atomic_bool *stop);

#endif
