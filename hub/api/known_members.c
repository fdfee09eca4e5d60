#include "hub/api/known_members.h"

static const struct member consent[] = {MEMBER("required"), MEMBER("exempt"), MEMBER("gpc"),
                                        MEMBERS_END};
static const struct member rate[] = {MEMBER("events_per_second"), MEMBER("burst"), MEMBERS_END};
static const struct member proof_key[] = {MEMBER("kid"), MEMBER("alg"), MEMBER("key"), MEMBERS_END};
static const struct member proof[] = {MEMBER_OF("keys", proof_key), MEMBER("bind"), MEMBERS_END};
static const struct member sources[] = {
    MEMBER("key"),
    MEMBER_TEXT("name"),
    MEMBER_TEXT("description"),
    MEMBER("origins"),
    MEMBER("id"),
    MEMBER("trust"),
    MEMBER("writeKeys"),
    MEMBER("open"),
    MEMBER("tracking_plan"),
    MEMBER("bots"),
    MEMBER("ip"),
    MEMBER_OF("consent", consent),
    MEMBER_OF("rate", rate),
    MEMBER_OF("proof", proof),
    MEMBER("evidence"),
    MEMBERS_END,
};

static const struct member segments[] = {
    MEMBER("key"),       MEMBER_TEXT("name"), MEMBER_TEXT("description"), MEMBER("where"),
    MEMBER("updatedAt"), MEMBER("size"),      MEMBER("status"),           MEMBER("progress"),
    MEMBER("edge"),      MEMBERS_END,
};

static const struct member traits[] = {MEMBER("key"), MEMBER_TEXT("name"),
                                       MEMBER_TEXT("description"), MEMBER("edge"), MEMBERS_END};

static const struct member rule[] = {
    MEMBER("type"),
    MEMBER_INTEGER("priority"),
    MEMBER_INTEGER("limit"),
    MEMBER_FLAG("known"),
    MEMBER_TEXT("normalizer"),
    MEMBER("blocked"),
    MEMBER("blockedPatterns"),
    MEMBERS_END,
};
static const struct member phone[] = {MEMBER("country"), MEMBER("sources"), MEMBERS_END};
static const struct member rules[] = {MEMBER_OF("phone", phone), MEMBER_OF("identifiers", rule),
                                      MEMBER("alwaysBlocked"), MEMBER("me_for"), MEMBERS_END};

static const struct member purchases[] = {MEMBER("events"), MEMBER("sources"), MEMBERS_END};

static const struct member business_keys[] = {MEMBER("event"), MEMBER("key"), MEMBERS_END};

static const struct member scope[] = {MEMBER("kind"), MEMBER("segments"), MEMBERS_END};
static const struct member collectors[] = {MEMBER("publicKey"), MEMBER("replace"),
                                           MEMBER("sources"), MEMBER_OF("scope", scope),
                                           MEMBERS_END};

static const struct member identifier[] = {MEMBER("type"), MEMBER("value"), MEMBERS_END};
const struct member known_members_of_suppressions[] = {MEMBER_OF("identifiers", identifier),
                                                       MEMBER("reason"), MEMBERS_END};

const struct member known_members_of_selections[] = {
    MEMBER("ids"),      MEMBER_TEXT("source"), MEMBER_TEXT("event"),
    MEMBER_FLAG("all"), MEMBER_TEXT("cursor"), MEMBERS_END,
};

/* A segment that is being thought about is previewed as it stands. */
const struct member known_members_of_previews[] = {
    MEMBER("key"),   MEMBER_TEXT("name"), MEMBER_TEXT("description"),
    MEMBER("where"), MEMBER("edge"),      MEMBERS_END,
};

const struct member *known_members_of(enum registry_kind kind)
{
    switch (kind) {
    case REGISTRY_COLLECTOR:
        return collectors;
    case REGISTRY_SOURCE:
        return sources;
    case REGISTRY_SEGMENT:
        return segments;
    case REGISTRY_TRAIT:
        return traits;
    case REGISTRY_RULES:
        return rules;
    case REGISTRY_PLAN:
        return NULL;
    case REGISTRY_BUSINESS_KEY:
        return business_keys;
    case REGISTRY_PURCHASES:
        return purchases;
    }
    return NULL;
}
