// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests: an agent on a Unix socket in a temporary folder, one connection at a time on a thread of its
// own. The handler gets each request and returns the bytes to send back; nullopt keeps silent until the asker
// leaves.

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/posix/stream.h"

namespace latchkey::pam {

class FakeAgent {
public:
    using Handler = std::function<std::optional<Bytes>(const protocol::Frame&)>;

    explicit FakeAgent(Handler handler) : handler_(std::move(handler)) {
        std::string name = (std::filesystem::temp_directory_path() / "lk-pam-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, socket().c_str(), sizeof address.sun_path - 1);
        listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(listener_.get(), 16) != 0) {
            std::abort();
        }
        thread_ = std::thread([this] { serve(); });
    }
    ~FakeAgent() {
        ::shutdown(listener_.get(), SHUT_RDWR); // accept() returns
        thread_.join();
        std::filesystem::remove_all(folder_);
    }
    FakeAgent(const FakeAgent&) = delete;
    FakeAgent& operator=(const FakeAgent&) = delete;

    std::string socket() const { return (folder_ / "agent.sock").string(); }
    std::vector<protocol::Frame> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

private:
    void serve() {
        for (;;) {
            UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!fd) return;
            posix::Stream stream(std::move(fd));
            const auto deadline = posix::Deadline::after(from_seconds(30));
            auto request = stream.receive(protocol::kLocalFrameLimit, deadline);
            if (!request) continue;
            {
                const std::lock_guard lock(mutex_);
                requests_.push_back(*request);
            }
            if (const auto reply = handler_(*request)) {
                static_cast<void>(stream.send(*reply, deadline).has_value());
            } else {
                static_cast<void>(stream.receive(1, deadline).has_value()); // until the asker leaves
            }
        }
    }

    Handler handler_;
    std::filesystem::path folder_;
    UniqueFd listener_;
    mutable std::mutex mutex_;
    std::vector<protocol::Frame> requests_;
    std::thread thread_;
};

} // namespace latchkey::pam
