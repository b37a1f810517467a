// SPDX-License-Identifier: Apache-2.0
#pragma once
// How fast connections are let in. A handshake and a Welcome cost about a millisecond of processor time,
// which the door needs too: when 10,000 agents come back at once, they wait their turn in the kernel's queue
// and people log in meanwhile. One thread.

#include <cstddef>
#include <optional>

#include "core/base/clock.h"

namespace latchkey::hub {

class TokenBucket {
public:
    // at_once: how many are there after a pause; at least one.
    TokenBucket(double per_second, double at_once)
        : per_second_(per_second), at_once_(at_once), tokens_(at_once) {}

    // 0: one is taken. Else how long it is until there is one, and none was taken. `now`: Clock::monotonic.
    Micros take(Micros now);

private:
    double per_second_;
    double at_once_;
    double tokens_;
    std::optional<Micros> filled_at_;
};

// How many may wait in the kernel's queue: what is let in within the time for which an agent waits for its
// connection. Who would wait for longer than that is not answered, and the agent's own kernel asks again.
int backlog_for(std::size_t handshakes_per_second);

// The peer has gone while it waited: letting it in would be wasted.
bool has_left(int socket);

} // namespace latchkey::hub
