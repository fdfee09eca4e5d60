#include "hub/reports.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/limits.h"
#include "shared/seal.h"
#include "shared/utf8.h"
#include "shared/wire.h"

enum { COUNTS_MAX = 256, CODE_BYTES_MAX = 40, MINUTES = 60, MINUTE_MS = 60000 };

/* How often one source was refused for one reason, with what was added in each of the last
 * minutes. */
struct count {
    size_t source_len;
    uint8_t source[LIMIT_NAME_BYTES];
    size_t code_len;
    uint8_t code[CODE_BYTES_MAX];
    uint64_t since_start;
    uint64_t total;
    int64_t minute; /* the newest in `minutes`, since 1970 */
    uint32_t minutes[MINUTES];
};

struct reporter {
    struct reporter *next;
    size_t id_len;
    uint8_t id[SEAL_COLLECTOR_ID_MAX];
    bool has_reported;
    int64_t start; /* of the collector: a number that it chose */
    struct report_version version;
    int64_t lag_ms;
    uint64_t dropped[REPORT_LANES];
    size_t count;
    struct count *counts;
    struct buf last; /* array of the last refusals, as it came */
    int64_t last_at_ms;
};

struct reports {
    pthread_mutex_t lock;
    struct reporter *first;
};

struct reports *reports_new(void)
{
    struct reports *reports = memory_allocate_zeroed(sizeof *reports);
    pthread_mutex_init(&reports->lock, NULL);
    return reports;
}

void reports_free(struct reports **reports)
{
    if (*reports == NULL) {
        return;
    }
    struct reporter *r = (*reports)->first;
    while (r != NULL) {
        struct reporter *next = r->next;
        free(r->counts);
        buf_done(&r->last);
        free(r);
        r = next;
    }
    pthread_mutex_destroy(&(*reports)->lock);
    free(*reports);
    *reports = NULL;
}

static struct slice id_of(const struct reporter *r)
{
    return slice_make(r->id, r->id_len);
}

static struct reporter *find(struct reports *reports, struct slice id)
{
    struct reporter *r = reports->first;
    while (r != NULL && !slice_equal(id_of(r), id)) {
        r = r->next;
    }
    return r;
}

static struct reporter *find_or_add(struct reports *reports, struct slice id)
{
    struct reporter *r = find(reports, id);
    if (r == NULL && id.len <= SEAL_COLLECTOR_ID_MAX) {
        r = memory_allocate_zeroed(sizeof *r);
        r->id_len = id.len;
        memcpy(r->id, id.data, id.len);
        r->lag_ms = -1;
        r->counts = memory_allocate_zeroed(COUNTS_MAX * sizeof *r->counts);
        buf_init(&r->last, WIRE_REPORT_BYTES);
        r->next = reports->first;
        reports->first = r;
    }
    return r;
}

/* ---- Counts ---- */

static struct count *find_count(struct reporter *r, struct slice source, struct slice code)
{
    for (size_t i = 0; i < r->count; i++) {
        struct count *c = &r->counts[i];
        if (slice_equal(slice_make(c->source, c->source_len), source) &&
            slice_equal(slice_make(c->code, c->code_len), code)) {
            return c;
        }
    }
    if (r->count == COUNTS_MAX || source.len > LIMIT_NAME_BYTES || code.len > CODE_BYTES_MAX) {
        return NULL;
    }
    struct count *c = &r->counts[r->count++];
    *c = (struct count){.source_len = source.len, .code_len = code.len};
    memcpy(c->source, source.data, source.len);
    memcpy(c->code, code.data, code.len);
    return c;
}

/* Forget the minutes that are over. */
static void turn(struct count *c, int64_t minute)
{
    for (int64_t m = c->minute + 1; m <= minute && m <= c->minute + MINUTES; m++) {
        c->minutes[m % MINUTES] = 0;
    }
    c->minute = minute > c->minute ? minute : c->minute;
}

static void add(struct count *c, uint64_t more, int64_t now_ms)
{
    turn(c, now_ms / MINUTE_MS);
    uint64_t room = UINT32_MAX - c->minutes[c->minute % MINUTES];
    c->minutes[c->minute % MINUTES] += (uint32_t)(more < room ? more : room);
    c->total += more;
}

