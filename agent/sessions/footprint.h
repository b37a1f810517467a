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

// What can be told while the monitor lives; afterwards its audit session, which the kernel gives out once.
Footprint footprint_of(const BoundSession& session);

// The logind scopes and the audit sessions in which anything lives, whoever's they are.
struct Populated {
    std::set<std::string> scopes;
    std::set<std::uint32_t> audits; // of those that run as the account that logged in
};
Populated populated();

// The processes of the footprint, and all descendants of `more`.
std::vector<ProcessId> find_processes(const Footprint& footprint, std::span<const HeldProcess> more = {});

// Holds what is there now, untouched; what cannot be held is left out.
std::vector<HeldProcess> hold_processes(const Footprint& footprint);

// Stops every process of the footprint until no new one turns up (a stopped process cannot fork), kills them
// all, looks again. kStillThere where anything is left at the deadline.
EndResult freeze_and_kill(const Footprint& footprint, std::vector<HeldProcess> held,
                          const posix::Deadline& deadline);

} // namespace latchkey::agent
