// SPDX-License-Identifier: Apache-2.0
#pragma once
// An agent's side of the hub protocol in blocking style, for tests: a real TLS client with the VM's key.
// Reads give up after 20 s. One thread at a time.

#include <openssl/ssl.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/unique_handle.h"
#include "core/keys/private_key.h"
#include "core/protocol/codec.h"
#include "core/protocol/hub.h"
#include "core/protocol/local.h"

namespace latchkey::hub {

// A TCP connection to this machine's port; small_window: a receive buffer of a few KiB.
UniqueFd connect_local(std::uint16_t port, bool small_window = false);
// True once the other side has closed it; false after 20 s.
bool is_closed_by_peer(int fd);

class TestAgent {
public:
    TestAgent(std::uint16_t port, const keys::PrivateKey& identity, bool small_window = false);

    bool is_connected() const { return is_connected_; }
    Bytes broker_key() const; // the raw key that the hub showed
    void close() { fd_.reset(); }

    void send_raw(ByteView bytes);
    template <class Message>
    void send(const Message& message) {
        send_raw(protocol::encode(message));
    }
    // The next frame that is no heartbeat and no refresh; nullopt where the hub closed the connection.
    std::optional<protocol::Frame> receive();
    // The next frame decoded; a failed test and an empty message where it is another one.
    template <class Message>
    Message receive() {
        const auto frame = receive();
        return decoded<Message>(frame);
    }
    // Reads on up to the next frame of this type; false where the connection ended before.
    bool receive_up_to(protocol::Type type);
    // The next heartbeat; nullopt where the connection ended before.
    std::optional<protocol::Heartbeat> receive_heartbeat();
    // The next frame that is no heartbeat; an Unsupported where the hub closed the connection.
    protocol::Frame receive_but_heartbeat();
    bool is_closed() { return !receive(); }

    // Hello at this epoch, then the Welcome and its last Revoke.
    protocol::Welcome greet(Epoch epoch = {});
    protocol::Revoke receive_last_revoke();
    std::vector<protocol::RevocationEntry> caught_up; // by the last greet()
    Bytes instance;                                   // said in the Hello, where set

    // Signed by the VM's key.
    protocol::Receipt receipt(Epoch epoch, VmId vm) const;
    void send_signed(protocol::Receipt receipt); // with a signature over what it says now

private:
    template <class Message>
    static Message decoded(const std::optional<protocol::Frame>& frame) {
        if (!frame) {
            fail_test("the hub closed the connection");
            return {};
        }
        auto message = protocol::decode<Message>(*frame);
        if (!message) {
            fail_test(message.error().line());
            return {};
        }
        return std::move(*message);
    }
    static void fail_test(const std::string& why);
    std::optional<protocol::Frame> receive_any();
    bool read_exactly(std::uint8_t* into, std::size_t size);

    const keys::PrivateKey& identity_;
    UniqueFd fd_;
    UniqueHandle<SSL_CTX, SSL_CTX_free> context_;
    UniqueHandle<SSL, SSL_free> ssl_;
    bool is_connected_ = false;
};

} // namespace latchkey::hub
