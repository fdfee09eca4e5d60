/* The commands of `tributary`, one file for each group of them. */
#ifndef TRIBUTARY_HUB_CLI_COMMANDS_H
#define TRIBUTARY_HUB_CLI_COMMANDS_H

#include "hub/cli/cli.h"

extern const struct cli_command command_keygen;
extern const struct cli_command command_enroll;
extern const struct cli_command command_revoke;
extern const struct cli_command command_collectors;
extern const struct cli_command command_profile;
extern const struct cli_command command_segment;
extern const struct cli_command command_replay;
extern const struct cli_command command_status;
extern const struct cli_command command_refusals;
extern const struct cli_command command_quarantine;
extern const struct cli_command command_source;
extern const struct cli_command command_tracking_plan;
extern const struct cli_command command_trait;
extern const struct cli_command command_identity_rules;
extern const struct cli_command command_suppressions;
extern const struct cli_command command_suppress;
extern const struct cli_command command_unsuppress;

#endif
