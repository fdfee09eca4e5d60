#include "hub/registry_internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/json.h"
#include "shared/log.h"

enum { KEY_BYTES = 2 + LIMIT_NAME_BYTES, BODY_BYTES_MAX = 1024 * 1024 };

static struct slice store_key(enum registry_kind kind, struct slice key, uint8_t ret[KEY_BYTES])
{
    struct buf out = {.data = ret, .capacity = KEY_BYTES, .len_max = KEY_BYTES};
    buf_put_u8(&out, 'D');
    buf_put_u8(&out, (uint8_t)kind);
    buf_put_slice(&out, key);
    return buf_slice(&out);
}

const char *registry_kind_name(enum registry_kind kind)
{
    switch (kind) {
    case REGISTRY_COLLECTOR:
        return "collector";
    case REGISTRY_SOURCE:
        return "source";
    case REGISTRY_SEGMENT:
        return "segment";
    case REGISTRY_TRAIT:
        return "trait";
    case REGISTRY_RULES:
        return "identity-rules";
    case REGISTRY_PLAN:
        return "tracking-plan";
    case REGISTRY_BUSINESS_KEY:
        return "business-key";
    case REGISTRY_PURCHASES:
        return "purchases";
    }
    return "";
}

static size_t place_of(const struct registry *r, enum registry_kind kind, struct slice key,
                       bool *ret_found)
{
    size_t at = 0;
    *ret_found = false;
    while (at < r->count) {
        const struct entry *e = &r->entries[at];
        int order = e->kind != kind ? (e->kind > kind) - (e->kind < kind)
                                    : slice_compare(buf_slice(&e->key), key);
        if (order >= 0) {
            *ret_found = order == 0;
            return at;
        }
        at++;
    }
    return at;
}

bool registry_has(const struct registry *r, enum registry_kind kind)
{
    bool found = false;
    for (size_t i = 0; i < r->count && !found; i++) {
        found = r->entries[i].kind == kind;
    }
    return found;
}

static struct entry *insert(struct registry *r, enum registry_kind kind, struct slice key)
{
    bool found;
    size_t at = place_of(r, kind, key, &found);
    if (!found) {
        if (r->count == r->capacity) {
            r->capacity = r->capacity == 0 ? 32 : r->capacity * 2;
            r->entries = memory_resize(r->entries, r->capacity * sizeof *r->entries);
        }
        memmove(&r->entries[at + 1], &r->entries[at], (r->count - at) * sizeof *r->entries);
        r->count++;
        r->entries[at] = (struct entry){.kind = kind};
        buf_init(&r->entries[at].key, LIMIT_NAME_BYTES);
        buf_init(&r->entries[at].body, BODY_BYTES_MAX);
        buf_put_slice(&r->entries[at].key, key);
    }
    return &r->entries[at];
}

static void remove_at(struct registry *r, size_t at)
{
    buf_done(&r->entries[at].key);
    buf_done(&r->entries[at].body);
    r->count--;
    memmove(&r->entries[at], &r->entries[at + 1], (r->count - at) * sizeof *r->entries);
}

/* ---- On disk ---- */

/* stored: never renumber. Versions before 0.2 did not write the last two. */
enum { ENTRY_MEMBERS = 6, ENTRY_MEMBERS_OLD = 4 };

static void write_entry(const struct entry *e, struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, ENTRY_MEMBERS);
    msgpack_pack_uint32(&k, e->id);
    msgpack_pack_uint64(&k, e->version);
    msgpack_pack_int64(&k, e->at_ms);
    value_pack_bin(&k, buf_slice(&e->body));
    msgpack_pack_uint64(&k, e->meaning_version);
    msgpack_pack_uint64(&k, e->edge_version);
}

