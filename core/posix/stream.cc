// SPDX-License-Identifier: Apache-2.0
#include "core/posix/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace latchkey::posix {
namespace {

Failure system_failure(Code code, const std::string& what) {
    return fail(code, what + ": " + std::strerror(errno));
}

} // namespace

Deadline Deadline::after(Micros duration) {
    return Deadline(SystemClock().monotonic() + duration);
}

bool Deadline::passed() const {
    return SystemClock().monotonic() >= at_;
}

int Deadline::poll_millis() const {
    const std::int64_t left = (at_ - SystemClock().monotonic()).value;
    return left <= 0 ? 0 : static_cast<int>(std::min<std::int64_t>((left + 999) / 1000, 3'600'000));
}

Result<Stream> Stream::connect_unix(const std::string& path, const Deadline& deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return fail(Code::kConfig, "socket path is too long: " + path);
    std::memcpy(address.sun_path, path.data(), path.size());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return system_failure(Code::kIo, "cannot make a socket");
    // EAGAIN: the listener's backlog is full. A Unix socket gives nothing to poll for that, so pause and try
    // again.
    while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return system_failure(Code::kUnavailable, "cannot connect to " + path);
        if (deadline.passed()) return fail(Code::kTimedOut, "no room at " + path + " before the deadline");
        ::poll(nullptr, 0, std::min(5, deadline.poll_millis()));
    }
    return Stream(std::move(fd));
}

Status Stream::wait(short events, const Deadline& deadline) {
    pollfd entry{fd_.get(), events, 0};
    for (;;) {
        const int ready = ::poll(&entry, 1, deadline.poll_millis());
        if (ready > 0) return {};
        if (ready == 0) {
            if (deadline.passed())
                return fail(Code::kTimedOut, "the other side did not answer before the deadline");
        } else if (errno != EINTR) {
            return system_failure(Code::kIo, "poll");
        }
    }
}

Status Stream::send(ByteView bytes, const Deadline& deadline) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(sent));
        } else if (errno == EAGAIN) {
            LK_CHECK(wait(POLLOUT, deadline));
        } else if (errno != EINTR) {
            return system_failure(Code::kUnavailable, "the other side closed the connection");
        }
    }
    return {};
}

Result<protocol::Frame> Stream::receive(std::size_t limit, const Deadline& deadline) {
    for (;;) {
        LK_TRY(size, protocol::frame_size(pending_, limit));
        if (size && pending_.size() >= *size) {
            auto frame = protocol::decode_frame(ByteView(pending_).first(*size));
            pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(*size));
            return frame;
        }
        std::array<std::uint8_t, 8192> chunk;
        const ssize_t got = ::recv(fd_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
        if (got > 0) {
            pending_.insert(pending_.end(), chunk.begin(), chunk.begin() + got);
        } else if (got == 0) {
            return fail(Code::kUnavailable, "the other side closed the connection");
        } else if (errno == EAGAIN) {
            LK_CHECK(wait(POLLIN, deadline));
        } else if (errno != EINTR) {
            return system_failure(Code::kUnavailable, "the connection broke");
        }
    }
}

} // namespace latchkey::posix
