#include "hub/card.h"

enum { CARD_IDENTIFIERS_MAX = 256 };

/* The latest seen are at the end: profiles add identifiers in the order they come. */
static void put_identifiers(const struct profile *p, msgpack_packer *k)
{
    size_t skip =
        p->identifier_count > CARD_IDENTIFIERS_MAX ? p->identifier_count - CARD_IDENTIFIERS_MAX : 0;
    msgpack_pack_array(k, p->identifier_count - skip);
    for (size_t i = skip; i < p->identifier_count; i++) {
        msgpack_pack_array(k, 2);
        value_pack_text(k, p->identifiers[i].id.type);
        value_pack_text(k, p->identifiers[i].id.value);
    }
}

static void put_segments(const struct profile *p, const struct catalog *catalog, bool with_names,
                         msgpack_packer *k)
{
    size_t count = 0;
    for (size_t i = 0; i < p->membership_count; i++) {
        count += catalog_segment_key(catalog, p->memberships[i].segment).len > 0;
    }
    msgpack_pack_array(k, count);
    for (size_t i = 0; i < p->membership_count; i++) {
        struct catalog_segment segment = catalog_segment_of(catalog, p->memberships[i].segment);
        bool is_named = with_names && segment.name.len > 0;
        if (segment.key.len == 0) {
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

static bool goes_to_edge(const struct profile_trait *trait, const struct catalog *catalog)
{
    bool is_deleted = trait->value.len == 1 && trait->value.data[0] == 0xc0;
    return !is_deleted && catalog_is_edge_trait(catalog, trait->name);
}

static void put_traits(const struct profile *p, const struct catalog *catalog, struct buf *out,
                       msgpack_packer *k)
{
    size_t count = 0;
    for (size_t i = 0; i < p->trait_count; i++) {
        count += goes_to_edge(&p->traits[i], catalog);
    }
    msgpack_pack_map(k, count);
    for (size_t i = 0; i < p->trait_count; i++) {
        if (goes_to_edge(&p->traits[i], catalog)) {
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

void card_write(const struct profile *p, const struct catalog *catalog, int64_t now_ms,
                bool is_full, struct buf *out)
{
    msgpack_packer k;
    size_t merged = p->merged_count > CARD_MERGED_MAX ? CARD_MERGED_MAX : p->merged_count;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, CARD_MEMBERS - !is_full);
    value_pack_bin(&k, profile_id_slice(&p->id));
    msgpack_pack_uint64(&k, p->version);
    msgpack_pack_int64(&k, now_ms);
    put_identifiers(p, &k);
    put_segments(p, catalog, is_full, &k);
    put_traits(p, catalog, out, &k);
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
    if (is_full) {
        put_purchases(p, &k);
    }
}
