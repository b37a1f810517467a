// SPDX-License-Identifier: Apache-2.0
#pragma once
// May this agent let anybody in, and on whose word? Online: the broker's revocations are all applied and its
// heartbeat is fresh. Offline: grants that are held are served until offline_grace after the moment up to
// which every revocation is known to be applied here; that a broker was heard renews nothing. Over: nothing
// is. CatchingUp: the broker is back and has not yet said all that we missed, or this VM was asleep and what
// it knows is old; whoever asks waits. One thread.

#include <algorithm>
#include <cstdint>
#include <optional>

#include "agent/decide/broker_clock.h"

namespace latchkey::agent {

enum class Standing : std::uint8_t { kOnline = 1, kCatchingUp, kOffline, kOver };

class Lease {
public:
    explicit Lease(const BrokerClock& clock) : clock_(clock) {}

    void set_grace(Micros grace) { grace_ = grace; }
    // How often beat() comes and the broker's words are due.
    void set_period(Micros period) { period_ = period; }
    // A word of the broker's this old says nothing about now.
    bool is_late(Micros age) const { return age.value > kLatePeriods * period_.value; }
    // We are awake. Beats that stay away mean that this VM was suspended, or this process stopped.
    void beat() {
        has_slept_ = is_asleep();
        last_beat_ = clock_.monotonic();
    }

    void begin_catch_up() { link_ = Link::kCatchingUp; }
    // All that the Welcome named is applied: as of then nothing is missing.
    void go_online() {
        if (link_ != Link::kOnline) covered_ = clock_.welcomed();
        link_ = Link::kOnline;
    }
    // A heartbeat of that age, whose epoch is the one that is applied here: as of then nothing is missing.
    void cover(Micros age) {
        if (link_ == Link::kOnline && age <= clock_.since(*covered_)) covered_ = clock_.ago(age);
    }
    // A connection ended, or an attempt failed. After a sleep the first loss only says that the old
    // connection is of no use: what was missed is heard on the next one, or that fails too.
    void go_offline() {
        const bool may_have_missed = link_ == Link::kOnline && is_asleep();
        link_ = may_have_missed ? Link::kCatchingUp : Link::kDown;
    }

    Standing standing() const {
        if (link_ == Link::kOnline) {
            const bool is_old = is_late(clock_.silence()) || (is_asleep() && is_overdue());
            return is_old ? Standing::kCatchingUp : Standing::kOnline;
        }
        if (link_ == Link::kCatchingUp) return Standing::kCatchingUp;
        return is_in_grace() ? Standing::kOffline : Standing::kOver;
    }
    // For what was decided a while ago: it may open now, even where new questions wait for a catch-up.
    bool covers_decided() const { return standing() == Standing::kOnline || is_in_grace(); }
    // Of the grace, where kOffline.
    Micros left() const { return covered_ ? grace_ - clock_.since(*covered_) : Micros{}; }
    bool serves_held_grants() const {
        return standing() == Standing::kOnline || standing() == Standing::kOffline;
    }

private:
    enum class Link : std::uint8_t { kDown = 1, kCatchingUp, kOnline };
    static constexpr std::int64_t kLatePeriods = 6;

    bool is_in_grace() const { return covered_ && grace_.value > 0 && clock_.since(*covered_) <= grace_; }
    bool is_overdue() const { return clock_.silence().value > 5 * period_.value / 2; }
    bool is_asleep() const {
        const Micros gap = last_beat_.value == 0 ? Micros{} : clock_.monotonic() - last_beat_;
        return gap > period_ + std::max(period_, from_seconds(2)) || (has_slept_ && is_overdue());
    }

    const BrokerClock& clock_;
    Micros grace_{};
    Micros period_ = from_seconds(5);
    Micros last_beat_; // monotonic; 0: none yet
    bool has_slept_ = false;
    Link link_ = Link::kDown;
    std::optional<Moment> covered_; // every revocation of before then is applied; none: never online
};

} // namespace latchkey::agent
