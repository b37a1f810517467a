// SPDX-License-Identifier: Apache-2.0
#pragma once
// A VM's agent as the hub sees it, in blocking style: joins by a token with a key of its own, says Hello,
// then fetches. For load only: it pins the broker's key, but verifies no grant. One thread at a time.

#include <openssl/ssl.h>

#include "core/base/unique_handle.h"
#include "core/keys/private_key.h"
#include "core/protocol/hub.h"
#include "core/protocol/join_token.h"

namespace latchkey::bench {

class HubClient {
public:
    static Result<HubClient> join(const protocol::JoinToken& token, const VmName& name);

    // One question and its answer; what the hub sends unasked meanwhile (heartbeats, trust) is read past.
    Result<protocol::Grant> fetch(const Login& login, const Fingerprint& key);

private:
    using ContextHandle = UniqueHandle<SSL_CTX, SSL_CTX_free>;
    using ConnectionHandle = UniqueHandle<SSL, SSL_free>;

    explicit HubClient(keys::PrivateKey identity) : identity_(std::move(identity)) {}
    Status connect(const protocol::JoinToken& token);
    Status greet(const protocol::JoinToken& token, const VmName& name);
    Status send(const Bytes& frame);
    Result<protocol::Frame> receive();

    keys::PrivateKey identity_;
    UniqueFd socket_;
    ContextHandle context_;
    ConnectionHandle connection_;
    Bytes pending_;
    std::uint64_t last_request_ = 0;
};

} // namespace latchkey::bench
