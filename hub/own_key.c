#include "hub/own_key.h"

#include <sodium.h>
#include <string.h>

/* In the log's store (stored: never change): 'K', the hub's public key. */
static const char key_name[] = "K";

struct fingerprint {
    char hex[2 * OWN_KEY_FINGERPRINT_BYTES + 1];
};

static struct fingerprint fingerprint_of(const uint8_t hub_public[SEAL_KEY_BYTES])
{
    struct fingerprint f;
    sodium_bin2hex(f.hex, sizeof f.hex, hub_public, OWN_KEY_FINGERPRINT_BYTES);
    return f;
}

/* Data of an earlier version remembers no key, but every epoch in it is sealed to one. */
static bool opens_first_epoch(struct store *log_store, const uint8_t hub_public[SEAL_KEY_BYTES],
                              const uint8_t hub_secret[SEAL_KEY_BYTES], struct error *err)
{
    struct error why;
    struct seal_epoch *epoch = NULL;
    struct store_iterator *it = store_iterator_open(log_store, NULL);
    store_iterator_seek(it, slice_text("h"));
    bool has_epoch = store_iterator_valid(it) && store_iterator_key(it).data[0] == 'h';
    bool opens = !has_epoch || seal_epoch_open(store_iterator_value(it), NULL, hub_public,
                                               hub_secret, &epoch, &why);
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    seal_epoch_end(&epoch);
    return fine &&
           (opens || error_set(err, ERROR_INVALID,
                               "the data was sealed to another key than the key file's, whose "
                               "public half begins %s: give the key file that this data was made "
                               "with",
                               fingerprint_of(hub_public).hex));
}

static bool remember(struct store *log_store, const uint8_t hub_public[SEAL_KEY_BYTES],
                     struct error *err)
{
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_put(&batch, slice_text(key_name), slice_make(hub_public, SEAL_KEY_BYTES));
    bool fine = store_write(log_store, &batch, true, err);
    store_batch_done(&batch);
    return fine;
}

static bool check_remembered(struct slice remembered, const uint8_t hub_public[SEAL_KEY_BYTES],
                             struct error *err)
{
    if (remembered.len != SEAL_KEY_BYTES) {
        return error_set(err, ERROR_CORRUPT, "the data does not say which key it belongs to");
    }
    return memcmp(remembered.data, hub_public, SEAL_KEY_BYTES) == 0 ||
           error_set(err, ERROR_INVALID,
                     "the data belongs to the key whose public half (hub.pub) begins %s, and the "
                     "key file has the one that begins %s: give the key file that this data was "
                     "made with",
                     fingerprint_of(remembered.data).hex, fingerprint_of(hub_public).hex);
}

bool own_key_check(struct store *log_store, const uint8_t hub_public[SEAL_KEY_BYTES],
                   const uint8_t hub_secret[SEAL_KEY_BYTES], struct error *err)
{
    struct buf remembered;
    bool found = false;
    buf_init(&remembered, 1024);
    bool fine = store_get(log_store, NULL, slice_text(key_name), &remembered, &found, err);
    if (fine && found) {
        fine = check_remembered(buf_slice(&remembered), hub_public, err);
    } else if (fine) {
        fine = opens_first_epoch(log_store, hub_public, hub_secret, err) &&
               remember(log_store, hub_public, err);
    }
    buf_done(&remembered);
    return fine;
}
