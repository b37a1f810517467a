// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/server.h"

#include <sys/socket.h>

#include <algorithm>
#include <thread>

#include "core/posix/stream.h"
#include "core/protocol/signer.h"

namespace latchkey::signer {
namespace {

constexpr Micros kIdleLimit = from_seconds(3600);
constexpr Micros kAnswerLimit = from_seconds(5);
constexpr Micros kNoteEvery = from_seconds(1);

Bytes refused(const Error& error) {
    protocol::Refused answer;
    answer.code = std::string(info(error.code).name);
    answer.message = error.message;
    answer.next = error.next;
    return protocol::encode(answer);
}

} // namespace

Server::Server(plugin_host::CaSigner& ca, const Clock& clock, Options options)
    : ca_(ca),
      clock_(clock),
      options_(std::move(options)),
      tokens_(options_.signatures_per_second),
      filled_at_(clock.monotonic()) {}

Server::~Server() {
    std::unique_lock lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    ended_.wait(lock, [this] { return open_.empty(); });
}

Status Server::prepare() {
    LK_TRY(list, ca_.public_keys());
    if (list.empty())
        return fail(Code::kConfig, "the signer plugin holds no key", "put it back: docs/emergencies.md");
    keys_ = std::move(list);
    return {};
}

void Server::add(UniqueFd connection) {
    const int fd = connection.get();
    {
        const std::lock_guard lock(mutex_);
        if (open_.size() >= options_.max_connections) return;
        open_.insert(fd);
    }
    try {
        std::thread([this, fd] { serve(UniqueFd(fd)); }).detach();
        static_cast<void>(connection.release()); // it is the thread's now
    } catch (...) { // no thread to be had: it is closed, and the broker asks again
        const std::lock_guard lock(mutex_);
        open_.erase(fd);
        ended_.notify_all();
    }
}

void Server::serve(UniqueFd connection) {
    const int fd = connection.get();
    {
        posix::Stream stream(std::move(connection));
        for (;;) {
            const auto request =
                stream.receive(protocol::kLocalFrameLimit, posix::Deadline::after(kIdleLimit));
            if (!request) break;
            if (!stream.send(answer(*request), posix::Deadline::after(kAnswerLimit))) break;
        }
        // The descriptor leaves the set before it is closed: its number may be given out again at once.
        const std::lock_guard lock(mutex_);
        open_.erase(fd);
        ended_.notify_all();
    }
}

Bytes Server::answer(const protocol::Frame& request) {
    if (request.type == protocol::Type::kSignCertificate) {
        auto signed_bytes = sign(request);
        if (signed_bytes) return std::move(*signed_bytes);
        note(signed_bytes.error());
        return refused(signed_bytes.error());
    }
    if (request.type == protocol::Type::kPublicKeys) {
        const auto asked = protocol::decode<protocol::PublicKeys>(request);
        if (!asked) return refused(asked.error());
        protocol::PublicKeyList answer;
        for (const keys::PublicKey& key : keys_) answer.keys.push_back(key.blob());
        return protocol::encode(answer);
    }
    protocol::Unsupported answer;
    answer.type = static_cast<std::uint8_t>(request.type);
    return protocol::encode(answer);
}

Result<Bytes> Server::sign(const protocol::Frame& request) {
    LK_TRY(asked, protocol::decode<protocol::SignCertificate>(request));
    LK_TRY(ca, permit(asked.to_be_signed, keys_, options_.limits, clock_.now()));
    if (!take_token())
        return fail(Code::kUnavailable, "over the signer's rate limit",
                    "raise signatures_per_second if this is the load");
    protocol::Signed answer;
    LK_TRY(signature, ca_.sign(ca, asked.to_be_signed));
    answer.signature = std::move(signature);
    return protocol::encode(answer);
}

bool Server::take_token() {
    const std::lock_guard lock(mutex_);
    const Micros now = clock_.monotonic();
    const double seconds = static_cast<double>((now - filled_at_).value) / 1e6;
    tokens_ = std::min(options_.signatures_per_second, tokens_ + seconds * options_.signatures_per_second);
    filled_at_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
}

// One line a second at most, whoever asks and however often.
void Server::note(const Error& refusal) {
    {
        const std::lock_guard lock(mutex_);
        const Micros now = clock_.monotonic();
        if (noted_at_.value != 0 && now - noted_at_ < kNoteEvery) return;
        noted_at_ = now;
    }
    if (options_.log) options_.log("refuse certificate reason=\"" + refusal.line() + "\"");
}

} // namespace latchkey::signer
