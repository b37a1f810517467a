// SPDX-License-Identifier: Apache-2.0
#pragma once
// An ssh-agent for tests: offers one public key and signs as the test says. With it come a security key in
// software, and a signature of 64 zero bytes, which libssh leaves without an answer. One thread, until its
// end.

#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>

#include "core/base/bytes.h"
#include "core/base/unique_handle.h"
#include "core/keys/private_key.h"
#include "core/keys/public_key.h"

namespace latchkey::door {

class FakeAgent {
public:
    using Sign = std::function<Bytes(ByteView data)>; // a signature blob
    FakeAgent(std::filesystem::path socket, Bytes public_blob, Sign sign);
    ~FakeAgent();
    const std::filesystem::path& socket() const { return path_; }
    int signatures() const { return signatures_; }

private:
    void serve();
    void talk(int fd);
    Bytes answer(ByteView request);

    std::filesystem::path path_;
    Bytes blob_;
    Sign sign_;
    UniqueFd listener_;
    UniqueFd stop_;
    std::atomic<int> signatures_ = 0;
    std::thread thread_;
};

Bytes sign_with_zeros(ByteView data);

// A security key in software: over an ed25519 or ECDSA P-256 key of ours, application "ssh:".
class SoftwareToken {
public:
    explicit SoftwareToken(keys::KeyType type); // kSkEd25519 or kSkEcdsa256
    const keys::PublicKey& public_key() const { return public_key_; }
    Bytes sign(ByteView data) const; // with touch

private:
    keys::PrivateKey key_;
    keys::PublicKey public_key_;
};

} // namespace latchkey::door
