/* Reading and writing profiles: profile_pack() and profile_unpack() of profile.h.
 *
 * stored: an array of PROFILE_MEMBERS in this order; never renumber. Earlier versions wrote fewer:
 * no claims, before that not where browsers were seen, and before that no purchases: those of such
 * a profile are incomplete until it is brought up to date. */
#include "hub/profile/claims.h"
#include "hub/profile/purchases.h"

enum { PROFILE_FORMAT = 1, PROFILE_MEMBERS = 21 };

static void pack_people(const struct profile *p, msgpack_packer *k)
{
    msgpack_pack_array(k, p->identifier_count * 4);
    for (size_t i = 0; i < p->identifier_count; i++) {
        value_pack_text(k, p->identifiers[i].id.type);
        value_pack_text(k, p->identifiers[i].id.value);
        msgpack_pack_int64(k, p->identifiers[i].first_seen_ms);
        msgpack_pack_int64(k, p->identifiers[i].last_seen_ms);
    }
    msgpack_pack_array(k, p->trait_count * 5);
    for (size_t i = 0; i < p->trait_count; i++) {
        value_pack_text(k, p->traits[i].name);
        value_pack_bin(k, p->traits[i].value);
        msgpack_pack_int64(k, p->traits[i].at_ms);
        value_pack_text(k, p->traits[i].message_id);
        value_pack_text(k, p->traits[i].source);
    }
    msgpack_pack_array(k, p->consent_count * 5);
    for (size_t i = 0; i < p->consent_count; i++) {
        value_pack_text(k, p->consents[i].category);
        msgpack_pack_int(k, p->consents[i].granted);
        msgpack_pack_int64(k, p->consents[i].at_ms);
        value_pack_text(k, p->consents[i].message_id);
        value_pack_text(k, p->consents[i].source);
    }
}

static void pack_states(const struct profile *p, msgpack_packer *k)
{
    msgpack_pack_array(k, p->state_count * 2);
    for (size_t i = 0; i < p->state_count; i++) {
        uint64_t before = 0;
        msgpack_pack_uint64(k, p->states[i].condition);
        msgpack_pack_array(k, p->states[i].count);
        for (uint32_t t = 0; t < p->states[i].count; t++) {
            uint64_t time = (uint64_t)p->states[i].times[t];
            msgpack_pack_int64(k, (int64_t)(time - before));
            before = time;
        }
    }
}

static void pack_rest(const struct profile *p, msgpack_packer *k)
{
    msgpack_pack_array(k, p->membership_count * 2);
    for (size_t i = 0; i < p->membership_count; i++) {
        msgpack_pack_uint32(k, p->memberships[i].segment);
        msgpack_pack_int64(k, p->memberships[i].since_ms);
    }
    msgpack_pack_array(k, p->interest_count * 2);
    for (size_t i = 0; i < p->interest_count; i++) {
        msgpack_pack_uint32(k, p->interests[i].collector);
        msgpack_pack_uint64(k, p->interests[i].sequence);
    }
    msgpack_pack_array(k, p->merged_count);
    for (size_t i = 0; i < p->merged_count; i++) {
        value_pack_bin(k, profile_id_slice(&p->merged[i]));
    }
    msgpack_pack_array(k, p->refused_count);
    for (size_t i = 0; i < p->refused_count; i++) {
        msgpack_pack_uint64(k, p->refused[i]);
    }
}

void profile_pack(const struct profile *p, struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, PROFILE_MEMBERS);
    msgpack_pack_int(&k, PROFILE_FORMAT);
    value_pack_bin(&k, profile_id_slice(&p->id));
    msgpack_pack_int64(&k, p->created_ms);
    msgpack_pack_int64(&k, p->last_seen_ms);
    msgpack_pack_uint64(&k, p->event_count);
    msgpack_pack_uint64(&k, p->version);
    msgpack_pack_uint64(&k, p->catalog_version);
    msgpack_pack_int64(&k, p->timer_ms);
    msgpack_pack_uint64(&k, p->journal_next);
    msgpack_pack_uint64(&k, p->is_frozen ? p->deferred_next + 1 : 0);
    pack_people(p, &k);
    pack_states(p, &k);
    pack_rest(p, &k);
    purchases_pack(p, &k);
    msgpack_pack_array(&k, p->identifier_count);
    for (size_t i = 0; i < p->identifier_count; i++) {
        msgpack_pack_uint64(&k, p->identifiers[i].seen_at);
    }
    claims_pack(p, &k);
}

