// SPDX-License-Identifier: Apache-2.0
#pragma once
// What time the broker has, reckoned from its last word and our own clocks. Two reckonings: by the monotonic
// clock (a stepped wall clock does not move it) and by the wall clock (a VM that was paused and resumed has a
// monotonic clock that missed the pause). What ends is judged by the later of the two, what begins by the
// monotonic one: a clock that jumps can only deny. One thread; the Clock outlives it.

#include <algorithm>
#include <optional>

#include "core/base/clock.h"

namespace latchkey::agent {

class BrokerClock {
public:
    explicit BrokerClock(const Clock& clock) : clock_(clock) {}

    void sync(Micros broker_time) { heard_ = Heard{broker_time, clock_.now(), clock_.monotonic()}; }
    bool is_known() const { return heard_.has_value(); }
    Micros last_heard() const { return heard_ ? heard_->broker : Micros{}; } // broker time

    // Meaningful once is_known().
    Micros now() const {
        return heard_ ? heard_->broker + (clock_.monotonic() - heard_->monotonic) : clock_.now();
    }
    Micros latest() const {
        return heard_ ? std::max(now(), heard_->broker + (clock_.now() - heard_->wall)) : clock_.now();
    }
    // How long ago the broker was heard, by the clock that says longer. A wall clock set back says nothing.
    Micros silence() const { return heard_ ? latest() - heard_->broker : Micros{INT64_MAX}; }
    // Broker time minus our wall clock.
    Micros offset() const { return now() - clock_.now(); }
    // That moment on the VM's own wall clock: what sshd judges by.
    Micros to_wall(Micros broker_time) const { return broker_time - offset(); }

private:
    struct Heard {
        Micros broker;
        Micros wall;
        Micros monotonic;
    };
    const Clock& clock_;
    std::optional<Heard> heard_;
};

} // namespace latchkey::agent
