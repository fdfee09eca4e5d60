/* The registry: what operators and marketers have defined - sources, tracking plans, segments,
 * identity rules, traits for the edge, which events are purchases, and the enrolled collectors.
 *
 * A change is checked whole before it is taken, and is durable, together with its record in the
 * log, when the call returns; a line of the daemon's log tells of it. Partitions get it in the
 * order of the log; collectors get the part that their gate needs. Any thread; callbacks of
 * registry_each() must not call back.
 */
#ifndef TRIBUTARY_HUB_REGISTRY_H
#define TRIBUTARY_HUB_REGISTRY_H

#include "hub/eventlog.h"
#include "hub/segment/catalog.h"
#include "shared/clock.h"
#include "shared/seal.h"

struct registry;

/* stored: never renumber */
enum registry_kind {
    REGISTRY_COLLECTOR = 1,
    REGISTRY_SOURCE = 2,
    REGISTRY_SEGMENT = 3,
    REGISTRY_TRAIT = 4,
    REGISTRY_RULES = 5,        /* one entry, "rules" */
    REGISTRY_PLAN = 6,         /* tracking plans */
    REGISTRY_BUSINESS_KEY = 7, /* by the name of the event: {"key":property} */
    REGISTRY_PURCHASES = 12,   /* one entry, "purchases", or none: {"events":[name…]} */
};

/* "source", "tracking-plan", …, for the log. */
const char *registry_kind_name(enum registry_kind kind);

struct registry_entry {
    enum registry_kind kind;
    struct slice key;
    uint32_t id;      /* never given twice within a kind */
    uint64_t version; /* of the whole registry, when this was last set */
    /* When what it means was last changed, not only its name or whom it is shown to. */
    uint64_t meaning_version;
    int64_t at_ms;
    struct slice body; /* MessagePack map */
};

/* `changed` is called after each change, on the caller's thread. The log is borrowed. */
MUST_CHECK bool registry_open(struct eventlog *log, const struct clock *clock,
                              void (*changed)(void *user), void *user, struct registry **ret,
                              struct error *err);
void registry_close(struct registry **registry);

/* Set an entry. Segments, traits and rules are compiled with all others first; sources must name
 * tracking plans that exist, and all that gates get must fit into LIMIT_GATE_BYTES: ERROR_INVALID
 * then fills *where. */
MUST_CHECK bool registry_put(struct registry *registry, enum registry_kind kind, struct slice key,
                             struct slice body, struct catalog_error *where, struct error *err);
/* ERROR_INVALID also where another definition needs it. */
MUST_CHECK bool registry_delete(struct registry *registry, enum registry_kind kind,
                                struct slice key, bool *ret_found, struct catalog_error *where,
                                struct error *err);

/* Copy an entry: its slices refer into *ret_bytes, which is replaced. */
bool registry_find(struct registry *registry, enum registry_kind kind, struct slice key,
                   struct buf *ret_bytes, struct registry_entry *ret);
/* Each entry of a kind by key; false from `each` stops. */
void registry_each(struct registry *registry, enum registry_kind kind,
                   bool (*each)(void *user, const struct registry_entry *entry), void *user);

/* The definitions for partitions, as catalog_new() takes them, with one more segment put in under
 * the key "preview" where `preview` is not NULL. */
void registry_catalog(struct registry *registry, const msgpack_object *preview, struct buf *out);
/* The key of tokens in links and the salt of secret write keys, for the definitions for gates;
 * once, before anybody else uses this. They are derived from the hub's secret key. Without them
 * gates get no link key, and all write keys as they are. */
void registry_set_link_key(struct registry *registry, const uint8_t hub_secret[SEAL_KEY_BYTES]);
/* Whose gate definitions are for: a collector gets those of the sources that it may carry. */
struct registry_reader {
    uint32_t collector; /* its number; 0: whoever may carry all */
    bool
        knows_secret_keys; /* it is of an earlier version, and compares servers' keys as they are */
};
/* The definitions for its gate; FORMATS.md of shared/ describes them. */
void registry_gate(struct registry *registry, struct registry_reader reader, struct buf *out,
                   uint64_t *ret_version);
uint64_t registry_gate_version(struct registry *registry);
/* Grows with each change of anything in it, and never falls. */
uint64_t registry_version(struct registry *registry);

#endif
