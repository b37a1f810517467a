// SPDX-License-Identifier: Apache-2.0
#pragma once
// May this agent let anybody in, and on whose word? Online: the broker's revocations are all applied and its
// heartbeat is fresh. Offline: grants that are held are served until offline_grace after the last heartbeat.
// Over: nothing is. CatchingUp: the broker is back and has not yet said all that we missed; whoever asks
// waits. One thread.

#include <cstdint>

#include "agent/decide/broker_clock.h"

namespace latchkey::agent {

enum class Standing : std::uint8_t { kOnline = 1, kCatchingUp, kOffline, kOver };

class Lease {
public:
    explicit Lease(const BrokerClock& clock) : clock_(clock) {}

    void set_grace(Micros grace) { grace_ = grace; }
    void begin_catch_up() { link_ = Link::kCatchingUp; }
    void go_online() {
        link_ = Link::kOnline;
        ever_online_ = true;
    }
    void go_offline() { link_ = Link::kDown; }

    Standing standing() const {
        if (link_ == Link::kOnline) return Standing::kOnline;
        if (link_ == Link::kCatchingUp) return Standing::kCatchingUp;
        const bool holds = ever_online_ && grace_.value > 0 && clock_.silence() <= grace_;
        return holds ? Standing::kOffline : Standing::kOver;
    }
    bool serves_held_grants() const {
        return standing() == Standing::kOnline || standing() == Standing::kOffline;
    }

private:
    enum class Link : std::uint8_t { kDown = 1, kCatchingUp, kOnline };

    const BrokerClock& clock_;
    Micros grace_{};
    Link link_ = Link::kDown;
    bool ever_online_ = false;
};

} // namespace latchkey::agent
