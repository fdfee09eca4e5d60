#include "hub/collectors.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

struct known {
    struct known *next;
    size_t id_len;
    uint8_t id[SEAL_COLLECTOR_ID_MAX];
    struct collector_keys keys;
    struct seal_channel *channel;
    struct collector_figures figures;
};

struct collectors {
    struct registry *registry;
    const uint8_t *hub_secret;
    pthread_mutex_t lock;
    struct known *first;    /* entries are never removed: their channels are borrowed */
    struct known *replaced; /* channels of collectors that were enrolled again */
};

static struct known *find(struct collectors *c, struct slice id)
{
    struct known *k = c->first;
    while (k != NULL && !slice_equal(slice_make(k->id, k->id_len), id)) {
        k = k->next;
    }
    return k;
}

static bool read_body(struct slice body, uint8_t ret_public[SEAL_SIGN_PUBLIC_BYTES],
                      bool *ret_revoked)
{
    msgpack_zone zone;
    msgpack_object root;
    struct error err;
    struct slice hex;
    int64_t revoked = 0;
    size_t len = 0;
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    bool fine = value_unpack(body, &zone, &root, &err) &&
                value_text(value_member_c(&root, "publicKey"), &hex) &&
                sodium_hex2bin(ret_public, SEAL_SIGN_PUBLIC_BYTES, (const char *)hex.data, hex.len,
                               NULL, &len, NULL) == 0 &&
                len == SEAL_SIGN_PUBLIC_BYTES;
    *ret_revoked = fine && value_int(value_member_c(&root, "revokedAt"), &revoked) && revoked > 0;
    msgpack_zone_destroy(&zone);
    return fine;
}

static struct known *make_known(struct collectors *c, struct slice id)
{
    struct known *k = memory_allocate_zeroed(sizeof *k);
    k->id_len = id.len;
    memcpy(k->id, id.data, id.len);
    k->figures.card_shape = CARD_BROWSERS; /* until it polls: an older one refuses such a card */
    k->next = c->first;
    c->first = k;
    return k;
}

static bool take_entry(void *user, const struct registry_entry *entry)
{
    struct collectors *c = user;
    uint8_t public_key[SEAL_SIGN_PUBLIC_BYTES];
    bool is_revoked;
    if (entry->key.len > SEAL_COLLECTOR_ID_MAX ||
        !read_body(entry->body, public_key, &is_revoked)) {
        return true;
    }
    struct known *k = find(c, entry->key);
    k = k == NULL ? make_known(c, entry->key) : k;
    if (k->channel == NULL || memcmp(k->keys.sign_public, public_key, sizeof public_key) != 0) {
        if (k->channel != NULL) {
            struct known *old = memory_allocate_zeroed(sizeof *old);
            old->channel = k->channel;
            old->next = c->replaced;
            c->replaced = old;
        }
        k->channel = seal_channel_of_hub(entry->key, public_key, c->hub_secret);
        memcpy(k->keys.sign_public, public_key, sizeof public_key);
    }
    k->keys.number = entry->id;
    k->keys.is_revoked = is_revoked;
    k->keys.channel = k->channel;
    return true;
}

struct collectors *collectors_new(struct registry *registry,
                                  const uint8_t hub_secret[SEAL_KEY_BYTES])
{
    struct collectors *c = memory_allocate_zeroed(sizeof *c);
    c->registry = registry;
    c->hub_secret = hub_secret;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void free_list(struct known *k)
{
    while (k != NULL) {
        struct known *next = k->next;
        seal_channel_free(&k->channel);
        free(k);
        k = next;
    }
}

void collectors_free(struct collectors **collectors)
{
    if (*collectors != NULL) {
        free_list((*collectors)->first);
        free_list((*collectors)->replaced);
        pthread_mutex_destroy(&(*collectors)->lock);
        free(*collectors);
        *collectors = NULL;
    }
}

void collectors_reload(struct collectors *c)
{
    pthread_mutex_lock(&c->lock);
    registry_each(c->registry, REGISTRY_COLLECTOR, take_entry, c);
    pthread_mutex_unlock(&c->lock);
}

size_t collectors_enrolled(struct collectors *c)
{
    size_t count = 0;
    pthread_mutex_lock(&c->lock);
    for (const struct known *k = c->first; k != NULL; k = k->next) {
        count += !k->keys.is_revoked;
    }
    pthread_mutex_unlock(&c->lock);
    return count;
}

bool collectors_find(struct collectors *c, struct slice id, struct collector_keys *ret)
{
    pthread_mutex_lock(&c->lock);
    struct known *k = find(c, id);
    bool found = k != NULL && k->channel != NULL;
    if (found) {
        *ret = k->keys;
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

void collectors_note(struct collectors *c, struct slice id,
                     void (*change)(struct collector_figures *figures, void *user), void *user)
{
    pthread_mutex_lock(&c->lock);
    struct known *k = find(c, id);
    if (k != NULL) {
        change(&k->figures, user);
    }
    pthread_mutex_unlock(&c->lock);
}

struct collector_figures collectors_figures(struct collectors *c, struct slice id)
{
    struct collector_figures figures = {0};
    pthread_mutex_lock(&c->lock);
    struct known *k = find(c, id);
    if (k != NULL) {
        figures = k->figures;
    }
    pthread_mutex_unlock(&c->lock);
    return figures;
}
