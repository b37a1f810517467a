// SPDX-License-Identifier: Apache-2.0
#pragma once
// Finds sshd processes that have let somebody in but sit in no logind session: logind loses a session that is
// terminated while it opens, and makes none while the account's slice is stopping; sshd goes on without. What
// sshd calls itself is believed, because the process is root's. Blocking: reads /proc. Any thread.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sessions/sessions.h"

namespace latchkey::agent {

// Of this machine only: an sshd in a container is the container's.
std::vector<Stray> find_stray_sshds();

// The account in "sshd: alice [priv]" or "sshd-session: alice [priv]", the monitor of a connection that may
// still be asking for a key.
std::optional<Login> monitored_login(std::string_view title);
// The account in "sshd: root@pts/0": root's connection needs no process beside its monitor.
std::optional<Login> served_login(std::string_view title);

} // namespace latchkey::agent
