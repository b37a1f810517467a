// SPDX-License-Identifier: Apache-2.0
#pragma once
// All that a session left in the process table: the sshd monitor with its descendants, what sits in its
// logind scope, and what daemonised out of the tree but still bears its audit session. However many they are:
// no descriptor is kept of them. What cannot be read is a failure, never "nothing there". Blocking, any
// thread. Never includes PID 1 or this process.

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/sessions/process.h"

namespace latchkey::agent {

struct Footprint {
    ProcessId monitor;
    std::string scope;                  // "12" of session-12.scope, proven to be this session's; empty: none
    std::optional<std::uint32_t> audit; // its own, not inherited from the server
    std::set<ProcessId> known;          // in it at the last look: they stay in it wherever they go
};

// What can be told while the monitor lives; afterwards its audit session, which the kernel gives out once.
Result<Footprint> footprint_of(const BoundSession& session);

// The logind scopes and the audit sessions in which anything lives, whoever's they are.
struct Populated {
    std::set<std::string> scopes;
    std::set<std::uint32_t> audits; // of those that run as the account that logged in
};
Result<Populated> populated();

// Looks: the living processes of the footprint, with the descendants of those that are known, become what is
// known.
Result<std::vector<ProcessFacts>> find_processes(Footprint& footprint);

// Waits and looks until nothing is left; false at the deadline.
bool is_gone_by(Footprint& footprint, const posix::Deadline& deadline);

// Stops every process of the footprint until no new one turns up (a stopped process cannot fork), kills them
// all, looks again. kStillThere where anything is left at the deadline.
EndResult freeze_and_kill(Footprint& footprint, const posix::Deadline& deadline);

// Something lives in the scope that the session had when it was bound, or may, while of its dead monitor
// nothing proves that this scope is still the same one: not to be touched, nor to be called gone.
bool leaves_doubt(const BoundSession& session, const Footprint& footprint);

} // namespace latchkey::agent
