// SPDX-License-Identifier: Apache-2.0
#include "pam/break_glass.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "core/base/unique_handle.h"
#include "pam/managed_logins.h"

namespace latchkey::pam {
namespace {

std::string beside(const Options& options, std::string_view name) {
    return options.managed.substr(0, options.managed.rfind('/') + 1) + std::string(name);
}

Failure failure(const std::string& what, const std::string& path) {
    return fail(Code::kIo, "cannot " + what + " " + path + ": " + std::strerror(errno));
}

void lock_for_a_second(int fd) {
    for (int tries = 0; tries < 100 && ::flock(fd, LOCK_EX | LOCK_NB) != 0; ++tries) {
        const timespec pause{0, 10'000'000};
        ::nanosleep(&pause, nullptr);
    }
}

} // namespace

bool is_break_glass(const Options& options, const Login& login) {
    return look_up(beside(options, protocol::kBreakGlassListFile), login).standing == Standing::kManaged;
}

Status record_use(const Options& options, const protocol::BreakGlassUse& use) {
    const std::string path = beside(options, protocol::kBreakGlassSpoolFile);
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return failure("open", path);
    lock_for_a_second(fd.get()); // without it the line may be lost between the agent's reading and emptying
    struct stat facts {};
    if (::fstat(fd.get(), &facts) != 0) return failure("look at", path);
    const auto size = static_cast<std::size_t>(facts.st_size);
    if (size > protocol::kBreakGlassSpoolLimit)
        return fail(Code::kTooLarge, path + " is full: no agent has read it");
    char last = '\n';
    if (size > 0 && ::pread(fd.get(), &last, 1, facts.st_size - 1) != 1) return failure("read", path);
    const std::string line = (last == '\n' ? "" : "\n") + protocol::encode_use(use); // behind a torn one
    if (::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
        return failure("write", path);
    if (::fdatasync(fd.get()) != 0) return failure("sync", path);
    return {};
}

} // namespace latchkey::pam
