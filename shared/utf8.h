/* UTF-8 checks and Unicode NFC for text that comes from outside. Pure functions. */
#ifndef TRIBUTARY_SHARED_UTF8_H
#define TRIBUTARY_SHARED_UTF8_H

#include "shared/arena.h"

/* Well-formed by Table 3-7 of the Unicode standard: no overlong forms, no surrogates. */
bool utf8_is_valid(struct slice text);

/* How many bytes of the text fit into `max` without cutting a character in two. */
size_t utf8_cut(struct slice text, size_t max);

/* The text in normal form C: itself where it is ASCII or normal already, else a copy in `arena`.
 * The text must be valid UTF-8. */
struct slice utf8_normalize(struct slice text, struct arena *arena);

#endif
