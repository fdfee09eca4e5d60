/* What the definition of a source says about who may say what: its write keys, whether it is a
 * client or a server, and which identifier types it lets count without evidence.
 *
 *     {"name":TEXT, "trust":"client"|"server", "writeKeys":[TEXT…], "open":[TYPE…], …}
 *
 * A client's write key is public: whoever has the page or the app has the key. A server's is
 * secret. Everything refers into the definition. Any thread.
 */
#ifndef TRIBUTARY_HUB_TRUST_SOURCE_H
#define TRIBUTARY_HUB_TRUST_SOURCE_H

#include "shared/value.h"

enum { SOURCE_WRITE_KEYS_MAX = 16, SOURCE_OPEN_MAX = 16 };

struct source {
    struct slice id; /* stable: events, message ids and proofs are of it; write keys may change */
    bool is_server;
    const msgpack_object *write_keys; /* array of texts; NULL: the id is the only key */
    const msgpack_object *open;       /* array of texts, or NULL */
    const msgpack_object *proof;      /* how its proofs are signed (proof.h), or NULL */
};

/* Read a definition that was checked, or comes of an earlier version: what it does not say has its
 * default. */
struct source source_read(struct slice id, const msgpack_object *definition);

size_t source_key_count(const struct source *source);
struct slice source_key_at(const struct source *source, size_t at);
/* May identifiers of this type count though nothing proves them? */
bool source_is_open(const struct source *source, struct slice type);

/* What is wrong with these members of a definition, as a sentence, and where (*ret_field, a JSON
 * pointer); NULL: nothing. */
const char *source_mistake(const msgpack_object *definition, const char **ret_field);

#endif
