/* Bounds of what is accepted from outside. Each is checked where the bytes come in; inside, code
 * relies on them. Those of the public contract can be lowered or raised by configuration up to
 * the maxima here.
 */
#ifndef TRIBUTARY_SHARED_LIMITS_H
#define TRIBUTARY_SHARED_LIMITS_H

#define LIMIT_EVENT_BYTES (32 * 1024) /* of JSON, one event */
/* what the gate may add to an event's body, beyond LIMIT_EVENT_BYTES */
#define LIMIT_ANNOTATION_BYTES 2048
#define LIMIT_REQUEST_BYTES (512 * 1024) /* of JSON, one request, after decompression */
#define LIMIT_BATCH_EVENTS 2500
#define LIMIT_MESSAGE_ID_BYTES 128
#define LIMIT_IDENTIFIER_BYTES 256 /* the value; a type has LIMIT_NAME_BYTES */
#define LIMIT_NAME_BYTES 128       /* event, trait, category, source and segment names */
#define LIMIT_EXTERNAL_IDS 16
#define LIMIT_EVENT_IDENTIFIERS 24 /* of one event, all kinds together */
#define LIMIT_IDENTIFIER_TYPES 64  /* with rules of their own */
#define LIMIT_CONSENT_CATEGORIES 16
#define LIMIT_JSON_DEPTH 24 /* msgpack-c unpacks 32 levels; records add a few */

/* A timestamp that is further ahead of the time of receipt is wrong: the receipt counts. */
#define LIMIT_AHEAD_MS (23 * 3600 * 1000)
/* And how far back. */
#define LIMIT_BEHIND_MS (3653LL * 24 * 3600 * 1000)

/* Times are milliseconds since 1970; years 1970 to 9999, so that each has an RFC 3339 form. */
#define LIMIT_TIME_MS 253402300799999LL

#define LIMIT_BLOCK_BYTES (4 * 1024 * 1024) /* a block before compression */
#define LIMIT_BLOCK_EVENTS 16384
/* one message between collector and hub */
#define LIMIT_WIRE_BYTES (LIMIT_BLOCK_BYTES + 64 * 1024)

#define LIMIT_GATE_BYTES (2 * 1024 * 1024) /* all definitions that gates get */
#define LIMIT_SEGMENT_JSON_BYTES (64 * 1024)
#define LIMIT_SEGMENT_DEPTH 16
#define LIMIT_SEGMENTS 512
#define LIMIT_BUSINESS_KEYS 64
#define LIMIT_CONDITION_COUNT 1024 /* the k of "count >= k", which is kept per profile */
#define LIMIT_PROFILE_IDENTIFIERS 512
#define LIMIT_PROFILE_TRAITS 512
#define LIMIT_PROFILE_COLLECTORS 32
#define LIMIT_PARTITIONS 1024

#endif
