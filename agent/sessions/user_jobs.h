// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a session had the account's `systemd --user` start (systemd-run --user): it sits in the manager's
// cgroup, not in the session's, and nothing in it that the kernel vouches for names who asked. So a job is
// taken for a session's where it began after the session did and nobody else has a session on the account.
// The manager itself, and what it ran before, are left alone. Blocking, any thread.

#include <span>
#include <string>
#include <string_view>

#include "agent/sessions/sessions.h"

namespace latchkey::agent {

// `ended`: sessions that are gone already. kStillThere where jobs come back until the deadline.
EndResult end_user_jobs(std::span<const BoundSession> ended, const posix::Deadline& deadline);

// The parts that read cgroup paths.
bool is_user_job(std::string_view cgroup_lines, uid_t uid);
bool is_session_of(std::string_view cgroup_lines, uid_t uid);

} // namespace latchkey::agent
