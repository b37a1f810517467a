// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "core/base/unique_handle.h"
#include "core/posix/stream.h"

namespace latchkey::agent::doctor {
namespace {

constexpr std::size_t kMaxOutput = 1024 * 1024;
constexpr Micros kLookAgain = from_millis(5); // whether it has ended, once its output has

struct Pipe {
    UniqueFd read_end;
    UniqueFd write_end;
};

std::optional<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
    return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<pid_t> start(const Words& argv, int out, int err) {
    std::vector<char*> words;
    words.reserve(argv.size() + 1);
    for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    static const std::array<const char*, 4> environment = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "SYSTEMD_COLORS=0",
        nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    pid_t pid = 0;
    const int problem = ::posix_spawnp(&pid, words[0], &actions, &attributes, words.data(),
                                       const_cast<char* const*>(environment.data()));
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (problem == 0) return pid;
    return fail(problem == ENOENT ? Code::kNotFound : Code::kIo,
                "cannot run " + argv.front() + ": " + std::strerror(problem));
}

// false: the pipe is at its end.
bool take(int fd, std::string& into) {
    std::array<char, 4096> chunk;
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) return false;
    if (into.size() < kMaxOutput) into.append(chunk.data(), static_cast<std::size_t>(got));
    return true;
}

void drain(Pipe& out, Pipe& err, Ran& ran, const posix::Deadline& deadline) {
    while ((out.read_end || err.read_end) && !deadline.passed()) {
        std::array<pollfd, 2> fds = {pollfd{out.read_end.get(), POLLIN, 0},
                                     pollfd{err.read_end.get(), POLLIN, 0}};
        if (::poll(fds.data(), fds.size(), deadline.poll_millis()) <= 0) continue;
        if (fds[0].revents != 0 && !take(fds[0].fd, ran.out)) out.read_end.reset();
        if (fds[1].revents != 0 && !take(fds[1].fd, ran.err)) err.read_end.reset();
    }
}

} // namespace

Result<Ran> run_program(const Words& argv, Micros time_limit) {
    auto out = make_pipe();
    auto err = make_pipe();
    if (!out || !err) return fail(Code::kIo, "no descriptors left to run " + argv.front());
    LK_TRY(pid, start(argv, out->write_end.get(), err->write_end.get()));
    out->write_end.reset();
    err->write_end.reset();
    const auto deadline = posix::Deadline::after(time_limit);
    Ran ran;
    drain(*out, *err, ran, deadline);
    int status = 0;
    pid_t ended = 0;
    while ((ended = ::waitpid(pid, &status, WNOHANG)) == 0 && !deadline.passed())
        ::poll(nullptr, 0, static_cast<int>(kLookAgain.value / 1000));
    if (ended == 0) {
        ::kill(-pid, SIGKILL);
        ::waitpid(pid, &status, 0);
        return fail(Code::kTimedOut, argv.front() + " did not end in time and was killed");
    }
    if (WIFEXITED(status)) ran.status = WEXITSTATUS(status);
    return ran;
}

} // namespace latchkey::agent::doctor
