#include "hub/card.h"

static bool is_browser(const struct profile_identifier *id)
{
    return slice_is(id->id.type, "anonymous_id");
}

/* ---- Browsers ---- */

/* Of a browser that somebody else was proven to be at since nothing is evident any more. */
static int64_t evidence_of(const struct profile_identifier *browser)
{
    return browser->parted_ms >= browser->evidence_ms ? 0 : browser->evidence_ms;
}

int64_t card_evidence_at(const struct profile *p, struct slice anonymous_id)
{
    const struct profile_identifier *browser =
        profile_find_identifier(p, (struct identifier){slice_text("anonymous_id"), anonymous_id});
    return browser == NULL ? 0 : evidence_of(browser);
}

/* Is `a` named before `b`? An order of all browsers, so that the same are named whatever came
 * first. */
static bool comes_before(const struct profile_identifier *a, const struct profile_identifier *b)
{
    int64_t at_a = evidence_of(a);
    int64_t at_b = evidence_of(b);
    return at_a != at_b ? at_a > at_b : slice_compare(a->id.value, b->id.value) < 0;
}

bool card_has_browser(const struct profile *p, uint32_t collector, struct slice anonymous_id)
{
    const struct profile_identifier *browser =
        profile_find_identifier(p, (struct identifier){slice_text("anonymous_id"), anonymous_id});
    size_t before = 0;
    if (browser == NULL || !profile_is_seen_at(p, browser, collector)) {
        return false;
    }
    for (size_t i = 0; p->identifier_count > CARD_BROWSERS_MAX && i < p->identifier_count; i++) {
        const struct profile_identifier *other = &p->identifiers[i];
        before += is_browser(other) && profile_is_seen_at(p, other, collector) &&
                  comes_before(other, browser);
    }
    return before < CARD_BROWSERS_MAX;
}

struct chosen {
    size_t count;
    const struct profile_identifier *at[CARD_IDENTIFIERS_MAX];
};

/* Put in order; the last falls off where there are more than `max`. */
static void choose(struct chosen *c, size_t max, const struct profile_identifier *id,
                   bool (*before)(const struct profile_identifier *a,
                                  const struct profile_identifier *b))
{
    size_t at = c->count;
    if (at == max && !before(id, c->at[at - 1])) {
        return;
    }
    c->count = at < max ? at + 1 : max;
    for (at = c->count - 1; at > 0 && before(id, c->at[at - 1]); at--) {
        c->at[at] = c->at[at - 1];
    }
    c->at[at] = id;
}

static void choose_browsers(const struct profile *p, uint32_t collector, struct chosen *ret)
{
    for (size_t i = 0; i < p->identifier_count; i++) {
        const struct profile_identifier *id = &p->identifiers[i];
        if (is_browser(id) && profile_is_seen_at(p, id, collector)) {
            choose(ret, CARD_BROWSERS_MAX, id, comes_before);
        }
    }
}

static void put_browsers(const struct chosen *browsers, msgpack_packer *k)
{
    msgpack_pack_array(k, browsers->count);
    for (size_t i = 0; i < browsers->count; i++) {
        msgpack_pack_array(k, 2);
        value_pack_text(k, browsers->at[i]->id.value);
        msgpack_pack_int64(k, evidence_of(browsers->at[i]));
    }
}

/* ---- Identifiers ---- */

static bool is_seen_later(const struct profile_identifier *a, const struct profile_identifier *b)
{
    return a->last_seen_ms > b->last_seen_ms;
}

/* Those that name a person, or those that do not. */
static void choose_identifiers(const struct profile *p, const struct catalog *catalog, bool known,
                               struct chosen *ret)
{
    for (size_t i = 0; i < p->identifier_count; i++) {
        const struct profile_identifier *id = &p->identifiers[i];
        if (!is_browser(id) &&
            identity_rule_of(catalog_rules(catalog), id->id.type).is_known == known) {
            choose(ret, CARD_IDENTIFIERS_MAX, id, is_seen_later);
        }
    }
}

static void put_chosen(const struct chosen *c, size_t count, msgpack_packer *k)
{
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_array(k, 2);
        value_pack_text(k, c->at[i]->id.type);
        value_pack_text(k, c->at[i]->id.value);
    }
}

/* `browsers` stand among them for collectors that do not know better; else NULL. */
static void put_identifiers(const struct profile *p, const struct catalog *catalog,
                            const struct chosen *browsers, msgpack_packer *k)
{
    struct chosen known = {0};
    struct chosen others = {0};
    choose_identifiers(p, catalog, true, &known);
    choose_identifiers(p, catalog, false, &others);
    size_t room = CARD_IDENTIFIERS_MAX - known.count;
    size_t rest = others.count < room ? others.count : room;
    size_t last = browsers == NULL ? 0 : browsers->count;
    msgpack_pack_array(k, known.count + rest + last);
    put_chosen(&known, known.count, k);
    put_chosen(&others, rest, k);
    if (browsers != NULL) {
        put_chosen(browsers, last, k);
    }
}

/* ---- What is shown ---- */

/* Collectors that know of audiences get whatever is shown to somebody; older ones show all they
 * have to everybody, and get what everybody may see. */