/* [[source, code, count]…]. What was counted before the hub heard of the collector for the first
 * time belongs to no hour. */
static void take_counts(struct reporter *r, const msgpack_object *list, bool is_new, int64_t now_ms)
{
    for (uint32_t i = 0; value_is(list, MSGPACK_OBJECT_ARRAY) && i < list->via.array.size; i++) {
        const msgpack_object *row = &list->via.array.ptr[i];
        struct slice source;
        struct slice code;
        int64_t count;
        struct count *c = NULL;
        if (row->type == MSGPACK_OBJECT_ARRAY && row->via.array.size == 3 &&
            value_text(&row->via.array.ptr[0], &source) && utf8_is_valid(source) &&
            value_text(&row->via.array.ptr[1], &code) && utf8_is_valid(code) &&
            value_int(&row->via.array.ptr[2], &count) && count >= 0) {
            c = find_count(r, source, code);
        }
        if (c != NULL && (uint64_t)count > c->since_start) {
            if (is_new) {
                c->total += (uint64_t)count;
            } else {
                add(c, (uint64_t)count - c->since_start, now_ms);
            }
            c->since_start = (uint64_t)count;
        }
    }
}

static void start_again(struct reporter *r, int64_t start)
{
    r->start = start;
    for (size_t i = 0; i < r->count; i++) {
        r->counts[i].since_start = 0;
    }
}

static void take_last(struct reporter *r, const msgpack_object *list, int64_t now_ms)
{
    msgpack_packer k;
    if (value_is(list, MSGPACK_OBJECT_ARRAY)) {
        buf_clear(&r->last);
        value_packer_init(&k, &r->last);
        msgpack_pack_object(&k, *list);
        r->last_at_ms = now_ms;
    }
}

static void take_dropped(struct reporter *r, const msgpack_object *list)
{
    uint32_t count = value_is(list, MSGPACK_OBJECT_ARRAY) ? list->via.array.size : 0;
    for (uint32_t i = 0; i < count && i < REPORT_LANES; i++) {
        int64_t events;
        if (value_int(&list->via.array.ptr[i], &events) && events >= 0) {
            r->dropped[i] = (uint64_t)events;
        }
    }
}

static void take_version(struct reporter *r, const msgpack_object *version)
{
    struct slice text;
    if (value_text(version, &text) && text.len <= REPORT_VERSION_BYTES && utf8_is_valid(text)) {
        snprintf(r->version.text, sizeof r->version.text, "%.*s", SLICE_ARGS(text));
    }
}

void reports_take(struct reports *reports, struct slice collector, struct slice report,
                  int64_t now_ms)
{
    msgpack_zone zone;
    msgpack_object map;
    struct error err;
    int64_t start = 0;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    bool fine = report.len > 0 && report.len <= WIRE_REPORT_BYTES &&
                value_unpack(report, &zone, &map, &err) &&
                value_int(value_member_c(&map, "start"), &start);
    pthread_mutex_lock(&reports->lock);
    struct reporter *r = fine ? find_or_add(reports, collector) : NULL;
    if (r != NULL) {
        if (r->start != start) {
            start_again(r, start);
        }
        take_version(r, value_member_c(&map, "version"));
        (void)value_int(value_member_c(&map, "lag"), &r->lag_ms);
        take_dropped(r, value_member_c(&map, "dropped"));
        take_counts(r, value_member_c(&map, "refusals"), !r->has_reported, now_ms);
        take_last(r, value_member_c(&map, "last_refusals"), now_ms);
        r->has_reported = true;
    }
    pthread_mutex_unlock(&reports->lock);
    msgpack_zone_destroy(&zone);
}

/* ---- Reading ---- */

struct report_version reports_version(struct reports *reports, struct slice collector)
{
    pthread_mutex_lock(&reports->lock);
    const struct reporter *r = find(reports, collector);
    struct report_version version = r == NULL ? (struct report_version){""} : r->version;
    pthread_mutex_unlock(&reports->lock);
    return version;
}

