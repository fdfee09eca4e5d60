/* CSV in several dialects: all bytes are used up, cells lie in the record, and a text that is cut
 * is incomplete or read like the whole one. */
#include "shared/csv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cells(const struct csv_record *record)
{
    for (size_t i = 0; i < record->count; i++) {
        struct slice cell = csv_cell(record, i);
        ensure(cell.len <= record->text.len);
    }
}

static void read_all(struct slice text, char delimiter, char quote)
{
    struct csv_record record;
    csv_record_init(&record);
    record.delimiter = delimiter;
    record.quote = quote;
    while (text.len > 0) {
        size_t used;
        size_t used_of_cut;
        enum csv_result of_cut = csv_read(text, false, &record, &used_of_cut);
        enum csv_result result = csv_read(text, true, &record, &used);
        ensure(result != CSV_INCOMPLETE && used > 0 && used <= text.len);
        ensure(of_cut == CSV_INCOMPLETE ? used_of_cut == 0
                                        : of_cut == result && used_of_cut == used);
        ensure(quote != 0 || result == CSV_RECORD);
        if (result == CSV_RECORD) {
            check_cells(&record);
        }
        text = slice_skip(text, used);
    }
    csv_record_done(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all(slice_make(data, size), ',', '"');
    read_all(slice_make(data, size), ';', '\'');
    read_all(slice_make(data, size), '\t', 0);
    return 0;
}
