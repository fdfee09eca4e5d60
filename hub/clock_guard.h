/* Whether the hub's clock can be believed. A clock that is ahead for a while would give traits and
 * consents times that nothing later can beat, for years.
 *
 * It is believed while it agrees, to five minutes, with its own past or with the median of what the
 * collectors' clocks show; where it agrees with neither, the hub is held: it takes and logs what
 * comes and routes nothing. Its own past is, inside a run, the monotonic clock from the last moment
 * at which it was believed; after a start, the moment that was noted last. Where there is no past,
 * or no collector is enrolled, it is believed; where collectors are enrolled and none was heard
 * yet, it is held for a minute at most. Whoever lies alone among several changes nothing.
 *
 * While it is held, the time is what its own past comes to, or else what the collectors say.
 *
 * The state machine is pure: times in, decisions out. The shell around it is a clock for the rest
 * of the hub, for any thread.
 */
#ifndef TRIBUTARY_HUB_CLOCK_GUARD_H
#define TRIBUTARY_HUB_CLOCK_GUARD_H

#include "hub/eventlog.h"
#include "shared/clock.h"

enum {
    CLOCK_GUARD_TOLERANCE_MS = 5 * 60 * 1000,
    CLOCK_GUARD_FRESH_MS = 5 * 60 * 1000, /* what a collector said counts for so long */
    CLOCK_GUARD_AWAIT_MS = 60 * 1000,
    CLOCK_GUARD_VOICES_MAX = 255, /* the last that were heard */
};

struct clock_voice {
    uint32_t collector;
    int64_t heard_ms; /* monotonic */
    int64_t base_ms;  /* its clock minus the monotonic one */
};

struct clock_state {
    bool trusts; /* whatever anybody says */
    bool has_collectors;
    bool has_past;
    int64_t past_ms; /* noted by an earlier run */
    bool has_base;
    int64_t base_ms; /* its clock minus the monotonic one, when it was believed last */
    bool is_held;
    bool is_awaiting; /* since */
    int64_t awaits_from_ms;
    unsigned voice_count;
    struct clock_voice voices[CLOCK_GUARD_VOICES_MAX];
};

struct clock_decision {
    bool is_held;
    int64_t now_ms;   /* to go by */
    int64_t ahead_ms; /* of the collectors' median, or else of its own past; where it is held */
    unsigned voices;
};

/* A collector's clock shows this now. */
void clock_state_hear(struct clock_state *state, uint32_t collector, int64_t collector_ms,
                      int64_t monotonic_ms);
struct clock_decision clock_state_decide(struct clock_state *state, int64_t wall_ms,
                                         int64_t monotonic_ms);

struct clock_guard;

/* The past is kept in the log's store. Everything is borrowed. */
MUST_CHECK bool clock_guard_open(struct eventlog *log, const struct clock *machine, bool trusts,
                                 struct clock_guard **ret, struct error *err);
void clock_guard_close(struct clock_guard **guard);
/* The clock that the hub goes by. */
const struct clock *clock_guard_clock(struct clock_guard *guard);
/* Whether any collector is enrolled. */
void clock_guard_set_collectors(struct clock_guard *guard, bool has_collectors);
void clock_guard_hear(struct clock_guard *guard, uint32_t collector, int64_t collector_ms);
struct clock_decision clock_guard_decide(struct clock_guard *guard);
/* Now and then: note the past, and say once a minute that the hub is held. */
void clock_guard_look(struct clock_guard *guard);

enum { CLOCK_GUARD_SENTENCE_BYTES = 256 };
void clock_guard_describe(const struct clock_decision *decision,
                          char ret[CLOCK_GUARD_SENTENCE_BYTES]);

#endif
