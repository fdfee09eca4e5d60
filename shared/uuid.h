/* UUIDs: their 16 bytes and their canonical lower-case text (RFC 9562). */
#ifndef TRIBUTARY_SHARED_UUID_H
#define TRIBUTARY_SHARED_UUID_H

#include "shared/rand.h"
#include "shared/slice.h"

enum { UUID_BYTES = 16, UUID_TEXT_BYTES = 36 };

/* The bytes of a UUID in canonical lower-case form: for any other text, also one that merely
 * differs in case, false, so that formatting gives the very text back. */
bool uuid_parse(struct slice text, uint8_t ret[UUID_BYTES]);

/* Writes UUID_TEXT_BYTES characters without a terminating zero. */
void uuid_format(const uint8_t uuid[UUID_BYTES], char ret[UUID_TEXT_BYTES]);

/* A random UUID (version 4). */
void uuid_random(struct rand *rand, uint8_t ret[UUID_BYTES]);

#endif
