// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "broker/signer/control.h"
#include "core/protocol/signer.h"

namespace latchkey::signer {
namespace {

constexpr Micros kFirstAnswer = from_seconds(20); // a token may be slow to open
constexpr Micros kEndGrace = from_seconds(2);
constexpr Micros kLeastBackOff = from_millis(100);
constexpr Micros kMostBackOff = from_seconds(5);

// The child has empty signal masks and default handlers, whatever the broker's threads block.
Result<pid_t> spawn_child(const std::filesystem::path& program, std::vector<std::string> arguments,
                          int control) {
    std::string name = program.string();
    std::vector<char*> argv = {name.data()};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_adddup2(&actions, control, kControlFd);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, kControlFd + 1);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes, &signals);
    ::sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes, &signals);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t pid = -1;
    const int error = ::posix_spawn(&pid, name.c_str(), &actions, &attributes, argv.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
        return fail(Code::kUnavailable, "cannot start " + name + ": " + std::strerror(error),
                    "check signer.program in the configuration");
    }
    return pid;
}

Result<posix::Stream> connect_over(int control) {
    LK_TRY(pair, make_pair(SOCK_STREAM));
    LK_CHECK(send_descriptor(control, pair.theirs.get()));
    return posix::Stream(std::move(pair.ours));
}

// True once the child has answered a request: its plugin is loaded and its key is there.
Status ask_once(int control) {
    LK_TRY(stream, connect_over(control));
    const auto deadline = posix::Deadline::after(kFirstAnswer);
    LK_CHECK(stream.send(protocol::encode(protocol::PublicKeys()), deadline));
    LK_TRY(frame, stream.receive(protocol::kLocalFrameLimit, deadline));
    return {};
}

} // namespace

Result<std::unique_ptr<SignerProcess>> SignerProcess::spawn(Options options) {
    std::unique_ptr<SignerProcess> process(new SignerProcess(std::move(options)));
    LK_CHECK(process->start());
    const Status answered = ask_once(process->control_.get());
    if (!answered) {
        return fail(Code::kUnavailable, "the signer did not come up: " + answered.error().message,
                    "its reason stands above; then run: latchkeyd check");
    }
    return process;
}

SignerProcess::~SignerProcess() {
    const std::lock_guard lock(mutex_);
    reap();
}

pid_t SignerProcess::pid() const {
    const std::lock_guard lock(mutex_);
    return pid_;
}

Status SignerProcess::start() {
    LK_TRY(pair, make_pair(SOCK_SEQPACKET));
    std::vector<std::string> arguments = options_.arguments;
    arguments.insert(arguments.end(), {"--control-fd", std::to_string(kControlFd)});
    LK_TRY(pid, spawn_child(options_.program, std::move(arguments), pair.theirs.get()));
    control_ = std::move(pair.ours);
    pid_ = pid;
    return {};
}

// Closing the control socket tells the child to end; one that does not is killed.
void SignerProcess::reap() {
    control_.reset();
    if (pid_ < 0) return;
    const auto deadline = posix::Deadline::after(kEndGrace);
    while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
        if (deadline.passed()) {
            // Root's keeper is not ours to kill: it ends by itself once it sees the closed socket.
            if (::kill(pid_, SIGKILL) == 0) ::waitpid(pid_, nullptr, 0);
            break;
        }
        ::usleep(
            5'000); // a child's end gives nothing to poll for but a signal, which is the broker's to handle
    }
    pid_ = -1;
}

Result<posix::Stream> SignerProcess::connect(const posix::Deadline& /*deadline*/) {
    const std::lock_guard lock(mutex_);
    if (control_) {
        auto stream = connect_over(control_.get());
        if (stream) return stream;
    }
    const Micros now = SystemClock().monotonic();
    if (now < next_start_) return fail(Code::kUnavailable, "it ended; it is started again in a moment");
    // Doubled where the last start did not last, else begun anew.
    const bool has_lasted = now - next_start_ > kMostBackOff;
    back_off_ = has_lasted ? kLeastBackOff : std::min(Micros{back_off_.value * 2}, kMostBackOff);
    reap();
    next_start_ = now + back_off_;
    LK_CHECK(start());
    return connect_over(control_.get());
}

} // namespace latchkey::signer
