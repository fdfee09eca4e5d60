/* The user agents of programs, made at build time by crawlers.mjs of the npm package
 * crawler-user-agents: an Aho-Corasick automaton of texts, and the expressions that are more than
 * a text. bots.c reads it; immutable.
 *
 * States are numbered breadth first: the children of state s are first[s] to first[s + 1] - 1, in
 * the order of their labels.
 */
#ifndef TRIBUTARY_COLLECTOR_CRAWLERS_H
#define TRIBUTARY_COLLECTOR_CRAWLERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CRAWLERS_NOTHING = 0, CRAWLERS_FOUND = 1, CRAWLERS_MASK = 2 };

struct crawlers {
    const uint8_t *labels;
    const uint16_t *first;
    const uint16_t *fail;  /* where to go on when no child has the next byte */
    const uint8_t *output; /* of a state: nothing, found, or CRAWLERS_MASK + index into masks */
    const uint64_t *masks; /* expressions that may match once the state was met, one bit each */
    const uint16_t *root;  /* by byte: the child of state 0, or 0 */
    const char *const *expressions;
    size_t expression_count; /* 64 at most */
    size_t state_count;
};
extern const struct crawlers crawlers;

/* For tests: user agents, and whether JavaScript finds one of the package's patterns in them. The
 * first crawler_example_count are the package's own examples. */
struct crawler_vector {
    const char *user_agent;
    bool is_crawler;
};
extern const struct crawler_vector crawler_vectors[];
extern const size_t crawler_vector_count;
extern const size_t crawler_example_count;

#endif
