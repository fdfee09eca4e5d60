/* tributary source, tracking-plan, trait, identity-rules: definitions beside segments. */
#include "hub/cli/commands.h"
#include "hub/cli/definitions.h"
#include "hub/cli/render.h"

/* "exempt", or the categories that an event must have granted. */
static void put_consent(struct buf *cell, const msgpack_object *consent)
{
    bool is_exempt = false;
    const msgpack_object *required = value_member_c(consent, "required");
    (void)value_bool(value_member_c(consent, "exempt"), &is_exempt);
    if (is_exempt) {
        buf_put_format(cell, "exempt");
    } else if (value_is(required, MSGPACK_OBJECT_ARRAY) && required->via.array.size > 0) {
        definitions_put(cell, required);
    } else {
        buf_put_format(cell, "analytics");
    }
}

static void put_count(struct buf *cell, const msgpack_object *value)
{
    uint32_t count = value_is(value, MSGPACK_OBJECT_MAP)     ? value->via.map.size
                     : value_is(value, MSGPACK_OBJECT_ARRAY) ? value->via.array.size
                                                             : 0;
    render_number(cell, count);
}

static const struct definitions_kind sources = {
    .apply = {"source", "/v1/sources/", "sources", NULL},
    .columns = {{"KEY", "key", NULL, NULL},
                {"NAME", "name", NULL, NULL},
                {"TRUST", "trust", NULL, NULL},
                {"CONSENT", "consent", "analytics", put_consent},
                {"PLAN", "tracking_plan", NULL, NULL},
                {"ORIGINS", "origins", NULL, NULL}},
    .column_count = 6,
};

static const struct definitions_kind plans = {
    .apply = {"tracking plan", "/v1/tracking-plans/", "trackingPlans", "events"},
    .columns = {{"KEY", "key", NULL, NULL},
                {">EVENTS", "events", NULL, put_count},
                {"UNPLANNED", "unplanned", "allow", NULL},
                {"VIOLATIONS", "violations", "flag", NULL},
                {"NAME", "name", NULL, NULL}},
    .column_count = 5,
};

static const struct definitions_kind traits = {
    .apply = {"trait", "/v1/traits/", "traits", NULL},
    .columns = {{"KEY", "key", NULL, NULL},
                {"SHOWN TO", "edge", NULL, render_audience},
                {"NAME", "name", NULL, NULL}},
    .column_count = 3,
};

static const struct definitions_kind rules = {
    .apply = {"identity rules", NULL, "identifiers", NULL},
    .single = "/v1/identity-rules",
    .columns = {{"TYPE", "type", NULL, NULL},
                {">PRIORITY", "priority", "50", NULL},
                {">LIMIT", "limit", "0", NULL},
                {"KNOWN", "known", "yes", NULL},
                {"NORMALIZER", "normalizer", NULL, NULL},
                {">BLOCKED", "blocked", "0", put_count}},
    .column_count = 6,
};

static enum cli_outcome run_source(const struct cli *cli, int argc, char *const *argv,
                                   struct error *err)
{
    return definitions_run(&sources, cli, argc, argv, err);
}

static enum cli_outcome run_plan(const struct cli *cli, int argc, char *const *argv,
                                 struct error *err)
{
    return definitions_run(&plans, cli, argc, argv, err);
}

static enum cli_outcome run_trait(const struct cli *cli, int argc, char *const *argv,
                                  struct error *err)
{
    return definitions_run(&traits, cli, argc, argv, err);
}

static enum cli_outcome run_rules(const struct cli *cli, int argc, char *const *argv,
                                  struct error *err)
{
    return definitions_run(&rules, cli, argc, argv, err);
}

#define USAGE "list [--json]\nshow KEY [--json]\napply FILE\ndelete KEY"

/* What each help tells of the verbs. */
#define VERBS(noun)                                                                                \
    "  list       every " noun "; --json gives the hub's answer as it came\n"                      \
    "  show       one of them, whole\n"                                                            \
    "  apply      define what is in FILE (\"-\" is standard input), which is JSON: one with its\n" \
    "             \"key\", a list of such, an object of them by key, or what `list --json` "       \
    "printed\n"                                                                                    \
    "  delete     the definition\n\n"

const struct cli_command command_source = {
    .name = "source",
    .usage = USAGE,
    .sentence = "list, define and delete sources: where events come from",
    .help = VERBS("source") "To take a web site's events, with consent to \"analytics\":\n"
                            "  echo '{\"key\": \"shop-web\", \"name\": \"Shop\", \"origins\": "
                            "[\"https://www.example.com\"]}' |\n"
                            "    tributary source apply -\n\n"
                            "CONSENT is what an event must have granted, or exempt where the "
                            "source asks for none.\n"
                            "PLAN is the tracking plan that its events are checked with. ORIGINS "
                            "are the pages that\n"
                            "may send cookies. Collectors hear of a change within a second. Events "
                            "with the key of\n"
                            "a deleted source are refused; those that are here stay.\n",
    .run = run_source,
};

const struct cli_command command_tracking_plan = {
    .name = "tracking-plan",
    .usage = USAGE,
    .sentence = "list, define and delete tracking plans: how events should look",
    .help = VERBS(
        "tracking plan") "A plan that flags orders without a total, and holds back "
                         "events that it does not name:\n"
                         "  echo '{\"key\": \"shop\", \"unplanned\": \"quarantine\", \"events\": "
                         "{\"Order "
                         "Completed\":\n"
                         "         {\"properties\": {\"type\": \"object\", \"required\": "
                         "[\"total\"],\n"
                         "           \"properties\": {\"total\": {\"type\": \"number\", "
                         "\"minimum\": 0}}}}}}' |\n"
                         "    tributary tracking-plan apply -\n\n"
                         "A source follows the plan that its \"tracking_plan\" names; a plan that "
                         "one names\n"
                         "cannot be deleted. `tributary quarantine` shows what was held back.\n",
    .run = run_plan,
};

const struct cli_command command_trait = {
    .name = "trait",
    .usage = USAGE,
    .sentence = "list, define and delete traits: to whom the edge may show them",
    .help = VERBS("trait") "A profile keeps every trait that events bring, defined or not. To let\n"
                           "collectors show one to the visitor's own pages (\"page\"), in the shop "
                           "(\"staff\"), or both:\n"
                           "  echo '{\"key\": \"firstName\", \"edge\": [\"page\", \"staff\"]}' |\n"
                           "    tributary trait apply -\n",
    .run = run_trait,
};

const struct cli_command command_identity_rules = {
    .name = "identity-rules",
    .usage = "show [--json]\napply FILE",
    .sentence = "show and set the rules by which events become one person",
    .help = "  show       the identifier types; --json gives the hub's answer as it came\n"
            "  apply      FILE (\"-\" is standard input) replaces all of them:\n"
            "               tributary identity-rules show --json >rules.json; edit it, then\n"
            "               tributary identity-rules apply rules.json\n\n"
            "LIMIT is how many of a type one person may have, 0 for any number: what would exceed "
            "it is\n"
            "not joined, and journalled. KNOWN types name a person. BLOCKED counts values that "
            "identify\n"
            "nobody. What was joined stays as it is; new events follow the new rules.\n",
    .run = run_rules,
};
