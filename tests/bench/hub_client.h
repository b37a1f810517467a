// SPDX-License-Identifier: Apache-2.0
#pragma once
// A VM's agent as the hub sees it, in blocking style: joins by a token with a key of its own, or comes back
// with the one that it has, says Hello, then fetches or listens. For load only: it pins the broker's key, but
// verifies no grant. One thread at a time.

#include <openssl/ssl.h>

#include <functional>
#include <optional>

#include "core/base/unique_handle.h"
#include "core/keys/private_key.h"
#include "core/protocol/hub.h"
#include "core/protocol/join_token.h"

namespace latchkey::bench {

class HubClient {
public:
    static Result<HubClient> join(const protocol::JoinToken& token, const VmName& name);

    // TLS alone.
    static Result<HubClient> connect(keys::PrivateKey identity, const protocol::BrokerAddress& broker,
                                     const Fingerprint& broker_key);
    // Hello, and the answer up to the last Revoke of what was missed.
    Status come_back();

    Status beat(); // to be called within four of the hub's heartbeats
    // From here on reads do not block.
    void listen();
    int socket() const { return socket_.get(); }
    // What has come, frame by frame, without waiting for more.
    Status take_waiting(const std::function<void(const protocol::Frame&)>& take);

    // One question and its answer; what the hub sends unasked meanwhile (heartbeats, trust) is read past.
    Result<protocol::Grant> fetch(const Login& login, const Fingerprint& key);

private:
    using ContextHandle = UniqueHandle<SSL_CTX, SSL_CTX_free>;
    using ConnectionHandle = UniqueHandle<SSL, SSL_free>;

    explicit HubClient(keys::PrivateKey identity) : identity_(std::move(identity)) {}
    Status shake_hands(const protocol::BrokerAddress& broker, const Fingerprint& broker_key);
    Status hello();
    Status greet(const protocol::JoinToken& token, const VmName& name);
    Status send(const Bytes& frame);
    Result<protocol::Frame> receive();
    Result<std::optional<protocol::Frame>> take_frame(); // out of what is here already

    keys::PrivateKey identity_;
    UniqueFd socket_;
    ContextHandle context_;
    ConnectionHandle connection_;
    Bytes pending_;
    std::uint64_t last_request_ = 0;
};

} // namespace latchkey::bench