static bool read_entry(struct registry *r, struct slice key, struct slice value, struct error *err)
{
    msgpack_zone zone;
    msgpack_object root;
    struct slice body;
    int64_t id;
    int64_t version;
    int64_t meaning;
    int64_t edge;
    int64_t at_ms;
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    bool fine =
        key.len >= 2 && value_unpack(value, &zone, &root, err) && root.type == MSGPACK_OBJECT_ARRAY;
    uint32_t members = fine ? root.via.array.size : 0;
    fine = (members == ENTRY_MEMBERS || members == ENTRY_MEMBERS_OLD) &&
           value_int(&root.via.array.ptr[0], &id) && value_int(&root.via.array.ptr[1], &version) &&
           value_int(&root.via.array.ptr[2], &at_ms) && value_bin(&root.via.array.ptr[3], &body) &&
           value_int(&root.via.array.ptr[members == ENTRY_MEMBERS ? 4 : 1], &meaning) &&
           value_int(&root.via.array.ptr[members == ENTRY_MEMBERS ? 5 : 1], &edge);
    if (fine) {
        enum registry_kind kind = (enum registry_kind)key.data[1];
        struct entry *e = insert(r, kind, slice_skip(key, 2));
        e->id = (uint32_t)id;
        e->version = (uint64_t)version;
        e->meaning_version = (uint64_t)meaning;
        e->edge_version = (uint64_t)edge;
        e->at_ms = at_ms;
        buf_put_slice(&e->body, body);
        r->next_id = e->id >= r->next_id ? e->id + 1 : r->next_id;
    }
    msgpack_zone_destroy(&zone);
    return fine || error_set(err, ERROR_CORRUPT, "a definition cannot be read");
}

/* Versions and ids go on counting from here, also after the newest entry was deleted. */
static void write_counters(const struct registry *r, struct buf *out)
{
    buf_put_u64(out, r->version);
    buf_put_u64(out, r->catalog_version);
    buf_put_u64(out, r->gate_version);
    buf_put_u64(out, r->traits_version);
    buf_put_u32(out, r->next_id);
}

