// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/client.h"

#include <algorithm>
#include <chrono>

#include "core/protocol/signer.h"

namespace latchkey::signer {
namespace {

Failure gone(const Error& why) {
    return fail(Code::kUnavailable, "the signer does not answer: " + why.message,
                "look at its log, then run: systemctl restart latchkey-signer (or restart latchkeyd where it "
                "starts it)");
}

// The signer's word, under its own code where that is a refusal of this request.
Error refusal(const protocol::Refused& refused) {
    const auto& codes = all_codes();
    const auto known = std::ranges::find(codes, refused.code, &CodeInfo::name);
    return {known == codes.end() ? Code::kRefused : known->code, "the signer refuses: " + refused.message,
            refused.next};
}

template <class Answer>
Result<Answer> read_answer(const protocol::Frame& frame) {
    if (frame.type == protocol::Type::kRefused) {
        LK_TRY(refused, protocol::decode<protocol::Refused>(frame));
        return fail(refusal(refused));
    }
    if (frame.type == protocol::Type::kUnsupported)
        return fail(Code::kUnsupported, "the signer does not know this request", "update latchkey-signer");
    return protocol::decode<Answer>(frame);
}

} // namespace

SignerClient::Connect SignerClient::at_socket(std::string path) {
    return [path = std::move(path)](const posix::Deadline& deadline) {
        return posix::Stream::connect_unix(path, deadline);
    };
}

// An idle connection, else a new one, else the next that comes back.
Result<posix::Stream> SignerClient::borrow(const posix::Deadline& deadline, bool& is_fresh) {
    std::unique_lock lock(mutex_);
    while (idle_.empty() && in_use_ >= options_.connections) {
        if (deadline.passed())
            return fail(Code::kTimedOut, "too many requests wait for the signer", "try again");
        returned_.wait_for(lock, std::chrono::milliseconds(deadline.poll_millis()));
    }
    ++in_use_;
    is_fresh = idle_.empty();
    if (!is_fresh) {
        posix::Stream stream = std::move(idle_.back());
        idle_.pop_back();
        return stream;
    }
    lock.unlock();
    auto made = connect_(deadline);
    if (!made) give_back(std::nullopt);
    return made;
}

void SignerClient::give_back(std::optional<posix::Stream> stream) {
    {
        const std::lock_guard lock(mutex_);
        --in_use_;
        if (stream) idle_.push_back(std::move(*stream));
    }
    returned_.notify_one();
}

void SignerClient::describe(metrics::Registry& registry) const {
    registry.add("latchkey_signer_request_duration_seconds",
                 "A question to the signer, with its wait for a connection.", asking_);
    registry.add("latchkey_signer_failures_total", "Questions that the signer did not answer.", unanswered_);
}

Result<protocol::Frame> SignerClient::ask(ByteView request) {
    const metrics::Stopwatch watch(asking_);
    if (is_silent()) {
        unanswered_.add();
        return gone({Code::kTimedOut, "it has just left a request without an answer", ""});
    }
    const auto deadline = posix::Deadline::after(options_.deadline);
    auto answer = ask_over(request, deadline);
    if (!answer) unanswered_.add();
    note(answer.has_value(), deadline);
    return answer;
}

bool SignerClient::is_silent() {
    const std::lock_guard lock(mutex_);
    return silent_until_ && !silent_until_->passed();
}

void SignerClient::note(bool has_answered, const posix::Deadline& deadline) {
    const std::lock_guard lock(mutex_);
    if (has_answered) {
        silent_until_.reset();
    } else if (deadline.passed()) {
        silent_until_ = posix::Deadline::after(options_.after_silence);
    }
}

// A connection that lay idle may have lost its other end meanwhile: then once more on a fresh one. Signing
// twice does no harm: only what comes back is recorded.
Result<protocol::Frame> SignerClient::ask_over(ByteView request, const posix::Deadline& deadline) {
    for (;;) {
        bool is_fresh = false;
        auto stream = borrow(deadline, is_fresh);
        if (!stream) return gone(stream.error());
        const Status sent = stream->send(request, deadline);
        auto answer = sent ? stream->receive(protocol::kLocalFrameLimit, deadline)
                           : Result<protocol::Frame>(fail(sent.error()));
        if (answer) {
            give_back(std::move(*stream));
            return answer;
        }
        give_back(std::nullopt);
        if (is_fresh || deadline.passed()) return gone(answer.error());
    }
}

Result<Bytes> SignerClient::sign(ByteView to_be_signed) {
    protocol::SignCertificate request;
    request.to_be_signed = to_bytes(to_be_signed);
    LK_TRY(frame, ask(protocol::encode(request)));
    LK_TRY(answer, read_answer<protocol::Signed>(frame));
    return std::move(answer.signature);
}

Result<std::vector<keys::PublicKey>> SignerClient::public_keys() {
    LK_TRY(frame, ask(protocol::encode(protocol::PublicKeys())));
    LK_TRY(answer, read_answer<protocol::PublicKeyList>(frame));
    std::vector<keys::PublicKey> list;
    for (const Bytes& blob : answer.keys) {
        LK_TRY(key, keys::PublicKey::from_blob(blob));
        list.push_back(std::move(key));
    }
    if (list.empty())
        return fail(Code::kUnavailable, "the signer holds no CA key", "put it back: docs/emergencies.md");
    return list;
}

} // namespace latchkey::signer
