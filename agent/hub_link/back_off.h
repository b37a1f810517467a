// SPDX-License-Identifier: Apache-2.0
#pragma once
// How long to wait at most before the next attempt: 0.2 s, doubled with each round of all brokers, 15 s at
// most. It begins anew after a connection that lasted, not after one that was only welcome: whatever is
// welcomed and then fails each time must not come back for ever as fast as it can. A value; one thread.

#include <algorithm>
#include <cstddef>
#include <optional>

#include "core/base/clock.h"

namespace latchkey::agent {

inline constexpr Micros kFirstBackOff = from_millis(200);
inline constexpr Micros kLongestBackOff = from_seconds(15);

class BackOff {
public:
    // An attempt came to nothing, or a connection ended that lasted so long since its Welcome.
    Micros after(std::optional<Micros> lasted, Micros heartbeat_period, std::size_t brokers) {
        if (is_steady(lasted, heartbeat_period)) failures_ = 0;
        const std::size_t rounds = std::min<std::size_t>(failures_++ / brokers, 10);
        return Micros{std::min(kLongestBackOff.value, kFirstBackOff.value << rounds)};
    }
    static bool is_steady(std::optional<Micros> lasted, Micros heartbeat_period) {
        return lasted && *lasted >= heartbeat_period;
    }

private:
    std::size_t failures_ = 0;
};

} // namespace latchkey::agent
