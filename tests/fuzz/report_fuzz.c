/* Reports of collectors, one of which may have been taken over: whatever comes, the hub tells only
 * what JSON can say, and stays within its bounds. */
#include "hub/reports.h"
#include "shared/utf8.h"
#include "shared/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    size_t counts;
    size_t refusals;
};

static void on_count(void *user, const struct report_count *count)
{
    struct told *told = user;
    told->counts++;
    ensure(utf8_is_valid(count->source) && utf8_is_valid(count->code));
    ensure(count->last_hour <= count->total);
}

static void on_refusal(void *user, const struct report_refusal *refusal)
{
    struct told *told = user;
    told->refusals++;
    ensure(utf8_is_valid(refusal->source) && utf8_is_valid(refusal->code) &&
           utf8_is_valid(refusal->field) && utf8_is_valid(refusal->type) &&
           utf8_is_valid(refusal->event) && utf8_is_valid(refusal->sample));
    ensure(refusal->at_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reports *reports = reports_new();
    struct told told = {0};
    int64_t now_ms = 1795292103120;
    /* Twice: the second begins where the first ended. */
    for (int i = 0; i < 2; i++) {
        now_ms += 59000;
        reports_take(reports, slice_text("edge"), slice_make(data, size), now_ms);
    }
    reports_each_count(reports, slice_text("edge"), now_ms, on_count, &told);
    reports_each_refusal(reports, slice_make(NULL, 0), on_refusal, &told);
    ensure(told.counts <= 256 && told.refusals <= WIRE_REPORT_BYTES);
    (void)reports_lag_ms(reports, slice_text("edge"));
    struct report_version version = reports_version(reports, slice_text("edge"));
    ensure(utf8_is_valid(slice_text(version.text)));
    reports_free(&reports);
    return 0;
}
