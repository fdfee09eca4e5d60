/* Merges: how profiles that belong together become one, over partitions.
 *
 * An identifier that is new to a profile is reserved at its home. Where it has another owner that
 * starts a merge of the two. Ids are totally ordered by age and the older survives, so redirects
 * never form a circle. The younger is frozen and proposed to the older; that one checks the
 * limits and accepts or refuses; only then does the state move. What arrives for a frozen profile
 * is deferred. A frozen profile waits only for older ones, so waiting never forms a circle
 * either.
 *
 * Messages (each an array that begins with its type):
 *   RESERVE  type value taker message_id at
 *   MERGE    a b taker_is_a type value message_id at
 *   PROPOSE  loser survivor taker_is_loser type value message_id at [[type, value]…]
 *   ACCEPTED loser survivor
 *   REFUSED  loser survivor taker_is_loser type value message_id at reason
 *   ABSORB   survivor profile [timeline key tail, record …] [journal entry …]
 *   REPOINT  loser survivor type value
 *
 * `at` is followed by the kind of evidence; in messages of earlier versions it is not.
 */
#include "hub/partition/arrival.h"
#include "hub/partition/business_keys.h"

/* ---- Reading and writing messages ---- */

struct reader {
    const msgpack_object *at;
    uint32_t left;
    bool fine;
    bool has_kind; /* its evidence has one */
};

static struct reader reader_of(const msgpack_object *m, uint32_t count)
{
    return (struct reader){m->via.array.ptr + 1, m->via.array.size - 1,
                           m->via.array.size == count + 1, false};
}

/* With an evidence among its members. */
static struct reader reader_of_evidence(const msgpack_object *m, uint32_t count)
{
    struct reader r = reader_of(m, count);
    r.has_kind = m->via.array.size == count + 2;
    r.fine = r.fine || r.has_kind;
    return r;
}

static const msgpack_object *take(struct reader *r)
{
    if (r->left == 0) {
        r->fine = false;
    }
    return r->fine ? (r->left--, r->at++) : NULL;
}

static struct slice take_text(struct reader *r)
{
    struct slice text = slice_make(NULL, 0);
    r->fine = value_text(take(r), &text) && r->fine;
    return text;
}

static struct profile_id take_id(struct reader *r)
{
    struct slice bytes = slice_make(NULL, 0);
    struct profile_id id = {0};
    r->fine = value_bin(take(r), &bytes) && profile_id_from_slice(bytes, &id) && r->fine;
    return id;
}

static bool take_bool(struct reader *r)
{
    bool value = false;
    r->fine = value_bool(take(r), &value) && r->fine;
    return value;
}

static struct evidence take_evidence(struct reader *r)
{
    struct evidence why = {.id.type = take_text(r)};
    why.id.value = take_text(r);
    why.message_id = take_text(r);
    r->fine = value_int(take(r), &why.at_ms) && r->fine;
    if (r->has_kind) {
        int64_t kind = EVIDENCE_NONE;
        r->fine = value_int(take(r), &kind) && r->fine;
        why.kind = (enum evidence_kind)kind;
    }
    return why;
}

static bool damaged(struct error *err)
{
    return error_set(err, ERROR_CORRUPT, "a message about identities is damaged");
}

struct writer {
    struct buf out;
    msgpack_packer k;
};

static void writer_start(struct writer *w, enum message_type type, size_t members)
{
    buf_init(&w->out, SIZE_MAX / 2);
    value_packer_init(&w->k, &w->out);
    msgpack_pack_array(&w->k, members + 1);
    msgpack_pack_int(&w->k, (int)type);
}

static void put_id(struct writer *w, struct profile_id id)
{
    value_pack_bin(&w->k, profile_id_slice(&id));
}

static void put_bool(struct writer *w, bool value)
{
    if (value) {
        msgpack_pack_true(&w->k);
    } else {
        msgpack_pack_false(&w->k);
    }
}

