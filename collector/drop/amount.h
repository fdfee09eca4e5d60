/* A number as people and spreadsheets write it, in any locale, as JSON writes it.
 *
 * Guarantee: never a wrong number. What has two readings under the mapping's marks, or a group of
 * thousands that has not three digits, is none. Read are: groups of three digits, or India's (two,
 * the last three), with one mark throughout; spaces of any kind and apostrophes as marks whatever
 * the mapping says; the signs - and U+2212 before or behind, or parentheses; one currency, as a
 * sign, a short name or an ISO code, before or behind, which says nothing here; digits of Arabic,
 * Persian and full width; "12,-" for no cents. A pure function.
 */
#ifndef TRIBUTARY_COLLECTOR_AMOUNT_H
#define TRIBUTARY_COLLECTOR_AMOUNT_H

#include "shared/attributes.h"
#include "shared/slice.h"

enum { AMOUNT_BYTES_MAX = 64 };

struct amount {
    char text[AMOUNT_BYTES_MAX]; /* as JSON, without a zero behind it */
    size_t len;
    bool has_fraction;
};

/* NULL, or a sentence that says why it is no number. `decimal` is '.' or ','; `thousands` is UTF-8,
 * empty for none. */
MUST_CHECK const char *amount_read(struct slice text, char decimal, struct slice thousands,
                                   struct amount *ret);

#endif