static bool load(struct registry *r, struct error *err)
{
    struct buf counters;
    bool found = false;
    struct store *store = eventlog_store(r->log);
    struct store_iterator *it = store_iterator_open(store, NULL);
    bool fine = true;
    for (store_iterator_seek(it, slice_text("D"));
         fine && store_iterator_valid(it) && store_iterator_key(it).data[0] == 'D';
         store_iterator_next(it)) {
        fine = read_entry(r, store_iterator_key(it), store_iterator_value(it), err);
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    buf_init(&counters, 64);
    fine = fine && store_get(store, NULL, slice_text("V"), &counters, &found, err);
    if (fine && found && counters.len == 36) {
        r->version = read_u64(counters.data);
        r->catalog_version = read_u64(counters.data + 8);
        r->gate_version = read_u64(counters.data + 16);
        r->traits_version = read_u64(counters.data + 24);
        r->next_id = read_u32(counters.data + 32);
    }
    buf_done(&counters);
    return fine;
}

bool registry_open(struct eventlog *log, const struct clock *clock, void (*changed)(void *user),
                   void *user, struct registry **ret, struct error *err)
{
    struct registry *r = memory_allocate_zeroed(sizeof *r);
    r->log = log;
    r->clock = clock;
    r->changed = changed;
    r->user = user;
    r->next_id = 1;
    pthread_mutex_init(&r->lock, NULL);
    bool fine = load(r, err);
    if (fine && !registry_has(r, REGISTRY_RULES)) {
        struct entry *e = insert(r, REGISTRY_RULES, slice_text("rules"));
        enum json_fault fault = json_read(slice_text(identity_rules_default), &e->body);
        ensure(fault == JSON_FINE);
        r->gate_version = r->gate_version == 0 ? 1 : r->gate_version;
        r->version = r->version == 0 ? 1 : r->version;
    }
    if (!fine) {
        registry_close(&r);
        return error_add_context(err, "opening the registry");
    }
    *ret = r;
    return true;
}

void registry_set_link_key(struct registry *r, const uint8_t hub_secret[SEAL_KEY_BYTES])
{
    static const uint8_t purpose[] = "tributary-link-v1"; /* stored: never change */
    crypto_generichash(r->link_key, sizeof r->link_key, purpose, sizeof purpose, hub_secret,
                       SEAL_KEY_BYTES);
    write_key_salt(hub_secret, r->key_salt);
    r->has_link_key = true;
}

void registry_close(struct registry **registry)
{
    struct registry *r = *registry;
    if (r == NULL) {
        return;
    }
    while (r->count > 0) {
        remove_at(r, r->count - 1);
    }
    free(r->entries);
    pthread_mutex_destroy(&r->lock);
    sodium_memzero(r->link_key, sizeof r->link_key);
    sodium_memzero(r->key_salt, sizeof r->key_salt);
    free(r);
    *registry = NULL;
}

/* ---- The definitions as others see them ---- */

void registry_catalog(struct registry *r, const msgpack_object *preview, struct buf *out)
{
    pthread_mutex_lock(&r->lock);
    registry_pack_catalog(r, preview, out);
    pthread_mutex_unlock(&r->lock);
}

void registry_gate(struct registry *r, struct registry_reader reader, struct buf *out,
                   uint64_t *ret_version)
{
    pthread_mutex_lock(&r->lock);
    *ret_version = registry_pack_gate_version(r);
    registry_pack_gate(r, reader, out);
    pthread_mutex_unlock(&r->lock);
}

uint64_t registry_gate_version(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    uint64_t version = registry_pack_gate_version(r);
    pthread_mutex_unlock(&r->lock);
    return version;
}

uint64_t registry_version(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    uint64_t version = r->version;
    pthread_mutex_unlock(&r->lock);
    return version;
}

/* ---- Changes ---- */

/* The changed definitions, compiled: nothing reaches the log that a partition could not take. */
static bool check_catalog(const struct buf *bytes, struct catalog_error *where, struct error *err)
{
    struct catalog *catalog;
    if (!catalog_new(buf_slice(bytes), &catalog, where, err)) {
        return false;
    }
    catalog_free(&catalog);
    return true;
}

/* Does every source that names a tracking plan name one that is there? */
static bool check_plans(const struct registry *r, struct catalog_error *where, struct error *err)
{
    bool fine = true;
    for (size_t i = 0; fine && i < r->count; i++) {
        msgpack_zone zone;
        msgpack_object root;
        struct slice plan;
        bool made = msgpack_zone_init(&zone, 1024);
        ensure(made);
        if (r->entries[i].kind == REGISTRY_SOURCE &&
            value_unpack(buf_slice(&r->entries[i].body), &zone, &root, err) &&
            value_text(value_member_c(&root, "tracking_plan"), &plan)) {
            (void)place_of(r, REGISTRY_PLAN, plan, &fine);
        }
        if (!fine) {
            *where =
                (struct catalog_error){.field = "/tracking_plan", .code = "unknown-tracking-plan"};
            error_set(err, ERROR_INVALID, "Source \"%.*s\" names the tracking plan \"%.*s\".",
                      (int)r->entries[i].key.len, (const char *)r->entries[i].key.data,
                      plan.len > 64 ? 64 : (int)plan.len, (const char *)plan.data);
        }
        msgpack_zone_destroy(&zone);
    }
    return fine;
}

struct key_user {
    struct slice key;
    struct slice source;
};

static int compare_key_users(const void *a, const void *b)
{
    return slice_compare(((const struct key_user *)a)->key, ((const struct key_user *)b)->key);
}

/* Is each write key that of one source? */
static bool check_write_keys(const struct registry *r, struct catalog_error *where,
                             struct error *err)
{
    struct key_user *users = NULL;
    size_t count = 0;
    msgpack_zone zone;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    for (size_t i = 0; i < r->count; i++) {
        msgpack_object body;
        if (r->entries[i].kind != REGISTRY_SOURCE) {
            continue;
        }
        struct source source = registry_source(&r->entries[i], &zone, &body);
        users = memory_resize(users, (count + source_key_count(&source)) * sizeof *users);
        for (size_t k = 0; k < source_key_count(&source); k++) {
            users[count++] = (struct key_user){source_key_at(&source, k), source.id};
        }
    }
    if (count > 0) {
        qsort(users, count, sizeof *users, compare_key_users);
    }
    bool fine = true;
    for (size_t i = 1; fine && i < count; i++) {
        fine = !slice_equal(users[i - 1].key, users[i].key);
        if (!fine) {
            *where = (struct catalog_error){.field = "/writeKeys", .code = "write-key-taken"};
            error_set(err, ERROR_INVALID,
                      "The sources \"%.*s\" and \"%.*s\" have a write key in common.",
                      SLICE_ARGS(users[i - 1].source), SLICE_ARGS(users[i].source));
        }
    }
    free(users);
    msgpack_zone_destroy(&zone);
    return fine;
}

/* Nothing becomes a definition that collectors could not take. */
static bool check_gate(const struct registry *r, struct catalog_error *where, struct error *err)
{
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX / 2);
    registry_pack_gate(r, (struct registry_reader){0}, &bytes);
    bool fits = bytes.len <= LIMIT_GATE_BYTES;
    buf_done(&bytes);
    if (!fits) {
        snprintf(where->code, sizeof where->code, "definitions-too-large");
        return error_set(err, ERROR_INVALID,
                         "All sources, tracking plans and identity rules together may have 2 MiB.");
    }
    return check_plans(r, where, err) && check_write_keys(r, where, err);
}

struct alteration {
    enum registry_kind kind;
    struct slice key;
    const struct entry *entry; /* NULL: it is gone */
    struct change change;
};

