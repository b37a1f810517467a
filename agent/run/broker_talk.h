// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the agent says to its broker and does with each of its messages: the one place that knows the order of
// a connection's life (Welcome, catch-up, online, lost). The loop's thread only.

#include "agent/gate/fetches.h"
#include "agent/gate/front.h"
#include "agent/hub_link/hub_link.h"
#include "agent/revoke/revoker.h"
#include "agent/run/keeper.h"

namespace latchkey::agent {

class BrokerTalk : public HubClient {
public:
    struct Parts {
        AgentState& state;
        Fetches& fetches;
        Revoker& revoker;
        SessionBook& sessions;
        Front& front;
        Keeper& keeper;
        HubPort& hub;
        StepUps& step_ups;
        Reports& reports;
        BrokerOrder& brokers;
    };
    explicit BrokerTalk(const Parts& parts);

    // Called after whatever may have changed what the VM knows of its broker, and where keys or managed
    // logins are others than before.
    void on_change(std::function<void()> then) { changed_ = std::move(then); }
    void on_trust_change(std::function<void()> then) { trust_changed_ = std::move(then); }

    protocol::Hello hello() override;
    protocol::Heartbeat heartbeat() override;
    bool vouches(const protocol::Heartbeat& beat) override;
    Status welcome(const protocol::Welcome& welcome) override;
    Status take(const protocol::Frame& frame) override;
    void lost(const Error& why) override;

private:
    void note_broker(const protocol::Welcome& welcome);
    Status adopt(const protocol::TrustSet& trust);
    Status handle(const protocol::Frame& frame);
    void note_change() const {
        if (changed_) changed_();
    }
    void go_online_if_caught_up();
    Status hear(const protocol::Heartbeat& beat);
    void end_session(const protocol::SessionEnd& message);
    void tell_ended(std::uint64_t session, protocol::SessionOutcome outcome);

    Parts parts_;
    std::function<void()> changed_;
    std::function<void()> trust_changed_;
    Bytes instance_; // random: by it the broker knows one agent that comes back from two that are one VM
    std::string last_reason_; // why we are not connected: said once, not at each attempt
};

} // namespace latchkey::agent
