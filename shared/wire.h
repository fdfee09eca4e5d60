/* The messages between a collector and the hub, inside the encryption of seal.h's channel.
 * FORMATS.md describes the bytes. Writers append to a buf; readers take any bytes and refuse what
 * is not a message (ERROR_CORRUPT). Slices that readers return refer into the bytes and the zone.
 */
#ifndef TRIBUTARY_SHARED_WIRE_H
#define TRIBUTARY_SHARED_WIRE_H

#include "shared/identifier.h"
#include "shared/limits.h"
#include "shared/value.h"

/* stored: never renumber */
enum wire_type {
    WIRE_REFUSAL = 0, /* only as a reply: this collector may not speak */
    WIRE_BLOCK = 1,
    WIRE_POLL = 2,
    WIRE_LOOKUP = 3,
};

/* What became of a block. */
/* stored: never renumber */
enum wire_status {
    WIRE_STORED = 0,
    WIRE_REPLAYED = 1,    /* the hub has it already */
    WIRE_DAMAGED = 2,     /* altered, or not of this collector's epoch */
    WIRE_UNAVAILABLE = 3, /* the hub cannot store now; send it again later */
    WIRE_REVOKED = 4,     /* the collector was revoked */
    WIRE_REPLACED = 5, /* its name was enrolled again, with another key; only to a poll that tells
                        * a moment: older collectors know it as revoked */
};
const char *wire_status_name(enum wire_status status);

struct wire_block {
    int64_t clock_offset_ms; /* the hub's clock minus the collector's, as the latter knows it */
    struct slice header;
    struct slice block;
    uint64_t spool_blocks; /* how much waits behind what was sent, for the operator */
    uint64_t spool_bytes;
};

/* Everything of the epoch from `from` to `to`, both included, is on the hub's disk; the block
 * asked about lies in it where the status is stored or replayed. */
struct wire_block_reply {
    enum wire_status status;
    int64_t hub_ms;
    uint64_t from;
    uint64_t to;
};

/* How far a refill of an edge cache has come: the hub's own note, which the collector keeps with
 * the cards that it belongs to and gives back. Empty: it is complete. */
enum { WIRE_PLACE_BYTES_MAX = 32, WIRE_CACHE_ID_BYTES = 16 };
struct wire_place {
    uint8_t len;
    uint8_t bytes[WIRE_PLACE_BYTES_MAX];
};

/* The cards that versions of the collector can read. stored: never renumber */
enum card_shape {
    CARD_FIRST = 0,    /* without purchases and names */
    CARD_NAMED = 1,    /* with names of segments; all that is on them is shown to everybody */
    CARD_BROWSERS = 2, /* as below; the gate knows to whom what is shown */
};

/* A collector's edge cache. Collectors of an earlier version tell nothing of theirs. */
struct wire_cache {
    bool is_told;
    uint8_t id[WIRE_CACHE_ID_BYTES]; /* random, made with the cache */
    uint64_t scope_version;          /* of the scope that it is filled for; 0: none yet */
    struct wire_place place;
    enum card_shape shape; /* of the cards that it takes */
};

/* A moment in the hub's history. An incarnation is one start of a hub; the number grows with
 * whatever a collector could be told of (hub/incarnations.h). Older programs tell none. */
enum { WIRE_INCARNATION_BYTES = 16 };
struct wire_moment {
    bool is_told;
    uint8_t incarnation[WIRE_INCARNATION_BYTES]; /* random; zero: nothing was heard yet */
    uint64_t number;
};

struct wire_poll {
    int64_t clock_offset_ms; /* as in wire_block */
    int64_t wait_ms;         /* answer empty after this long */
    uint64_t gate_version;   /* what the collector has */
    uint64_t spool_blocks;   /* as in wire_block */
    uint64_t spool_bytes;
    uint32_t cursor_count;
    uint64_t cursors[LIMIT_PARTITIONS]; /* for each partition: safely stored up to here */
    bool is_short;                      /* of an older collector: the rest is empty */
    uint64_t suppression_version;       /* what the collector has */
    struct slice report; /* one map: how the collector is; unknown members are passed over */
    struct wire_cache cache;
    struct wire_moment moment; /* that what the collector has is of; told with the cache only */
};

/* News of a refill. One that begins makes everything that the cache holds out of date: what has not
 * come again when the refill is complete is not for this collector any more. */
struct wire_refill {
    bool is_told; /* the members below count */
    bool begins;
    uint64_t scope_version;
    struct wire_place place;
};