static void put_evidence(struct writer *w, const struct evidence *why)
{
    value_pack_text(&w->k, why->id.type);
    value_pack_text(&w->k, why->id.value);
    value_pack_text(&w->k, why->message_id);
    msgpack_pack_int64(&w->k, why->at_ms);
    msgpack_pack_int(&w->k, (int)why->kind);
}

/* How many members that are. */
enum { EVIDENCE_MEMBERS = 5 };

static void writer_send(struct writer *w, struct partition *p, uint32_t to)
{
    partition_send(p, to, buf_slice(&w->out));
    buf_done(&w->out);
}

/* ---- The journal ---- */

void identity_journal(struct partition *p, struct profile *profile, enum journal_kind kind,
                      const struct evidence *why, struct identifier with,
                      const struct profile_id *other, const char *rule)
{
    struct writer w;
    struct key key = key_journal(profile->id, profile->journal_next++);
    buf_init(&w.out, 64 * 1024);
    value_packer_init(&w.k, &w.out);
    msgpack_pack_array(&w.k, 10);
    msgpack_pack_int(&w.k, (int)kind);
    value_pack_text(&w.k, why->id.type);
    value_pack_text(&w.k, why->id.value);
    value_pack_text(&w.k, why->message_id);
    msgpack_pack_int64(&w.k, why->at_ms);
    value_pack_text(&w.k, with.type);
    value_pack_text(&w.k, with.value);
    if (other != NULL) {
        put_id(&w, *other);
    } else {
        msgpack_pack_nil(&w.k);
    }
    value_pack_cstr(&w.k, rule);
    msgpack_pack_int(&w.k, (int)why->kind);
    view_put(&p->view, &key, buf_slice(&w.out));
    buf_done(&w.out);
}

static const struct identifier nothing = {{(const uint8_t *)"", 0}, {(const uint8_t *)"", 0}};

/* ---- Freezing ---- */

void identity_defer(struct partition *p, struct profile *profile, struct slice message)
{
    struct key key = key_deferred(profile->id, profile->deferred_next++);
    view_put(&p->view, &key, message);
    partition_changed(p, profile);
}

/* Handle again what was kept while the profile was frozen, in its order. */
static bool release(struct partition *p, struct profile *profile, struct error *err)
{
    struct buf message;
    bool fine = true;
    buf_init(&message, SIZE_MAX / 2);
    for (uint64_t n = 0; fine && n < profile->deferred_next; n++) {
        struct key key = key_deferred(profile->id, n);
        bool found = false;
        fine = view_get(&p->view, &key, &message, &found, err);
        if (fine && found) {
            partition_send(p, p->options.index, buf_slice(&message));
            view_delete(&p->view, &key);
        }
    }
    profile->is_frozen = false;
    profile->deferred_next = 0;
    buf_done(&message);
    return fine;
}

/* ---- Reservations ---- */

void identity_reserve(struct partition *p, struct profile_id taker, const struct evidence *why)
{
    struct writer w;
    writer_start(&w, MESSAGE_RESERVE, 1 + EVIDENCE_MEMBERS);
    put_id(&w, taker);
    put_evidence(&w, why);
    writer_send(&w, p, home_of(why->id, p->options.count));
}

static void send_merge(struct partition *p, struct profile_id a, struct profile_id b,
                       bool taker_is_a, const struct evidence *why)
{
    struct writer w;
    struct profile_id younger = profile_id_compare(a, b) > 0 ? a : b;
    writer_start(&w, MESSAGE_MERGE, 3 + EVIDENCE_MEMBERS);
    put_id(&w, a);
    put_id(&w, b);
    put_bool(&w, taker_is_a);
    put_evidence(&w, why);
    writer_send(&w, p, profile_id_partition(younger));
}

