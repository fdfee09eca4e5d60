/* Telephone numbers in one spelling: +33612345678, as E.164 has it.
 *
 * A number that says its country (by +, 00 or the prefix that is dialled where it is written) loses
 * the zero of the country's own calls, also in brackets: +33 (0)6… A national one needs a country
 * to be told by: without, it stays the digits that it has. Which lengths and prefixes a country has
 * is a table for some eighty of them; what does not fit it is left as it is, never changed into
 * another number. Digits of full width and of Arabic scripts are digits; an extension is left out.
 * What is normalised once stays as it is. Pure functions.
 */
#ifndef TRIBUTARY_SHARED_PHONE_H
#define TRIBUTARY_SHARED_PHONE_H

#include "shared/arena.h"
#include "shared/error.h"
#include "shared/value.h"

/* A country by the two letters of ISO 3166, as a number; 0: none, or one that is not known here. */
uint16_t phone_country_from(struct slice code);

/* The number in `arena`; empty where there is no digit. */
struct slice phone_normalize(struct slice value, uint16_t country, struct arena *arena);

/* The country of national numbers, for each source:
 *     {"country": "FR", "sources": {"shop-berlin": "DE"}} */
enum { PHONE_SOURCES_MAX = 64 };
struct phone_countries {
    uint16_t otherwise; /* of all other sources, and of whoever asks */
    size_t count;
    struct {
        struct slice source; /* borrowed from the object */
        uint16_t country;
    } sources[PHONE_SOURCES_MAX];
};

/* NULL is the absent object. ERROR_INVALID names what is no country. */
MUST_CHECK bool phone_countries_read(const msgpack_object *object, struct phone_countries *ret,
                                     struct error *err);
uint16_t phone_country_of(const struct phone_countries *countries, struct slice source);

#endif
