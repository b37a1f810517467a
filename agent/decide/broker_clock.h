// SPDX-License-Identifier: Apache-2.0
#pragma once
// What time the broker has, reckoned from its words and our own clocks. Two reckonings: by the monotonic
// clock (a stepped wall clock does not move it) and by the wall clock (a VM that was paused and resumed may
// have a monotonic clock that missed the pause). What ends is judged by the later of the two, what begins by
// the monotonic one: a clock that jumps can only deny. Between two Welcomes a word of the broker's only moves
// the time forward: who holds back the bytes of the connection stretches nothing, and how old the newest word
// was when it came is known. One thread; the Clock outlives it.

#include <algorithm>
#include <optional>

#include "core/base/clock.h"

namespace latchkey::agent {

// On the VM's own clocks, both of them: no broker's time, which the next Welcome may move.
struct Moment {
    Micros wall;
    Micros monotonic;
};

class BrokerClock {
public:
    explicit BrokerClock(const Clock& clock) : clock_(clock) {}

    // At a Welcome: that is the time, be it earlier than we thought.
    void sync(Micros broker_time) {
        newest_word_ = broker_time;
        heard_ = Heard{broker_time, clock_.now(), clock_.monotonic()};
        welcomed_ = ago(Micros{});
    }
    // At a Heartbeat. Returns how old the word is by our reckoning.
    Micros hear(Micros broker_time) {
        if (!heard_) {
            sync(broker_time);
            return Micros{};
        }
        const Micros reckoned = now();
        newest_word_ = std::max(newest_word_, broker_time);
        heard_ = Heard{std::max(reckoned, broker_time), clock_.now(), clock_.monotonic()};
        return std::max(reckoned - broker_time, Micros{});
    }
    Micros monotonic() const { return clock_.monotonic(); }
    bool is_known() const { return heard_.has_value(); }
    Micros last_heard() const { return newest_word_; } // broker time

    // Meaningful once is_known().
    Micros now() const {
        return heard_ ? heard_->broker + (clock_.monotonic() - heard_->monotonic) : clock_.now();
    }
    Micros latest() const {
        return heard_ ? std::max(now(), heard_->broker + (clock_.now() - heard_->wall)) : clock_.now();
    }
    // How old the newest word is, by the clock that says longer. A wall clock set back says nothing.
    Micros silence() const { return heard_ ? latest() - newest_word_ : Micros{INT64_MAX}; }
    // So long ago; and how long ago it was, by the clock that says longer.
    Moment ago(Micros age) const { return {clock_.now() - age, clock_.monotonic() - age}; }
    Micros since(const Moment& moment) const {
        return std::max(clock_.now() - moment.wall, clock_.monotonic() - moment.monotonic);
    }
    // When the last Welcome came.
    const Moment& welcomed() const { return welcomed_; }
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
    Micros newest_word_;
    Moment welcomed_;
};

} // namespace latchkey::agent
