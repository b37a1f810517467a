// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "agent/sessions/footprint.h"
#include "agent/sessions/sessions.h"

namespace latchkey::agent {

SessionEnder::~SessionEnder() = default;

void SessionTable::add(BoundSession session) {
    const std::lock_guard lock(mutex_);
    const auto same = std::find_if(sessions_.begin(), sessions_.end(), [&](const BoundSession& other) {
        return other.monitor == session.monitor;
    });
    if (same != sessions_.end()) {
        *same = std::move(session);
    } else {
        sessions_.push_back(std::move(session));
    }
}

std::optional<BoundSession> SessionTable::remove_by_monitor(const ProcessId& monitor) {
    const std::lock_guard lock(mutex_);
    const auto at = std::find_if(sessions_.begin(), sessions_.end(),
                                 [&](const BoundSession& session) { return session.monitor == monitor; });
    if (at == sessions_.end()) return std::nullopt;
    std::optional<BoundSession> removed = std::move(*at);
    sessions_.erase(at);
    return removed;
}

std::vector<BoundSession> SessionTable::all() const {
    const std::lock_guard lock(mutex_);
    return sessions_;
}

std::vector<BoundSession> SessionTable::drop_dead() {
    std::optional<std::set<std::string>> scopes; // looked at only where a monitor is gone
    const auto is_alive = [&](const BoundSession& session) {
        const auto now = process_of(session.monitor.pid);
        if (now && *now == session.monitor) return true;
        if (session.logind_session.empty()) return false;
        if (!scopes) scopes = populated_scopes();
        return scopes->contains(session.logind_session);
    };
    const std::lock_guard lock(mutex_);
    const auto first_dead = std::stable_partition(sessions_.begin(), sessions_.end(), is_alive);
    std::vector<BoundSession> dead(std::make_move_iterator(first_dead),
                                   std::make_move_iterator(sessions_.end()));
    sessions_.erase(first_dead, sessions_.end());
    return dead;
}

} // namespace latchkey::agent
