#include "collector/spool/shipper.h"

#include "shared/error.h"

enum { BACKOFF_MS_MIN = 100, BACKOFF_MS_MAX = 5000, REVOKED_MS = 60000, DAMAGED_MS = 200 };

void shipper_init(struct shipper *shipper, unsigned window, uint64_t bytes_per_second_max,
                  int64_t now_ms)
{
    *shipper = (struct shipper){
        .window = window,
        .bytes_per_second_max = bytes_per_second_max,
        .budget_ms = now_ms,
    };
    ensure(window > 0 && window <= SHIPPER_WINDOW_MAX);
}

static struct shipper_slot *find(struct shipper *s, uint64_t sequence)
{
    for (unsigned i = 0; i < s->window; i++) {
        if (s->slots[i].used && s->slots[i].place.sequence == sequence) {
            return &s->slots[i];
        }
    }
    return NULL;
}

static bool is_before(const struct spool_place *a, const struct spool_place *b)
{
    return a->lane != b->lane ? a->lane < b->lane : a->sequence < b->sequence;
}

/* Of the blocks that wait for their retry the first that is due, or NULL. */
static struct shipper_slot *first_due(struct shipper *s, int64_t now_ms, int64_t *ret_wake_ms)
{
    struct shipper_slot *first = NULL;
    for (unsigned i = 0; i < s->window; i++) {
        struct shipper_slot *slot = &s->slots[i];
        if (!slot->used || slot->in_flight) {
            continue;
        }
        if (slot->retry_ms > now_ms) {
            *ret_wake_ms = slot->retry_ms < *ret_wake_ms ? slot->retry_ms : *ret_wake_ms;
        } else if (first == NULL || is_before(&slot->place, &first->place)) {
            first = slot;
        }
    }
    return first;
}

/* The last free place in the window is for the high lane, where lanes matter. */
static bool has_free_slot(const struct shipper *s, enum lane lane)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < s->window; i++) {
        taken += s->slots[i].used;
    }
    bool is_reserving = s->bytes_per_second_max > 0 && lane != LANE_HIGH && s->window > 1;
    return taken + is_reserving < s->window;
}

/* ---- The limit of bytes a second: a bucket that may be overdrawn by one block ---- */

static void refill(struct shipper *s, int64_t now_ms)
{
    int64_t rate = (int64_t)s->bytes_per_second_max;
    int64_t passed_ms = now_ms - s->budget_ms;
    if (passed_ms > 1000 && s->budget >= 0) {
        s->budget = rate;
        s->budget_ms = now_ms;
    } else if (passed_ms > 0) {
        /* Bounded, so that the product is. The time that gave no whole byte counts next time. */
        int64_t bytes = rate * (passed_ms > 1000000 ? 1000000 : passed_ms) / 1000;
        s->budget = s->budget + bytes > rate ? rate : s->budget + bytes;
        s->budget_ms += (bytes * 1000 + rate - 1) / rate;
    }
}

/* May a block be sent now? If not, and time alone helps, when. */
static bool is_allowed(struct shipper *s, enum lane lane, int64_t now_ms, int64_t *ret_wake_ms)
{
    if (lane != LANE_HIGH && s->bytes_in_flight > SHIPPER_BYTES_IN_FLIGHT_MAX) {
        return false;
    }
    if (s->bytes_per_second_max == 0) {
        return true;
    }
    refill(s, now_ms);
    if (s->budget <= 0) {
        int64_t owed = 1 - s->budget;
        int64_t rate = (int64_t)s->bytes_per_second_max;
        int64_t ms = owed / rate * 1000 + (owed % rate * 1000 + rate - 1) / rate;
        *ret_wake_ms = s->budget_ms + ms < *ret_wake_ms ? s->budget_ms + ms : *ret_wake_ms;
        return false;
    }
    return lane == LANE_HIGH || s->bytes_in_flight <= s->bytes_per_second_max;
}

static uint64_t bytes_on_line(const struct shipper_slot *slot)
{
    return slot->place.bytes + SHIPPER_ENVELOPE_BYTES;
}

static void take_off(struct shipper *s, struct shipper_slot *slot)
{
    slot->in_flight = true;
    s->bytes_in_flight += bytes_on_line(slot);
    if (s->bytes_per_second_max > 0) {
        s->budget -= (int64_t)bytes_on_line(slot);
    }
}

