// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/sessions/footprint.h"
#include "agent/sessions/sessions.h"

namespace latchkey::agent {

SessionEnder::~SessionEnder() = default;

EndResult SessionEnder::end_jobs(std::span<const BoundSession> /*ended*/,
                                 const posix::Deadline& /*deadline*/) {
    return EndResult::kGone;
}

std::vector<Stray> SessionEnder::strays() const {
    return {};
}

bool SessionEnder::is_without_session(const ProcessId& /*leader*/) const {
    return false;
}

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

std::vector<BoundSession> SessionTable::find_dead() const {
    std::optional<Populated> left; // looked at only where a monitor is gone
    std::vector<BoundSession> dead;
    for (BoundSession& session : all()) { // without the lock: /proc takes its time
        if (!is_gone(session.monitor, process_of(session.monitor.pid))) continue;
        if (!left) {
            auto looked = populated();
            if (!looked) return {};
            left = *std::move(looked);
        }
        if (session.audit_session && left->audits.contains(*session.audit_session)) continue;
        if (!left->scopes.contains(session.logind_session)) dead.push_back(std::move(session));
    }
    return dead;
}

} // namespace latchkey::agent
