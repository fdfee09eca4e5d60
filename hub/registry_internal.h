/* What the files of the registry share. Everything here is for holders of its lock. */
#ifndef TRIBUTARY_HUB_REGISTRY_INTERNAL_H
#define TRIBUTARY_HUB_REGISTRY_INTERNAL_H

#include <pthread.h>
#include "hub/registry.h"
#include "shared/write_key.h"
#include "hub/trust/source.h"
#include "shared/audience.h"

struct entry {
    enum registry_kind kind;
    struct buf key;
    struct buf body;
    uint32_t id;
    uint64_t version;
    uint64_t meaning_version; /* when it last changed for partitions but for whom it is shown to */
    uint64_t edge_version;    /* when it last began or ceased to be shown to anybody */
    int64_t at_ms;
};

/* Whom a change of a definition concerns. What is shown to whom is a matter of the gates, so that
 * it takes effect at once; partitions must know whether it is shown at all, to send cards again. */
struct change {
    bool partitions;
    bool router; /* it judges events by the sources of their place in the log */
    bool gates;
    bool is_meaning;    /* of the segment: profiles may be members who were not */
    bool is_visibility; /* it is shown to nobody any more, or no longer to nobody */
};

enum { LINK_KEY_BYTES = 32 };

struct registry {
    struct eventlog *log;
    const struct clock *clock;
    void (*changed)(void *user);
    void *user;
    pthread_mutex_t lock;
    uint64_t version;         /* of the last change */
    uint64_t catalog_version; /* of the last change that partitions see */
    uint64_t gate_version;    /* of the last change that gates see */
    uint64_t traits_version;  /* when a trait that was shown was last deleted */
    uint32_t next_id;
    bool has_link_key;
    uint8_t link_key[LINK_KEY_BYTES];       /* of tokens in links */
    uint8_t key_salt[WRITE_KEY_SALT_BYTES]; /* of secret write keys; has_link_key: it is set */
    size_t count;
    size_t capacity;
    struct entry *entries; /* by kind and key */
};

/* Is there any entry of this kind? */
bool registry_has(const struct registry *r, enum registry_kind kind);

/* registry_pack.c: the definitions, as registry_catalog() and registry_gate() give them. */
void registry_pack_catalog(const struct registry *r, const msgpack_object *preview,
                           struct buf *out);
void registry_pack_gate(const struct registry *r, struct registry_reader reader, struct buf *out);
/* The version that collectors are told: of the definitions and of the shape of the state. */
uint64_t registry_pack_gate_version(const struct registry *r);
/* A source as it is defined; refers into the entry, `zone` and *ret_body. */
struct source registry_source(const struct entry *entry, msgpack_zone *zone,
                              msgpack_object *ret_body);
/* Was the scope of this collector, or the list of the sources that it carries, ever set? */
bool registry_has_scope(const struct entry *collector);
bool registry_has_carriage(const struct entry *collector);

/* registry_audience.c: to whom definitions are shown, and whom a change concerns. */
/* The body of an entry. It refers into the entry; msgpack_zone_destroy() ends it. */
msgpack_object registry_unpack(const struct buf *body, msgpack_zone *zone);
enum audience registry_audience(const struct entry *entry);
/* What putting one body in place of another changes; NULL: there is none. */
struct change registry_compare(enum registry_kind kind, const struct buf *old,
                               const struct buf *body);
/* The segments or traits that are shown to somebody: {key: {"edge": […], "name": text}…} */
void registry_pack_shown(const struct registry *r, enum registry_kind kind, msgpack_packer *k);

#endif
