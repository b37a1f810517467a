// SPDX-License-Identifier: Apache-2.0
#pragma once
// latchkey-signer as a child of latchkeyd. The child inherits one control socket (fd 3); each connection is
// the end of a new socket pair that connect() passes over it, so no path is needed and nobody else can
// connect. When the control socket closes, the signer ends. Start it before root is dropped: the signer
// becomes its own user by itself, and a small root parent in it starts it again when it dies. connect()
// starts a dead signer again where our rights still allow it, at most once in a growing back-off (0.1 to 5
// s); in between it is kUnavailable. Any thread.

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/base/unique_handle.h"
#include "core/posix/stream.h"

namespace latchkey::signer {

class SignerProcess {
public:
    struct Options {
        std::filesystem::path program;
        std::vector<std::string> arguments; // {"--config", FILE}; no secrets: every user can read argv
    };

    // Returns once the signer answers; its last words on stderr say why it does not (kUnavailable).
    static Result<std::unique_ptr<SignerProcess>> spawn(Options options);
    ~SignerProcess(); // ends the signer: closes the control socket, waits 2 s, then SIGKILL

    Result<posix::Stream> connect(const posix::Deadline& deadline);
    pid_t pid() const;

private:
    explicit SignerProcess(Options options) : options_(std::move(options)) {}
    Status start();
    void reap();

    Options options_;
    mutable std::mutex mutex_;
    UniqueFd control_;
    pid_t pid_ = -1;
    Micros next_start_{0}; // not before; monotonic
    Micros back_off_ = from_millis(50);
};

} // namespace latchkey::signer
