#include "collector/drop/drop_progress.h"

#include "shared/file.h"
#include "shared/json.h"

static const char file_name[] = "drop.progress";

/* A line of a report: its number, a column and a reason, both bounded. */
enum {
    COLUMN_BYTES_MAX = 80,
    REASON_BYTES_MAX = 256,
    REPORT_BYTES_MAX = DROP_REPORT_LINES_MAX * (COLUMN_BYTES_MAX + REASON_BYTES_MAX + 64),
    FILE_BYTES_MAX = 8 * REPORT_BYTES_MAX,
};
_Static_assert(REPORT_BYTES_MAX + 4096 <= DROP_REPORT_BYTES_MAX, "reports fit");

struct drop_identity drop_identity_of(const struct stat *status)
{
    return (struct drop_identity){
        .inode = (uint64_t)status->st_ino,
        .size = (uint64_t)status->st_size,
        .modified_ns =
            (int64_t)status->st_mtim.tv_sec * 1000000000 + (int64_t)status->st_mtim.tv_nsec,
    };
}

bool drop_identity_equal(struct drop_identity a, struct drop_identity b)
{
    return a.inode == b.inode && a.size == b.size && a.modified_ns == b.modified_ns;
}

void drop_progress_init(struct drop_progress *progress)
{
    *progress = (struct drop_progress){0};
    buf_init(&progress->report, REPORT_BYTES_MAX);
}

void drop_progress_done(struct drop_progress *progress)
{
    buf_done(&progress->report);
}

void drop_progress_start(struct drop_progress *progress, const char *file,
                         struct drop_identity identity)
{
    drop_progress_done(progress);
    drop_progress_init(progress);
    snprintf(progress->file, sizeof progress->file, "%s", file);
    progress->identity = identity;
}

/* Text from outside, made fit for a report: no control characters, cut between characters. */
static void put_plain(struct buf *out, struct slice text, size_t len_max)
{
    size_t len = text.len < len_max ? text.len : len_max;
    while (len < text.len && len > 0 && (text.data[len] & 0xc0) == 0x80) {
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        bool is_plain = text.data[i] >= 0x20 && text.data[i] != 0x7f;
        buf_put_u8(out, is_plain ? text.data[i] : ' ');
    }
}

void drop_progress_reject(struct drop_progress *progress, uint64_t line, struct slice column,
                          struct slice reason)
{
    struct buf *report = &progress->report;
    progress->rejected++;
    if (progress->detailed == DROP_REPORT_LINES_MAX) {
        return;
    }
    progress->detailed++;
    buf_put_format(report, "line %llu", (unsigned long long)line);
    if (column.len > 0) {
        buf_put_slice(report, slice_text(", column \""));
        put_plain(report, column, COLUMN_BYTES_MAX);
        buf_put_u8(report, '"');
    }
    buf_put_slice(report, slice_text(": "));
    put_plain(report, reason, REASON_BYTES_MAX);
    buf_put_u8(report, '\n');
}

void drop_progress_put_report(const struct drop_progress *p, struct buf *out)
{
    uint64_t rows = p->rejected + p->taken;
    buf_put_format(out, "%s: %llu of %llu rows were not taken; the others were.\n", p->file,
                   (unsigned long long)p->rejected, (unsigned long long)rows);
    buf_put_format(out, "Put them right in the file, or the mapping, and move the file back to "
                        "where it was: rows that were taken\nare not taken twice, as long as "
                        "they keep their lines.\n\n");
    buf_put_slice(out, buf_slice(&p->report));
    if (p->rejected > p->detailed) {
        buf_put_format(out, "and %llu more rows\n",
                       (unsigned long long)(p->rejected - p->detailed));
    }
}

static void write_progress(const struct drop_progress *p, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"inode", p->identity.inode},
        {"size", p->identity.size},
        {"offset", p->position.offset},
        {"line", p->position.line},
        {"taken", p->taken},
        {"rejected", p->rejected},
        {"detailed", p->detailed},
        {"modifiedNs", (uint64_t)p->identity.modified_ns},
    };
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, "file");
    json_cstr(&w, p->file);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        json_key(&w, numbers[i].name);
        json_int(&w, (int64_t)numbers[i].value);
    }
    json_key(&w, "report");
    json_text(&w, buf_slice(&p->report));
    json_close_object(&w);
}

bool drop_progress_save(const struct drop_progress *progress, int folder, struct error *err)
{
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    write_progress(progress, &text);
    bool fine = file_replace(folder, file_name, 0640, buf_slice(&text), err);
    buf_done(&text);
    return fine;
}

static bool read_progress(const msgpack_object *root, struct drop_progress *p)
{
    struct slice file;
    struct slice report;
    int64_t n[8];
    static const char *const names[] = {"inode", "size",     "offset",   "line",
                                        "taken", "rejected", "detailed", "modifiedNs"};
    bool fine =
        value_text(value_member_c(root, "file"), &file) && file.len <= DROP_NAME_BYTES_MAX &&
        value_text(value_member_c(root, "report"), &report) && report.len <= REPORT_BYTES_MAX;
    for (size_t i = 0; fine && i < sizeof names / sizeof *names; i++) {
        fine = value_int(value_member_c(root, names[i]), &n[i]);
    }
    if (!fine || n[2] < 0 || n[3] < 0 || n[6] < 0 || n[6] > DROP_REPORT_LINES_MAX) {
        return false;
    }
    memcpy(p->file, file.data, file.len);
    p->identity = (struct drop_identity){(uint64_t)n[0], (uint64_t)n[1], n[7]};
    p->position = (struct drop_position){(uint64_t)n[2], (uint64_t)n[3]};
    p->taken = (uint64_t)n[4];
    p->rejected = (uint64_t)n[5];
    p->detailed = (uint64_t)n[6];
    buf_put_slice(&p->report, report);
    return true;
}

bool drop_progress_load(struct drop_progress *progress, int folder, struct error *err)
{
    struct buf text;
    struct buf packed;
    msgpack_zone zone;
    msgpack_object root;
    struct error ignored;
    bool found = false;
    drop_progress_done(progress);
    drop_progress_init(progress);
    buf_init(&text, FILE_BYTES_MAX);
    buf_init(&packed, FILE_BYTES_MAX);
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    bool fine = file_load(folder, file_name, &text, &found, err) || err->kind == ERROR_INVALID;
    if (fine && found && json_read_value(buf_slice(&text), &packed, &zone, &root, &ignored)) {
        (void)read_progress(&root, progress);
    }
    msgpack_zone_destroy(&zone);
    buf_done(&packed);
    buf_done(&text);
    return fine;
}

bool drop_progress_forget(struct drop_progress *progress, int folder, struct error *err)
{
    drop_progress_done(progress);
    drop_progress_init(progress);
    return file_remove(folder, file_name, err);
}
