/* User agents: any bytes have the same answer, computed or remembered, in bounded time. */
#include "collector/gate/bots.h"

#include <sodium.h>
#include "shared/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bots *bots;
    struct slice text = slice_make(data, size);
    if (bots == NULL) {
        ensure(sodium_init() >= 0);
        bots = bots_new();
    }
    bool is_bot = bots_is_bot(bots, text);
    ensure(bots_is_bot(bots, text) == is_bot);
    ensure(size == 0 || bots_match(bots, text) == is_bot);
    return 0;
}
