/* POST /v1/segments/preview: how many would be members, before a segment is defined.
 *
 * Profiles are looked at as a backfill would, a page of each partition in turn, until all were or
 * the time is over. Within a partition the oldest come first: an estimate ("exact": false) leans on
 * what older profiles are like. */
#include "hub/api/internal.h"
#include "hub/partition/business_keys.h"

#include <stdlib.h>

enum { PREVIEW_MS = 1500, PAGE = 256, SAMPLE_MAX = 10 };

struct preview {
    struct hub *hub;
    struct catalog *catalog;
    struct timeline *timeline;
    struct reader reader;
    struct profile *profile; /* being looked at */
    int64_t now_ms;
    uint64_t looked_at;
    uint64_t members;
    uint64_t known;
    size_t sample_count;
    struct profile_id sample[SAMPLE_MAX];
    bool failed;
    struct error *err;
};

/* Another event with the same business key counts in its place. */
static bool counts_elsewhere(struct preview *v, const struct event *event)
{
    struct buf other;
    struct error err;
    struct profile_id id = v->profile->id;
    buf_init(&other, LIMIT_EVENT_BYTES);
    bool fine = business_keys_read(v->reader.stores[profile_id_partition(id)], v->catalog, id,
                                   event, &other, &err);
    bool found = fine && other.len > 0;
    buf_done(&other);
    return found;
}

static void note_event(void *user, struct slice place, const struct event *event)
{
    struct preview *v = user;
    (void)place;
    if (v->profile->keyed_count > 0 && counts_elsewhere(v, event)) {
        return;
    }
    (void)catalog_rebuild_event(v->catalog, v->profile, event, v->now_ms);
}

static bool is_known(const struct preview *v, const struct profile *profile)
{
    for (size_t i = 0; i < profile->identifier_count; i++) {
        if (identity_rule_of(catalog_rules(v->catalog), profile->identifiers[i].id.type).is_known) {
            return true;
        }
    }
    return false;
}

/* A copy, because the states that the preview needs are filled in. */
static struct profile *copy_profile(const struct profile *profile, struct error *err)
{
    struct profile *copy = NULL;
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX / 2);
    profile_pack(profile, &bytes);
    bool fine = profile_unpack(buf_slice(&bytes), &copy, err);
    ensure(fine);
    buf_done(&bytes);
    return copy;
}

static void look_at(void *user, const struct profile *profile)
{
    struct preview *v = user;
    if (v->failed) {
        return;
    }
    v->profile = copy_profile(profile, v->err);
    if (catalog_needs_rebuild(v->catalog, v->profile)) {
        catalog_rebuild_begin(v->catalog, v->profile);
        v->failed =
            !reader_each_event(&v->reader, v->timeline, v->profile->id, note_event, v, v->err);
    }
    v->looked_at++;
    if (!v->failed &&
        catalog_holds(v->catalog, catalog_segment_count(v->catalog) - 1, v->profile, v->now_ms)) {
        v->members++;
        v->known += is_known(v, v->profile);
        if (v->sample_count < SAMPLE_MAX) {
            v->sample[v->sample_count++] = v->profile->id;
        }
    }
    profile_free(&v->profile);
}

/* A page of one partition. False: there is no more in it. */
static bool scan_page(struct preview *v, uint32_t partition, struct reader_place *place)
{
    struct reader up_to_this = {v->reader.stores, partition + 1};
    place->partition = partition;
    v->failed = !reader_profiles(&up_to_this, place, PAGE, look_at, v, v->err) || v->failed;
    return place->more;
}

/* True: every profile was looked at. */
static bool scan(struct preview *v)
{
    uint32_t count = v->reader.partitions;
    struct reader_place *places = memory_allocate_zeroed(count * sizeof *places);
    bool *is_done = memory_allocate_zeroed(count * sizeof *is_done);
    uint32_t done = 0;
    for (uint32_t i = 0;
         done < count && !v->failed && clock_now_ms(&clock_real) - v->now_ms < PREVIEW_MS;
         i = (i + 1) % count) {
        if (!is_done[i] && !scan_page(v, i, &places[i])) {
            is_done[i] = true;
            done++;
        }
    }
    free(places);
    free(is_done);
    return done == count;
}

static void write_preview(struct call *call, const struct preview *v, bool exact, uint64_t profiles)
{
    struct json_writer *w = &call->w;
    double scale = exact || v->looked_at == 0 ? 1 : (double)profiles / (double)v->looked_at;
    int64_t size = (int64_t)((double)v->members * scale + 0.5);
    int64_t known = (int64_t)((double)v->known * scale + 0.5);
    json_open_object(w);
    json_key(w, "size");
    json_int(w, size);
    json_key(w, "known");
    json_int(w, known);
    json_key(w, "anonymous");
    json_int(w, size - known);
    json_key(w, "exact");
    json_bool(w, exact);
    json_key(w, "sample");
    json_open_array(w);
    for (size_t i = 0; i < v->sample_count; i++) {
        json_cstr(w, profile_id_hex(v->sample[i]).text);
    }
    json_close_array(w);
    json_close_object(w);
    call_answer(call, 200);
}

static bool compile(struct call *call, struct preview *v)
{
    msgpack_object body;
    struct catalog_error where;
    struct error err;
    struct buf bytes;
    if (!call_read_json(call, known_members_of_previews, &body)) {
        return false;
    }
    const msgpack_object *condition = value_member_c(&body, "where");
    if (condition == NULL) {
        http_answer_error(call->http, 400, "invalid-segment", "A preview needs \"where\".",
                          "/where");
        return false;
    }
    buf_init(&bytes, SIZE_MAX / 2);
    registry_catalog(call->hub->registry, condition, &bytes);
    bool fine = catalog_new(buf_slice(&bytes), &v->catalog, &where, &err);
    buf_done(&bytes);
    if (!fine) {
        call_answer_invalid(call, &where, &err);
    }
    return fine;
}

void api_preview(struct call *call)
{
    struct error err;
    struct partition_stats stats;
    struct preview v = {.hub = call->hub,
                        .reader = hub_reader(call->hub),
                        .now_ms = clock_now_ms(&clock_real),
                        .err = &err};
    if (!compile(call, &v)) {
        return;
    }
    v.timeline = timeline_new();
    bool exact = scan(&v);
    if (v.failed || !api_read_stats(call->hub, &stats, &err)) {
        call_answer_failure(call, &err);
    } else {
        write_preview(call, &v, exact, stats.profiles);
    }
    timeline_free(&v.timeline);
    catalog_free(&v.catalog);
}
