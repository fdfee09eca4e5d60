#include "hub/trust/trust_counts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/limits.h"

struct source_figures {
    char id[LIMIT_NAME_BYTES];
    size_t id_len;
    struct trust_figures figures;
};

struct trust_counts {
    pthread_mutex_t lock;
    size_t count;
    struct source_figures *sources; /* of TRUST_SOURCES_MAX, in the order of their ids */
};

struct trust_counts *trust_counts_new(void)
{
    struct trust_counts *c = memory_allocate_zeroed(sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    c->sources = memory_allocate_zeroed(TRUST_SOURCES_MAX * sizeof *c->sources);
    return c;
}

void trust_counts_free(struct trust_counts **counts)
{
    if (*counts != NULL) {
        pthread_mutex_destroy(&(*counts)->lock);
        free((*counts)->sources);
        free(*counts);
        *counts = NULL;
    }
}

/* Where the source is, or would be. */
static size_t place_of(const struct trust_counts *c, struct slice id, bool *ret_found)
{
    size_t low = 0;
    size_t high = c->count;
    *ret_found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct source_figures *s = &c->sources[middle];
        int order = slice_compare(slice_make(s->id, s->id_len), id);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* NULL: there is no room for it. */
static struct trust_figures *figures_of(struct trust_counts *c, struct slice id)
{
    bool found;
    size_t at = place_of(c, id, &found);
    if (found) {
        return &c->sources[at].figures;
    }
    if (c->count == TRUST_SOURCES_MAX || id.len > LIMIT_NAME_BYTES) {
        return NULL;
    }
    struct source_figures *s = &c->sources[at];
    memmove(s + 1, s, (c->count - at) * sizeof *s);
    memset(s, 0, sizeof *s);
    if (id.len > 0) {
        memcpy(s->id, id.data, id.len);
    }
    s->id_len = id.len;
    c->count++;
    return &s->figures;
}

void trust_counts_add_proof(struct trust_counts *c, struct slice source, enum proof_fault fault)
{
    pthread_mutex_lock(&c->lock);
    struct trust_figures *figures = figures_of(c, source);
    if (figures != NULL && fault == PROOF_VALID) {
        figures->proven++;
    } else if (figures != NULL) {
        figures->invalid[fault]++;
    }
    pthread_mutex_unlock(&c->lock);
}

void trust_counts_add_claimed(struct trust_counts *c, struct slice source)
{
    pthread_mutex_lock(&c->lock);
    struct trust_figures *figures = figures_of(c, source);
    if (figures != NULL) {
        figures->claimed++;
    }
    pthread_mutex_unlock(&c->lock);
}

struct trust_figures trust_counts_of(struct trust_counts *c, struct slice source)
{
    struct trust_figures ret = {0};
    bool found;
    pthread_mutex_lock(&c->lock);
    size_t at = place_of(c, source, &found);
    if (found) {
        ret = c->sources[at].figures;
    }
    pthread_mutex_unlock(&c->lock);
    return ret;
}

struct trust_figures trust_counts_of_all(struct trust_counts *c)
{
    struct trust_figures ret = {0};
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->count; i++) {
        const struct trust_figures *figures = &c->sources[i].figures;
        ret.proven += figures->proven;
        ret.claimed += figures->claimed;
        for (unsigned fault = 0; fault < PROOF_FAULTS; fault++) {
            ret.invalid[fault] += figures->invalid[fault];
        }
    }
    pthread_mutex_unlock(&c->lock);
    return ret;
}

uint64_t trust_invalid(const struct trust_figures *figures)
{
    uint64_t sum = 0;
    for (unsigned fault = 0; fault < PROOF_FAULTS; fault++) {
        sum += figures->invalid[fault];
    }
    return sum;
}

static enum proof_fault most_frequent(const struct trust_figures *figures)
{
    unsigned most = 0;
    for (unsigned fault = 1; fault < PROOF_FAULTS; fault++) {
        most = figures->invalid[fault] > figures->invalid[most] ? fault : most;
    }
    return (enum proof_fault)most;
}

/* A few bad proofs are of visitors whose page was open for too long, or of somebody who tries. */
static bool are_many(uint64_t invalid, uint64_t proven)
{
    return invalid > proven / 20;
}

bool trust_advice(const struct trust_figures *figures, bool has_keys, char ret[TRUST_ADVICE_BYTES])
{
    uint64_t invalid = trust_invalid(figures);
    uint64_t proofs = invalid + figures->proven;
    enum proof_fault fault = most_frequent(figures);
    if (invalid > 0 && are_many(invalid, figures->proven)) {
        snprintf(ret, TRUST_ADVICE_BYTES,
                 "%llu of %llu proofs do not count, most often (%llu) as %s: %s",
                 (unsigned long long)invalid, (unsigned long long)proofs,
                 (unsigned long long)figures->invalid[fault], proof_fault_name(fault),
                 proof_fault_advice(fault));
        return true;
    }
    if (figures->claimed == 0 || figures->proven > 0) {
        return false;
    }
    snprintf(ret, TRUST_ADVICE_BYTES,
             "%llu events say who their visitor is and nothing proves it, so "
             "nobody is recognised. %s",
             (unsigned long long)figures->claimed,
             has_keys ? "The source has keys for proofs, but no event brought one: give it to "
                        "identify(userId, traits, {proof}). See collector/TRUST.md."
                      : "Let the site's server sign proofs and put its key into the source, or let "
                        "identifiers count unproven by its \"open\". See collector/TRUST.md.");
    return true;
}
