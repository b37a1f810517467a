// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/logind_ender.h"

#include <poll.h>

#include <algorithm>
#include <csignal>

#include "agent/sessions/footprint.h"
#include "agent/sessions/stray_sshd.h"
#include "agent/sessions/tree_ender.h"
#include "agent/sessions/user_jobs.h"

namespace latchkey::agent {
namespace {

// How long each step may show no effect before the next one. A cut takes 5 to 35 ms.
constexpr Micros kOpening = from_millis(500);
constexpr Micros kTerminate = from_millis(100);
constexpr Micros kTerm = from_millis(50);
constexpr Micros kKill = from_millis(250);
constexpr Micros kAnswer = from_seconds(5); // where nobody waits for it

posix::Deadline within(Micros patience, const posix::Deadline& deadline) {
    const Micros left = std::min(patience, from_millis(deadline.poll_millis()));
    return posix::Deadline::after(left);
}

// Only a session that this very monitor leads: ids and pids are used again, and a server started by hand sits
// in the scope of whoever started it.
bool is_ours(const LogindSession& session, const BoundSession& bound) {
    if (session.leader != bound.monitor.pid || !session.session_class.starts_with("user")) return false;
    const auto now = process_of(bound.monitor.pid);
    if (now) return *now == bound.monitor;
    return now.error().code == Code::kNotFound && session.id == bound.logind_session;
}

Result<LogindSession> find_session(Logind& logind, const BoundSession& bound) {
    std::string id = logind_session_of(bound.monitor).value_or(std::string());
    if (id.empty()) id = bound.logind_session;
    if (!id.empty()) {
        auto session = logind.session(id);
        if (session && is_ours(*session, bound)) return session;
    }
    LK_TRY(session, logind.session_led_by(bound.monitor.pid));
    if (is_ours(session, bound)) return session;
    return fail(Code::kNotFound, "no session is led by that process");
}

// While a session is opening, TerminateSession would lose it and let sshd go on without it.
void wait_out_opening(Logind& logind, LogindSession& session, const posix::Deadline& deadline) {
    while (session.state == "opening" && !deadline.passed()) {
        ::poll(nullptr, 0, 5);
        auto now = logind.session(session.id);
        if (!now) return;
        session = *std::move(now);
    }
}

// It answers, and says that no session is led by that process.
bool knows_none_of(Logind& logind, const ProcessId& leader) {
    const auto session = logind.session_led_by(leader.pid);
    return !session && session.error().code == Code::kNotFound;
}

// While the monitor lives: what its scope is, and all that it started, of which a part may leave the scope
// and lose its parent later.
Result<Footprint> look(const BoundSession& session) {
    LK_TRY(footprint, footprint_of(session));
    if (auto found = find_processes(footprint); !found) return fail(std::move(found).error());
    return footprint;
}

// What logind answers to these is not looked at: whether the processes are gone is.
bool end_by_logind(Logind& logind, LogindSession session, Footprint& footprint,
                   const posix::Deadline& deadline) {
    wait_out_opening(logind, session, within(kOpening, deadline));
    const auto told = [](const Status& status) { return status.has_value(); };
    if (session.state != "closing") { // then it would do nothing
        told(logind.terminate(session.id));
        if (is_gone_by(footprint, within(kTerminate, deadline))) return true;
    }
    told(logind.kill(session.id, Whom::kLeader, SIGTERM));
    told(logind.kill(session.id, Whom::kAll, SIGTERM));
    if (is_gone_by(footprint, within(kTerm, deadline))) return true;
    told(logind.kill(session.id, Whom::kAll, SIGKILL));
    return is_gone_by(footprint, within(kKill, deadline));
}

} // namespace

EndResult LogindEnder::end(const BoundSession& session, const posix::Deadline& deadline) {
    auto footprint = look(session);
    while (!footprint && !deadline.passed()) { // no descriptor left, say: that may pass
        ::poll(nullptr, 0, 5);
        footprint = look(session);
    }
    if (!footprint) return EndResult::kStillThere;
    // In any state of its session sshd closes the connection at SIGTERM. SIGKILL would leave its child with
    // it. What comes of it is looked at below.
    static_cast<void>(signal_process(session.monitor, SIGTERM));
    // A bus that hangs must leave time for the other way.
    auto logind = connect_(within(from_millis(deadline.poll_millis() / 2), deadline));
    auto found = logind ? find_session(**logind, session) : Result<LogindSession>(fail(logind.error()));
    bool is_ended = false;
    if (found) {
        footprint->scope = found->id;
        is_ended = end_by_logind(**logind, *std::move(found), *footprint, deadline);
    } else if (found.error().code == Code::kNotFound) {
        is_ended = is_gone_by(*footprint, within(kTerm, deadline));
    }
    if (!is_ended) is_ended = freeze_and_kill(*footprint, deadline) == EndResult::kGone;
    return is_ended && !leaves_doubt(session, *footprint) ? EndResult::kGone : EndResult::kStillThere;
}

EndResult LogindEnder::end_jobs(std::span<const BoundSession> ended, const posix::Deadline& deadline) {
    return end_user_jobs(ended, deadline);
}

// Where no logind answers (it is restarted, or this is a container without one) a connection outside of all
// scopes means nothing.
std::vector<Stray> LogindEnder::strays() const {
    std::vector<Stray> found = find_stray_sshds();
    if (found.empty()) return found;
    const auto logind = connect_(posix::Deadline::after(kAnswer));
    if (!logind) return {};
    std::erase_if(found, [&](const Stray& stray) { return !knows_none_of(**logind, stray.monitor); });
    return found;
}

bool LogindEnder::is_without_session(const ProcessId& leader) const {
    const auto logind = connect_(posix::Deadline::after(kAnswer));
    return logind && knows_none_of(**logind, leader);
}

std::unique_ptr<SessionEnder> make_session_ender(bool use_logind) {
    if (use_logind) return std::make_unique<LogindEnder>(connect_logind);
    return std::make_unique<TreeEnder>();
}

} // namespace latchkey::agent