bool identity_on_reserve(struct partition *p, const msgpack_object *m, struct error *err)
{
    struct reader r = reader_of_evidence(m, 5);
    struct profile_id taker = take_id(&r);
    struct evidence why = take_evidence(&r);
    struct key key;
    struct buf value;
    struct profile_id owner = {0};
    bool found = false;
    if (!r.fine) {
        return damaged(err);
    }
    key = key_identifier(why.id);
    buf_init(&value, 64);
    bool fine = view_get(&p->view, &key, &value, &found, err);
    if (fine && found && !profile_id_from_slice(buf_slice(&value), &owner)) {
        fine = damaged(err);
    }
    buf_done(&value);
    if (fine && !found) {
        view_put(&p->view, &key, profile_id_slice(&taker));
    } else if (fine && !profile_id_equal(owner, taker)) {
        send_merge(p, owner, taker, false, &why);
    }
    return fine;
}

/* Only what points to the loser itself: an identifier that the loser had reserved in vain belongs
 * to another, and one that points to a still older loser is found by way of redirects. */
bool identity_on_repoint(struct partition *p, const msgpack_object *m, struct error *err)
{
    struct reader r = reader_of(m, 4);
    struct profile_id loser = take_id(&r);
    struct profile_id survivor = take_id(&r);
    struct identifier id = {.type = take_text(&r)};
    struct profile_id owner = {0};
    struct buf value;
    bool found = false;
    id.value = take_text(&r);
    if (!r.fine) {
        return damaged(err);
    }
    struct key key = key_identifier(id);
    buf_init(&value, 64);
    bool fine = view_get(&p->view, &key, &value, &found, err);
    if (fine && found && profile_id_from_slice(buf_slice(&value), &owner) &&
        profile_id_equal(owner, loser)) {
        view_put(&p->view, &key, profile_id_slice(&survivor));
    }
    buf_done(&value);
    return fine;
}

/* ---- Merges ---- */

static void propose(struct partition *p, struct profile *loser, struct profile_id survivor,
                    bool taker_is_loser, const struct evidence *why)
{
    struct writer w;
    size_t limited = 0;
    const struct identity_rules *rules = catalog_rules(p->catalog);
    for (size_t i = 0; i < loser->identifier_count; i++) {
        limited += identity_rule_of(rules, loser->identifiers[i].id.type).limit > 0;
    }
    writer_start(&w, MESSAGE_PROPOSE, 4 + EVIDENCE_MEMBERS);
    put_id(&w, loser->id);
    put_id(&w, survivor);
    put_bool(&w, taker_is_loser);
    put_evidence(&w, why);
    msgpack_pack_array(&w.k, limited);
    for (size_t i = 0; i < loser->identifier_count; i++) {
        struct identifier id = loser->identifiers[i].id;
        if (identity_rule_of(rules, id.type).limit > 0) {
            msgpack_pack_array(&w.k, 2);
            value_pack_text(&w.k, id.type);
            value_pack_text(&w.k, id.value);
        }
    }
    loser->is_frozen = true;
    partition_changed(p, loser);
    writer_send(&w, p, profile_id_partition(survivor));
}

bool identity_on_merge(struct partition *p, const msgpack_object *m, struct slice message,
                       struct error *err)
{
    struct reader r = reader_of_evidence(m, 7);
    struct profile_id a = take_id(&r);
    struct profile_id b = take_id(&r);
    bool taker_is_a = take_bool(&r);
    struct evidence why = take_evidence(&r);
    struct profile *younger;
    struct profile_id went_to;
    if (!r.fine) {
        return damaged(err);
    }
    bool a_is_younger = profile_id_compare(a, b) > 0;
    struct profile_id id = a_is_younger ? a : b;
    if (profile_id_equal(a, b)) {
        return true;
    }
    if (!partition_locate(p, id, &younger, &went_to, err)) {
        return false;
    }
    if (younger == NULL) {
        if (!profile_id_equal(went_to, id) && !profile_id_equal(went_to, a_is_younger ? b : a)) {
            send_merge(p, a_is_younger ? went_to : a, a_is_younger ? b : went_to, taker_is_a, &why);
        }
        return true;
    }
    if (younger->is_frozen) {
        identity_defer(p, younger, message);
    } else {
        propose(p, younger, a_is_younger ? b : a, taker_is_a == a_is_younger, &why);
    }
    return true;
}

