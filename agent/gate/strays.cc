// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/strays.h"

#include <algorithm>
#include <utility>

#include "agent/log/log.h"

namespace latchkey::agent {
namespace {

constexpr const char* kStray = "connected without a session: neither PAM nor logind has one for it";
constexpr const char* kStuck = "logind has lost the session that was being opened";

} // namespace

bool Strays::may_skip() {
    const pid_t newest = processes_.newest();
    const bool is_quiet = newest != 0 && newest == newest_ && seen_.empty();
    newest_ = newest;
    quiet_beats_ = is_quiet ? quiet_beats_ + 1 : 0;
    return quiet_beats_ > kQuietBeats && quiet_beats_ % kQuietBeats != 0;
}

void Strays::look() {
    auto slow = slow_logins();
    if (may_skip() && slow.empty()) return;
    if (is_looking_->exchange(true)) return;
    auto found = std::make_shared<Found>();
    loop_.look(
        [this, found, slow = std::move(slow), had_seen = !seen_.empty(), is_looking = is_looking_] {
            found->strays = ender_.strays();
            for (const Stray& login : slow) {
                if (ender_.is_without_session(login.monitor)) found->stuck.push_back(login);
            }
            const bool is_due = had_seen || !found->strays.empty() || !found->stuck.empty();
            if (!is_due) *is_looking = false;
            return is_due;
        },
        [this, found] {
            *is_looking_ = false;
            judge(*found);
        });
}

bool Strays::is_bound(const ProcessId& monitor) const {
    const std::vector<BoundSession> bound = sessions_.all();
    return std::any_of(bound.begin(), bound.end(),
                       [&](const BoundSession& session) { return session.monitor == monitor; });
}

std::vector<Stray> Strays::slow_logins() const {
    std::vector<Stray> slow;
    for (const ProcessId& monitor : monitors_.passed_by(state_.clock.monotonic() - kOpenPatience)) {
        if (!is_bound(monitor)) slow.push_back({monitor, monitors_.of(monitor)->front().offer.login});
    }
    return slow;
}

void Strays::judge(const Found& found) {
    std::set<ProcessId> seen;
    for (const Stray& stray : found.strays) {
        // Named as managed, not merely taken for it because the list is damaged: this ends people's work.
        if (!state_.managed.contains(stray.login) || state_.is_local(stray.login)) continue;
        if (is_bound(stray.monitor)) continue;
        seen.insert(stray.monitor);
        if (seen_.contains(stray.monitor)) end(stray, kStray);
    }
    seen_ = std::move(seen);
    for (const Stray& stuck : found.stuck) {
        if (!is_bound(stuck.monitor)) end(stuck, kStuck);
    }
}

void Strays::end(const Stray& stray, const char* reason) {
    log_warn("end sshd login=" + stray.login.str() + " monitor=" + std::to_string(stray.monitor.pid) +
             " why=" + reason + "; run: latchkey-agent doctor");
    sessions_.report_refused(stray.login, nullptr, {}, reason);
    BoundSession session;
    session.monitor = stray.monitor;
    session.login = stray.login;
    sessions_.cut({session}, reason, [](const auto& /*still_there*/) {});
}

} // namespace latchkey::agent
