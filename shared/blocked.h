/* Values of identifiers that name nobody: what languages, shops and spreadsheets write where there
 * is no value. Without this list every visitor whose id is "None" would be one person.
 *
 * The list is shipped and always holds, at every door: the collector refuses an event that has
 * nobody else, the hub takes no identity from such a value wherever it stands. Identity rules add
 * to it (hub/identity/rules.h) and take nothing away. Values are compared without case, and without
 * white space, quotes and brackets around them. Pure functions; nothing is allocated.
 */
#ifndef TRIBUTARY_SHARED_BLOCKED_H
#define TRIBUTARY_SHARED_BLOCKED_H

#include "shared/identifier.h"

/* Does the value name nobody? It may be as the client wrote it, or normalised. */
bool blocked_value(struct slice type, enum identifier_normalizer normalizer, struct slice value);

/* Does the text, compared without case, match the pattern, in which * stands for any run of
 * characters and ? for one byte? Takes time in the product of both lengths at most. */
bool blocked_matches(struct slice pattern, struct slice text);

/* The list for people: the words, and a sentence for each kind of value. NULL ends both. */
extern const char *const blocked_words[];
extern const char *const blocked_kinds[];

#endif
