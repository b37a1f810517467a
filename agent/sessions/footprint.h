// SPDX-License-Identifier: Apache-2.0
#pragma once
// All that a session left in the process table: the sshd monitor with its descendants, what sits in its
// logind scope, and what daemonised out of the tree but still bears its audit session. Blocking, any thread.
// Never includes PID 1 or this process.

#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/sessions/process.h"

namespace latchkey::agent {

struct Footprint {
    ProcessId monitor;
    std::string scope;                  // "12" of session-12.scope, proven to be this session's; empty: none
    std::optional<std::uint32_t> audit; // its own, not inherited from the server
};

// What can be told while the monitor lives; without it only the monitor's own entry.
Footprint footprint_of(const ProcessId& monitor);

// The logind scopes in which anything sits, whoever's they are.
std::set<std::string> populated_scopes();

// The processes of the footprint, and all descendants of `more`.
std::vector<ProcessId> find_processes(const Footprint& footprint, std::span<const HeldProcess> more = {});

// Holds what is there now, untouched; what cannot be held is left out.
std::vector<HeldProcess> hold_processes(const Footprint& footprint);

// Stops every process of the footprint until no new one turns up (a stopped process cannot fork), kills them
// all, looks again. kStillThere where anything is left at the deadline.
EndResult freeze_and_kill(const Footprint& footprint, std::vector<HeldProcess> held,
                          const posix::Deadline& deadline);

} // namespace latchkey::agent
