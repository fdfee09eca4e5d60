/* What a disk may hand to the checks of a store: a log, a MANIFEST, the end of a table. */
#include "shared/damage/log_check.h"
#include "shared/damage/manifest.h"
#include "shared/damage/table_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    struct manifest manifest;
    uint64_t records;
    size_t bytes;
};

static void take(void *user, struct slice record, size_t at)
{
    struct reading *r = user;
    uint64_t sequence;
    uint32_t count;
    (void)at;
    r->records++;
    r->bytes += record.len;
    (void)manifest_apply(&r->manifest, record);
    (void)log_read_batch(record, &sequence, &count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf copy;
    struct log_report report;
    if (size == 0) {
        return 0;
    }
    buf_init(&copy, SIZE_MAX / 2);
    buf_put(&copy, data + 1, size - 1);
    struct reading reading = {.records = 0};
    manifest_init(&reading.manifest);
    struct log_options options = {.is_followed = (data[0] & 1) != 0,
                                  .syncs_each = (data[0] & 2) != 0,
                                  .mends = (data[0] & 4) != 0,
                                  .record = take,
                                  .user = &reading};
    log_check(copy.data, copy.len, &options, &report);
    ensure(reading.records == report.records && reading.bytes <= copy.len);
    ensure(report.state != LOG_DAMAGED || report.places > 0);
    if (size > TABLE_FOOTER_BYTES) {
        (void)table_footer_is_sound(data + size - TABLE_FOOTER_BYTES, size);
    }
    manifest_done(&reading.manifest);
    buf_done(&copy);
    return 0;
}
