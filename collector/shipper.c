#include "collector/shipper.h"

#include "shared/error.h"

enum { BACKOFF_MS_MIN = 100, BACKOFF_MS_MAX = 5000, REVOKED_MS = 60000, DAMAGED_MS = 200 };

void shipper_init(struct shipper *shipper, unsigned window, uint64_t first)
{
    *shipper = (struct shipper){.window = window, .next = first};
    ensure(window > 0 && window <= SHIPPER_WINDOW_MAX);
}

static struct shipper_slot *find(struct shipper *s, uint64_t sequence)
{
    for (unsigned i = 0; i < s->window; i++) {
        if (s->slots[i].used && s->slots[i].sequence == sequence) {
            return &s->slots[i];
        }
    }
    return NULL;
}

/* The oldest block that waits for its retry, or NULL. */
static struct shipper_slot *oldest_due(struct shipper *s, int64_t now_ms, int64_t *ret_wake_ms)
{
    struct shipper_slot *oldest = NULL;
    for (unsigned i = 0; i < s->window; i++) {
        struct shipper_slot *slot = &s->slots[i];
        if (!slot->used || slot->in_flight) {
            continue;
        }
        if (slot->retry_ms > now_ms) {
            *ret_wake_ms = slot->retry_ms < *ret_wake_ms ? slot->retry_ms : *ret_wake_ms;
        } else if (oldest == NULL || slot->sequence < oldest->sequence) {
            oldest = slot;
        }
    }
    return oldest;
}

static struct shipper_slot *free_slot(struct shipper *s)
{
    for (unsigned i = 0; i < s->window; i++) {
        if (!s->slots[i].used) {
            return &s->slots[i];
        }
    }
    return NULL;
}

bool shipper_next(struct shipper *s, uint64_t end, int64_t now_ms, uint64_t *ret_sequence,
                  int64_t *ret_wake_ms)
{
    *ret_wake_ms = INT64_MAX;
    struct shipper_slot *slot = oldest_due(s, now_ms, ret_wake_ms);
    if (slot == NULL && s->next < end && (slot = free_slot(s)) != NULL) {
        *slot = (struct shipper_slot){.used = true, .sequence = s->next++};
    }
    if (slot == NULL) {
        return false;
    }
    slot->in_flight = true;
    *ret_sequence = slot->sequence;
    return true;
}

static int64_t backoff_ms(unsigned failures)
{
    unsigned shift = failures > 6 ? 6 : failures;
    int64_t ms = (int64_t)BACKOFF_MS_MIN << shift;
    return ms > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : ms;
}

static void retry_at(struct shipper_slot *slot, int64_t ms)
{
    slot->in_flight = false;
    slot->retry_ms = ms;
}

enum shipper_action shipper_reply(struct shipper *s, uint64_t sequence, enum wire_status status,
                                  int64_t now_ms)
{
    struct shipper_slot *slot = find(s, sequence);
    if (slot == NULL) {
        return SHIPPER_KEEP;
    }
    s->failures = status == WIRE_UNAVAILABLE ? s->failures + 1 : 0;
    switch (status) {
    case WIRE_STORED:
    case WIRE_REPLAYED:
        slot->used = false;
        return SHIPPER_FORGET;
    case WIRE_DAMAGED:
        if (++slot->damaged >= SHIPPER_DAMAGED_TRIES) {
            slot->used = false;
            return SHIPPER_SET_ASIDE;
        }
        retry_at(slot, now_ms + DAMAGED_MS);
        return SHIPPER_KEEP;
    case WIRE_REVOKED:
        retry_at(slot, now_ms + REVOKED_MS);
        return SHIPPER_KEEP;
    case WIRE_UNAVAILABLE:
        break;
    }
    retry_at(slot, now_ms + backoff_ms(s->failures));
    return SHIPPER_KEEP;
}

void shipper_no_answer(struct shipper *s, uint64_t sequence, int64_t now_ms)
{
    struct shipper_slot *slot = find(s, sequence);
    if (slot != NULL) {
        retry_at(slot, now_ms + backoff_ms(slot->failures++));
    }
}

size_t shipper_cover(struct shipper *s, uint64_t from, uint64_t to,
                     uint64_t ret[SHIPPER_WINDOW_MAX])
{
    size_t count = 0;
    for (unsigned i = 0; i < s->window; i++) {
        struct shipper_slot *slot = &s->slots[i];
        if (slot->used && slot->sequence >= from && slot->sequence <= to) {
            slot->used = false;
            ret[count++] = slot->sequence;
        }
    }
    return count;
}

void shipper_skip(struct shipper *s, uint64_t sequence)
{
    struct shipper_slot *slot = find(s, sequence);
    if (slot != NULL) {
        slot->used = false;
    }
}
