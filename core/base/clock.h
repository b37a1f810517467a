// SPDX-License-Identifier: Apache-2.0
#pragma once
// Time as the project keeps it: Micros since the Unix epoch (what the ledger stores) and a monotonic Micros
// for deadlines. Clock is the seam that tests move by hand; SystemClock may be called from any thread.

#include <compare>
#include <cstdint>

namespace latchkey {

struct Micros {
    std::int64_t value = 0;

    auto operator<=>(const Micros&) const = default;
    friend Micros operator+(Micros a, Micros b) { return {a.value + b.value}; }
    friend Micros operator-(Micros a, Micros b) { return {a.value - b.value}; }
    std::int64_t seconds() const { return value / 1'000'000; }
};

constexpr Micros from_seconds(std::int64_t seconds) {
    return {seconds * 1'000'000};
}
constexpr Micros from_millis(std::int64_t millis) {
    return {millis * 1'000};
}

class Clock {
public:
    virtual ~Clock() = default;
    virtual Micros now() const = 0;       // wall clock
    virtual Micros monotonic() const = 0; // never steps back; counts suspended time (CLOCK_BOOTTIME)
};

class SystemClock : public Clock {
public:
    Micros now() const override;
    Micros monotonic() const override;
};

class FakeClock : public Clock {
public:
    explicit FakeClock(Micros start) : now_(start) {}
    Micros now() const override { return now_; }
    Micros monotonic() const override { return monotonic_; }
    void advance(Micros by) {
        now_ = now_ + by;
        monotonic_ = monotonic_ + by;
    }
    void step_wall(Micros by) { now_ = now_ + by; }

private:
    Micros now_;
    Micros monotonic_{1'000'000};
};

} // namespace latchkey
