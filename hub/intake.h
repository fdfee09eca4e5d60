/* The intake takes sealed blocks from collectors into the log.
 *
 * Guarantee: a block is answered "stored" only after it is durable in the log. Blocks of a
 * revoked collector, altered ones and ones not of their epoch are refused, counted and logged;
 * one that is there already is answered "replayed". What arrives during one commit is the next.
 * An epoch stays open while blocks of it are under way; beyond INTAKE_EPOCHS_MAX the others are
 * closed, those that were opened first before those that came later.
 *
 * intake_take() may be called by any thread and does not wait for the disk.
 */
#ifndef TRIBUTARY_HUB_INTAKE_H
#define TRIBUTARY_HUB_INTAKE_H

#include "hub/collectors.h"
#include "shared/wire.h"

struct intake;

/* Keys of epochs lie in locked pages: only so many are kept ready. */
enum { INTAKE_EPOCHS_MAX = 256 };

/* What of one collector may be pending at once: as much as an honest one ever has in flight. More
 * is answered with WIRE_UNAVAILABLE. */
enum { INTAKE_PENDING_BLOCKS_MAX = 64, INTAKE_PENDING_BYTES_MAX = 32 * 1024 * 1024 };

/* Who waits for a block's answer; `answer` is called once, on any thread. */
struct intake_waiter {
    void (*answer)(void *user, const struct wire_block_reply *reply);
    void *user;
};

/* All arguments are borrowed. */
struct intake *intake_open(struct eventlog *log, struct collectors *collectors,
                           const uint8_t hub_public[SEAL_KEY_BYTES],
                           const uint8_t hub_secret[SEAL_KEY_BYTES], const struct clock *clock);
/* Commit and answer what is pending, and end. */
void intake_close(struct intake **intake);

void intake_take(struct intake *intake, struct slice collector_id,
                 const struct collector_keys *keys, const struct wire_block *block,
                 struct intake_waiter waiter);

/* How many epochs are open. */
size_t intake_epochs(struct intake *intake);

#endif
