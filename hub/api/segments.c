/* /v1/segments, /v1/segments/{key}, …/members */
#include "hub/api/internal.h"

#include <stdlib.h>

/* How far the partitions are with the backfill of a version. */
struct progress {
    uint64_t size;
    double done;
    bool is_live;
};

static bool read_progress(struct hub *hub, uint32_t segment, uint64_t version, struct progress *ret,
                          struct error *err)
{
    double total = 0;
    double done = 0;
    *ret = (struct progress){.is_live = true};
    for (uint32_t i = 0; i < hub->settings.partitions; i++) {
        struct partition_stats stats;
        uint64_t size;
        if (!partition_read_stats(hub->stores[i], NULL, &stats, err) ||
            !partition_read_size(hub->stores[i], NULL, segment, &size, err)) {
            return false;
        }
        bool is_live = stats.catalog_version >= version && stats.backfill_version >= version;
        ret->size += size;
        ret->is_live = ret->is_live && is_live;
        total += (double)stats.profiles + 1;
        done += is_live                            ? (double)stats.profiles + 1
                : stats.catalog_version >= version ? (double)stats.backfilled
                                                   : 0;
    }
    ret->done = ret->is_live ? 1 : done < total ? done / total : 0.99;
    return true;
}

/* What the hub writes itself; a definition that was read and is put again has these too. */
static bool is_computed(struct slice name)
{
    static const char *const names[] = {"key", "updatedAt", "size", "status", "progress", "edge"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

static bool write_segment(struct call *call, const struct registry_entry *entry, struct error *err)
{
    struct json_writer *w = &call->w;
    struct progress progress;
    msgpack_object body;
    if (!read_progress(call->hub, entry->id, entry->meaning_version, &progress, err) ||
        !value_unpack(entry->body, &call->zone, &body, err)) {
        return false;
    }
    json_open_object(w);
    json_key(w, "key");
    json_text(w, entry->key);
    for (uint32_t i = 0; i < body.via.map.size; i++) {
        struct slice name;
        if (value_text(&body.via.map.ptr[i].key, &name) && !is_computed(name)) {
            json_key_slice(w, name);
            json_value(w, &body.via.map.ptr[i].val);
        }
    }
    call_write_edge(call, &body);
    json_key(w, "updatedAt");
    json_time(w, entry->at_ms);
    json_key(w, "size");
    json_int(w, (int64_t)progress.size);
    json_key(w, "status");
    json_cstr(w, progress.is_live ? "live" : "computing");
    json_key(w, "progress");
    json_double(w, progress.done);
    json_close_object(w);
    return true;
}

struct copies {
    struct call *call;
    size_t count;
    struct slice keys[LIMIT_SEGMENTS];
};

static bool copy_key(void *user, const struct registry_entry *entry)
{
    struct copies *c = user;
    if (c->count < LIMIT_SEGMENTS) {
        c->keys[c->count++] = arena_copy(&c->call->arena, entry->key);
    }
    return true;
}

static void list_segments(struct call *call)
{
    struct copies *copies = memory_allocate_zeroed(sizeof *copies);
    struct error err;
    struct buf bytes;
    bool fine = true;
    copies->call = call;
    buf_init(&bytes, SIZE_MAX / 2);
    registry_each(call->hub->registry, REGISTRY_SEGMENT, copy_key, copies);
    json_open_object(&call->w);
    json_key(&call->w, "segments");
    json_open_array(&call->w);
    for (size_t i = 0; fine && i < copies->count; i++) {
        struct registry_entry entry;
        if (registry_find(call->hub->registry, REGISTRY_SEGMENT, copies->keys[i], &bytes, &entry)) {
            fine = write_segment(call, &entry, &err);
        }
    }
    json_close_array(&call->w);
    json_close_object(&call->w);
    if (fine) {
        call_answer(call, 200);
    } else {
        call_answer_failure(call, &err);
    }
    buf_done(&bytes);
    free(copies);
}

static void show_segment(struct call *call, struct slice key, unsigned status)
{
    struct registry_entry entry;
    struct error err;
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX / 2);
    if (!registry_find(call->hub->registry, REGISTRY_SEGMENT, key, &bytes, &entry)) {
        call_answer_not_found(call, "segment");
    } else if (write_segment(call, &entry, &err)) {
        call_answer(call, status);
    } else {
        call_answer_failure(call, &err);
    }
    buf_done(&bytes);
}

static void put_segment(struct call *call, struct slice key)
{
    msgpack_object body;
    struct catalog_error where;
    struct error err;
    struct registry_entry entry;
    struct buf bytes;
    if (!call_read_json(call, known_members_of(REGISTRY_SEGMENT), &body)) {
        return;
    }
    if (slice_is(key, "preview")) {
        http_answer_error(call->http, 400, "invalid-segment",
                          "\"preview\" cannot be the key of a segment.", NULL);
        return;
    }
    if (value_member_c(&body, "where") == NULL) {
        http_answer_error(call->http, 400, "invalid-segment", "A segment needs \"where\".",
                          "/where");
        return;
    }
    if (!call_check_edge(call, &body, "invalid-segment")) {
        return;
    }
    buf_init(&bytes, SIZE_MAX / 2);
    bool existed = registry_find(call->hub->registry, REGISTRY_SEGMENT, key, &bytes, &entry);
    buf_done(&bytes);
    if (!registry_put(call->hub->registry, REGISTRY_SEGMENT, key, buf_slice(&call->json), &where,
                      &err)) {
        call_answer_invalid(call, &where, &err);
        return;
    }
    show_segment(call, key, existed ? 200 : 201);
}

static void delete_segment(struct call *call, struct slice key)
{
    struct catalog_error where;
    struct error err;
    bool found;
    if (!registry_delete(call->hub->registry, REGISTRY_SEGMENT, key, &found, &where, &err)) {
        call_answer_invalid(call, &where, &err);
    } else if (!found) {
        call_answer_not_found(call, "segment");
    } else {
        http_answer_static(call->http, 204, NULL, slice_text(""));
    }
}

static void write_member(void *user, struct profile_id profile, int64_t since_ms)
{
    struct json_writer *w = user;
    json_open_object(w);
    json_key(w, "profileId");
    json_cstr(w, profile_id_hex(profile).text);
    json_key(w, "since");
    json_time(w, since_ms);
    json_close_object(w);
}

static void list_members(struct call *call, struct slice key)
{
    struct registry_entry entry;
    struct reader reader = hub_reader(call->hub);
    struct error err;
    struct buf bytes;
    struct reader_place place;
    size_t limit;
    buf_init(&bytes, SIZE_MAX / 2);
    bool found = registry_find(call->hub->registry, REGISTRY_SEGMENT, key, &bytes, &entry);
    buf_done(&bytes);
    if (!found) {
        call_answer_not_found(call, "segment");
        return;
    }
    if (!call_read_limit(call, 100, 10000, &limit) || !call_read_cursor(call, &place)) {
        return;
    }
    json_open_object(&call->w);
    json_key(&call->w, "members");
    json_open_array(&call->w);
    if (!reader_members(&reader, entry.id, &place, limit, write_member, &call->w, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    json_close_array(&call->w);
    call_write_next(call, &place);
    json_close_object(&call->w);
    call_answer(call, 200);
}

static void route_key(struct call *call, struct slice method, struct slice key)
{
    if (slice_is(method, "GET")) {
        show_segment(call, key, 200);
    } else if (slice_is(method, "PUT")) {
        put_segment(call, key);
    } else if (slice_is(method, "DELETE")) {
        delete_segment(call, key);
    } else {
        http_answer_error(call->http, 405, "method-not-allowed",
                          "A segment takes GET, PUT and DELETE.", NULL);
    }
}

void api_segments(struct call *call, struct slice method, struct slice rest)
{
    struct slice key = api_next_part(&rest);
    if (key.len == 0 && slice_is(method, "GET")) {
        list_segments(call);
    } else if (slice_is(key, "preview") && rest.len == 0 && slice_is(method, "POST")) {
        api_preview(call);
    } else if (key.len > 0 && rest.len == 0) {
        route_key(call, method, key);
    } else if (slice_is(rest, "members") && slice_is(method, "GET")) {
        list_members(call, key);
    } else {
        call_answer_not_found(call, "path");
    }
}
