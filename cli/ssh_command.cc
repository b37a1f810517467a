// SPDX-License-Identifier: Apache-2.0
#include "cli/ssh_command.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/base/bytes.h"
#include "core/base/unique_handle.h"

extern char** environ;

namespace latchkey::cli {
namespace {

constexpr std::size_t kOutputLimit = 64 * 1024;

std::vector<char*> pointers(const std::vector<std::string>& argv) {
    std::vector<char*> out;
    out.reserve(argv.size() + 1);
    for (const std::string& word : argv) out.push_back(const_cast<char*>(word.c_str())); // exec's C signature
    out.push_back(nullptr);
    return out;
}

Result<pid_t> spawn_with_stdout(const std::vector<std::string>& argv, int stdout_fd) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
    pid_t child = 0;
    const int failed =
        ::posix_spawnp(&child, argv[0].c_str(), &actions, nullptr, pointers(argv).data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        return fail(Code::kNotFound, "cannot run " + argv[0] + ": " + std::strerror(failed),
                    "install openssh-client");
    }
    return child;
}

} // namespace

std::string quote(std::string_view word) {
    static constexpr std::string_view plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-";
    if (!word.empty() && word.find_first_not_of(plain) == std::string_view::npos) return std::string(word);
    std::string out = "'";
    for (const char c : word) {
        if (c == '\'') {
            out += "'\\''";
        } else {
            out += c;
        }
    }
    return out + "'";
}

std::vector<std::string> broker_command(const Profile& profile, const std::vector<std::string>& words) {
    std::vector<std::string> argv = {
        "ssh", "-p", profile.port, "-i", profile.identity.string(), "-o", "IdentitiesOnly=yes"};
    if (!profile.user.empty()) {
        argv.insert(argv.end(), {"-l", profile.user});
    }
    if (words.empty() && ::isatty(STDIN_FILENO) != 0) argv.push_back("-t");
    argv.insert(argv.end(), {"--", profile.host});
    for (const std::string& word : words) argv.push_back(quote(word));
    return argv;
}

Result<std::string> run_for_output(const std::vector<std::string>& argv) {
    std::array<int, 2> pipe_fds{};
    if (::pipe2(pipe_fds.data(), O_CLOEXEC) != 0) return fail(Code::kIo, "cannot make a pipe");
    UniqueFd read_end(pipe_fds[0]);
    UniqueFd write_end(pipe_fds[1]);
    LK_TRY(child, spawn_with_stdout(argv, write_end.get()));
    write_end.reset();
    std::string output;
    std::array<char, 4096> chunk;
    ssize_t got = 0;
    while ((got = ::read(read_end.get(), chunk.data(), chunk.size())) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 || output.size() > kOutputLimit) break;
        output.append(chunk.data(), static_cast<std::size_t>(got));
    }
    read_end.reset();
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return fail(Code::kRefused, "the broker did not answer as asked (see above)", "");
    }
    if (output.size() > kOutputLimit) return fail(Code::kTooLarge, "the broker's answer is too long");
    return output;
}

Error become(const std::vector<std::string>& argv) {
    ::execvp(argv[0].c_str(), pointers(argv).data());
    return {Code::kNotFound, "cannot run " + argv[0] + ": " + std::strerror(errno), "install openssh-client"};
}

} // namespace latchkey::cli
