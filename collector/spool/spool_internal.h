/* What the files of the spool share: its struct, its keys, and how a change of it is written.
 *
 * spool.c opens, reads and forgets; spool_load.c finds out what is there; spool_append.c stores and
 * makes room; spool_aside.c keeps what the hub refused. A change is made under `writing`: begin,
 * put into the batch, write.
 */
#ifndef TRIBUTARY_COLLECTOR_SPOOL_INTERNAL_H
#define TRIBUTARY_COLLECTOR_SPOOL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "collector/spool/spool.h"
#include "collector/spool/spool_state.h"

/* Keys, numbers big-endian (stored: never change):
 *   'a' 'b' 'c' sequence (8) era (4)    a sealed block of the high, the normal, the low lane
 *   'a' 'b' 'c' sequence (8) era (4) 'N'   the figures as of the append whose last block this is
 *   'N' 0 (8)                           the figures (spool_state.h) as of the last other change
 *   'H' epoch (8)                       an epoch's header
 *   'F' epoch (8)                       the number of its first block
 *   'E' era (8)                         eras.c
 *   'q' sequence (8) era (4) lane (1)   a block set aside
 * With one lane an append writes keys that are above all others but what is aside: the tables that
 * LevelDB makes of them do not overlap and are not merged. What waits for days is then written
 * twice, to the log and to a table. Other lanes, epochs, and blocks that are taken out or dropped
 * make tables overlap, and be merged some time.
 *
 * A collector of before this cannot read it: it would take figures for blocks.
 * Spools of before have blocks under 'b' sequence and 'q' sequence, of the first era and the normal
 * lane; and 'n' 'h' 'f' 'e' for the capitals, which spool_open() changes. The oldest have under 'n'
 * the next sequence number alone.
 */
enum {
    SPOOL_NUMBER_KEY_BYTES = 9,
    SPOOL_BLOCK_KEY_BYTES = 13,
    SPOOL_FIGURES_KEY_BYTES = 14,
    SPOOL_ASIDE_KEY_BYTES = 14,
    SPOOL_FIRST_ERA = 1,
};

struct spool {
    struct store *store;
    struct spool_options options;
    _Atomic uint64_t epoch;
    pthread_mutex_t writing;  /* held while the store is written, taken before `lock` */
    struct store_batch batch; /* under `writing` */
    struct buf state_bytes;   /* likewise */
    pthread_mutex_t lock;     /* for a moment; what follows changes under both */
    struct spool_state state;
    uint64_t first[LANES];         /* no block of the lane is below */
    uint64_t end[LANES];           /* nor at this number or above */
    uint64_t dropped_below[LANES]; /* what was below is gone */
    uint64_t doubtful_below;       /* what is below may be gone: look before it is taken out */
    bool is_unsettled;             /* a write failed: it may have reached the disk all the same */
};

/* A buf over fixed memory. */
struct buf spool_fixed_buf(uint8_t *data, size_t size);

char spool_lane_kind(enum lane lane);
struct slice spool_number_key(char kind, uint64_t number, uint8_t ret[SPOOL_NUMBER_KEY_BYTES]);
struct slice spool_block_key(const struct spool_place *place, bool is_old,
                             uint8_t ret[SPOOL_BLOCK_KEY_BYTES]);
struct slice spool_figures_key(const struct spool_place *place,
                               uint8_t ret[SPOOL_FIGURES_KEY_BYTES]);
struct slice spool_aside_key(const struct spool_place *place, uint8_t ret[SPOOL_ASIDE_KEY_BYTES]);

/* Does the iterator stand at a key of this kind, and at which number? */
bool spool_is_kind(struct store_iterator *it, char kind);
/* At figures, among the blocks of a lane? */
bool spool_is_figures(struct store_iterator *it);
uint64_t spool_number_at(struct store_iterator *it);
/* The block that it stands at: in this lane, or aside. */
struct spool_place spool_place_at(struct store_iterator *it, enum lane lane);

/* What a change will have changed, once it is written. */
struct spool_change {
    struct spool_state state;
    uint64_t limit;            /* of bytes; for appending */
    uint64_t drop_from[LANES]; /* likewise: what is below will be gone */
    uint64_t aside_from;       /* likewise, of what is aside */
    uint64_t appended[LANES];  /* likewise: bytes */
    struct spool_place last;   /* likewise: the block to whose place the figures go */
    bool is_append;
};
/* Put into the batch that the block is gone, and figures that stand with it. */
void spool_delete_block(struct spool *spool, const struct spool_place *place);
/* Settles first. */
MUST_CHECK bool spool_begin_change(struct spool *spool, struct spool_change *ret,
                                   struct error *err);
/* Where it fails the numbers that the change gave are spent, and the spool is to be settled. */
MUST_CHECK bool spool_write_change(struct spool *spool, const struct spool_change *change,
                                   bool sync, struct error *err);

/* Read the epoch, the figures and where the lanes begin and end. Nobody else may use the spool, or
 * both locks are held. */
MUST_CHECK bool spool_load(struct spool *spool, struct error *err);
/* After a write that failed, find out whether it reached the disk: the figures were written with
 * the blocks, and are read again. Otherwise nothing. Under `writing`; uses the batch. */
MUST_CHECK bool spool_settle(struct spool *spool, struct error *err);

/* Read a block; one of a spool of before may lie under its old key. */
MUST_CHECK bool spool_get_block(struct spool *spool, const struct spool_place *place,
                                struct buf *ret_block, bool *ret_found, struct error *err);
/* Begin a change that takes the block out. *ret_gone: it is out already, nothing is to be done. */
MUST_CHECK bool spool_begin_take_out(struct spool *spool, const struct spool_place *place,
                                     struct spool_change *change, bool *ret_gone,
                                     struct error *err);
/* Delete a block, and write the change. Not synced: a block that comes back after a power cut is
 * sent again and recognised. */
MUST_CHECK bool spool_take_out(struct spool *spool, const struct spool_place *place,
                               struct spool_change *change, struct error *err);
/* Of a sealed block; 0 where it is damaged. */
uint64_t spool_events_of(struct slice block);

bool spool_disk_is_short(const struct spool *spool);

#endif