/* Would the two together have more of a type than its limit? */
static bool exceeds_limit(struct partition *p, const struct profile *survivor,
                          const msgpack_object *limited)
{
    const struct identity_rules *rules = catalog_rules(p->catalog);
    for (uint32_t i = 0; i < limited->via.array.size; i++) {
        struct reader r = {limited->via.array.ptr[i].via.array.ptr, 2, true, false};
        struct identifier id = {.type = take_text(&r)};
        size_t more = 0;
        id.value = take_text(&r);
        for (uint32_t j = 0; j < limited->via.array.size; j++) {
            struct reader o = {limited->via.array.ptr[j].via.array.ptr, 2, true, false};
            struct identifier other = {.type = take_text(&o)};
            other.value = take_text(&o);
            more += slice_equal(other.type, id.type) &&
                    profile_find_identifier(survivor, other) == NULL;
        }
        int64_t limit = identity_rule_of(rules, id.type).limit;
        if (limit > 0 && more > 0 &&
            profile_count_identifiers(survivor, id.type) + more > (size_t)limit) {
            return true;
        }
    }
    return false;
}

/* The reserved identifier stays with its owner; the taker gives it up and remembers. */
static bool give_up(struct partition *p, struct profile *taker, const struct evidence *why,
                    struct error *err)
{
    struct key key = key_identifier(why->id);
    bool was_known = partition_is_known(p, taker);
    partition_share(p, taker);
    profile_drop_identifier(taker, why->id);
    (void)profile_add_refused(taker, hash_of(key_slice(&key)));
    partition_changed(p, taker);
    p->stats.known -= was_known && !partition_is_known(p, taker);
    return partition_settle(p, taker, (struct catalog_touch){.identifiers = true}, true, err);
}

static const char refused_rule[] =
    "together the two profiles would have more of a type than the identity rules allow";

static bool refuse_merge(struct partition *p, struct profile *survivor, struct profile_id loser,
                         bool taker_is_loser, const struct evidence *why, struct error *err)
{
    struct writer w;
    identity_journal(p, survivor, JOURNAL_REFUSED, why, nothing, &loser, refused_rule);
    p->stats.refused_links++;
    if (!taker_is_loser && !give_up(p, survivor, why, err)) {
        return false;
    }
    partition_changed(p, survivor);
    writer_start(&w, MESSAGE_REFUSED, 3 + EVIDENCE_MEMBERS);
    put_id(&w, loser);
    put_id(&w, survivor->id);
    put_bool(&w, taker_is_loser);
    put_evidence(&w, why);
    writer_send(&w, p, profile_id_partition(loser));
    return true;
}

static void accept_merge(struct partition *p, struct profile *survivor, struct profile_id loser,
                         const msgpack_object *limited, const struct evidence *why)
{
    struct writer w;
    /* Reserved now, so that a merge decided in between counts them. */
    for (uint32_t i = 0; i < limited->via.array.size; i++) {
        struct reader r = {limited->via.array.ptr[i].via.array.ptr, 2, true, false};
        struct identifier id = {.type = take_text(&r)};
        id.value = take_text(&r);
        /* When it was seen comes with the loser: the time of this merge would stay for ever. */
        (void)profile_see_identifier(survivor, id, INT64_MAX, INT64_MIN);
    }
    identity_journal(p, survivor, JOURNAL_MERGE, why, nothing, &loser, "same identifier");
    partition_changed(p, survivor);
    writer_start(&w, MESSAGE_ACCEPTED, 2);
    put_id(&w, loser);
    put_id(&w, survivor->id);
    writer_send(&w, p, profile_id_partition(loser));
}

