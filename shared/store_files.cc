#include "shared/store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <leveldb/env.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>

/* As in LevelDB's c.cc, which has no way to make one of an Env of ours. */
struct leveldb_env_t {
    leveldb::Env *rep;
    bool is_default;
};

namespace
{

/* doc/log_format.md of LevelDB: blocks, and headers of checksum, length and type. */
constexpr uint64_t block_bytes = 32 * 1024;
constexpr size_t header_bytes = 7;
constexpr char type_full = 1;
constexpr char type_first = 2;

/* Where a sync is for no more than small_bytes, as much is reserved as there is already, within
 * these bounds: a log that is soon done with costs little. */
constexpr size_t small_bytes = 16 * 1024;
constexpr uint64_t reserve_bytes_max = 256 * 1024;

constexpr uint64_t nowhere = UINT64_MAX;

bool begins_record(const leveldb::Slice &data)
{
    return data.size() == header_bytes && (data[6] == type_full || data[6] == type_first);
}

class LogFile final : public leveldb::WritableFile
{
  public:
    LogFile(const std::string &name, int fd) : name_(name), fd_(fd)
    {
    }
    ~LogFile() override
    {
        if (fd_ >= 0) {
            Close();
        }
    }

    /* LevelDB appends a header and what belongs to it, and flushes. */
    leveldb::Status Append(const leveldb::Slice &data) override
    {
        uint64_t at = end_ + waiting_.size();
        if (unsynced_from_ != nowhere && begins_record(data) &&
            unsynced_from_ / block_bytes != at / block_bytes && !Sync().ok()) {
            return status_;
        }
        waiting_.append(data.data(), data.size());
        return status_;
    }

    leveldb::Status Flush() override
    {
        if (!waiting_.empty()) {
            write(waiting_.data(), waiting_.size(), end_);
            unsynced_from_ = std::min(unsynced_from_, end_);
            end_ += waiting_.size();
            waiting_.clear();
        }
        return status_;
    }

    leveldb::Status Sync() override
    {
        Flush();
        if (unsynced_from_ != nowhere && end_ > reserved_ && end_ - unsynced_from_ <= small_bytes) {
            reserve();
        }
        sync_file();
        return status_;
    }

    /* With what was not synced, as the next log is not to be without it. */
    leveldb::Status Close() override
    {
        Flush();
        if (unsynced_from_ != nowhere) {
            sync_file();
        }
        if (close(fd_) != 0) {
            fail();
        }
        fd_ = -1;
        return status_;
    }

  private:
    void fail()
    {
        if (status_.ok()) {
            status_ = leveldb::Status::IOError(name_, strerror(errno));
        }
    }

    static bool write_all(int fd, const char *data, size_t len, uint64_t at)
    {
        while (len > 0) {
            ssize_t n = pwrite(fd, data, len, static_cast<off_t>(at));
            if (n < 0 && errno != EINTR) {
                return false;
            }
            size_t written = n < 0 ? 0 : static_cast<size_t>(n);
            data += written;
            len -= written;
            at += written;
        }
        return true;
    }

    void write(const char *data, size_t len, uint64_t at)
    {
        if (status_.ok() && !write_all(fd_, data, len, at)) {
            fail();
        }
    }

    void sync_file()
    {
        if (status_.ok() && fdatasync(fd_) != 0) {
            fail();
        }
        unsynced_from_ = nowhere;
    }

    /* Where there is no room for it there may be room to go on without. */
    void reserve()
    {
        static const char zeros[small_bytes] = {};
        reserved_ = end_ + std::clamp<uint64_t>(end_, small_bytes, reserve_bytes_max);
        bool fine = status_.ok();
        for (uint64_t at = end_; fine && at < reserved_; at += sizeof zeros) {
            fine = write_all(fd_, zeros, std::min<uint64_t>(reserved_ - at, sizeof zeros), at);
        }
    }

    const std::string name_;
    int fd_;
    leveldb::Status status_;
    std::string waiting_;   /* appended and not yet flushed */
    uint64_t end_ = 0;      /* of what was flushed */
    uint64_t reserved_ = 0; /* no more is reserved before here */
    uint64_t unsynced_from_ = nowhere;
};

class TableFile final : public leveldb::RandomAccessFile
{
  public:
    TableFile(const std::string &name, int fd) : name_(name), fd_(fd)
    {
    }
    ~TableFile() override
    {
        close(fd_);
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
        *result = leveldb::Slice(scratch, have);
        return got < 0 ? leveldb::Status::IOError(name_, strerror(errno)) : leveldb::Status::OK();
    }

  private:
    const std::string name_;
    const int fd_;
};

bool is_log(const std::string &name)
{
    static const std::string suffix = ".log";
    return name.size() > suffix.size() &&
           name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

leveldb::Status opened(const std::string &name, int fd)
{
    return fd < 0 ? leveldb::Status::IOError(name, strerror(errno)) : leveldb::Status::OK();
}

/* Logs are never opened to be appended to: that is an option of LevelDB (reuse_logs) which C has
 * not. */
class FilesEnv final : public leveldb::EnvWrapper
{
  public:
    explicit FilesEnv(bool maps_tables)
        : EnvWrapper(leveldb::Env::Default()), maps_tables_(maps_tables)
    {
    }

    leveldb::Status NewWritableFile(const std::string &name, leveldb::WritableFile **ret) override
    {
        if (!is_log(name)) {
            return target()->NewWritableFile(name, ret);
        }
        int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        *ret = fd < 0 ? nullptr : new LogFile(name, fd);
        return opened(name, fd);
    }

    leveldb::Status NewRandomAccessFile(const std::string &name,
                                        leveldb::RandomAccessFile **ret) override
    {
        if (maps_tables_) {
            return target()->NewRandomAccessFile(name, ret);
        }
        int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
        *ret = fd < 0 ? nullptr : new TableFile(name, fd);
        return opened(name, fd);
    }

  private:
    const bool maps_tables_;
};

} // namespace

leveldb_env_t *store_files_env(bool maps_tables)
{
    static leveldb_env_t mapping = {new FilesEnv(true), true};
    static leveldb_env_t reading = {new FilesEnv(false), true};
    return maps_tables ? &mapping : &reading;
}
