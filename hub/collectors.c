#include "hub/collectors.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include "shared/log.h"

enum { REFUSED_LOG_MS = 60000 };

/* Whoever has this key under this name. Channels are borrowed, so none is ever removed. */
struct channel {
    struct channel *next;
    uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES];
    struct seal_channel *seal;
};

struct known {
    struct known *next;
    size_t id_len;
    uint8_t id[SEAL_COLLECTOR_ID_MAX];
    struct collector_keys keys;
    struct channel *channels; /* of every key that it had since the start of the hub */
    unsigned former_count;
    const struct seal_channel *former[COLLECTORS_FORMER_KEYS];
    struct collector_figures figures;
    int64_t refused_logged_ms;
    uint64_t refused_since; /* that line */
};

struct collectors {
    struct registry *registry;
    const uint8_t *hub_secret;
    pthread_mutex_t lock;
    struct known *first; /* entries are never removed: their channels are borrowed */
};

static struct known *find(struct collectors *c, struct slice id)
{
    struct known *k = c->first;
    while (k != NULL && !slice_equal(slice_make(k->id, k->id_len), id)) {
        k = k->next;
    }
    return k;
}

static bool read_key(const msgpack_object *object, uint8_t ret[SEAL_SIGN_PUBLIC_BYTES])
{
    struct slice hex;
    size_t len = 0;
    return value_text(object, &hex) &&
           sodium_hex2bin(ret, SEAL_SIGN_PUBLIC_BYTES, (const char *)hex.data, hex.len, NULL, &len,
                          NULL) == 0 &&
           len == SEAL_SIGN_PUBLIC_BYTES;
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

/* NULL where it is no key. */
static const struct seal_channel *channel_of(struct collectors *c, struct known *k,
                                             const uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES])
{
    struct channel *channel = k->channels;
    while (channel != NULL &&
           memcmp(channel->sign_public, sign_public, SEAL_SIGN_PUBLIC_BYTES) != 0) {
        channel = channel->next;
    }
    if (channel == NULL) {
        channel = memory_allocate_zeroed(sizeof *channel);
        memcpy(channel->sign_public, sign_public, SEAL_SIGN_PUBLIC_BYTES);
        channel->seal =
            seal_channel_of_hub(slice_make(k->id, k->id_len), sign_public, c->hub_secret);
        channel->next = k->channels;
        k->channels = channel;
    }
    return channel->seal;
}

static void take_former(struct collectors *c, struct known *k, const msgpack_object *former)
{
    uint32_t count = value_is(former, MSGPACK_OBJECT_ARRAY) ? former->via.array.size : 0;
    k->former_count = 0;
    for (uint32_t i = 0; i < count && k->former_count < COLLECTORS_FORMER_KEYS; i++) {
        uint8_t key[SEAL_SIGN_PUBLIC_BYTES];
        const struct seal_channel *channel =
            read_key(&former->via.array.ptr[i], key) ? channel_of(c, k, key) : NULL;
        if (channel != NULL) {
            k->former[k->former_count++] = channel;
        }
    }
}

static bool take_entry(void *user, const struct registry_entry *entry)
{
    struct collectors *c = user;
    uint8_t key[SEAL_SIGN_PUBLIC_BYTES];
    int64_t revoked = 0;
    msgpack_zone zone;
    msgpack_object body;
    struct error err;
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    if (entry->key.len <= SEAL_COLLECTOR_ID_MAX && value_unpack(entry->body, &zone, &body, &err) &&
        read_key(value_member_c(&body, "publicKey"), key)) {
        struct known *k = find(c, entry->key);
        k = k == NULL ? make_known(c, entry->key) : k;
        (void)value_int(value_member_c(&body, "revokedAt"), &revoked);
        k->keys.number = entry->id;
        k->keys.is_revoked = revoked > 0;
        k->keys.enrolled_ms = 0;
        (void)value_int(value_member_c(&body, "enrolledAt"), &k->keys.enrolled_ms);
        k->keys.channel = channel_of(c, k, key);
        memcpy(k->keys.sign_public, key, sizeof key);
        take_former(c, k, value_member_c(&body, "formerKeys"));
    }
    msgpack_zone_destroy(&zone);
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

static void free_known(struct known *k)
{
    while (k->channels != NULL) {
        struct channel *next = k->channels->next;
        seal_channel_free(&k->channels->seal);
        free(k->channels);
        k->channels = next;
    }
    free(k);
}

void collectors_free(struct collectors **collectors)
{
    if (*collectors != NULL) {
        while ((*collectors)->first != NULL) {
            struct known *next = (*collectors)->first->next;
            free_known((*collectors)->first);
            (*collectors)->first = next;
        }
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
    bool found = k != NULL && k->keys.channel != NULL;
    if (found) {
        *ret = k->keys;
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

const struct seal_channel *collectors_former(struct collectors *c, struct slice id, unsigned nth)
{
    pthread_mutex_lock(&c->lock);
    struct known *k = find(c, id);
    const struct seal_channel *channel = k != NULL && nth < k->former_count ? k->former[nth] : NULL;
    pthread_mutex_unlock(&c->lock);
    return channel;
}

const char *collector_refusal_name(enum collector_refusal refusal)
{
    static const char *const names[COLLECTOR_REFUSALS] = {"revoked", "replaced", "wrong-key"};
    return names[refusal];
}

void collectors_refuse(struct collectors *c, struct slice id, enum collector_refusal refusal,
                       int64_t now_ms)
{
    pthread_mutex_lock(&c->lock);
    struct known *k = find(c, id);
    uint64_t since = 0;
    if (k != NULL) {
        k->figures.messages_refused[refusal]++;
        k->figures.refused += refusal != COLLECTOR_WRONG_KEY;
        k->refused_since++;
        if (k->refused_logged_ms == 0 || now_ms - k->refused_logged_ms >= REFUSED_LOG_MS) {
            since = k->refused_since;
            k->refused_logged_ms = now_ms;
            k->refused_since = 0;
        }
    }
    pthread_mutex_unlock(&c->lock);
    if (since > 0) {
        log_warn("collector-refused",
                 "Messages of a collector are refused. collector=%.*s reason=%s count=%llu",
                 SLICE_ARGS(id), collector_refusal_name(refusal), (unsigned long long)since);
    }
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

void collectors_each(struct collectors *c,
                     void (*each)(void *user, struct slice id,
                                  const struct collector_figures *figures),
                     void *user)
{
    pthread_mutex_lock(&c->lock);
    for (const struct known *k = c->first; k != NULL; k = k->next) {
        each(user, slice_make(k->id, k->id_len), &k->figures);
    }
    pthread_mutex_unlock(&c->lock);
}