static bool is_pairs(const msgpack_object *list)
{
    bool fine = value_is(list, MSGPACK_OBJECT_ARRAY);
    for (uint32_t i = 0; fine && i < list->via.array.size; i++) {
        fine = list->via.array.ptr[i].type == MSGPACK_OBJECT_ARRAY &&
               list->via.array.ptr[i].via.array.size == 2;
    }
    return fine;
}

/* The same message, with the profile at this place exchanged for the one it was merged into. */
static bool forward(struct partition *p, const msgpack_object *m, uint32_t place,
                    struct profile_id id, struct profile_id went_to, struct error *err)
{
    struct writer w;
    int64_t type = 0;
    if (profile_id_equal(id, went_to)) {
        return error_set(err, ERROR_CORRUPT, "a merge names a profile that never was");
    }
    (void)value_int(&m->via.array.ptr[0], &type);
    writer_start(&w, (enum message_type)type, m->via.array.size - 1);
    for (uint32_t i = 1; i < m->via.array.size; i++) {
        if (i == place) {
            put_id(&w, went_to);
        } else {
            msgpack_pack_object(&w.k, m->via.array.ptr[i]);
        }
    }
    writer_send(&w, p, profile_id_partition(went_to));
    return true;
}

bool identity_on_propose(struct partition *p, const msgpack_object *m, struct slice message,
                         struct error *err)
{
    struct reader r = reader_of_evidence(m, 8);
    struct profile_id loser = take_id(&r);
    struct profile_id id = take_id(&r);
    bool taker_is_loser = take_bool(&r);
    struct evidence why = take_evidence(&r);
    const msgpack_object *limited = take(&r);
    struct profile *survivor;
    struct profile_id went_to;
    if (!r.fine || !is_pairs(limited)) {
        return damaged(err);
    }
    if (!partition_locate(p, id, &survivor, &went_to, err)) {
        return false;
    }
    if (survivor == NULL) {
        return forward(p, m, 2, id, went_to, err);
    }
    if (survivor->is_frozen) {
        identity_defer(p, survivor, message);
    } else if (exceeds_limit(p, survivor, limited)) {
        return refuse_merge(p, survivor, loser, taker_is_loser, &why, err);
    } else {
        accept_merge(p, survivor, loser, limited, &why);
    }
    return true;
}

bool identity_on_refused(struct partition *p, const msgpack_object *m, struct error *err)
{
    struct reader r = reader_of_evidence(m, 7);
    struct profile_id id = take_id(&r);
    struct profile_id survivor = take_id(&r);
    bool taker_is_loser = take_bool(&r);
    struct evidence why = take_evidence(&r);
    struct profile *loser;
    if (!r.fine) {
        return damaged(err);
    }
    if (!partition_load(p, id, &loser, err)) {
        return false;
    }
    ensure(loser != NULL && loser->is_frozen);
    identity_journal(p, loser, JOURNAL_REFUSED, &why, nothing, &survivor, refused_rule);
    if (taker_is_loser && !give_up(p, loser, &why, err)) {
        return false;
    }
    partition_changed(p, loser);
    return release(p, loser, err);
}

struct shipping {
    struct writer *w;
    struct partition *partition;
    uint32_t count;
};

static bool ship_event(void *user, struct slice key, struct slice value)
{
    struct shipping *s = user;
    struct key copy = {.len = key.len};
    memcpy(copy.bytes, key.data, key.len);
    value_pack_bin(&s->w->k, slice_skip(key, KEY_PREFIX_PROFILE));
    value_pack_bin(&s->w->k, value);
    view_delete_only(&s->partition->view, &copy);
    s->count += 2;
    return true;
}

static bool ship_journal(void *user, struct slice key, struct slice value)
{
    struct shipping *s = user;
    struct key copy = {.len = key.len};
    memcpy(copy.bytes, key.data, key.len);
    value_pack_bin(&s->w->k, value);
    view_delete_only(&s->partition->view, &copy);
    s->count++;
    return true;
}

