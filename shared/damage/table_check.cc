#include "shared/damage/table_check.h"

#include <errno.h>
#include <fcntl.h>
#include <leveldb/env.h>
#include <leveldb/filter_policy.h>
#include <leveldb/iterator.h>
#include <leveldb/options.h>
#include <leveldb/table.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "shared/damage/crc32c.h"

namespace
{

/* doc/table_format.md of LevelDB. */
constexpr size_t trailer_bytes = 5; /* type and checksum */
constexpr size_t handles_bytes = 40;
constexpr uint64_t magic = 0xdb4775248b80fb57ull;

bool read_number(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        *ret |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

/* Does the block end where the next thing begins? */
bool ends_at(uint64_t at, uint64_t bytes, uint64_t next)
{
    return at <= next && bytes <= next - at && next - at - bytes == trailer_bytes;
}

/* A table as LevelDB's reader sees it. What it asks for beside the footer are blocks, whole. */
class CheckedFile final : public leveldb::RandomAccessFile
{
  public:
    CheckedFile(int fd, uint64_t bytes, const table_options &options, table_report *report)
        : fd_(fd), bytes_(bytes), options_(options), report_(report)
    {
    }

    leveldb::Status Read(uint64_t offset, size_t n, leveldb::Slice *result,
                         char *scratch) const override
    {
        size_t have = 0;
        ssize_t got = 1;
        while (have < n && (got > 0 || (got < 0 && errno == EINTR))) {
            got = pread(fd_, scratch + have, n - have, static_cast<off_t>(offset + have));
            have += got > 0 ? static_cast<size_t>(got) : 0;
        }
        if (got < 0) {
            failure_ = errno;
            return leveldb::Status::IOError("reading");
        }
        *result = leveldb::Slice(scratch, have);
        report_->bytes += have;
        auto *bytes = reinterpret_cast<uint8_t *>(scratch);
        if (offset == bytes_ - TABLE_FOOTER_BYTES) {
            memcpy(bytes, footer_, TABLE_FOOTER_BYTES);
        } else if (have < n || !check_block(offset, bytes, have)) {
            note(offset, n);
        }
        if (options_.pace != nullptr && !is_trying_) {
            options_.pace(options_.user, have);
        }
        return leveldb::Status::OK();
    }

    void note(uint64_t at, uint64_t bytes) const
    {
        report_->at = report_->damaged == 0 ? at : report_->at;
        report_->damaged++;
        report_->damaged_bytes += bytes;
    }

    bool read_footer()
    {
        return pread(fd_, footer_, TABLE_FOOTER_BYTES,
                     static_cast<off_t>(bytes_ - TABLE_FOOTER_BYTES)) == TABLE_FOOTER_BYTES;
    }

    uint8_t footer_[TABLE_FOOTER_BYTES] = {};
    bool is_trying_ = false; /* whether a footer is right: nothing is told */
    mutable int failure_ = 0;

  private:
    bool check_block(uint64_t offset, uint8_t *bytes, size_t len) const
    {
        size_t bit = 0;
        if (len < trailer_bytes) {
            return false;
        }
        uint32_t stored = crc32c_read_u32(bytes + len - 4);
        if (crc32c_mask(crc32c_extend(0, bytes, len - 4)) == stored) {
            return true;
        }
        if (is_trying_ || options_.flip == nullptr ||
            !crc32c_find_flip(bytes, len - 4, stored, &bit)) {
            return false;
        }
        auto mask = static_cast<uint8_t>(1 << bit % 8);
        bytes[bit / 8] ^= mask;
        options_.flip(options_.user, offset + bit / 8, mask);
        return true;
    }

    const int fd_;
    const uint64_t bytes_;
    const table_options &options_;
    table_report *const report_;
};

std::unique_ptr<leveldb::Table> open_table(CheckedFile *file, uint64_t bytes)
{
    static const leveldb::FilterPolicy *const policy = leveldb::NewBloomFilterPolicy(10);
    leveldb::Options options;
    leveldb::Table *table = nullptr;
    options.paranoid_checks = true;
    options.filter_policy = policy;
    bool fine = table_footer_is_sound(file->footer_, bytes) &&
                leveldb::Table::Open(options, file, bytes, &table).ok();
    return std::unique_ptr<leveldb::Table>(fine ? table : nullptr);
}

/* Turn each bit of the footer until it fits what it speaks of. */
std::unique_ptr<leveldb::Table> mend_footer(CheckedFile *file, uint64_t bytes,
                                            const table_options &options, table_report *report)
{
    const table_report before = *report;
    for (size_t bit = 0; options.flip != nullptr && bit < size_t{TABLE_FOOTER_BYTES} * 8; bit++) {
        auto mask = static_cast<uint8_t>(1 << bit % 8);
        file->footer_[bit / 8] ^= mask;
        file->is_trying_ = true;
        auto table = open_table(file, bytes);
        bool fits = table != nullptr && report->damaged == before.damaged;
        file->is_trying_ = false;
        if (fits) {
            options.flip(options.user, bytes - TABLE_FOOTER_BYTES + bit / 8, mask);
            return table;
        }
        *report = before;
        file->footer_[bit / 8] ^= mask;
    }
    file->note(bytes - TABLE_FOOTER_BYTES, TABLE_FOOTER_BYTES);
    return nullptr;
}

void read_blocks(leveldb::Table *table)
{
    leveldb::ReadOptions options;
    options.verify_checksums = true;
    options.fill_cache = false;
    std::unique_ptr<leveldb::Iterator> it(table->NewIterator(options));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
    }
}

void check_opened(CheckedFile *file, uint64_t bytes, const table_options &options,
                  table_report *ret)
{
    auto table = table_footer_is_sound(file->footer_, bytes)
                     ? open_table(file, bytes)
                     : mend_footer(file, bytes, options, ret);
    ret->is_lost = table == nullptr;
    if (table != nullptr && options.is_whole) {
        read_blocks(table.get());
    }
}

} // namespace

bool table_footer_is_sound(const uint8_t footer[TABLE_FOOTER_BYTES], uint64_t bytes)
{
    const uint8_t *at = footer;
    const uint8_t *end = footer + handles_bytes;
    uint64_t meta_at, meta_bytes, index_at, index_bytes;
    uint64_t found = crc32c_read_u32(footer + handles_bytes) |
                     static_cast<uint64_t>(crc32c_read_u32(footer + handles_bytes + 4)) << 32;
    return bytes >= TABLE_FOOTER_BYTES && found == magic && read_number(&at, end, &meta_at) &&
           read_number(&at, end, &meta_bytes) && read_number(&at, end, &index_at) &&
           read_number(&at, end, &index_bytes) && ends_at(meta_at, meta_bytes, index_at) &&
           ends_at(index_at, index_bytes, bytes - TABLE_FOOTER_BYTES);
}

int table_check(const char *path, uint64_t bytes, const struct table_options *options,
                struct table_report *ret)
{
    struct stat status;
    *ret = table_report{};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) {
        return errno;
    }
    CheckedFile file(fd, bytes, *options, ret);
    bool is_long_enough = fd >= 0 && bytes >= TABLE_FOOTER_BYTES && fstat(fd, &status) == 0 &&
                          static_cast<uint64_t>(status.st_size) >= bytes;
    if (is_long_enough && file.read_footer()) {
        check_opened(&file, bytes, *options, ret);
    } else {
        ret->is_lost = true;
        file.note(0, bytes);
    }
    if (fd >= 0) {
        close(fd);
    }
    return file.failure_;
}
