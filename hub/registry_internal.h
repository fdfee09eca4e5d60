/* What the files of the registry share. Everything here is for holders of its lock. */
#ifndef TRIBUTARY_HUB_REGISTRY_INTERNAL_H
#define TRIBUTARY_HUB_REGISTRY_INTERNAL_H

#include <pthread.h>
#include "hub/registry.h"
#include "shared/write_key.h"
#include "hub/trust/source.h"

struct entry {
    enum registry_kind kind;
    struct buf key;
    struct buf body;
    uint32_t id;
    uint64_t version;
    int64_t at_ms;
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
    uint64_t traits_version;  /* of the last change of traits */
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

#endif
