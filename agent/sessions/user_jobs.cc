// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/user_jobs.h"

#include <poll.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>

#include "agent/sessions/process.h"

namespace latchkey::agent {
namespace {

constexpr std::size_t kAccountBuffer = 16 * 1024;
// systemd starts a job again that is told to (RestartSec is 100 ms by default) until its start limit is hit.
constexpr Micros kRestart = from_millis(150);

std::optional<uid_t> uid_of(const Login& login) {
    passwd entry{};
    passwd* found = nullptr;
    std::string buffer(kAccountBuffer, '\0');
    if (::getpwnam_r(login.str().c_str(), &entry, buffer.data(), buffer.size(), &found) != 0) return {};
    return found != nullptr ? std::optional(found->pw_uid) : std::nullopt;
}

struct Account {
    uid_t uid = 0;
    std::uint64_t since_ticks = UINT64_MAX; // when the first of its ended sessions began
};

std::vector<Account> accounts_of(std::span<const BoundSession> ended) {
    std::map<Login, Account> by_login;
    for (const BoundSession& session : ended) {
        Account& account = by_login[session.login];
        account.since_ticks = std::min(account.since_ticks, session.monitor.start_ticks);
    }
    std::vector<Account> accounts;
    for (auto& [login, account] : by_login) {
        const auto uid = uid_of(login);
        if (!uid) continue; // no account, no manager
        account.uid = *uid;
        accounts.push_back(account);
    }
    return accounts;
}

Result<std::vector<ProcessId>> jobs_of(const Account& account) {
    std::vector<ProcessId> jobs;
    LK_TRY(all, all_processes());
    for (const ProcessFacts& facts : all) {
        if (facts.is_zombie) continue;
        LK_TRY(lines, cgroup_lines_of(facts.id.pid));
        if (is_session_of(lines, account.uid)) // somebody else's: any job may be theirs
            return std::vector<ProcessId>();
        const bool began_since = facts.id.start_ticks >= account.since_ticks;
        if (began_since && is_user_job(lines, account.uid)) jobs.push_back(facts.id);
    }
    return jobs;
}

EndResult end_jobs_of(const Account& account, const posix::Deadline& deadline) {
    for (;;) {
        const auto jobs = jobs_of(account);
        if (jobs && jobs->empty()) return EndResult::kGone;
        for (const int signal : {SIGSTOP, SIGKILL}) { // a stopped one starts no other
            for (std::size_t i = 0; jobs && i < jobs->size(); ++i)
                static_cast<void>(signal_process((*jobs)[i], signal)); // looked at in the next round
        }
        if (jobs) wait_for_some(*jobs, deadline);
        if (deadline.passed()) return EndResult::kStillThere;
        ::poll(nullptr, 0, static_cast<int>(kRestart.value / 1000));
    }
}

} // namespace

bool is_user_job(std::string_view cgroup_lines, uid_t uid) {
    const std::string manager = "/user@" + std::to_string(uid) + ".service/";
    const auto at = cgroup_lines.find(manager);
    return at != std::string_view::npos &&
           !cgroup_lines.substr(at + manager.size()).starts_with("init.scope");
}

bool is_session_of(std::string_view cgroup_lines, uid_t uid) {
    return cgroup_lines.find("/user-" + std::to_string(uid) + ".slice/session-") != std::string_view::npos;
}

EndResult end_user_jobs(std::span<const BoundSession> ended, const posix::Deadline& deadline) {
    EndResult result = EndResult::kGone;
    for (const Account& account : accounts_of(ended)) {
        if (end_jobs_of(account, deadline) != EndResult::kGone) result = EndResult::kStillThere;
    }
    return result;
}

} // namespace latchkey::agent
