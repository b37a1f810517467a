// SPDX-License-Identifier: Apache-2.0
#include "broker/door/figures.h"

namespace latchkey::door {
namespace {

constexpr std::array<const char*, 5> kRefusals = {"lobby_full", "waited_too_long", "left", "cut",
                                                  "no_thread"};

} // namespace

void DoorFigures::end_login(const Error* why) {
    if (why == nullptr) return accepted_.add();
    if (why->code == Code::kTimedOut) return timed_out_.add();
    (why->code == Code::kUnavailable ? left_ : refused_).add();
}

void DoorFigures::describe(metrics::Registry& registry, const Admission& admission) const {
    registry.add("latchkey_door_connections_total", "Connections that were opened to the door.", connections);
    for (std::size_t i = 0; i < kRefusals.size(); ++i) {
        registry.add("latchkey_door_refusals_total",
                     "Connections that got no login, or lost their place in it to others, by reason.",
                     refusals_[i], {{"reason", kRefusals[i]}});
    }
    const std::string logins = "latchkey_door_logins_total";
    const std::string of_logins =
        "Logins that ended, by outcome; left: nobody was refused, but one side went.";
    registry.add(logins, of_logins, accepted_, {{"outcome", "accepted"}});
    registry.add(logins, of_logins, refused_, {{"outcome", "refused"}});
    registry.add(logins, of_logins, timed_out_, {{"outcome", "timed_out"}});
    registry.add(logins, of_logins, left_, {{"outcome", "left"}});
    registry.add("latchkey_door_wait_duration_seconds", "From a connection to its place.", waiting);
    registry.add("latchkey_door_login_duration_seconds", "From the place to the accepted login.", logging_in);
    registry.add("latchkey_door_command_duration_seconds", "Commands of people, with their output.",
                 commands);
    registry.add_gauge("latchkey_door_served_connections", "Connections that have a place.",
                       [&admission] { return static_cast<double>(admission.connections()); });
    registry.add_gauge("latchkey_door_unauthenticated_connections",
                       "Of them those that have proven no registered key yet.",
                       [&admission] { return static_cast<double>(admission.strangers()); });
    registry.add("latchkey_door_lobby_connections", "Connections that wait for a place.", in_lobby);
}

} // namespace latchkey::door
