/* What became of the proofs of each source, and how many of its events name somebody whom nothing
 * proves: figures for operators who wonder why nobody is recognised, and what to do about it.
 *
 * Since the hub's start, in memory. Bounded: TRUST_SOURCES_MAX sources; events of further ones
 * are not counted. Any thread.
 */
#ifndef TRIBUTARY_HUB_TRUST_TRUST_COUNTS_H
#define TRIBUTARY_HUB_TRUST_TRUST_COUNTS_H

#include "hub/trust/proof.h"

enum { TRUST_SOURCES_MAX = 1024, TRUST_ADVICE_BYTES = 512 };

struct trust_figures {
    uint64_t proven;                /* events with a proof that counts */
    uint64_t claimed;               /* events whose identifiers, some or all, stayed claims */
    uint64_t invalid[PROOF_FAULTS]; /* events whose proof does not count, by its fault */
};

struct trust_counts;

struct trust_counts *trust_counts_new(void);
void trust_counts_free(struct trust_counts **counts);

/* An event came with a proof, which was found to be this. */
void trust_counts_add_proof(struct trust_counts *counts, struct slice source,
                            enum proof_fault fault);
/* An event names somebody, and it stays a claim. */
void trust_counts_add_claimed(struct trust_counts *counts, struct slice source);

/* Zeros where nothing was counted. */
struct trust_figures trust_counts_of(struct trust_counts *counts, struct slice source);
/* Of all sources together. */
struct trust_figures trust_counts_of_all(struct trust_counts *counts);

uint64_t trust_invalid(const struct trust_figures *figures);

/* What to do, in some sentences; false: there is nothing to say. Pure. */
bool trust_advice(const struct trust_figures *figures, bool has_keys, char ret[TRUST_ADVICE_BYTES]);

#endif
