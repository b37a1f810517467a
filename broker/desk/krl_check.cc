// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/krl_check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/unique_handle.h"

namespace latchkey::desk {
namespace {

constexpr int kDeadlineMillis = 5000;
constexpr int kChildFd = 3;

class SpawnActions {
public:
    SpawnActions() { posix_spawn_file_actions_init(&actions_); }
    ~SpawnActions() { posix_spawn_file_actions_destroy(&actions_); }
    SpawnActions(const SpawnActions&) = delete;
    SpawnActions& operator=(const SpawnActions&) = delete;
    posix_spawn_file_actions_t* get() { return &actions_; }

private:
    posix_spawn_file_actions_t actions_;
};

Status write_all(int fd, ByteView bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return fail(Code::kIo, "cannot keep the KRL in memory");
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
}

// Exit status, or -1 where it was killed or did not end in time.
int await(pid_t child) {
    const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    pollfd entry{handle.get(), POLLIN, 0};
    if (!handle || ::poll(&entry, 1, kDeadlineMillis) != 1) ::kill(child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

Status check_krl(ByteView krl, const std::string& ssh_keygen) {
    if (::access(ssh_keygen.c_str(), X_OK) != 0) return {};
    const UniqueFd file(::memfd_create("krl", MFD_CLOEXEC));
    if (!file) return fail(Code::kIo, "cannot keep the KRL in memory");
    LK_CHECK(write_all(file.get(), krl));
    SpawnActions actions;
    for (const int fd : {0, 1, 2}) {
        posix_spawn_file_actions_addopen(actions.get(), fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
    }
    posix_spawn_file_actions_adddup2(actions.get(), file.get(), kChildFd);
    std::string program = ssh_keygen;
    std::string path = "/proc/self/fd/" + std::to_string(kChildFd);
    char query[] = "-Q";
    char listing[] = "-l";
    char from[] = "-f";
    char* arguments[] = {program.data(), query, listing, from, path.data(), nullptr};
    char* environment[] = {nullptr};
    pid_t child = 0;
    if (::posix_spawn(&child, program.c_str(), actions.get(), nullptr, arguments, environment) != 0) {
        return fail(Code::kUnavailable, "cannot run " + ssh_keygen, "try again");
    }
    if (await(child) == 0) return {};
    return fail(Code::kInternal, "ssh-keygen does not read the KRL that was made; it is not given out",
                "report this");
}

} // namespace latchkey::desk
