/* Suppression: people whose events are refused, known by hashes of their identifiers alone.
 *
 * A hash is BLAKE2b of a key, the type and the normalised value (the key in front, which costs half
 * of BLAKE2b's keyed mode and is as good: it cannot be extended). Only the hub and its collectors
 * have the key: the list names nobody to whoever finds it without. Hub and
 * collector share the set and the way in which an event's identifiers are found, so that both
 * refuse the same events.
 *
 * A set belongs to one thread, or is guarded by its owner.
 */
#ifndef TRIBUTARY_SHARED_SUPPRESSION_H
#define TRIBUTARY_SHARED_SUPPRESSION_H

#include "shared/event.h"
#include "shared/identifier.h"
#include "shared/phone.h"
#include "shared/limits.h"

/* stored: never change */
enum { SUPPRESSION_KEY_BYTES = 32, SUPPRESSION_HASH_BYTES = 16 };
/* A change on the wire and in the log: 1 (suppressed from now on) or 0 (no more), and the hash. */
enum { SUPPRESSION_CHANGE_BYTES = 1 + SUPPRESSION_HASH_BYTES };

struct suppression_hash {
    uint8_t bytes[SUPPRESSION_HASH_BYTES];
};

struct suppression_set;

struct suppression_set *suppression_set_new(void);
void suppression_set_free(struct suppression_set **set);

/* Identifiers are hashed under this key from now on; copied. */
void suppression_set_key(struct suppression_set *set, const uint8_t key[SUPPRESSION_KEY_BYTES]);

size_t suppression_set_count(const struct suppression_set *set);
bool suppression_set_has(const struct suppression_set *set, struct suppression_hash hash);
/* Take changes one after the other; false, and nothing taken, where the bytes are no changes. */
MUST_CHECK bool suppression_set_apply(struct suppression_set *set, struct slice changes);

/* Could these bytes be changes? */
bool suppression_are_changes(struct slice changes);

/* The hash of an identifier whose value is normalised, within the limits of types and values. */
struct suppression_hash suppression_hash_of(const struct suppression_set *set,
                                            struct identifier identifier);

/* How identifiers of these types are normalised; those of other types by their default. The types
 * are also the names of the traits that identify. Borrowed. */
struct suppression_types {
    size_t count;
    struct {
        struct slice type;
        enum identifier_normalizer normalizer;
    } types[LIMIT_IDENTIFIER_TYPES];
    struct phone_countries phone;
};

enum identifier_normalizer suppression_normalizer(const struct suppression_types *types,
                                                  struct slice type);

/* Is some identifier of the event on the list: user id, anonymous id, the previous id of an alias,
 * external ids, and the traits that identify? The event has its head and its raw body. An empty
 * set costs nothing; else the work is linear in the body. */
bool suppression_set_matches(const struct suppression_set *set,
                             const struct suppression_types *types, const struct event *event,
                             struct arena *arena);

/* Is this identifier, which need not be normalised, on the list? It comes of that source. */
bool suppression_set_has_identifier(const struct suppression_set *set,
                                    const struct suppression_types *types, struct slice source,
                                    struct identifier identifier, struct arena *arena);

/* Cut the event's proof out of it; a body that is made anew lies in the arena. */
void suppression_cut_proof(struct event *event, struct arena *arena);

/* Cut these identifiers out of the event, and with them its proof, which names them too: what is
 * left is what it says of others, or of nobody. False: there was none, and the event is as it was.
 * A body that is made anew lies in the arena. */
bool suppression_set_cut(const struct suppression_set *set, const struct suppression_types *types,
                         struct event *event, struct arena *arena);

#endif
