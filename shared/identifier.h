/* Identifiers: a type such as "email" and a value, normalised so that equal people meet.
 *
 * Hub and edge share these rules, because the till asks the edge for what the hub has stored.
 * Pure functions.
 */
#ifndef TRIBUTARY_SHARED_IDENTIFIER_H
#define TRIBUTARY_SHARED_IDENTIFIER_H

#include "shared/arena.h"

struct identifier {
    struct slice type;
    struct slice value;
};

/* stored: never renumber */
enum identifier_normalizer {
    NORMALIZE_TRIM = 0,  /* white space at both ends goes */
    NORMALIZE_EMAIL = 1, /* trimmed, ASCII letters in lower case */
    NORMALIZE_PHONE = 2, /* as phone.h has it */
};

/* Without the white space around it, that of Unicode and byte-order marks too. */
struct slice identifier_trim(struct slice value);

/* The normaliser of a name ("trim", "email", "phone"), and back; false for another name. */
bool identifier_normalizer_from(struct slice name, enum identifier_normalizer *ret);
const char *identifier_normalizer_name(enum identifier_normalizer normalizer);

/* What is used for a type without a rule of its own. */
enum identifier_normalizer identifier_normalizer_default(struct slice type);

/* The value to store and to compare, in `arena` or the very slice. Empty: not a usable value. */
struct slice identifier_normalize(enum identifier_normalizer normalizer, struct slice value,
                                  struct arena *arena);
/* The same, where national telephone numbers are of this country (phone.h); 0: of none. */
struct slice identifier_normalize_in(enum identifier_normalizer normalizer, uint16_t country,
                                     struct slice value, struct arena *arena);

#endif
