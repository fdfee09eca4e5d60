/* Secrets in a source's definition: answers show a word in their place, and a definition that has
 * the word where a secret was keeps that secret. So what was read can be changed and put again.
 *
 * Pure functions.
 */
#ifndef TRIBUTARY_HUB_TRUST_PROOF_SECRETS_H
#define TRIBUTARY_HUB_TRUST_PROOF_SECRETS_H

#include "shared/json.h"

/* What stands for a secret: too short to be one. */
extern const char proof_secret_word[];

/* Write the "proof" of a source without its secrets. What is no public key is one. */
void proof_write_hidden(struct json_writer *w, const msgpack_object *proof);

/* Is there a key that has the word for its secret? */
bool proof_has_hidden(const msgpack_object *source);

/* Append the source with the secrets that `before` (NULL: there was none) has under the same kid; a
 * word for which there is none stays. */
void proof_restore_hidden(const msgpack_object *source, const msgpack_object *before,
                          struct buf *out);

#endif
