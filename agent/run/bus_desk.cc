// SPDX-License-Identifier: Apache-2.0
#include "agent/run/bus_desk.h"

#include "agent/gate/explain.h"
#include "agent/log/log.h"

namespace latchkey::agent {

bus::View AgentBusDesk::view() const {
    bus::View view;
    view.is_connected = front_.is_connected();
    view.epoch = state_.revocations.epoch();
    if (state_.broker_clock.is_known()) {
        view.last_heartbeat = state_.broker_clock.last_heard();
        view.clock_offset = state_.broker_clock.offset();
    }
    return view;
}

std::vector<protocol::LiveSession> AgentBusDesk::sessions() {
    std::vector<protocol::LiveSession> live;
    for (const BoundSession& session : sessions_.all()) live.push_back(to_live(session));
    return live;
}

Status AgentBusDesk::resync() {
    if (!ask_for_all_)
        return fail(Code::kTampered, "the agent's state is damaged: " + state_.troubles.line(),
                    "join again with a new token");
    if (!front_.is_connected())
        return fail(Code::kUnavailable, "no broker is connected",
                    "it brings what is missing by itself once it is back");
    const Micros now = state_.clock.monotonic();
    if (last_resync_ && now - *last_resync_ < kResyncPause)
        return fail(Code::kRefused, "a resync was asked for less than 5 s ago", "wait a little");
    last_resync_ = now;
    log_info("resync revocations asked=system-bus");
    state_.grants.make_stale();
    ask_for_all_();
    return {};
}

std::vector<std::string> AgentBusDesk::explain(const Login& login, const Fingerprint& key) {
    return agent::explain(state_, sessions_.all(), login, key);
}

void AgentBusDesk::note_bus_trouble(const std::string& line) {
    state_.troubles.set(TroubleKind::kBus, line);
}

} // namespace latchkey::agent