/* A list of `width` objects an element; the first that does not fit spoils the rest. */
struct list {
    const msgpack_object *at;
    size_t count;
    bool *fine;
};

static struct list list_of(const msgpack_object *object, size_t width, bool *fine)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size % width != 0) {
        *fine = false;
        return (struct list){NULL, 0, fine};
    }
    return (struct list){object->via.array.ptr, object->via.array.size / width, fine};
}

static struct slice take_text(struct list *l)
{
    struct slice text = slice_make(NULL, 0);
    *l->fine = value_text(l->at++, &text) && *l->fine;
    return text;
}

static struct slice take_bin(struct list *l)
{
    struct slice bin = slice_make(NULL, 0);
    *l->fine = value_bin(l->at++, &bin) && *l->fine;
    return bin;
}

static int64_t take_int(struct list *l)
{
    int64_t value = 0;
    *l->fine = value_int(l->at++, &value) && *l->fine;
    return value;
}

/* What counts or numbers something: never negative, else it could not be written again. */
static uint64_t take_count(struct list *l, uint64_t max)
{
    int64_t value = take_int(l);
    *l->fine = value >= 0 && (uint64_t)value <= max && *l->fine;
    return (uint64_t)value;
}

/* Hashes use all 64 bits. */
static uint64_t take_hash(struct list *l)
{
    const msgpack_object *object = l->at++;
    *l->fine = object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && *l->fine;
    return object->via.u64;
}

static void read_people(struct profile *p, const msgpack_object *at, bool *fine)
{
    struct list l = list_of(&at[0], 4, fine);
    for (size_t i = 0; *fine && i < l.count; i++) {
        struct identifier id = {.type = take_text(&l)};
        id.value = take_text(&l);
        int64_t first = take_int(&l);
        (void)profile_see_identifier(p, id, first, take_int(&l));
    }
    l = list_of(&at[1], 5, fine);
    for (size_t i = 0; *fine && i < l.count; i++) {
        struct profile_trait t = {.name = take_text(&l)};
        t.value = take_bin(&l);
        t.at_ms = take_int(&l);
        t.message_id = take_text(&l);
        t.source = take_text(&l);
        (void)profile_set_trait(p, &t);
    }
    l = list_of(&at[2], 5, fine);
    for (size_t i = 0; *fine && i < l.count; i++) {
        struct profile_consent c = {.category = take_text(&l)};
        c.granted = take_int(&l) != 0;
        c.at_ms = take_int(&l);
        c.message_id = take_text(&l);
        c.source = take_text(&l);
        (void)profile_set_consent(p, &c);
    }
}

static void read_states(struct profile *p, const msgpack_object *object, bool *fine)
{
    struct list l = list_of(object, 2, fine);
    for (size_t i = 0; *fine && i < l.count; i++) {
        struct profile_state *state = profile_make_state(p, take_hash(&l));
        struct list times = list_of(l.at++, 1, fine);
        uint64_t before = 0;
        for (size_t t = 0; *fine && t < times.count; t++) {
            before += (uint64_t)take_int(&times); /* wraps, as it did when it was written */
            profile_state_add(p, state, (int64_t)before);
        }
    }
}

static void read_rest(struct profile *p, const msgpack_object *at, bool *fine)
{
    struct list l = list_of(&at[0], 2, fine);
    for (size_t i = 0; *fine && i < l.count; i++) {
        uint32_t segment = (uint32_t)take_count(&l, UINT32_MAX);
        profile_enter(p, segment, take_int(&l));
    }
    l = list_of(&at[1], 2, fine);
    for (size_t i = 0; *fine && i < l.count; i++) {
        bool is_new;
        struct profile_interest *interest =
            profile_make_interest(p, (uint32_t)take_count(&l, UINT32_MAX), &is_new);
        interest->sequence = take_count(&l, INT64_MAX);
    }
    l = list_of(&at[2], 1, fine);
    for (size_t i = 0; *fine && i < l.count; i++) {
        struct profile_id id = {0};
        *fine = profile_id_from_slice(take_bin(&l), &id) && *fine;
        profile_add_merged(p, id);
    }
    l = list_of(&at[3], 1, fine);
    for (size_t i = 0; *fine && i < l.count; i++) {
        (void)profile_add_refused(p, take_hash(&l));
    }
}