static void land(struct shipper *s, struct shipper_slot *slot)
{
    if (slot->in_flight) {
        slot->in_flight = false;
        s->bytes_in_flight -= bytes_on_line(slot);
    }
}

static void release(struct shipper *s, struct shipper_slot *slot)
{
    land(s, slot);
    slot->used = false;
}

/* ---- What to do ---- */

/* The first lane that has something new, or LANES. */
static int new_lane(const struct shipper *s, const uint64_t ends[LANES])
{
    int lane = 0;
    while (lane < LANES && (s->next[lane] >= ends[lane] || !has_free_slot(s, (enum lane)lane))) {
        lane++;
    }
    return lane;
}

struct shipper_decision shipper_next(struct shipper *s, const uint64_t ends[LANES], int64_t now_ms)
{
    struct shipper_decision d = {.step = SHIPPER_WAIT, .wake_ms = INT64_MAX};
    struct shipper_slot *due = first_due(s, now_ms, &d.wake_ms);
    int lane = new_lane(s, ends);
    if (due != NULL && (int)due->place.lane <= lane) {
        if (is_allowed(s, due->place.lane, now_ms, &d.wake_ms)) {
            d.step = SHIPPER_SEND;
            d.place = due->place;
            take_off(s, due);
        }
    } else if (lane < LANES && is_allowed(s, (enum lane)lane, now_ms, &d.wake_ms)) {
        d.step = SHIPPER_FETCH;
        d.place = (struct spool_place){.lane = (enum lane)lane, .sequence = s->next[lane]};
    }
    return d;
}

void shipper_found(struct shipper *s, const struct spool_place *place)
{
    struct shipper_slot *slot = s->slots;
    while (slot < s->slots + s->window && slot->used) {
        slot++;
    }
    ensure(slot < s->slots + s->window);
    *slot = (struct shipper_slot){.used = true, .place = *place};
    s->next[place->lane] = place->sequence + 1;
    take_off(s, slot);
}

void shipper_found_none(struct shipper *s, enum lane lane, uint64_t end)
{
    s->next[lane] = end > s->next[lane] ? end : s->next[lane];
}

/* ---- Answers ---- */

static int64_t backoff_ms(unsigned failures)
{
    unsigned shift = failures > 6 ? 6 : failures;
    int64_t ms = (int64_t)BACKOFF_MS_MIN << shift;
    return ms > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : ms;
}

static void retry_at(struct shipper *s, struct shipper_slot *slot, int64_t ms)
{
    land(s, slot);
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
        release(s, slot);
        return SHIPPER_FORGET;
    case WIRE_DAMAGED:
        if (++slot->damaged >= SHIPPER_DAMAGED_TRIES) {
            release(s, slot);
            return SHIPPER_SET_ASIDE;
        }
        retry_at(s, slot, now_ms + DAMAGED_MS);
        return SHIPPER_KEEP;
    case WIRE_REVOKED:
    case WIRE_REPLACED:
        retry_at(s, slot, now_ms + REVOKED_MS);
        return SHIPPER_KEEP;
    case WIRE_UNAVAILABLE:
        break;
    }
    retry_at(s, slot, now_ms + backoff_ms(s->failures));
    return SHIPPER_KEEP;
}

void shipper_no_answer(struct shipper *s, uint64_t sequence, int64_t now_ms)
{
    struct shipper_slot *slot = find(s, sequence);
    if (slot != NULL) {
        retry_at(s, slot, now_ms + backoff_ms(slot->failures++));
    }
}

void shipper_retry_now(struct shipper *s, int64_t now_ms)
{
    s->failures = 0;
    for (unsigned i = 0; i < s->window; i++) {
        struct shipper_slot *slot = &s->slots[i];
        slot->failures = 0;
        slot->retry_ms = slot->retry_ms > now_ms ? now_ms : slot->retry_ms;
    }
}

size_t shipper_cover(struct shipper *s, uint64_t from, uint64_t to,
                     struct spool_place ret[SHIPPER_WINDOW_MAX])
{
    size_t count = 0;
    for (unsigned i = 0; i < s->window; i++) {
        struct shipper_slot *slot = &s->slots[i];
        if (slot->used && slot->place.sequence >= from && slot->place.sequence <= to) {
            ret[count++] = slot->place;
            release(s, slot);
        }
    }
    return count;
}

void shipper_skip(struct shipper *s, uint64_t sequence)
{
    struct shipper_slot *slot = find(s, sequence);
    if (slot != NULL) {
        release(s, slot);
    }
}