/* Write what changed, the counters and the log's record, at once. */
static bool persist(struct registry *r, const struct alteration *a, struct catalog_error *where,
                    struct error *err)
{
    const struct entry *entry = a->entry;
    struct store_batch more;
    struct buf value;
    struct buf counters;
    struct buf catalog;
    uint8_t key_bytes[KEY_BYTES];
    struct eventlog_record record = {.kind = EVENTLOG_CATALOG, .at_ms = clock_now_ms(r->clock)};
    store_batch_init(&more);
    buf_init(&value, BODY_BYTES_MAX + 1024);
    buf_init(&counters, 64);
    buf_init(&catalog, SIZE_MAX / 2);
    write_counters(r, &counters);
    store_batch_put(&more, slice_text("V"), buf_slice(&counters));
    if (entry != NULL) {
        write_entry(entry, &value);
        store_batch_put(&more, store_key(a->kind, a->key, key_bytes), buf_slice(&value));
    } else {
        store_batch_delete(&more, store_key(a->kind, a->key, key_bytes));
    }
    bool fine = true;
    bool is_logged = a->change.partitions || a->change.router ||
                     (a->kind == REGISTRY_COLLECTOR && entry != NULL &&
                      (registry_has_scope(entry) || registry_has_carriage(entry)));
    if (is_logged) {
        registry_pack_catalog(r, NULL, &catalog);
        fine = check_catalog(&catalog, where, err);
        record.bytes = buf_slice(&catalog);
    }
    fine = fine && (!a->change.gates || check_gate(r, where, err)) &&
           eventlog_append(r->log, &record, is_logged ? 1 : 0, &more, err);
    store_batch_done(&more);
    buf_done(&value);
    buf_done(&counters);
    buf_done(&catalog);
    return fine;
}

static void advance(struct registry *r, const struct alteration *a)
{
    bool is_gone = a->entry == NULL;
    r->version++;
    r->catalog_version = a->change.partitions ? r->version : r->catalog_version;
    r->gate_version = a->change.gates ? r->version : r->gate_version;
    r->traits_version = is_gone && a->kind == REGISTRY_TRAIT && a->change.is_visibility
                            ? r->version
                            : r->traits_version;
}

struct counters {
    uint64_t version;
    uint64_t catalog_version;
    uint64_t gate_version;
    uint64_t traits_version;
    uint32_t next_id;
};

static struct counters counters_of(const struct registry *r)
{
    return (struct counters){r->version, r->catalog_version, r->gate_version, r->traits_version,
                             r->next_id};
}

static void restore(struct registry *r, struct counters c)
{
    r->version = c.version;
    r->catalog_version = c.catalog_version;
    r->gate_version = c.gate_version;
    r->traits_version = c.traits_version;
    r->next_id = c.next_id;
}

/* What a change sets of an entry beside its body. */
struct stamps {
    uint64_t version;
    uint64_t meaning_version;
    uint64_t edge_version;
    int64_t at_ms;
};

static struct stamps stamps_of(const struct entry *e)
{
    return (struct stamps){e->version, e->meaning_version, e->edge_version, e->at_ms};
}

static void stamp(struct entry *e, struct stamps s)
{
    e->version = s.version;
    e->meaning_version = s.meaning_version;
    e->edge_version = s.edge_version;
    e->at_ms = s.at_ms;
}

/* Which sources a collector carries is part of its gate's definitions. */
static struct change compare_bodies(const struct entry *e, const struct buf *old,
                                    const struct buf *body)
{
    struct change change = registry_compare(e->kind, old, body);
    change.gates = change.gates || (e->kind == REGISTRY_COLLECTOR && registry_has_carriage(e));
    return change;
}

/* Changes the entries first and takes it back where the whole does not compile or store. */
static bool put_locked(struct registry *r, enum registry_kind kind, struct slice key,
                       struct slice body, struct catalog_error *where, struct error *err)
{
    bool existed;
    struct counters before = counters_of(r);
    struct buf old;
    size_t at = place_of(r, kind, key, &existed);
    struct entry *e = insert(r, kind, key);
    buf_init(&old, BODY_BYTES_MAX);
    buf_put_slice(&old, buf_slice(&e->body));
    struct stamps old_stamps = stamps_of(e);
    buf_clear(&e->body);
    buf_put_slice(&e->body, body);
    struct alteration a = {kind, key, e, compare_bodies(e, existed ? &old : NULL, &e->body)};
    advance(r, &a);
    e->id = existed ? e->id : r->next_id++;
    stamp(e, (struct stamps){r->version, a.change.is_meaning ? r->version : e->meaning_version,
                             a.change.is_visibility ? r->version : e->edge_version,
                             clock_now_ms(r->clock)});
    bool fine = persist(r, &a, where, err);
    if (!fine && existed) {
        stamp(e, old_stamps);
        buf_clear(&e->body);
        buf_put_slice(&e->body, buf_slice(&old));
    } else if (!fine) {
        remove_at(r, at);
    }
    if (!fine) {
        restore(r, before);
    }
    buf_done(&old);
    return fine;
}