int64_t reports_lag_ms(struct reports *reports, struct slice collector)
{
    pthread_mutex_lock(&reports->lock);
    const struct reporter *r = find(reports, collector);
    int64_t lag = r == NULL ? -1 : r->lag_ms;
    pthread_mutex_unlock(&reports->lock);
    return lag;
}

void reports_dropped(struct reports *reports, struct slice collector, uint64_t ret[REPORT_LANES])
{
    pthread_mutex_lock(&reports->lock);
    const struct reporter *r = find(reports, collector);
    for (size_t i = 0; i < REPORT_LANES; i++) {
        ret[i] = r == NULL ? 0 : r->dropped[i];
    }
    pthread_mutex_unlock(&reports->lock);
}

static bool is_wanted(const struct reporter *r, struct slice collector)
{
    return collector.len == 0 || slice_equal(id_of(r), collector);
}

static uint64_t last_hour(struct count *c, int64_t now_ms)
{
    uint64_t sum = 0;
    turn(c, now_ms / MINUTE_MS);
    for (size_t i = 0; i < MINUTES; i++) {
        sum += c->minutes[i];
    }
    return sum;
}

void reports_each_count(struct reports *reports, struct slice collector, int64_t now_ms,
                        void (*each)(void *user, const struct report_count *count), void *user)
{
    pthread_mutex_lock(&reports->lock);
    for (struct reporter *r = reports->first; r != NULL; r = r->next) {
        for (size_t i = 0; is_wanted(r, collector) && i < r->count; i++) {
            struct count *c = &r->counts[i];
            struct report_count count = {.collector = id_of(r),
                                         .source = slice_make(c->source, c->source_len),
                                         .code = slice_make(c->code, c->code_len),
                                         .since_start = c->since_start,
                                         .total = c->total,
                                         .last_hour = last_hour(c, now_ms)};
            each(user, &count);
        }
    }
    pthread_mutex_unlock(&reports->lock);
}

/* The text of a member; empty where there is none, or no text that JSON could say. */
static struct slice text_of(const msgpack_object *map, const char *name)
{
    struct slice text;
    bool fine = value_text(value_member_c(map, name), &text) && utf8_is_valid(text);
    return fine ? text : slice_make(NULL, 0);
}

static void tell_refusals(const struct reporter *r, const msgpack_object *list,
                          void (*each)(void *user, const struct report_refusal *refusal),
                          void *user)
{
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *map = &list->via.array.ptr[i];
        int64_t age = 0;
        (void)value_int(value_member_c(map, "age"), &age);
        age = age < 0 ? 0 : age > r->last_at_ms ? r->last_at_ms : age;
        struct report_refusal refusal = {.collector = id_of(r),
                                         .source = text_of(map, "source"),
                                         .code = text_of(map, "code"),
                                         .at_ms = r->last_at_ms - age,
                                         .field = text_of(map, "field"),
                                         .type = text_of(map, "type"),
                                         .event = text_of(map, "event"),
                                         .sample = text_of(map, "sample")};
        each(user, &refusal);
    }
}

void reports_each_refusal(struct reports *reports, struct slice collector,
                          void (*each)(void *user, const struct report_refusal *refusal),
                          void *user)
{
    pthread_mutex_lock(&reports->lock);
    for (const struct reporter *r = reports->first; r != NULL; r = r->next) {
        msgpack_zone zone;
        msgpack_object list;
        struct error err;
        bool made = msgpack_zone_init(&zone, 8192);
        ensure(made);
        if (is_wanted(r, collector) && r->last.len > 0 &&
            value_unpack(buf_slice(&r->last), &zone, &list, &err)) {
            tell_refusals(r, &list, each, user);
        }
        msgpack_zone_destroy(&zone);
    }
    pthread_mutex_unlock(&reports->lock);
}

bool report_read_clock(struct slice report, int64_t *ret_ms)
{
    msgpack_zone zone;
    msgpack_object map;
    struct error err;
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    bool told = report.len > 0 && value_unpack(report, &zone, &map, &err) &&
                value_int(value_member_c(&map, "clock"), ret_ms) && *ret_ms >= 0 &&
                *ret_ms <= LIMIT_TIME_MS;
    msgpack_zone_destroy(&zone);
    return told;
}