static void read_seen_at(struct profile *p, const msgpack_object *object, bool *fine)
{
    struct list l = list_of(object, 1, fine);
    *fine = *fine && l.count == p->identifier_count;
    for (size_t i = 0; *fine && i < l.count; i++) {
        p->identifiers[i].seen_at = take_hash(&l);
    }
}

/* A profile that one collector alone has an interest in was seen there. Of others it shows when
 * their browsers come again. */
static void assume_seen_at(struct profile *p)
{
    bool is_one = p->interest_count == 1 && p->interests[0].collector != SHARED_OUTBOX;
    for (size_t i = 0; is_one && i < p->identifier_count; i++) {
        if (slice_is(p->identifiers[i].id.type, "anonymous_id")) {
            p->identifiers[i].seen_at = 1;
        }
    }
}

static struct profile *read_profile(const msgpack_object *root, bool *fine)
{
    size_t members = root->type == MSGPACK_OBJECT_ARRAY ? root->via.array.size : 0;
    bool has_purchases = members >= PROFILE_MEMBERS - 2;
    bool has_seen_at = members >= PROFILE_MEMBERS - 1;
    *fine = members >= PROFILE_MEMBERS - 3 && members <= PROFILE_MEMBERS;
    struct list head = list_of(root, *fine ? members : 1, fine);
    struct profile_id id = {0};
    if (!*fine || head.count != 1 || take_int(&head) != PROFILE_FORMAT ||
        !profile_id_from_slice(take_bin(&head), &id)) {
        *fine = false;
        return NULL;
    }
    struct profile *p = profile_new(id);
    p->created_ms = take_int(&head);
    p->last_seen_ms = take_int(&head);
    p->event_count = take_count(&head, INT64_MAX);
    p->version = take_count(&head, INT64_MAX);
    p->catalog_version = take_count(&head, INT64_MAX);
    p->timer_ms = take_int(&head);
    p->journal_next = take_count(&head, INT64_MAX);
    int64_t frozen = take_int(&head);
    p->is_frozen = frozen > 0;
    p->deferred_next = frozen > 0 ? (uint64_t)frozen - 1 : 0;
    read_people(p, head.at, fine);
    read_states(p, head.at + 3, fine);
    read_rest(p, head.at + 4, fine);
    *fine = *fine && (!has_purchases || purchases_unpack(head.at + 8, p));
    if (*fine && has_seen_at) {
        read_seen_at(p, head.at + 9, fine);
    } else {
        assume_seen_at(p);
    }
    *fine = *fine && (members < PROFILE_MEMBERS || claims_unpack(head.at + 10, p));
    return p;
}

bool profile_unpack(struct slice bytes, struct profile **ret, struct error *err)
{
    msgpack_zone zone;
    msgpack_object root;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    bool fine = value_unpack(bytes, &zone, &root, err);
    struct profile *p = fine ? read_profile(&root, &fine) : NULL;
    msgpack_zone_destroy(&zone);
    if (!fine) {
        profile_free(&p);
        return error_set(err, ERROR_CORRUPT, "a stored profile cannot be read");
    }
    *ret = p;
    return true;
}

enum { WASTE_FACTOR = 6, WASTE_BYTES = 8192 };

void profile_compact(struct profile *profile, struct slice packed)
{
    struct profile *fresh;
    struct error err;
    if (arena_size(&profile->arena) < packed.len * WASTE_FACTOR + WASTE_BYTES) {
        return;
    }
    bool fine = profile_unpack(packed, &fresh, &err);
    ensure(fine); /* it was packed a moment ago */
    struct profile old = *profile;
    *profile = *fresh;
    *fresh = old;
    profile_free(&fresh);
}
