/* Reading all files of a LevelDB that is open, to find what the disk has lost before it is needed.
 *
 * Of tables every block is read, from the disk or its cache; of the MANIFEST and the logs what is
 * there now. What is found is looked at twice, as files are written and deleted meanwhile.
 * Any thread; the store may be written to.
 */
#ifndef TRIBUTARY_SHARED_DAMAGE_STORE_SCRUB_H
#define TRIBUTARY_SHARED_DAMAGE_STORE_SCRUB_H

#include "shared/error.h"
#include <stdint.h>

struct scrub_listener {
    /* Behind each piece that was read. */
    void (*read)(void *user, uint64_t bytes);
    /* One sentence for a file that is damaged. */
    void (*found)(void *user, const char *sentence);
    void *user;
};

/* False where it cannot be read; damage is told to the listener, and the next start reads the store
 * whole. */
MUST_CHECK bool store_scrub(const char *path, const struct scrub_listener *listener,
                            struct error *err);

#endif
