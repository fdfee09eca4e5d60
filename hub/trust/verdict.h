/* The verdict on an event: what its source is, and which of its identifiers something proves. It is
 * stored with the event, so that whoever looks at it again comes to the same result whatever became
 * of keys and definitions.
 *
 * A client's event speaks of its visitor, the browser whose anonymous id it has. Everybody else
 * that it names is a claim, unless there is evidence. A server's event is fact in all that it says;
 * but its anonymous id is that of the person only where it names a user_id or says
 * `context.authenticated`: an e-mail typed at a guest checkout makes the order that address's, and
 * gives the browser a claim.
 *
 * Pure. Slices refer into what was read.
 */
#ifndef TRIBUTARY_HUB_TRUST_VERDICT_H
#define TRIBUTARY_HUB_TRUST_VERDICT_H

#include "hub/identity/rules.h"
#include "hub/trust/proof.h"

/* What ties an identifier to a person. stored: never renumber */
enum evidence_kind {
    EVIDENCE_NONE = 0,
    EVIDENCE_SERVER = 1,
    EVIDENCE_PROOF = 2,
    EVIDENCE_LINK = 3, /* a signed link in a mail */
    EVIDENCE_OPEN = 4,
};
/* "server-event", "proof", "link", "open"; NULL for none. */
const char *evidence_name(enum evidence_kind kind);

enum { VERDICT_FACTS_MAX = PROOF_NAMES_MAX + 16 };

struct verdict {
    bool is_server;
    bool is_authenticated;  /* a server's event that says so */
    enum proof_fault fault; /* why its proof does not count; PROOF_VALID also where it has none */
    struct slice kid;       /* of the key that signed its proof */
    size_t count;
    struct {
        struct identifier id; /* as it was signed; no value: each of this type that the event has */
        enum evidence_kind kind;
    } facts[VERDICT_FACTS_MAX];
};

/* One MessagePack value. */
void verdict_pack(const struct verdict *verdict, struct buf *out);
/* NULL: an event of earlier versions, which judged nothing and took all for fact. What cannot be
 * read is a client's event without evidence. */
struct verdict verdict_read(const msgpack_object *object);

/* Only whether it is a server's event. */
bool verdict_is_server(const msgpack_object *object);

/* The identifiers of an event, normalised, in the order of identity_extract(). */
struct parties {
    size_t fact_count;
    struct identifier facts[LIMIT_EVENT_IDENTIFIERS]; /* the event goes where the first leads */
    enum evidence_kind evidence[LIMIT_EVENT_IDENTIFIERS];
    size_t claim_count;
    struct identifier claims[LIMIT_EVENT_IDENTIFIERS];
    /* The browser at which a server's event was made by somebody who had not signed in: its visitor
     * claims the facts. No value: there is none. */
    struct identifier bystander;
};

/* They live in `arena`, the event or the verdict. */
void verdict_sort(const struct verdict *verdict, const struct identity_rules *rules,
                  const struct event *event, struct arena *arena, struct parties *ret);

#endif
