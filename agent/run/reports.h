// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the broker must hear of this VM besides sessions and receipts: a broker that was set back, state that
// was torn, a break-glass account that was used. Each is kept, on disk too, until the broker says that it has
// recorded it, and sent at every Welcome until then. The loop's thread only.

#include <functional>
#include <string>
#include <vector>

#include "agent/gate/agent_state.h"
#include "agent/gate/hub_port.h"
#include "core/protocol/break_glass.h"

namespace latchkey::agent {

inline constexpr std::size_t kMaxReports = 256; // the oldest give way

class Reports {
public:
    Reports(AgentState& state, HubPort& hub) : state_(state), hub_(hub) {}

    // Once for the same words, as long as they wait.
    void add(std::string kind, std::string text);
    // The id comes from the use itself: one that is read twice is one report.
    void add(const protocol::BreakGlassUse& use);
    void recorded(std::uint64_t id); // by the broker
    void go_online();                // a broker is accepted: all of them
    void go_offline() { is_online_ = false; }

    void on_change(std::function<void()> then) { changed_ = std::move(then); }
    Bytes encode() const;
    Status restore(ByteView encoded);
    const std::vector<protocol::Report>& waiting() const { return waiting_; }

private:
    void add(protocol::Report report);

    AgentState& state_;
    HubPort& hub_;
    std::function<void()> changed_;
    bool is_online_ = false;
    std::vector<protocol::Report> waiting_; // in the order in which they came
};

} // namespace latchkey::agent
