// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether this process sits in the session scope that logind made for it. pam_systemd is `optional` and lets
// a login in without a session where it loses a race; such a session would outlive its end by the agent.

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace latchkey::pam {

// logind makes /run/systemd/seats, systemd as PID 1 /run/systemd/system.
bool logind_is_due(const std::string& run_systemd = "/run/systemd");
// True where a line of /proc/self/cgroup ends in /session-ID.scope.
bool sits_in_scope(std::string_view cgroup_lines, std::string_view session);
Status check_own_scope(const std::string& session, const std::string& cgroup_file = "/proc/self/cgroup");

} // namespace latchkey::pam
