/* What the bodies of the API's requests may have, one table for each. A member that is not here is
 * refused with `unknown-member`; what a member may hold is checked by whoever reads it. */
#ifndef TRIBUTARY_HUB_API_KNOWN_MEMBERS_H
#define TRIBUTARY_HUB_API_KNOWN_MEMBERS_H

#include "hub/registry.h"
#include "shared/members.h"

/* Of a definition; its answer's members too, so that what was read can be put again. NULL: whoever
 * reads it knows, as tracking plans do; so does the segment language, for what is in "where". */
const struct member *known_members_of(enum registry_kind kind);

extern const struct member known_members_of_suppressions[];
extern const struct member known_members_of_selections[]; /* of events in quarantine */
extern const struct member known_members_of_previews[];

#endif
