/* Identity rules: which identifier types there are, how their values are normalised, which values
 * are blocked, and how many of a type one profile may have;
 * and for how long after the last evidence a browser is told about the person whose it is.
 *
 * The rules are data: `PUT /v1/identity-rules` sets them and every partition gets them in the
 * order of the log. Immutable once made; any thread may read.
 *
 *     {"identifiers":[{"type":"loyalty_id","priority":80,"limit":5,"known":true,
 *                      "normalizer":"trim","blocked":["house account"],
 *                      "blockedPatterns":["TEMP-*"]}…],
 *      "phone":{"country":"FR","sources":{"shop-berlin":"DE"}},
 *      "me_for":"30d"}
 *
 * Blocked values come on top of those that name nobody anywhere (shared/blocked.h).
 */
#ifndef TRIBUTARY_HUB_IDENTITY_RULES_H
#define TRIBUTARY_HUB_IDENTITY_RULES_H

#include "shared/event.h"
#include "shared/identifier.h"
#include "shared/limits.h"
#include "shared/phone.h"

struct identity_rule {
    struct slice type;
    int64_t priority; /* the highest stays when an event contradicts a profile */
    int64_t limit;    /* of this type in one profile; 0: none */
    bool is_known;    /* whoever has one is known, not anonymous */
    enum identifier_normalizer normalizer;
    uint16_t country; /* of national telephone numbers, where no source says another; 0: none */
    const msgpack_object *blocked;          /* texts that name nobody, in any case; or NULL */
    const msgpack_object *blocked_patterns; /* the same, with * and ?; or NULL */
};

enum { IDENTITY_RULES_MAX = LIMIT_IDENTIFIER_TYPES };

struct identity_rules {
    int64_t me_for_ms;
    size_t count;
    struct identity_rule rules[IDENTITY_RULES_MAX];
    struct phone_countries phone;
};

/* The default rules as JSON. */
extern const char identity_rules_default[];

/* Read rules; *ret refers into the object. ERROR_INVALID says what is wrong. */
MUST_CHECK bool identity_rules_read(const msgpack_object *object, struct identity_rules *ret,
                                    struct error *err);

/* The rule of a type; types without one get a rule with priority 50, no limit, known. */
struct identity_rule identity_rule_of(const struct identity_rules *rules, struct slice type);

/* The value of an identifier as it is stored, in `arena` or the very slice. Empty: it names nobody.
 */
struct slice identity_normalize(const struct identity_rule *rule, struct slice value,
                                struct arena *arena);

/* The identifiers of an event, normalised, without blocked ones and without repeats, the
 * anonymous id first, then by falling priority. Of a type with a limit
 * only that many are taken, those named first: what something else than the event names, as a proof
 * does (`named`, not normalised), then userId, then external ids. They live in `arena`, in the
 * event, or in `named`. */
size_t identity_extract(const struct identity_rules *rules, const struct event *event,
                        const struct identifier *named, size_t named_count, struct arena *arena,
                        struct identifier ret[LIMIT_EVENT_IDENTIFIERS]);

/* One person's place at a browser that is another's: what stands for the anonymous id where an
 * event of the browser names somebody whom the browser's profile cannot be. Nobody else can name
 * it. */
extern const char identity_seat_type[];
struct identifier identity_seat(struct slice anonymous_id, struct identifier person,
                                struct arena *arena);

#endif
