/* What a visitor claims without evidence: to be somebody, and traits of that somebody; and what her
 * devices consented to.
 *
 * Claims lie beside the facts of a profile and never change them. A claim of an identifier that has
 * become a fact is no claim any more, and a claimed trait becomes a fact with the last of the
 * identifiers that its event named. Each is the last write for its key, and at the bounds those
 * with the least hashes stay: so what is kept is the same for every order of the same events. What
 * the bounds refuse is counted in the profile.
 */
#ifndef TRIBUTARY_HUB_PROFILE_CLAIMS_H
#define TRIBUTARY_HUB_PROFILE_CLAIMS_H

#include "hub/profile/profile.h"

enum { CLAIMS_KEPT = 64, CLAIMED_TRAITS_KEPT = 128, DEVICE_CONSENTS_KEPT = 128 };

/* Add, or widen its times. True: it is new. */
bool claims_add(struct profile *profile, const struct profile_claim *claim);
/* NULL: nothing of this type is claimed. */
const struct profile_claim *claims_find(const struct profile *profile, struct slice type);
/* By the visitor's own events. */
bool claims_have_own(const struct profile *profile, struct identifier id);
bool claims_have(const struct profile *profile, struct identifier id);

/* A trait of an event that named these, `count` at least 1, of which some is no fact. True: what
 * profile_effective_trait() says of it may have changed. */
bool claims_set_trait(struct profile *profile, const struct identifier *named, size_t count,
                      const struct profile_trait *trait);
/* The value that counts for the visitor: a fact, even a deleted one, else the latest claimed. NULL:
 * there is none. */
const struct profile_trait *profile_effective_trait(const struct profile *profile,
                                                    struct slice name, bool *ret_is_claimed);

/* What became fact is taken over. True: there was something. */
bool claims_promote(struct profile *profile);
/* Forget all claims but those that servers reported, to put them together again. */
void claims_forget(struct profile *profile);

/* Last write wins for each device and category. True: it changed. */
bool devices_set_consent(struct profile *profile, struct slice device,
                         const struct profile_consent *consent);
/* What the latest word of any of its devices says; NULL: none spoke of the category. */
const struct profile_consent *devices_latest_consent(const struct profile *profile,
                                                     struct slice category);

/* Everything here of `from` too; claims_promote() afterwards. */
void claims_merge(struct profile *into, const struct profile *from);

/* One MessagePack value, with the times of evidence of the identifiers. */
void claims_pack(const struct profile *profile, msgpack_packer *k);
/* After the identifiers. False: it is damaged. */
bool claims_unpack(const msgpack_object *object, struct profile *profile);

#endif
