// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/session_book.h"

#include <sys/random.h>

#include <utility>

#include "agent/log/log.h"

namespace latchkey::agent {
namespace {

// 63 bits, never 0; 0 where the kernel gives none.
std::uint64_t random_id() {
    std::uint64_t id = 0;
    while (id == 0) {
        if (::getrandom(&id, sizeof id, 0) != sizeof id) return 0;
        id &= INT64_MAX;
    }
    return id;
}

} // namespace

protocol::LiveSession to_live(const BoundSession& session) {
    return {session.id,     session.user, session.login, session.key,
            session.serial, session.from, session.since, static_cast<std::uint32_t>(session.monitor.pid)};
}

bool SessionBook::open(BoundSession session) {
    session.id = random_id();
    if (session.id == 0) return false;
    log_info("open session id=" + std::to_string(session.id) + " user=" + session.user.str() +
             " login=" + session.login.str() + " serial=" + std::to_string(session.serial.value) +
             " key=" + session.key.str() + " monitor=" + std::to_string(session.monitor.pid));
    report(session, protocol::SessionPhase::kOpened, {});
    table_.add(std::move(session));
    note_change();
    return true;
}

void SessionBook::restore(std::vector<BoundSession> sessions) {
    for (BoundSession& session : sessions) table_.add(std::move(session));
}

void SessionBook::report_all() {
    for (const BoundSession& session : table_.all()) report(session, protocol::SessionPhase::kOpened, {});
}

void SessionBook::once_recorded(const Recorded& then) {
    if (!record_) return then({});
    auto is_told = std::make_shared<bool>(false);
    const auto tell = [then, is_told](const Status& recorded) {
        if (!std::exchange(*is_told, true)) then(recorded);
    };
    record_(tell);
    loop_.after(kRecordPatience, [tell] { tell({}); });
}

void SessionBook::take_back(const ProcessId& monitor, const std::string& reason) {
    const auto session = table_.remove_by_monitor(monitor);
    if (!session) return;
    report(*session, protocol::SessionPhase::kClosed, reason);
    note_change();
}

void SessionBook::goodbye() {
    loop_.after(kAfterGoodbye, [this] { sweep(); });
}

void SessionBook::sweep() {
    if (table_.all().empty()) return;
    if (std::exchange(is_sweeping_, true)) return; // the next beat looks again
    auto dead = std::make_shared<std::vector<BoundSession>>();
    loop_.work([this, dead] { *dead = table_.find_dead(); },
               [this, dead] {
                   is_sweeping_ = false;
                   for (const BoundSession& session : *dead) close_dead(session);
                   if (!dead->empty()) note_change();
               });
}

// One that is being ended is left to its cut, which says how it went; one that a cut ended meanwhile is no
// longer in the table.
void SessionBook::close_dead(const BoundSession& session) {
    if (ending_.contains(session.monitor) || !table_.remove_by_monitor(session.monitor)) return;
    report(session, protocol::SessionPhase::kClosed, "sshd ended");
}

struct SessionBook::Progress {              // of one cut
    std::map<ProcessId, BoundSession> open; // those of which nothing was heard yet
    std::vector<BoundSession> still_there;
    Cut done;

    void hear(const ProcessId& monitor, EndResult outcome) {
        const auto at = open.find(monitor);
        if (at == open.end()) return; // too late
        if (outcome != EndResult::kGone) still_there.push_back(std::move(at->second));
        open.erase(at);
        if (open.empty()) done(still_there);
    }
    void give_up() {
        if (open.empty()) return;
        log_error("fail to end sessions in time count=" + std::to_string(open.size()));
        for (auto& [monitor, session] : open) still_there.push_back(std::move(session));
        open.clear();
        done(still_there);
    }
};

void SessionBook::cut(const std::vector<BoundSession>& sessions, const std::string& reason, Cut done) {
    if (sessions.empty()) {
        done({});
        return;
    }
    auto progress = std::make_shared<Progress>();
    progress->done = std::move(done);
    for (const BoundSession& session : sessions) progress->open.emplace(session.monitor, session);
    loop_.after(kCutPatience, [progress] { progress->give_up(); });
    auto group = std::make_shared<Group>();
    for (const BoundSession& session : sessions) {
        const bool is_first = !ending_.contains(session.monitor);
        ending_[session.monitor].push_back(
            [monitor = session.monitor, progress](EndResult outcome) { progress->hear(monitor, outcome); });
        if (is_first) group->sessions.push_back(session);
    }
    group->left = group->sessions.size();
    for (const BoundSession& session : group->sessions) begin_end(session, reason, group);
}

EndResult SessionBook::end_one(const BoundSession& session, Group& group) {
    const auto deadline = posix::Deadline::after(kCutTime);
    const EndResult outcome = ender_.end(session, deadline);
    if (group.left.fetch_sub(1) > 1 || session.id == 0) return outcome; // 0: it never became a session
    const EndResult jobs = ender_.end_jobs(group.sessions, deadline);
    return jobs == EndResult::kGone ? outcome : jobs;
}

void SessionBook::begin_end(const BoundSession& session, const std::string& reason,
                            const std::shared_ptr<Group>& group) {
    auto outcome = std::make_shared<EndResult>(EndResult::kStillThere);
    loop_.work([this, session, group, outcome] { *outcome = end_one(session, *group); },
               [this, session, reason, outcome] {
                   if (*outcome == EndResult::kGone) {
                       if (table_.remove_by_monitor(session.monitor)) note_change();
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
    never.id = random_id();
    if (never.id == 0) return;
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
