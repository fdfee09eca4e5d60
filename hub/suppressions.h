/* The hub's suppression list: whose events are refused from now on, everywhere.
 *
 * It keeps hashes (shared/suppression.h), when and why, and names nobody. A change is durable,
 * with its command in the log, when the call returns; from then on the router refuses events of
 * that identifier, also those that a collector had before it knew. Collectors get the changes
 * since the version they have, so that a long list is not sent again. Any thread.
 */
#ifndef TRIBUTARY_HUB_SUPPRESSIONS_H
#define TRIBUTARY_HUB_SUPPRESSIONS_H

#include "hub/eventlog.h"
#include "hub/identity/rules.h"
#include "shared/clock.h"
#include "shared/suppression.h"

struct suppressions;

enum { SUPPRESSIONS_CHANGES_MAX = 1000, SUPPRESSION_REASON_BYTES = 200 };

/* The key of the hashes is derived from the hub's secret key. `changed` is called after each
 * change, on the caller's thread. The log and the clock are borrowed. */
MUST_CHECK bool suppressions_open(struct eventlog *log, const uint8_t hub_secret[SEAL_KEY_BYTES],
                                  const struct clock *clock, void (*changed)(void *user),
                                  void *user, struct suppressions **ret, struct error *err);
void suppressions_close(struct suppressions **suppressions);

/* The hash under which an identifier, normalised already, is kept. */
struct suppression_hash suppressions_hash(struct suppressions *suppressions,
                                          struct identifier identifier);

/* Suppress or no longer suppress, at once and for good; what is so already is passed over.
 * *ret_count: how many changed. Up to SUPPRESSIONS_CHANGES_MAX at once. */
MUST_CHECK bool suppressions_change(struct suppressions *suppressions,
                                    const struct suppression_hash *hashes, size_t count,
                                    bool is_suppressed, struct slice reason, size_t *ret_count,
                                    struct error *err);

uint64_t suppressions_version(struct suppressions *suppressions);
size_t suppressions_count(struct suppressions *suppressions);
/* For a collector that has `version`: append the key and the next changes, about 256 KiB of them
 * at most; nothing where it has all. *ret_version is where they lead. */
MUST_CHECK bool suppressions_write_changes(struct suppressions *suppressions, uint64_t version,
                                           struct buf *out, uint64_t *ret_version,
                                           struct error *err);
/* The same for one whose list begins anew: the key is there though the list be empty. */
MUST_CHECK bool suppressions_write_anew(struct suppressions *suppressions, struct buf *out,
                                        uint64_t *ret_version, struct error *err);

struct suppression_entry {
    struct suppression_hash hash;
    uint64_t version;
    int64_t at_ms;
    struct slice reason;
};
/* *ret_found: it is on the list; the entry's reason refers into *bytes. */
MUST_CHECK bool suppressions_find(struct suppressions *suppressions, struct suppression_hash hash,
                                  struct buf *bytes, struct suppression_entry *ret, bool *ret_found,
                                  struct error *err);
/* Entries in the order of their hashes behind `after`; false from `each` stops. */
MUST_CHECK bool suppressions_each(struct suppressions *suppressions, struct suppression_hash after,
                                  bool (*each)(void *user, const struct suppression_entry *entry),
                                  void *user, struct error *err);

/* How the rules normalise, for suppressions_refuse(); borrowed from the rules. */
void suppressions_types(const struct identity_rules *rules, struct suppression_types *ret);
/* Is the event, with its head and its raw body, of somebody on the list? */
bool suppressions_refuse(struct suppressions *suppressions, const struct suppression_types *types,
                         const struct event *event, struct arena *arena);
/* Is this identifier, as an event of that source has it, on the list? */
bool suppressions_have(struct suppressions *suppressions, const struct suppression_types *types,
                       struct slice source, struct identifier identifier, struct arena *arena);
/* Cut out of it what makes it so (suppression_set_cut()); false: nothing does. */
bool suppressions_cut(struct suppressions *suppressions, const struct suppression_types *types,
                      struct event *event, struct arena *arena);

#endif
