#include "shared/store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <leveldb/env.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "shared/damage/table_check.h"

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

/* Descriptors that are kept back for files that LevelDB must open, and how long one is waited for
 * where even these are in use. */
constexpr size_t spares_max = 8;
constexpr int wait_ms = 20;
constexpr int waits_max = 3000;

/* LevelDB takes an open that failed for a lasting fault: the store would take no more writes. But
 * where there are no more descriptors, there may be one in a moment. */
class Spares final
{
  public:
    /* Call `open`, which gives a status, until it finds a descriptor. */
    template <typename Open> leveldb::Status with_descriptor(Open open)
    {
        leveldb::Status status = open();
        for (int i = 0; lacks_descriptor(status) && i < waits_max; i++) {
            if (!give_one()) {
                const timespec pause = {0, wait_ms * 1000000L};
                nanosleep(&pause, nullptr);
            }
            status = open();
        }
        keep();
        return status;
    }

    bool are_short()
    {
        std::lock_guard<std::mutex> guard(lock_);
        return spares_.size() < spares_max / 2;
    }

  private:
    static bool lacks_descriptor(const leveldb::Status &status)
    {
        return status.IsIOError() &&
               (status.ToString().find(strerror(EMFILE)) != std::string::npos ||
                status.ToString().find(strerror(ENFILE)) != std::string::npos);
    }

    bool give_one()
    {
        std::lock_guard<std::mutex> guard(lock_);
        if (spares_.empty()) {
            return false;
        }
        close(spares_.back());
        spares_.pop_back();
        return true;
    }

    void keep()
    {
        std::lock_guard<std::mutex> guard(lock_);
        int fd = 0;
        while (fd >= 0 && spares_.size() < spares_max) {
            fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
            if (fd >= 0) {
                spares_.push_back(fd);
            }
        }
    }

    std::mutex lock_;
    std::vector<int> spares_;
};

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

/* Where descriptors are short it keeps none, and takes one for each read. */
class TableFile final : public leveldb::RandomAccessFile
{
  public:
    TableFile(const std::string &name, int fd, Spares &spares)
        : name_(name), fd_(fd), spares_(spares)
    {
    }
    ~TableFile() override
    {
        if (fd_ >= 0) {
            close(fd_);
        }
    }

    leveldb::Status Read(uint64_t offset, size_t n, leveldb::Slice *result,
                         char *scratch) const override
    {
        if (fd_ >= 0) {
            return read(fd_, offset, n, result, scratch);
        }
        return spares_.with_descriptor([&] {
            int fd = open(name_.c_str(), O_RDONLY | O_CLOEXEC);
            if (fd < 0) {
                return leveldb::Status::IOError(name_, strerror(errno));
            }
            leveldb::Status status = read(fd, offset, n, result, scratch);
            close(fd);
            return status;
        });
    }

    void give_descriptor_back()
    {
        close(fd_);
        fd_ = -1;
    }

  private:
    leveldb::Status read(int fd, uint64_t offset, size_t n, leveldb::Slice *result,
                         char *scratch) const
    {
        size_t have = 0;
        ssize_t got = 1;
        while (have < n && (got > 0 || (got < 0 && errno == EINTR))) {
            got = pread(fd, scratch + have, n - have, static_cast<off_t>(offset + have));
            have += got > 0 ? static_cast<size_t>(got) : 0;
        }
        *result = leveldb::Slice(scratch, have);
        return got < 0 ? leveldb::Status::IOError(name_, strerror(errno)) : leveldb::Status::OK();
    }

    const std::string name_;
    int fd_;
    Spares &spares_;
};

/* It needs no descriptor once it is mapped, however many tables there are. */
class MappedFile final : public leveldb::RandomAccessFile
{
  public:
    MappedFile(const std::string &name, void *bytes, size_t len)
        : name_(name), bytes_(static_cast<char *>(bytes)), len_(len)
    {
    }
    ~MappedFile() override
    {
        munmap(bytes_, len_);
    }

    leveldb::Status Read(uint64_t offset, size_t n, leveldb::Slice *result, char *) const override
    {
        if (offset > len_ || n > len_ - offset) {
            *result = leveldb::Slice();
            return leveldb::Status::Corruption(name_, "is shorter than it should be");
        }
        *result = leveldb::Slice(bytes_ + offset, n);
        return leveldb::Status::OK();
    }

