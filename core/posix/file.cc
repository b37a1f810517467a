// SPDX-License-Identifier: Apache-2.0
#include "core/posix/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/base/unique_handle.h"

namespace latchkey::posix {
namespace {

Failure file_failure(const std::string& what, const std::filesystem::path& path) {
    const int cause = errno;
    if (cause == ENOENT) return fail(Code::kNotFound, "no such file: " + path.string());
    return fail(Code::kIo, "cannot " + what + " " + path.string() + ": " + std::strerror(cause),
                cause == ENOSPC || cause == EDQUOT ? "free space on that disk" : "");
}

Status read_all(int fd, std::span<std::uint8_t> into, const std::filesystem::path& path) {
    std::size_t done = 0;
    while (done < into.size()) {
        const ssize_t got = ::read(fd, into.data() + done, into.size() - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return file_failure("read", path);
        if (got == 0)
            return fail(Code::kIo, "file became shorter while being read: " + path.string(), "try again");
        done += static_cast<std::size_t>(got);
    }
    return {};
}

struct Opened {
    UniqueFd fd;
    struct stat facts {};
};

Result<Opened> open_regular(const std::filesystem::path& path, std::size_t limit) {
    Opened opened;
    opened.fd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!opened.fd) return file_failure("open", path);
    if (::fstat(opened.fd.get(), &opened.facts) != 0) return file_failure("look at", path);
    if (!S_ISREG(opened.facts.st_mode)) return fail(Code::kIo, "not a regular file: " + path.string());
    if (static_cast<std::size_t>(opened.facts.st_size) > limit) {
        return fail(Code::kTooLarge,
                    path.string() + " is over its limit of " + std::to_string(limit) + " bytes");
    }
    return opened;
}

Status write_all(int fd, ByteView content, const std::filesystem::path& path) {
    while (!content.empty()) {
        const ssize_t put = ::write(fd, content.data(), content.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return file_failure("write", path);
        content = content.subspan(static_cast<std::size_t>(put));
    }
    return {};
}

} // namespace

Status sync_folder(const std::filesystem::path& folder) {
    UniqueFd fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) != 0) return file_failure("sync", folder);
    return {};
}

Result<Bytes> read_file(const std::filesystem::path& path, std::size_t limit) {
    LK_TRY(opened, open_regular(path, limit));
    Bytes content(static_cast<std::size_t>(opened.facts.st_size));
    LK_CHECK(read_all(opened.fd.get(), content, path));
    return content;
}

Result<SecretBytes> read_secret_file(const std::filesystem::path& path, std::size_t limit) {
    LK_TRY(opened, open_regular(path, limit));
    if ((opened.facts.st_mode & 077) != 0) {
        return fail(Code::kRefused, path.string() + " can be read by others",
                    "run: chmod 600 " + path.string());
    }
    if (opened.facts.st_uid != 0 && opened.facts.st_uid != ::geteuid()) {
        return fail(Code::kRefused, path.string() + " belongs to another user",
                    "make it belong to the user that runs this program");
    }
    SecretBytes content(static_cast<std::size_t>(opened.facts.st_size));
    LK_CHECK(read_all(opened.fd.get(), content.writable(), path));
    return content;
}

Status write_file(const std::filesystem::path& path, ByteView content, mode_t mode, Durability durability) {
    const bool is_synced = durability == Durability::kSynced;
    std::string temporary = path.string() + ".XXXXXX";
    UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd) return file_failure("make a file beside", path);
    Status status = write_all(fd.get(), content, path);
    if (status && ::fchmod(fd.get(), mode) != 0) status = file_failure("set the mode of", path);
    if (status && is_synced && ::fsync(fd.get()) != 0) status = file_failure("sync", path);
    if (status && ::rename(temporary.c_str(), path.c_str()) != 0) status = file_failure("rename to", path);
    if (!status) {
        ::unlink(temporary.c_str());
        return status;
    }
    return is_synced ? sync_folder(path.parent_path()) : Status();
}

} // namespace latchkey::posix
