// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/session_of.h"

#include <algorithm>

namespace latchkey::agent {
namespace {

constexpr int kMostAncestors = 64;

std::optional<BoundSession> by_scope(const ProcessId& process, const std::vector<BoundSession>& sessions,
                                     const Processes& processes) {
    const std::string scope = processes.scope_of(process);
    if (scope.empty()) return std::nullopt;
    std::optional<BoundSession> found;
    for (const BoundSession& session : sessions) {
        // An sshd that was started by hand inside of a session has its logins in that session's scope.
        const bool is_in_it = session.logind_session.empty() ? processes.scope_of(session.monitor) == scope
                                                             : session.logind_session == scope;
        if (!is_in_it || is_gone(session.monitor, processes.find(session.monitor.pid))) continue;
        if (found) return std::nullopt;
        found = session;
    }
    return found;
}

} // namespace

std::optional<BoundSession> session_of(pid_t asker, const std::vector<BoundSession>& sessions,
                                       const Processes& processes) {
    const auto self = processes.find(asker);
    if (!self) return std::nullopt;
    Result<ProcessId> at = *self;
    for (int i = 0; i < kMostAncestors && at && at->pid > 1; ++i) {
        const auto monitor = std::ranges::find(sessions, *at, &BoundSession::monitor);
        if (monitor != sessions.end()) return *monitor;
        at = processes.parent_of(*at);
    }
    return by_scope(*self, sessions, processes);
}

} // namespace latchkey::agent
