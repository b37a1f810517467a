// SPDX-License-Identifier: Apache-2.0
#pragma once
// Framed messages over a stream socket in blocking style, under one absolute deadline: used by the helper,
// the PAM module, the signer's client and server. Owns its descriptor; one thread at a time. No SIGPIPE,
// EINTR handled. Fails with kUnavailable (nobody listens), kTimedOut, kMalformed/kTooLarge (then close), kIo.

#include <cstdint>
#include <string>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/base/unique_handle.h"
#include "core/protocol/frame.h"

namespace latchkey::posix {

class Deadline {
public:
    explicit Deadline(Micros at_monotonic) : at_(at_monotonic) {}
    static Deadline after(Micros duration);
    int poll_millis() const; // rounded up; 0 once passed
    bool passed() const;

private:
    Micros at_;
};

class Stream {
public:
    explicit Stream(UniqueFd fd) : fd_(std::move(fd)) {}
    static Result<Stream> connect_unix(const std::string& path, const Deadline& deadline);

    Status send(ByteView bytes, const Deadline& deadline);
    Result<protocol::Frame> receive(std::size_t limit, const Deadline& deadline);
    int fd() const { return fd_.get(); }

private:
    Status wait(short events, const Deadline& deadline);

    UniqueFd fd_;
    Bytes pending_;
};

} // namespace latchkey::posix
