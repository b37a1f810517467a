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

bool bears_audit_session(pid_t pid, std::optional<std::uint32_t> audit) {
    return audit && audit_session_of(pid) == audit && runs_as_its_login(pid);
}

// One pass: holds and stops what is new. Fails where a process cannot be held.
Result<bool> stop_new_ones(const Footprint& footprint, std::vector<HeldProcess>& held) {
    bool found_new = false;
    std::set<ProcessId> known;
    for (const HeldProcess& process : held) known.insert(process.id());
    for (const ProcessId& id : find_processes(footprint, held)) {
        if (known.contains(id)) continue;
        auto process = HeldProcess::hold(id);
        if (!process && process.error().code == Code::kNotFound) continue;
        if (!process) return fail(std::move(process).error());
        process->send(SIGSTOP);
        held.push_back(*std::move(process));
        found_new = true;
    }
    return found_new;
}

void freeze(const Footprint& footprint, std::vector<HeldProcess>& held, const posix::Deadline& deadline) {
    for (const HeldProcess& process : held) process.send(SIGSTOP);
    for (int pass = 0; pass < kFreezePasses; ++pass) {
        const auto found_new = stop_new_ones(footprint, held);
        if (!found_new) return; // out of descriptors: kill what is held, then look again
        const bool all_stopped = std::all_of(held.begin(), held.end(),
                                             [](const HeldProcess& process) { return process.is_stopped(); });
        if (!*found_new && all_stopped) return;
        if (deadline.passed()) return;
        if (!*found_new) ::poll(nullptr, 0, 1); // stopping takes effect when the process is next scheduled
    }
}

} // namespace

Footprint footprint_of(const BoundSession& session) {
    const ProcessId& monitor = session.monitor;
    Footprint footprint{monitor, logind_session_of(monitor), own_audit_session_of(monitor)};
    if (!footprint.audit) footprint.audit = session.audit_session;
    return footprint;
}

Populated populated() {
    Populated found;
    for (const ProcessFacts& facts : all_processes()) {
        if (facts.is_zombie) continue;
        found.scopes.insert(scope_of(facts.id.pid));
        const auto audit = audit_session_of(facts.id.pid);
        if (audit && runs_as_its_login(facts.id.pid)) found.audits.insert(*audit);
    }
    found.scopes.erase(std::string());
    return found;
}

std::vector<ProcessId> find_processes(const Footprint& footprint, std::span<const HeldProcess> more) {
    const std::vector<ProcessFacts> all = all_processes();
    std::map<pid_t, std::vector<const ProcessFacts*>> children;
    std::map<pid_t, const ProcessFacts*> by_pid;
    for (const ProcessFacts& facts : all) {
        children[facts.parent].push_back(&facts);
        by_pid[facts.id.pid] = &facts;
    }
    std::vector<const ProcessFacts*> open;
    std::set<ProcessId> seen;
    const auto add = [&](const ProcessFacts* facts) {
        if (facts->id.pid == 1 || facts->id.pid == ::getpid()) return;
        if (seen.insert(facts->id).second) open.push_back(facts);
    };
    const auto add_exactly = [&](const ProcessId& id) {
        const auto at = by_pid.find(id.pid);
        if (at != by_pid.end() && at->second->id == id) add(at->second);
    };
    add_exactly(footprint.monitor);
    for (const HeldProcess& process : more) add_exactly(process.id());
    for (const ProcessFacts& facts : all) {
        const pid_t pid = facts.id.pid;
        if (!footprint.scope.empty() && scope_of(pid) == footprint.scope) add(&facts);
        if (bears_audit_session(pid, footprint.audit)) add(&facts);
    }
    std::vector<ProcessId> found;
    while (!open.empty()) {
        const ProcessFacts* facts = open.back();
        open.pop_back();
        if (!facts->is_zombie) found.push_back(facts->id);
        for (const ProcessFacts* child : children[facts->id.pid]) add(child);
    }
    return found;
}

std::vector<HeldProcess> hold_processes(const Footprint& footprint) {
    std::vector<HeldProcess> held;
    for (const ProcessId& id : find_processes(footprint)) {
        if (auto process = HeldProcess::hold(id)) held.push_back(*std::move(process));
    }
    return held;
}

EndResult freeze_and_kill(const Footprint& footprint, std::vector<HeldProcess> held,
                          const posix::Deadline& deadline) {
    for (;;) {
        freeze(footprint, held, deadline);
        for (const HeldProcess& process : held) process.send(SIGKILL);
        if (!wait_until_gone(held, deadline)) return EndResult::kStillThere;
        held.clear();
        if (find_processes(footprint).empty()) return EndResult::kGone;
        if (deadline.passed()) return EndResult::kStillThere;
    }
}

} // namespace latchkey::agent
