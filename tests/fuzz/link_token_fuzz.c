/* Tokens as anybody may put them into a link: only what was made with the key is good, and what is
 * made of an id is, and gives it back. */
#include "collector/api/link_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[LINK_KEY_BYTES] = {1, 2, 3};
    struct slice input = slice_make(data, size);
    uint8_t scratch[LINK_TOKEN_BYTES];
    char token[LINK_TOKEN_BYTES];
    struct slice id;
    if (link_token_check(key, input, 0, scratch, &id) == LINK_TOKEN_GOOD) {
        ensure(cookie_is_id(id));
    }
    if (cookie_is_id(input)) {
        link_token_make(key, input, 0, token);
        ensure(link_token_check(key, slice_text(token), 0, scratch, &id) == LINK_TOKEN_GOOD);
        ensure(slice_equal(id, input));
    }
    return 0;
}
