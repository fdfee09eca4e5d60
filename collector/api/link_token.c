#include "collector/api/link_token.h"

#include <sodium.h>

/* A token (on the wire: never change): end in seconds since 1970 (4), id, MAC of both (16). */
enum { END_BYTES = 4, MAC_BYTES = 16 };

static void write_mac(const uint8_t key[LINK_KEY_BYTES], struct slice of, uint8_t ret[MAC_BYTES])
{
    crypto_generichash(ret, MAC_BYTES, of.data, of.len, key, LINK_KEY_BYTES);
}

void link_token_make(const uint8_t key[LINK_KEY_BYTES], struct slice id, int64_t now_ms,
                     char ret[LINK_TOKEN_BYTES])
{
    uint8_t mac[MAC_BYTES];
    uint8_t bytes[END_BYTES + COOKIE_ID_BYTES_MAX + MAC_BYTES];
    struct buf out = {.data = bytes, .capacity = sizeof bytes, .len_max = sizeof bytes};
    ensure(cookie_is_id(id));
    buf_put_u32(&out, (uint32_t)((now_ms + LINK_TOKEN_LIFETIME_MS) / 1000));
    buf_put_slice(&out, id);
    write_mac(key, buf_slice(&out), mac);
    buf_put(&out, mac, sizeof mac);
    sodium_bin2base64(ret, LINK_TOKEN_BYTES, bytes, out.len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

enum link_token_state link_token_check(const uint8_t key[LINK_KEY_BYTES], struct slice token,
                                       int64_t now_ms, uint8_t scratch[LINK_TOKEN_BYTES],
                                       struct slice *ret_id)
{
    uint8_t mac[MAC_BYTES];
    size_t len = 0;
    if (sodium_base642bin(scratch, LINK_TOKEN_BYTES, (const char *)token.data, token.len, NULL,
                          &len, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        len <= END_BYTES + MAC_BYTES) {
        return LINK_TOKEN_WRONG;
    }
    write_mac(key, slice_make(scratch, len - MAC_BYTES), mac);
    *ret_id = slice_make(scratch + END_BYTES, len - END_BYTES - MAC_BYTES);
    if (sodium_memcmp(mac, scratch + len - MAC_BYTES, MAC_BYTES) != 0 || !cookie_is_id(*ret_id)) {
        return LINK_TOKEN_WRONG;
    }
    return (int64_t)read_u32(scratch) * 1000 > now_ms ? LINK_TOKEN_GOOD : LINK_TOKEN_EXPIRED;
}