/* Records under a prefix as one array, whose count is filled in behind them. */
static bool ship(struct partition *p, struct writer *w, const struct key *key,
                 bool (*each)(void *user, struct slice key, struct slice value), struct error *err)
{
    struct shipping s = {.w = w, .partition = p};
    buf_put_u8(&w->out, 0xdd); /* array 32 */
    size_t count_at = w->out.len;
    buf_put_u32(&w->out, 0);
    if (!view_each(&p->view, key_prefix(key, KEY_PREFIX_PROFILE), each, &s, err)) {
        return false;
    }
    uint8_t *at = w->out.data + count_at;
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(s.count >> (24 - 8 * i));
    }
    return true;
}

static void repoint(struct partition *p, const struct profile *loser, struct profile_id survivor)
{
    for (size_t i = 0; i < loser->identifier_count; i++) {
        struct writer w;
        struct identifier id = loser->identifiers[i].id;
        writer_start(&w, MESSAGE_REPOINT, 4);
        put_id(&w, loser->id);
        put_id(&w, survivor);
        value_pack_text(&w.k, id.type);
        value_pack_text(&w.k, id.value);
        writer_send(&w, p, home_of(id, p->options.count));
    }
}

/* Leave nothing of the loser but a redirect. */
static void remove_loser(struct partition *p, struct profile *loser, struct profile_id survivor)
{
    struct key key = key_profile(loser->id);
    for (size_t i = 0; i < loser->membership_count; i++) {
        struct key member = key_member(loser->memberships[i].segment, loser->id);
        view_delete_only(&p->view, &member);
        partition_count_member(p, loser->memberships[i].segment, -1);
    }
    for (size_t i = 0; i < loser->interest_count; i++) {
        struct key edge = key_edge(loser->interests[i].collector, loser->interests[i].sequence);
        view_delete_only(&p->view, &edge);
    }
    if (loser->timer_ms > 0) {
        struct key timer = key_timer(loser->timer_ms, loser->id);
        view_delete_only(&p->view, &timer);
    }
    struct claim_list claims;
    partition_list_claims(loser, &claims);
    loser->claim_count = 0;
    (void)partition_index_claims(p, loser, &claims);
    view_delete(&p->view, &key);
    key = key_redirect(loser->id);
    view_put(&p->view, &key, profile_id_slice(&survivor));
    p->stats.profiles--;
    p->stats.known -= partition_is_known(p, loser);
    profile_cache_remove(p->cache, loser->id);
}

bool identity_on_accepted(struct partition *p, const msgpack_object *m, struct error *err)
{
    struct reader r = reader_of(m, 2);
    struct profile_id id = take_id(&r);
    struct profile_id survivor = take_id(&r);
    struct profile *loser;
    struct writer w;
    if (!r.fine) {
        return damaged(err);
    }
    if (!partition_load(p, id, &loser, err)) {
        return false;
    }
    ensure(loser != NULL && loser->is_frozen);
    if (!release(p, loser, err)) {
        return false;
    }
    writer_start(&w, MESSAGE_ABSORB, 4);
    put_id(&w, survivor);
    buf_clear(&p->scratch);
    profile_pack(loser, &p->scratch);
    value_pack_bin(&w.k, buf_slice(&p->scratch));
    struct key timeline = key_timeline(loser->id, 0, 0);
    struct key journal = key_journal(loser->id, 0);
    if (!ship(p, &w, &timeline, ship_event, err) || !ship(p, &w, &journal, ship_journal, err)) {
        buf_done(&w.out);
        return false;
    }
    writer_send(&w, p, profile_id_partition(survivor));
    repoint(p, loser, survivor);
    p->stats.merges++;
    bool fine = loser->keyed_count == 0 || business_keys_forget(p, loser->id, err);
    remove_loser(p, loser, survivor);
    return fine;
}

