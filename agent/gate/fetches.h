// SPDX-License-Identifier: Apache-2.0
#pragma once
// Questions to the broker that are under way: equal ones are asked once, each ends by its deadline, and what
// comes back is verified before it counts. A good grant is in the cache when its askers are called. While the
// agent catches up, askers wait here and are sent back to look again. The loop's thread only; bounded.

#include <functional>
#include <map>
#include <vector>

#include "agent/gate/agent_state.h"
#include "agent/gate/hub_port.h"
#include "agent/loop/loop.h"

namespace latchkey::agent {

inline constexpr std::size_t kMaxFetches = 256;
// For a login that the broker has not named as managed: a rule may be new, but strangers try such names all
// day.
inline constexpr int kUnmanagedFetchesPerSecond = 5;

class Fetches {
public:
    // Good: look into the cache again.
    using Done = std::function<void(const Status&)>;

    Fetches(AgentState& state, Loop& loop, HubPort& hub) : state_(state), loop_(loop), hub_(hub) {}

    // Calls `done` exactly once, perhaps before it returns; `deadline` on the monotonic clock.
    void ask(const Offer& offer, Micros deadline, Done done);
    void take(const protocol::Grant& grant);
    void look_again();                      // those that wait for a connection
    void fail_sent(const std::string& why); // the connection is gone

private:
    struct Pending {
        Offer offer;
        bool was_sent = false;
        std::vector<Done> askers;
    };
    void finish(std::uint64_t request, const Status& status);
    bool may_ask_for(const Login& login);
    Status accept(const Offer& offer, const protocol::Grant& grant);
    void take_unasked(const protocol::Grant& grant);

    AgentState& state_;
    Loop& loop_;
    HubPort& hub_;
    std::map<std::uint64_t, Pending> pending_;
    std::map<Offer, std::uint64_t> by_offer_;
    std::uint64_t last_request_ = 0;
    Micros second_began_; // monotonic
    int unmanaged_in_second_ = 0;
};

} // namespace latchkey::agent