static bool goes_to(enum card_shape shape, enum audience audience)
{
    return shape == CARD_BROWSERS ? audience != AUDIENCE_NOBODY : audience == AUDIENCE_ALL;
}

static void put_segments(const struct profile *p, const struct catalog *catalog,
                         enum card_shape shape, msgpack_packer *k)
{
    size_t count = 0;
    for (size_t i = 0; i < p->membership_count; i++) {
        count += goes_to(shape, catalog_segment_of(catalog, p->memberships[i].segment).edge);
    }
    msgpack_pack_array(k, count);
    for (size_t i = 0; i < p->membership_count; i++) {
        struct catalog_segment segment = catalog_segment_of(catalog, p->memberships[i].segment);
        bool is_named = shape == CARD_NAMED && segment.name.len > 0;
        if (!goes_to(shape, segment.edge)) {
            continue;
        }
        msgpack_pack_array(k, is_named ? 3 : 2);
        value_pack_text(k, segment.key);
        msgpack_pack_int64(k, p->memberships[i].since_ms);
        if (is_named) {
            value_pack_text(k, segment.name);
        }
    }
}

static bool trait_goes_to(enum card_shape shape, const struct profile_trait *trait,
                          const struct catalog *catalog)
{
    bool is_deleted = trait->value.len == 1 && trait->value.data[0] == 0xc0;
    return !is_deleted && goes_to(shape, catalog_trait_audience(catalog, trait->name));
}

static void put_traits(const struct profile *p, const struct catalog *catalog,
                       enum card_shape shape, struct buf *out)
{
    msgpack_packer packer;
    msgpack_packer *k = &packer;
    size_t count = 0;
    value_packer_init(k, out);
    for (size_t i = 0; i < p->trait_count; i++) {
        count += trait_goes_to(shape, &p->traits[i], catalog);
    }
    msgpack_pack_map(k, count);
    for (size_t i = 0; i < p->trait_count; i++) {
        if (trait_goes_to(shape, &p->traits[i], catalog)) {
            value_pack_text(k, p->traits[i].name);
            buf_put_slice(out, p->traits[i].value);
        }
    }
}

static void put_consents(const struct profile *p, msgpack_packer *k)
{
    msgpack_pack_map(k, p->consent_count);
    for (size_t i = 0; i < p->consent_count; i++) {
        value_pack_text(k, p->consents[i].category);
        msgpack_pack_array(k, 3);
        if (p->consents[i].granted) {
            msgpack_pack_true(k);
        } else {
            msgpack_pack_false(k);
        }
        msgpack_pack_int64(k, p->consents[i].at_ms);
        value_pack_text(k, p->consents[i].source);
    }
}

static void put_text(struct slice text, msgpack_packer *k)
{
    if (text.len == 0) {
        msgpack_pack_nil(k);
    } else {
        value_pack_text(k, text);
    }
}

static void put_purchases(const struct profile *p, msgpack_packer *k)
{
    msgpack_pack_array(k, p->purchase_count);
    for (size_t i = 0; i < p->purchase_count; i++) {
        const struct profile_purchase *one = &p->purchases[i];
        msgpack_pack_array(k, CARD_PURCHASE_MEMBERS);
        msgpack_pack_int64(k, one->at_ms);
        value_pack_text(k, one->name);
        if (one->has_total) {
            msgpack_pack_double(k, one->total);
        } else {
            msgpack_pack_nil(k);
        }
        put_text(one->currency, k);
        put_text(one->order_id, k);
        value_pack_text(k, one->source);
    }
}

static uint32_t members_of(enum card_shape shape)
{
    return shape == CARD_BROWSERS ? CARD_MEMBERS
           : shape == CARD_NAMED  ? CARD_MEMBERS - 1
                                  : CARD_MEMBERS - 2;
}

void card_write(const struct profile *p, const struct catalog *catalog, struct card_reader reader,
                int64_t now_ms, struct buf *out)
{
    msgpack_packer k;
    struct chosen browsers = {0};
    size_t merged = p->merged_count > CARD_MERGED_MAX ? CARD_MERGED_MAX : p->merged_count;
    choose_browsers(p, reader.collector, &browsers);
    value_packer_init(&k, out);
    msgpack_pack_array(&k, members_of(reader.shape));
    value_pack_bin(&k, profile_id_slice(&p->id));
    msgpack_pack_uint64(&k, p->version);
    msgpack_pack_int64(&k, now_ms);
    put_identifiers(p, catalog, reader.shape == CARD_BROWSERS ? NULL : &browsers, &k);
    put_segments(p, catalog, reader.shape, &k);
    put_traits(p, catalog, reader.shape, out);
    put_consents(p, &k);
    msgpack_pack_array(&k, merged);
    for (size_t i = p->merged_count - merged; i < p->merged_count; i++) {
        value_pack_bin(&k, profile_id_slice(&p->merged[i]));
    }
    if (catalog_is_known(catalog, p)) {
        msgpack_pack_true(&k);
    } else {
        msgpack_pack_false(&k);
    }
    if (reader.shape >= CARD_NAMED) {
        put_purchases(p, &k);
    }
    if (reader.shape == CARD_BROWSERS) {
        put_browsers(&browsers, &k);
    }
}
