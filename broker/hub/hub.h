// SPDX-License-Identifier: Apache-2.0
#pragma once
// The hub: all connected agents. One io_context thread ("lk-hub") owns sockets and state; ledger and issuer
// work runs on pools (README.md) and posts back. Every public call may come from any thread; only
// start(), stop(), receipts(), wait_receipts() and end_session() block. It registers itself with
// Ledger::on_epoch and on_policy_change. Everything it borrows outlives it, the ledger included: stop the hub
// first.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/hub/receipts.h"
#include "broker/issue/issuer.h"
#include "broker/ledger/ledger.h"
#include "broker/metrics/registry.h"
#include "broker/unlock/factors.h"
#include "core/base/clock.h"
#include "core/keys/private_key.h"
#include "core/keys/public_key.h"

namespace latchkey::hub {

enum class LogLevel : std::uint8_t { kInfo = 1, kWarn, kError };

struct Settings {
    std::string listen = "0.0.0.0:7443"; // address:port, "[v6]:port"; port 0: any
    Micros heartbeat = from_seconds(5);
    Micros handshake_deadline = from_seconds(10); // from accept to Welcome's Hello
    std::size_t max_agents = 16000;
    std::size_t max_unauthenticated = 512;
    std::size_t max_unauthenticated_per_address = 64;
    std::size_t handshakes_per_second = 300;   // admission.h
    std::size_t queue_bytes = 4 * 1024 * 1024; // waiting for one agent; over it the agent is dropped
    std::size_t events_at_once = 4096;         // of one agent, that become audit rows; then 50 a second
    unsigned workers = 4;
    bool shares_ledger = false;                   // other brokers write to it too
    std::string address;                          // by which others know this one; for people
    std::vector<protocol::BrokerAddress> brokers; // told to agents: where brokers of this ledger listen
    std::string software = "latchkeyd";
};

class Hub {
public:
    struct Parts {
        ledger::Ledger& ledger;
        issue::Issuer& issuer;
        const keys::PrivateKey& identity;         // ed25519: what join tokens pin
        std::vector<keys::PublicKey> ledger_keys; // what VMs trust for statements
        const Clock& clock;
        std::function<void(LogLevel, std::string_view)> log; // any thread; may be empty
        unlock::Factors* factors = nullptr; // judges codes for sudo; without it no agent asks
    };

    // Binds and starts the threads. kConfig for an address that does not parse, kIo where it cannot be bound.
    static Result<std::unique_ptr<Hub>> start(Parts parts, Settings settings);
    ~Hub();
    void stop(); // closes every connection and ends the threads; idempotent

    std::uint16_t port() const;

    // An unlock opened or was renewed: fresh grants to the connected VMs where this user was lately.
    void prefetch(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock);

    // As the ledger has it, once our agents have been told of what has committed: telling goes first.
    Result<ReceiptCount> receipts(Epoch epoch);
    // Brings it up to what has come in since, from memory alone: states and last_seen, no receipt's content.
    void look(ReceiptCount& count) const;
    // Until every *connected* VM has answered, at whichever broker, or the time (Clock::monotonic) has come.
    // True: all connected ones have.
    bool wait_receipts(Epoch epoch, Micros deadline_monotonic);

    // Asks the VM to end it, through another broker where that has it, and waits for its answer. kUnavailable
    // where the VM is not connected or leaves, kTimedOut.
    Result<protocol::SessionOutcome> end_session(VmId vm, std::uint64_t session, std::string_view reason,
                                                 Micros deadline_monotonic);
    bool connected(VmId vm) const;       // here or at another broker, as of a heartbeat ago
    Micros last_heard(VmId vm) const;    // 0: not since this hub began
    bool has_step_up(VmId vm) const;     // connected, and its agent asks about sudo
    std::size_t connected_count() const; // here

    void describe(metrics::Registry& registry) const;

private:
    struct State;
    explicit Hub(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace latchkey::hub
