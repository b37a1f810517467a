// SPDX-License-Identifier: Apache-2.0
#pragma once
// In which bound session does a process run? By the kernel's word alone: the nearest of its ancestors that is
// a session's sshd monitor, else (tmux, nohup: re-parented) the logind scope that it sits in. Nothing where
// the monitor is gone, or where two sessions share that scope. The loop's thread; a few reads in /proc.

#include <optional>
#include <vector>

#include "agent/gate/monitors.h"

namespace latchkey::agent {

std::optional<BoundSession> session_of(pid_t asker, const std::vector<BoundSession>& sessions,
                                       const Processes& processes);

} // namespace latchkey::agent
