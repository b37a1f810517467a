// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the agent tells and lets do on the system bus. The loop's thread only.

#include <functional>

#include "agent/bus/bus_service.h"
#include "agent/gate/front.h"

namespace latchkey::agent {

// Each costs a new connection to the broker, and the logins that are just being asked about.
inline constexpr Micros kResyncPause = from_seconds(5);

class AgentBusDesk : public bus::BusDesk {
public:
    AgentBusDesk(AgentState& state, const SessionBook& sessions, const Front& front)
        : state_(state), sessions_(sessions), front_(front) {}

    // Asks the broker for everything; without one the state is damaged and nobody is asked.
    void on_resync(std::function<void()> ask) { ask_for_all_ = std::move(ask); }
    bus::View view() const;

    std::vector<protocol::LiveSession> sessions() override;
    Status resync() override;
    std::vector<std::string> explain(const Login& login, const Fingerprint& key) override;
    void note_bus_trouble(const std::string& line) override;

private:
    AgentState& state_;
    const SessionBook& sessions_;
    const Front& front_;
    std::function<void()> ask_for_all_;
    std::optional<Micros> last_resync_; // monotonic
};

} // namespace latchkey::agent
