/* Times and durations: what is read stays the same when it is written and read again. */
#include "shared/timetext.h"

#include "shared/error.h"
#include "shared/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    int64_t ms;
    int64_t again = -1;
    if (time_text_read(text, &ms)) {
        ensure(ms >= 0 && ms <= LIMIT_TIME_MS);
    }
    if (time_text_parse(text, &ms)) {
        bool is_read = time_text_read(text, &again);
        ensure(ms >= 0 && ms <= LIMIT_TIME_MS && is_read && again == ms);
        bool read = time_text_parse(slice_text(time_text_format(ms).text), &again);
        ensure(read && again == ms);
    }
    if (duration_parse(text, &ms)) {
        ensure(ms >= 1000 && ms <= 3660LL * 86400000);
    }
    return 0;
}
