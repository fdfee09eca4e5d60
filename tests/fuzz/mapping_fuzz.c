/* A mapping, a zero byte, and a file for it: what a mapping makes of rows is JSON that the parser
 * of requests takes, an event for each row that is not at fault. */
#include "collector/drop/drop_file.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "collector/request/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct request request;
static struct drop_batch batch;
static bool is_ready;

static void check_batch(void)
{
    size_t events = 0;
    for (size_t i = 0; i < batch.row_count; i++) {
        events += batch.rows[i].fault.len == 0;
    }
    ensure(events == batch.event_count && batch.json.len <= LIMIT_REQUEST_BYTES);
    if (events == 0) {
        return;
    }
    request_parse(&request, EVENT_TYPES, buf_slice(&batch.json), &rand_secure);
    ensure(request.refusal.code == NULL && request.count == events);
    for (size_t i = 0; i < request.count; i++) {
        ensure(request.events[i].refusal.code != NULL ||
               request.events[i].event.message_id.len > 0);
    }
}

static void read_file(struct mapping *mapping, struct slice contents)
{
    struct drop_file *file;
    struct error err;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    ensure(fd >= 0 && write(fd, contents.data, contents.len) == (ssize_t)contents.len &&
           lseek(fd, 0, SEEK_SET) == 0);
    if (!drop_file_open(fd, "file", mapping, (struct drop_position){0, 0}, &file, &err)) {
        ensure(err.kind == ERROR_INVALID);
        return;
    }
    do {
        bool fine = drop_file_read(file, &batch, &err);
        ensure(fine);
        check_batch();
    } while (batch.row_count > 0);
    ensure(!drop_file_has_places(file) || batch.end.offset == contents.len);
    drop_file_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mapping *mapping;
    struct error err;
    const uint8_t *end = size == 0 ? NULL : memchr(data, 0, size);
    if (!is_ready) {
        request_init(&request);
        drop_batch_init(&batch);
        is_ready = true;
    }
    size_t len = end == NULL ? size : (size_t)(end - data);
    if (!mapping_new(slice_text("m"), slice_make(data, len), &mapping, &err)) {
        ensure(err.kind == ERROR_INVALID && strncmp(err.message, "m.mapping:", 10) == 0);
        return 0;
    }
    read_file(mapping, end == NULL ? slice_make(NULL, 0) : slice_make(end + 1, size - len - 1));
    mapping_free(&mapping);
    return 0;
}
