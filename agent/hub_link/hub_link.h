// SPDX-License-Identifier: Apache-2.0
#pragma once
// The agent's end of the hub: connects to a broker of the pinned key, says Hello, hands over what comes, and
// begins again with back-off and jitter whenever that ends, at the next broker of its order where this one
// was of no use. Everything on the thread that runs the io_context, which outlives it, as do order, client
// and identity. Nothing fails to the outside: what goes wrong is told to the client.

#include <cstdint>
#include <memory>
#include <string>

#include "agent/gate/hub_port.h"
#include "agent/hub_link/broker_order.h"
#include "core/keys/private_key.h"
#include "core/protocol/hub.h"

namespace boost::asio {
class io_context;
}

namespace latchkey::agent {

// What the agent does with its broker; called by HubLink on its thread.
class HubClient {
public:
    virtual ~HubClient() = default;
    virtual protocol::Hello hello() = 0;
    virtual protocol::Heartbeat heartbeat() = 0;
    // Whether this heartbeat speaks for now: one that does not counts as missing.
    virtual bool vouches(const protocol::Heartbeat& beat) = 0;
    // A failure refuses this broker: it is told so and the connection ends.
    virtual Status welcome(const protocol::Welcome& welcome) = 0;
    // A failure ends the connection.
    virtual Status take(const protocol::Frame& frame) = 0;
    // Not connected (any more). Also where a connection did not come about.
    virtual void lost(const Error& why) = 0;
};

inline constexpr Micros kConnectTime = from_seconds(10);
inline constexpr std::size_t kOutboxFrames = 1024;
inline constexpr std::size_t kMaxUnsentBytes = 8 * 1024 * 1024;
inline constexpr std::int64_t kMissedHeartbeats = 3;

class HubLink : public HubPort {
public:
    // connect_time: for TCP and TLS, and again for the Welcome.
    HubLink(boost::asio::io_context& io, const Clock& clock, const Fingerprint& broker_key,
            BrokerOrder& brokers, const keys::PrivateKey& identity, HubClient& client,
            Micros connect_time = kConnectTime);
    ~HubLink() override;

    void start();
    void stop();
    // To be called every heartbeat period: sends ours, and ends a connection on which the broker's are
    // missing.
    void beat();
    // Ends the connection and begins a new one at once.
    void renew(const std::string& why);

    void send(Bytes frame) override;
    void post(Bytes frame) override;

private:
    struct State;
    std::shared_ptr<State> state_;
};

} // namespace latchkey::agent