static bool absorb_records(struct partition *p, struct profile *survivor,
                           const msgpack_object *timeline, const msgpack_object *journal)
{
    struct slice tail;
    struct slice record;
    for (uint32_t i = 0; i + 1 < timeline->via.array.size; i += 2) {
        if (!value_bin(&timeline->via.array.ptr[i], &tail) || tail.len != 16 ||
            !value_bin(&timeline->via.array.ptr[i + 1], &record)) {
            return false;
        }
        struct key key =
            key_timeline(survivor->id, (int64_t)read_u64(tail.data), read_u64(tail.data + 8));
        view_put(&p->view, &key, record);
    }
    for (uint32_t i = 0; i < journal->via.array.size; i++) {
        if (!value_bin(&journal->via.array.ptr[i], &record)) {
            return false;
        }
        struct key key = key_journal(survivor->id, survivor->journal_next++);
        view_put(&p->view, &key, record);
    }
    return true;
}

static bool absorb(struct partition *p, struct profile *survivor, const struct profile *loser,
                   struct error *err)
{
    bool was_known = partition_is_known(p, survivor);
    uint64_t version = loser->catalog_version < survivor->catalog_version
                           ? loser->catalog_version
                           : survivor->catalog_version;
    bool loser_was_told = profile_was_told(loser);
    bool is_new;
    struct claim_list claims;
    struct catalog_touch touch = {.everything = true};
    bool parted = false;
    partition_list_claims(survivor, &claims);
    profile_merge(survivor, loser);
    if (survivor->claim_count > 0 && !arrival_judge_again(p, survivor, &touch, &parted, err)) {
        return false;
    }
    (void)partition_index_claims(p, survivor, &claims);
    if (catalog_is_in_a_wide_scope(p->catalog, loser)) {
        (void)profile_make_interest(survivor, SHARED_OUTBOX, &is_new);
        loser_was_told = true;
    }
    p->stats.known += partition_is_known(p, survivor) && !was_known;
    catalog_prune(p->catalog, survivor, p->now_ms);
    partition_changed(p, survivor);
    if (!partition_settle(p, survivor, touch, true, err)) {
        return false;
    }
    /* The survivor's card takes the loser's place wherever that is. */
    if (loser_was_told) {
        partition_tell_edges(p, survivor);
    }
    /* Conditions that the loser had not been filled in for are filled in from the timeline now. */
    survivor->catalog_version = version;
    return parted || loser->keyed_count > 0 ? partition_put_together(p, survivor, err)
                                            : partition_load(p, survivor->id, &survivor, err);
}

bool identity_on_absorb(struct partition *p, const msgpack_object *m, struct slice message,
                        struct error *err)
{
    struct reader r = reader_of(m, 4);
    struct profile_id id = take_id(&r);
    struct slice bytes = slice_make(NULL, 0);
    struct profile *survivor;
    struct profile_id went_to;
    struct profile *loser;
    r.fine = value_bin(take(&r), &bytes) && r.fine;
    const msgpack_object *timeline = take(&r);
    const msgpack_object *journal = take(&r);
    if (!r.fine || timeline->type != MSGPACK_OBJECT_ARRAY ||
        journal->type != MSGPACK_OBJECT_ARRAY) {
        return damaged(err);
    }
    if (!partition_locate(p, id, &survivor, &went_to, err)) {
        return false;
    }
    if (survivor == NULL) {
        return forward(p, m, 1, id, went_to, err);
    }
    if (survivor->is_frozen) {
        identity_defer(p, survivor, message);
        return true;
    }
    if (!profile_unpack(bytes, &loser, err)) {
        return false;
    }
    bool fine = absorb_records(p, survivor, timeline, journal) ? absorb(p, survivor, loser, err)
                                                               : damaged(err);
    profile_free(&loser);
    return fine;
}
