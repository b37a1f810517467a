// SPDX-License-Identifier: Apache-2.0
#include "broker/door/stock_ssh.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <stdexcept>

extern char** environ;

namespace latchkey::door {
namespace {

constexpr int kDeadlineMillis = 20'000;

// One answer a line; the file "next" counts. The lock is not needed: ssh asks one question at a time.
constexpr const char* kAskpass = R"(#!/bin/sh
cd "$LK_TEST_FOLDER" || exit 1
printf '%s\n' "$1" >> prompts
n=$(($(cat next) + 1)); echo "$n" > next
line=$(sed -n "${n}p" answers)
case "$line" in
  "") exit 1 ;;
  "@late") sleep 1; echo late ;; # ssh hears of the end only when it has its answer
  "@shown "*)
    secret=$(grep -o 'secret=[A-Z2-7]*' err | head -n 1 | cut -d= -f2)
    echo "$secret" | oathtool --totp --base32 --now="@${line#@shown }" - ;;
  *) printf '%s\n' "$line" ;;
esac
)";

void write_text(const std::filesystem::path& file, const std::string& text, mode_t mode) {
    std::ofstream(file, std::ios::binary) << text;
    ::chmod(file.c_str(), mode);
}

pid_t spawn(const std::vector<std::string>& words, const std::vector<std::string>& environment,
            const std::string& in, const std::string& out, const std::string& err) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, in.c_str(), O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawnattr_t attributes; // without a controlling terminal ssh asks the script
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    std::vector<char*> envp;
    for (char** entry = environ; *entry != nullptr; ++entry) envp.push_back(*entry);
    for (const std::string& entry : environment) envp.push_back(const_cast<char*>(entry.c_str()));
    envp.push_back(nullptr);
    pid_t pid = 0;
    const int failed = posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), envp.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failed != 0) throw std::runtime_error("cannot run " + words[0]);
    return pid;
}

int reap(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

std::string text_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

StockSsh::StockSsh(const std::filesystem::path& folder, const Options& options) : folder_(folder) {
    static std::atomic<int> next = 1;
    folder_ /= "ssh-" + std::to_string(next++);
    std::filesystem::create_directories(folder_);
    write_text(folder_ / "askpass", kAskpass, 0700);
    write_text(folder_ / "next", "0\n", 0600);
    write_text(folder_ / "in", options.input, 0600);
    write_text(folder_ / "err", "", 0600);
    std::string answers;
    for (const std::string& answer : options.answers) answers += answer + "\n";
    write_text(folder_ / "answers", answers, 0600);
    std::vector<std::string> words = {
        "/usr/bin/ssh", "-F", "none", "-p", std::to_string(options.port), "-i", options.key.string(),
    };
    for (const char* option :
         {"IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
          "NumberOfPasswordPrompts=5", "ConnectTimeout=15"}) {
        words.insert(words.end(), {"-o", option});
    }
    words.insert(words.end(), options.extra.begin(),
                 options.extra.end()); // of two values ssh takes the first
    words.insert(words.end(), {"-o", "IdentityAgent=none"});
    if (options.has_terminal) words.emplace_back("-tt");
    words.push_back(options.user + "@127.0.0.1");
    if (!options.command.empty()) words.push_back(options.command);
    pid_ = spawn(words,
                 {"SSH_ASKPASS=" + (folder_ / "askpass").string(), "SSH_ASKPASS_REQUIRE=force",
                  "LK_TEST_FOLDER=" + folder_.string(), "LC_ALL=C.UTF-8"},
                 folder_ / "in", folder_ / "out", folder_ / "err");
    handle_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
}

StockSsh::~StockSsh() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    reap(pid_);
}

Ended StockSsh::wait() {
    pollfd entry{handle_.get(), POLLIN, 0};
    if (::poll(&entry, 1, kDeadlineMillis) != 1) ::kill(pid_, SIGKILL);
    Ended ended;
    ended.status = reap(pid_);
    pid_ = 0;
    ended.out = text_of(folder_ / "out");
    ended.err = text_of(folder_ / "err");
    return ended;
}

int run_program(const std::vector<std::string>& words) {
    return reap(spawn(words, {}, "/dev/null", "/dev/null", "/dev/null"));
}

std::filesystem::path make_key(const std::filesystem::path& folder, const std::string& name,
                               const std::vector<std::string>& options) {
    const std::filesystem::path path = folder / name;
    std::vector<std::string> words = {"/usr/bin/ssh-keygen", "-q", "-N", "", "-C", name, "-f", path.string()};
    words.insert(words.end(), options.begin(), options.end());
    if (run_program(words) != 0) throw std::runtime_error("ssh-keygen fails for " + name);
    return path;
}

std::string public_line(const std::filesystem::path& private_key) {
    std::string line = text_of(private_key.string() + ".pub");
    while (line.ends_with('\n')) line.pop_back();
    return line;
}

} // namespace latchkey::door