/* Of a collector the one line says more: hub/api/collectors.c writes it. */
static void log_change(enum registry_kind kind, struct slice key, const char *what)
{
    if (kind != REGISTRY_COLLECTOR) {
        log_info("definition-changed", "A definition was %s. kind=%s key=%.*s", what,
                 registry_kind_name(kind), SLICE_ARGS(key));
    }
}

bool registry_put(struct registry *r, enum registry_kind kind, struct slice key, struct slice body,
                  struct catalog_error *where, struct error *err)
{
    *where = (struct catalog_error){.code = "invalid-definition"};
    if (key.len == 0 || key.len > LIMIT_NAME_BYTES || body.len > BODY_BYTES_MAX) {
        return error_set(err, ERROR_INVALID, "A key has 1 to %d bytes, a definition up to 1 MiB.",
                         LIMIT_NAME_BYTES);
    }
    pthread_mutex_lock(&r->lock);
    bool fine = put_locked(r, kind, key, body, where, err);
    pthread_mutex_unlock(&r->lock);
    if (fine) {
        log_change(kind, key, "stored");
        r->changed(r->user);
    }
    return fine;
}

static bool delete_locked(struct registry *r, enum registry_kind kind, struct slice key,
                          bool *ret_found, struct catalog_error *where, struct error *err)
{
    size_t at = place_of(r, kind, key, ret_found);
    struct counters before = counters_of(r);
    if (!*ret_found) {
        return true;
    }
    struct entry removed = r->entries[at];
    struct alteration a = {kind, key, NULL, compare_bodies(&removed, &removed.body, NULL)};
    r->count--;
    memmove(&r->entries[at], &r->entries[at + 1], (r->count - at) * sizeof *r->entries);
    advance(r, &a);
    bool fine = persist(r, &a, where, err);
    if (!fine) {
        memmove(&r->entries[at + 1], &r->entries[at], (r->count - at) * sizeof *r->entries);
        r->entries[at] = removed;
        r->count++;
        restore(r, before);
        return false;
    }
    buf_done(&removed.key);
    buf_done(&removed.body);
    return true;
}

bool registry_delete(struct registry *r, enum registry_kind kind, struct slice key, bool *ret_found,
                     struct catalog_error *where, struct error *err)
{
    *where = (struct catalog_error){.code = "invalid-definition"};
    pthread_mutex_lock(&r->lock);
    bool fine = delete_locked(r, kind, key, ret_found, where, err);
    pthread_mutex_unlock(&r->lock);
    if (fine && *ret_found) {
        log_change(kind, key, "deleted");
        r->changed(r->user);
    }
    return fine;
}

/* ---- Reading ---- */

static struct registry_entry view_of(const struct entry *e)
{
    return (struct registry_entry){.kind = e->kind,
                                   .key = buf_slice(&e->key),
                                   .id = e->id,
                                   .version = e->version,
                                   .meaning_version = e->meaning_version,
                                   .at_ms = e->at_ms,
                                   .body = buf_slice(&e->body)};
}

bool registry_find(struct registry *r, enum registry_kind kind, struct slice key,
                   struct buf *ret_bytes, struct registry_entry *ret)
{
    bool found;
    pthread_mutex_lock(&r->lock);
    size_t at = place_of(r, kind, key, &found);
    if (found) {
        *ret = view_of(&r->entries[at]);
        buf_clear(ret_bytes);
        buf_put_slice(ret_bytes, ret->key);
        buf_put_slice(ret_bytes, ret->body);
        ret->key = slice_make(ret_bytes->data, ret->key.len);
        ret->body = slice_make(ret_bytes->data + ret->key.len, ret->body.len);
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

void registry_each(struct registry *r, enum registry_kind kind,
                   bool (*each)(void *user, const struct registry_entry *entry), void *user)
{
    bool goes_on = true;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; goes_on && i < r->count; i++) {
        if (r->entries[i].kind == kind) {
            struct registry_entry view = view_of(&r->entries[i]);
            goes_on = each(user, &view);
        }
    }
    pthread_mutex_unlock(&r->lock);
}
