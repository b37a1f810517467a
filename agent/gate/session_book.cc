// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/session_book.h"

#include "agent/log/log.h"

namespace latchkey::agent {

void SessionBook::open(BoundSession session) {
    log_info("open session id=" + std::to_string(session.id) + " user=" + session.user.str() +
             " login=" + session.login.str() + " serial=" + std::to_string(session.serial.value) +
             " key=" + session.key.str() + " monitor=" + std::to_string(session.monitor.pid));
    report(session, protocol::SessionPhase::kOpened, {});
    table_.add(std::move(session));
}

void SessionBook::close(const ProcessId& monitor) {
    const auto session = table_.remove_by_monitor(monitor);
    if (session && !ending_.contains(session->monitor)) report(*session, protocol::SessionPhase::kClosed, {});
}

void SessionBook::sweep() {
    for (const BoundSession& session : table_.drop_dead()) {
        if (!ending_.contains(session.monitor))
            report(session, protocol::SessionPhase::kClosed, "sshd ended");
    }
}

void SessionBook::cut(const std::vector<BoundSession>& sessions, const std::string& reason, Cut done) {
    struct Progress {
        std::size_t left;
        std::vector<BoundSession> still_there;
        Cut done;
    };
    if (sessions.empty()) {
        done({});
        return;
    }
    auto progress = std::make_shared<Progress>(Progress{sessions.size(), {}, std::move(done)});
    for (const BoundSession& session : sessions) {
        const bool is_first = !ending_.contains(session.monitor);
        ending_[session.monitor].push_back([session, progress](EndResult outcome) {
            if (outcome != EndResult::kGone) progress->still_there.push_back(session);
            if (--progress->left == 0) progress->done(progress->still_there);
        });
        if (is_first) begin_end(session, reason);
    }
}

void SessionBook::begin_end(const BoundSession& session, const std::string& reason) {
    const auto deadline = posix::Deadline::after(kCutTime);
    auto outcome = std::make_shared<EndResult>(EndResult::kStillThere);
    loop_.work([this, session, deadline, outcome] { *outcome = ender_.end(session, deadline); },
               [this, session, reason, outcome] {
                   if (*outcome == EndResult::kGone) {
                       static_cast<void>(table_.remove_by_monitor(session.monitor));
                       log_info("end session id=" + std::to_string(session.id) +
                                " user=" + session.user.str() + " why=" + reason);
                       if (session.id != 0) report(session, protocol::SessionPhase::kEnded, reason);
                   } else {
                       log_error("fail to end session id=" + std::to_string(session.id) + " user=" +
                                 session.user.str() + " monitor=" + std::to_string(session.monitor.pid));
                   }
                   const auto waiting = std::move(ending_[session.monitor]);
                   ending_.erase(session.monitor);
                   for (const auto& told : waiting) told(*outcome);
               });
}

void SessionBook::report(const BoundSession& session, protocol::SessionPhase phase,
                         const std::string& reason) {
    protocol::SessionEvent event;
    event.session = session.id;
    event.phase = phase;
    event.user = session.user;
    event.login = session.login;
    event.key = session.key;
    event.serial = session.serial;
    event.from = session.from;
    event.time = state_.broker_clock.now();
    event.reason = reason;
    hub_.post(protocol::encode(event));
}

void SessionBook::report_refused(const Login& login, const AllowedLogin* allowed, const std::string& from,
                                 const std::string& reason) {
    BoundSession never;
    never.login = login;
    never.from = from;
    if (allowed != nullptr) {
        never.user = allowed->credential.user;
        never.key = allowed->credential.key;
        never.serial = allowed->credential.serial;
    }
    report(never, protocol::SessionPhase::kRefused, reason);
}

} // namespace latchkey::agent
