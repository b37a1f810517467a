// SPDX-License-Identifier: Apache-2.0
#pragma once
// An ssh-agent for tests that offers one public key and signs with 64 zero bytes: the wrong signature that
// libssh leaves without an answer. One thread, until its end.

#include <atomic>
#include <filesystem>
#include <thread>

#include "core/base/bytes.h"
#include "core/base/unique_handle.h"
#include "core/keys/public_key.h"

namespace latchkey::door {

class LyingAgent {
public:
    LyingAgent(std::filesystem::path socket, const keys::PublicKey& key);
    ~LyingAgent();
    const std::filesystem::path& socket() const { return path_; }
    int signatures() const { return signatures_; }

private:
    void serve();
    void talk(int fd);
    Bytes answer(ByteView request);

    std::filesystem::path path_;
    Bytes blob_;
    UniqueFd listener_;
    UniqueFd stop_;
    std::atomic<int> signatures_ = 0;
    std::thread thread_;
};

} // namespace latchkey::door