  private:
    const std::string name_;
    char *const bytes_;
    const size_t len_;
};

/* LevelDB believes the footer, which has no checksum, and would allocate whatever it says. */
leveldb::Status check_footer(const std::string &name, int fd, off_t len)
{
    uint8_t footer[TABLE_FOOTER_BYTES];
    bool is_read = len >= TABLE_FOOTER_BYTES &&
                   pread(fd, footer, sizeof footer, len - TABLE_FOOTER_BYTES) == sizeof footer;
    return is_read && table_footer_is_sound(footer, static_cast<uint64_t>(len))
               ? leveldb::Status::OK()
               : leveldb::Status::Corruption(name, "has no sound footer");
}

leveldb::Status open_table(const std::string &name, bool maps, Spares &spares,
                           leveldb::RandomAccessFile **ret)
{
    *ret = nullptr;
    int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
    off_t len = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (len < 0) {
        leveldb::Status status = errno == ENOENT ? leveldb::Status::NotFound(name, strerror(errno))
                                                 : leveldb::Status::IOError(name, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    leveldb::Status status = check_footer(name, fd, len);
    auto bytes = static_cast<size_t>(len);
    void *mapped =
        status.ok() && maps ? mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (mapped != MAP_FAILED) {
        *ret = new MappedFile(name, mapped, bytes);
    } else if (status.ok()) {
        auto *table = new TableFile(name, fd, spares);
        if (spares.are_short()) {
            table->give_descriptor_back();
        }
        *ret = table;
        return status;
    }
    close(fd);
    return status;
}

/* LevelDB's own file, which opens its folder with every sync of a MANIFEST. */
class PatientFile final : public leveldb::WritableFile
{
  public:
    PatientFile(leveldb::WritableFile *file, Spares &spares) : file_(file), spares_(spares)
    {
    }
    leveldb::Status Append(const leveldb::Slice &data) override
    {
        return file_->Append(data);
    }
    leveldb::Status Close() override
    {
        return file_->Close();
    }
    leveldb::Status Flush() override
    {
        return file_->Flush();
    }
    leveldb::Status Sync() override
    {
        return spares_.with_descriptor([&] { return file_->Sync(); });
    }

  private:
    const std::unique_ptr<leveldb::WritableFile> file_;
    Spares &spares_;
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
        return spares_.with_descriptor([&] {
            if (!is_log(name)) {
                leveldb::Status status = target()->NewWritableFile(name, ret);
                *ret = status.ok() ? new PatientFile(*ret, spares_) : nullptr;
                return status;
            }
            int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
            *ret = fd < 0 ? nullptr : new LogFile(name, fd);
            return opened(name, fd);
        });
    }

    leveldb::Status NewRandomAccessFile(const std::string &name,
                                        leveldb::RandomAccessFile **ret) override
    {
        return spares_.with_descriptor(
            [&] { return open_table(name, maps_tables_, spares_, ret); });
    }

    leveldb::Status NewSequentialFile(const std::string &name,
                                      leveldb::SequentialFile **ret) override
    {
        return spares_.with_descriptor([&] { return target()->NewSequentialFile(name, ret); });
    }

    leveldb::Status GetChildren(const std::string &name, std::vector<std::string> *ret) override
    {
        return spares_.with_descriptor([&] { return target()->GetChildren(name, ret); });
    }

    leveldb::Status LockFile(const std::string &name, leveldb::FileLock **ret) override
    {
        return spares_.with_descriptor([&] { return target()->LockFile(name, ret); });
    }

    leveldb::Status NewLogger(const std::string &name, leveldb::Logger **ret) override
    {
        return spares_.with_descriptor([&] { return target()->NewLogger(name, ret); });
    }

  private:
    const bool maps_tables_;
    Spares &spares_ = spares();

    static Spares &spares()
    {
        static Spares *const shared = new Spares;
        return *shared;
    }
};

/* LevelDB throws where memory ends. */
[[noreturn]] void end_with_a_line()
{
    static const char line[] = "error store-failed  LevelDB gave up: it found no memory.\n";
    ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
    (void)ignored;
    _exit(70);
}

} // namespace

leveldb_env_t *store_files_env(bool maps_tables)
{
    std::set_terminate(end_with_a_line);
    static leveldb_env_t mapping = {new FilesEnv(true), true};
    static leveldb_env_t reading = {new FilesEnv(false), true};
    return maps_tables ? &mapping : &reading;
}