struct wire_poll_reply {
    int64_t hub_ms;
    uint64_t gate_version;
    struct slice gate; /* empty: unchanged */
    uint32_t cursor_count;
    uint64_t cursors[LIMIT_PARTITIONS];
    const msgpack_object *cards; /* an array of cards */
    bool is_short;               /* for an older collector: the rest is left out */
    uint64_t suppression_version;
    struct slice suppressions; /* empty: unchanged; else the key, and changes (suppression.h) */
    /* An array of [profile id, version]: no longer for this collector. NULL: none. */
    const msgpack_object *removals;
    struct wire_refill refill;
    struct wire_moment moment; /* of the answer: nothing in it is of a later one */
    /* The collector had its definitions from another history: the suppression list begins anew with
     * this answer, whose key is there though the list be empty. Told with the moment. */
    bool starts_over;
};

struct wire_lookup {
    struct slice type;
    struct slice value;
};

/* A card: what an edge may know of a profile.
 *
 *     [profile id, version, as of, [[type, value]…], [[segment, since]…], {trait: value…},
 *      {category: [granted, at, source]…}, [merged id…], known,
 *      [[at, event, total | nil, currency | nil, order id | nil, source]…],
 *      [[anonymous id, evidence at]…]]
 *
 * Segments and traits are those that somebody may see at the edge; the gate knows who, and the
 * segments' names. The last member is of the browsers that this collector has seen; no others are
 * named anywhere. Earlier versions wrote anonymous ids among the identifiers and the name of a
 * segment behind it, and before that neither names nor purchases.
 */
enum { CARD_MEMBERS = 11, CARD_PURCHASE_MEMBERS = 6, PROFILE_ID_BYTES = 16 };
struct wire_card {
    struct slice profile_id;
    uint64_t version;
    int64_t as_of_ms;
    const msgpack_object *identifiers; /* use wire_card_identifier() */
    const msgpack_object *segments;
    const msgpack_object *traits;
    const msgpack_object *consents;
    const msgpack_object *merged_ids;
    bool is_known;
    const msgpack_object *purchases; /* newest first; NULL: not told */
    const msgpack_object *browsers;  /* NULL: not told */
};
MUST_CHECK bool wire_read_card(const msgpack_object *object, struct wire_card *ret);

/* What finds the card: its identifiers, then its browsers. False at the end; an empty type stands
 * for one that cannot be read. */
bool wire_card_identifier(const struct wire_card *card, size_t at, struct identifier *ret);
/* When this browser last proved whose it is; false where the card does not say. */
bool wire_card_evidence(const struct wire_card *card, struct slice anonymous_id, int64_t *ret_ms);

/* The type of any message. */
MUST_CHECK bool wire_read(struct slice bytes, msgpack_zone *zone, enum wire_type *ret_type,
                          msgpack_object *ret_members, struct error *err);

void wire_write_refusal(enum wire_status status, struct buf *out);
MUST_CHECK bool wire_read_refusal(const msgpack_object *members, enum wire_status *ret);

void wire_write_block(const struct wire_block *message, struct buf *out);
MUST_CHECK bool wire_read_block(const msgpack_object *members, struct wire_block *ret);
void wire_write_block_reply(const struct wire_block_reply *message, struct buf *out);
MUST_CHECK bool wire_read_block_reply(const msgpack_object *members, struct wire_block_reply *ret);

/* The report is at most WIRE_REPORT_BYTES long; read back it is the bytes of the map. */
enum { WIRE_REPORT_BYTES = 16 * 1024 };
void wire_write_poll(const struct wire_poll *message, struct buf *out);
MUST_CHECK bool wire_read_poll(const msgpack_object *members, struct wire_poll *ret);
/* The content of an array, whose elements stand one after the other. */
struct wire_list {
    uint32_t count;
    struct slice bytes;
};
/* Removals and the refill are written where the refill is told. */
void wire_write_poll_reply(const struct wire_poll_reply *message, struct wire_list cards,
                           struct wire_list removals, struct buf *out);
void wire_write_removal(struct slice profile_id, uint64_t version, struct buf *out);
MUST_CHECK bool wire_read_removal(const msgpack_object *object, struct slice *ret_profile_id,
                                  uint64_t *ret_version);
MUST_CHECK bool wire_read_poll_reply(const msgpack_object *members, struct wire_poll_reply *ret);

void wire_write_lookup(const struct wire_lookup *message, struct buf *out);
MUST_CHECK bool wire_read_lookup(const msgpack_object *members, struct wire_lookup *ret);
struct wire_lookup_reply {
    bool is_short; /* for an older collector, which keeps every card: the rest is left out */
    bool keeps;    /* the card is in the collector's scope, so that it may be kept */
    struct wire_moment moment;
    const msgpack_object *card; /* as read; NULL: nobody has that identifier */
};
/* `card` is one card, or empty. */
void wire_write_lookup_reply(const struct wire_lookup_reply *reply, struct slice card,
                             struct buf *out);
MUST_CHECK bool wire_read_lookup_reply(const msgpack_object *members,
                                       struct wire_lookup_reply *ret);

#endif
