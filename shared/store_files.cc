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

/* Where no more than small_bytes were written since the last sync, as much is reserved as there is
 * already, within these bounds: a log that is soon done with costs little. */
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
        bool is_in_place = unsynced_from_ < reserved_;
        if (is_in_place && begins_record(data) &&
            unsynced_from_ / block_bytes != at / block_bytes && !Sync().ok()) {
            return status_;
        }
        waiting_.append(data.data(), data.size());
        return status_;
    }

    leveldb::Status Flush() override
    {
        uint64_t next = end_ + waiting_.size();
        unsynced_from_ = std::min(unsynced_from_, end_);
        write(waiting_.data(), waiting_.size(), end_);
        if (status_.ok() && next > reserved_ && next - unsynced_from_ <= small_bytes) {
            reserve(next);
        }
        end_ = next;
        waiting_.clear();
        return status_;
    }

    leveldb::Status Sync() override
    {
        if (Flush().ok() && fdatasync(fd_) != 0) {
            fail();
        }
        unsynced_from_ = nowhere;
        return status_;
    }

    leveldb::Status Close() override
    {
        Flush();
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

    /* Where there is no room to reserve there may be room to go on without. */
    void reserve(uint64_t from)
    {
        static const char zeros[small_bytes] = {};
        uint64_t to = from + std::clamp<uint64_t>(from, small_bytes, reserve_bytes_max);
        for (uint64_t at = from; at < to; at += sizeof zeros) {
            if (!write_all(fd_, zeros, std::min<uint64_t>(to - at, sizeof zeros), at)) {
                return;
            }
            reserved_ = std::min<uint64_t>(to, at + sizeof zeros);
        }
    }

    const std::string name_;
    int fd_;
    leveldb::Status status_;
    std::string waiting_;   /* appended and not yet flushed */
    uint64_t end_ = 0;      /* of what was flushed */
    uint64_t reserved_ = 0; /* up to here the file has its bytes already */
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
        ssize_t got = pread(fd_, scratch, n, static_cast<off_t>(offset));
        *result = leveldb::Slice(scratch, got < 0 ? 0 : static_cast<size_t>(got));
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
