// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/footprint.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>

namespace latchkey::agent {
namespace {

constexpr int kFreezePasses = 20; // a process in vfork() or on a dead disk shows as stopped only later
// After so long without the end what has turned up meanwhile is stopped and killed too.
constexpr Micros kKillPatience = from_millis(100);

// By what the kernel says of the process itself, whatever its parent is.
Result<bool> bears_mark(pid_t pid, const Footprint& footprint) {
    if (!footprint.scope.empty()) {
        LK_TRY(scope, scope_of(pid));
        if (scope == footprint.scope) return true;
    }
    if (!footprint.audit) return false;
    LK_TRY(audit, audit_session_of(pid));
    if (audit != footprint.audit) return false;
    return runs_as_its_login(pid);
}

// The processes of one look, by pid and by parent.
class Family {
public:
    explicit Family(const std::vector<ProcessFacts>& all) {
        for (const ProcessFacts& facts : all) {
            by_pid_[facts.id.pid] = &facts;
            children_[facts.parent].push_back(&facts);
        }
    }
    // With all its descendants, where exactly that process is there.
    void add(const ProcessId& id) {
        const auto at = by_pid_.find(id.pid);
        if (at == by_pid_.end() || at->second->id != id) return;
        std::vector<const ProcessFacts*> open = {at->second};
        while (!open.empty()) {
            const ProcessFacts* facts = open.back();
            open.pop_back();
            const pid_t pid = facts->id.pid;
            if (pid == 1 || pid == ::getpid() || !seen_.insert(pid).second) continue;
            if (!facts->is_zombie) members_.push_back(*facts);
            const auto children = children_.find(pid);
            if (children != children_.end())
                open.insert(open.end(), children->second.begin(), children->second.end());
        }
    }
    bool has(const ProcessId& id) const { return seen_.contains(id.pid); }
    std::vector<ProcessFacts> take_members() { return std::move(members_); }

private:
    std::map<pid_t, const ProcessFacts*> by_pid_;
    std::map<pid_t, std::vector<const ProcessFacts*>> children_;
    std::set<pid_t> seen_;
    std::vector<ProcessFacts> members_;
};

bool is_stopped(const ProcessFacts& facts) {
    return facts.state == 'T' || facts.state == 't';
}

// A look that began when all were stopped and that finds no new one has found them all.
void freeze(Footprint& footprint, const posix::Deadline& deadline) {
    std::set<ProcessId> told;
    bool were_all_stopped = false;
    for (int pass = 0; pass < kFreezePasses && !deadline.passed(); ++pass) {
        const auto found = find_processes(footprint);
        if (!found) return; // kill what is known, then look again
        bool is_new_there = false;
        for (const ProcessFacts& facts : *found) {
            if (told.contains(facts.id)) continue;
            is_new_there = true;
            const Status stopped = signal_process(facts.id, SIGSTOP);
            if (stopped || stopped.error().code == Code::kNotFound) told.insert(facts.id);
        }
        if (!is_new_there && were_all_stopped) return;
        were_all_stopped = std::all_of(found->begin(), found->end(), is_stopped);
        // Stopping takes effect when the process is next scheduled.
        if (!is_new_there && !were_all_stopped) ::poll(nullptr, 0, 1);
    }
}

std::vector<ProcessId> ids_of(const std::set<ProcessId>& known) {
    return {known.begin(), known.end()};
}

} // namespace

Result<Footprint> footprint_of(const BoundSession& session) {
    const ProcessId& monitor = session.monitor;
    LK_TRY(scope, logind_session_of(monitor));
    LK_TRY(audit, own_audit_session_of(monitor));
    const auto parent = parent_of(monitor);
    if (!parent && parent.error().code != Code::kNotFound) return fail(parent.error());
    if (parent && parent->pid == 1) {
        // Its server has ended and is no longer there to compare with: one that somebody started by hand
        // left it that person's scope and number. What was seen while the server lived holds.
        if (scope != session.logind_session) scope.clear();
        if (audit != session.audit_session) audit.reset();
    }
    return Footprint{monitor, std::move(scope), audit ? audit : session.audit_session, {}};
}

Result<Populated> populated() {
    Populated found;
    LK_TRY(all, all_processes());
    for (const ProcessFacts& facts : all) {
        if (facts.is_zombie) continue;
        LK_TRY(scope, scope_of(facts.id.pid));
        if (!scope.empty()) found.scopes.insert(std::move(scope));
        LK_TRY(audit, audit_session_of(facts.id.pid));
        if (!audit) continue;
        LK_TRY(is_login, runs_as_its_login(facts.id.pid));
        if (is_login) found.audits.insert(*audit);
    }
    return found;
}

Result<std::vector<ProcessFacts>> find_processes(Footprint& footprint) {
    LK_TRY(all, all_processes());
    Family family(all);
    family.add(footprint.monitor);
    for (const ProcessId& id : footprint.known) family.add(id);
    for (const ProcessFacts& facts : all) {
        if (family.has(facts.id)) continue;
        LK_TRY(is_marked, bears_mark(facts.id.pid, footprint));
        if (is_marked) family.add(facts.id);
    }
    auto found = family.take_members();
    footprint.known.clear();
    for (const ProcessFacts& facts : found) footprint.known.insert(facts.id);
    return found;
}

bool is_gone_by(Footprint& footprint, const posix::Deadline& deadline) {
    for (;;) {
        const auto found = find_processes(footprint);
        if (found && found->empty()) return true;
        if (deadline.passed()) return false;
        wait_for_some(ids_of(footprint.known), deadline);
    }
}

EndResult freeze_and_kill(Footprint& footprint, const posix::Deadline& deadline) {
    for (;;) {
        freeze(footprint, deadline);
        const std::vector<ProcessId> doomed = ids_of(footprint.known);
        for (const ProcessId& id : doomed) static_cast<void>(signal_process(id, SIGKILL)); // looked at below
        const Micros left = from_millis(deadline.poll_millis());
        if (is_gone_by(footprint, posix::Deadline::after(std::min(kKillPatience, left))))
            return EndResult::kGone;
        if (deadline.passed()) return EndResult::kStillThere;
    }
}

bool leaves_doubt(const BoundSession& session, const Footprint& footprint) {
    if (!footprint.scope.empty() || session.logind_session.empty()) return false;
    const auto living = populated();
    return !living || living->scopes.contains(session.logind_session);
}

} // namespace latchkey::agent
