// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the door counts. Any thread.

#include <array>
#include <cstdint>

#include "broker/door/admission.h"
#include "broker/metrics/registry.h"
#include "core/base/result.h"

namespace latchkey::door {

// Why a connection ended before its login began, or was cut in it.
enum class Refusal : std::uint8_t { kLobbyFull = 1, kWaitedTooLong, kLeft, kCut, kNoThread };

struct DoorFigures {
    metrics::Counter connections;
    metrics::Gauge in_lobby;
    metrics::Histogram waiting;    // for a place
    metrics::Histogram logging_in; // from the place to the accepted login
    metrics::Histogram commands;

    void refuse(Refusal why) { refusals_[static_cast<std::size_t>(why) - 1].add(); }
    void end_login(const Error* why); // nullptr: accepted
    // The admission outlives the registry's last render().
    void describe(metrics::Registry& registry, const Admission& admission) const;

private:
    std::array<metrics::Counter, 5> refusals_;
    metrics::Counter accepted_;
    metrics::Counter refused_;
    metrics::Counter timed_out_;
    metrics::Counter left_;
};

} // namespace latchkey::door
