/* Profiles as they are stored. Bytes that are no profile are refused, whatever they are; what is
 * read is written as one form, which is read and written again as it is. The same bytes also steer
 * calls that build a profile: nothing of that is lost by writing and reading. */
#include "hub/profile/purchases.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BYTES_MAX = 64 * 1024 * 1024 };

static void pack(const struct profile *p, struct buf *out)
{
    buf_init(out, BYTES_MAX);
    profile_pack(p, out);
}

static void ensure_equal(struct slice a, struct slice b)
{
    ensure(slice_equal(a, b));
}

static void ensure_same(const struct profile *a, const struct profile *b)
{
    ensure(profile_id_equal(a->id, b->id) && a->created_ms == b->created_ms);
    ensure(a->last_seen_ms == b->last_seen_ms && a->event_count == b->event_count);
    ensure(a->version == b->version && a->catalog_version == b->catalog_version);
    ensure(a->timer_ms == b->timer_ms && a->journal_next == b->journal_next);
    ensure(a->is_frozen == b->is_frozen);
    ensure(!a->is_frozen || a->deferred_next == b->deferred_next);
    ensure(a->identifier_count == b->identifier_count && a->trait_count == b->trait_count);
    ensure(a->consent_count == b->consent_count && a->state_count == b->state_count);
    ensure(a->membership_count == b->membership_count && a->interest_count == b->interest_count);
    ensure(a->merged_count == b->merged_count && a->refused_count == b->refused_count);
    ensure(a->purchase_count == b->purchase_count);
    for (size_t i = 0; i < a->identifier_count; i++) {
        ensure_equal(a->identifiers[i].id.type, b->identifiers[i].id.type);
        ensure_equal(a->identifiers[i].id.value, b->identifiers[i].id.value);
        ensure(a->identifiers[i].first_seen_ms == b->identifiers[i].first_seen_ms);
    }
    for (size_t i = 0; i < a->trait_count; i++) {
        ensure_equal(a->traits[i].name, b->traits[i].name);
        ensure_equal(a->traits[i].value, b->traits[i].value);
    }
}

/* decode(encode(p)) is p, and encoding it again gives the same bytes. */
static void ensure_round_trip(const struct profile *p)
{
    struct buf once;
    struct buf twice;
    struct profile *back = NULL;
    struct error err;
    pack(p, &once);
    bool fine = profile_unpack(buf_slice(&once), &back, &err);
    ensure(fine);
    ensure_same(p, back);
    pack(back, &twice);
    ensure_equal(buf_slice(&once), buf_slice(&twice));
    profile_free(&back);
    buf_done(&once);
    buf_done(&twice);
}

/* ---- A profile built by the bytes ---- */

struct steps {
    const uint8_t *at;
    const uint8_t *end;
};

static uint8_t take(struct steps *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

static int64_t take_time(struct steps *s)
{
    int64_t hour = take(s);
    return 1795292103120 + (hour - 128) * 3600000 + take(s);
}

static struct slice take_text(struct steps *s)
{
    size_t len = take(s) % 40;
    size_t left = (size_t)(s->end - s->at);
    len = len < left ? len : left;
    struct slice text = slice_make(s->at, len);
    s->at += len;
    return text;
}

static void set_facts(struct profile *p, struct steps *s, int what)
{
    static const uint8_t values[] = {0xc0, 0xc3, 0x07, 0xa1};
    uint8_t value[2] = {values[take(s) % 4], 'x'};
    if (what == 0) {
        struct identifier id = {take_text(s), take_text(s)};
        int64_t first = take_time(s);
        (void)profile_see_identifier(p, id, first, first + take(s));
    } else if (what == 1) {
        struct profile_trait t = {.value = slice_make(value, value[0] == 0xa1 ? 2 : 1)};
        t.name = take_text(s);
        t.at_ms = take_time(s);
        t.message_id = take_text(s);
        t.source = take_text(s);
        (void)profile_set_trait(p, &t);
    } else {
        struct profile_consent c = {.category = take_text(s), .granted = take(s) % 2};
        c.at_ms = take_time(s);
        c.message_id = take_text(s);
        c.source = take_text(s);
        (void)profile_set_consent(p, &c);
    }
}

static void set_purchase(struct profile *p, struct steps *s)
{
    struct profile_purchase purchase = {.at_ms = take_time(s), .has_total = take(s) % 2};
    purchase.total = purchase.has_total ? take(s) / 4.0 : 0;
    purchase.message_id = take_text(s);
    purchase.name = take_text(s);
    purchase.source = take_text(s);
    purchase.currency = take_text(s);
    purchase.order_id = take_text(s);
    (void)purchases_note(p, &purchase);
}

static void step(struct profile *p, struct steps *s)
{
    int what = take(s) % 10;
    bool is_new;
    if (what < 3) {
        set_facts(p, s, what);
    } else if (what == 3) {
        profile_state_add(p, profile_make_state(p, UINT64_MAX - take(s) % 8), take_time(s));
    } else if (what == 4) {
        profile_enter(p, take(s), take_time(s));
    } else if (what == 5) {
        profile_leave(p, take(s));
    } else if (what == 6) {
        profile_make_interest(p, take(s) % 40, &is_new)->sequence = take(s);
    } else if (what == 7) {
        profile_add_merged(p, profile_id_make(take_time(s), take(s), take(s)));
    } else if (what == 8) {
        (void)profile_add_refused(p, UINT64_MAX - take(s));
    } else {
        set_purchase(p, s);
    }
}

static void build(struct slice bytes)
{
    struct steps s = {bytes.data, bytes.data + bytes.len};
    struct profile *p = profile_new(profile_id_make(take_time(&s), take(&s), take(&s)));
    p->is_frozen = take(&s) % 2;
    p->deferred_next = p->is_frozen ? take(&s) : 0;
    while (s.at < s.end) {
        step(p, &s);
    }
    ensure_round_trip(p);
    profile_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct profile *p = NULL;
    struct error err;
    if (profile_unpack(slice_make(data, size), &p, &err)) {
        ensure_round_trip(p);
        profile_free(&p);
    } else {
        ensure(err.kind == ERROR_CORRUPT);
    }
    build(slice_make(data, size));
    return 0;
}
