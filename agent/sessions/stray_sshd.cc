// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/stray_sshd.h"

#include <algorithm>

#include "agent/sessions/process.h"

namespace latchkey::agent {
namespace {

constexpr std::string_view kMonitorEnding = " [priv]";

std::optional<std::string_view> after_program(std::string_view title) {
    for (const std::string_view program : {"sshd: ", "sshd-session: "}) {
        if (title.starts_with(program)) return title.substr(program.size());
    }
    return std::nullopt;
}

std::optional<Login> parse_login(std::string_view name) {
    auto login = Login::parse(name);
    return login ? std::optional(*std::move(login)) : std::nullopt;
}

// After the login sshd has a child that runs as the account, with "name@terminal" for its title.
bool has_let_in(const ProcessId& monitor, const Login& login, const std::vector<ProcessFacts>& all) {
    return std::any_of(all.begin(), all.end(), [&](const ProcessFacts& facts) {
        return facts.parent == monitor.pid && served_login(title_of(facts.id.pid)) == login;
    });
}

bool sits_outside(pid_t pid) {
    const std::string lines = cgroup_lines_of(pid).value_or(std::string());
    return !lines.empty() && scope_in(lines).empty() && is_in_our_namespace(pid);
}

} // namespace

std::optional<Login> monitored_login(std::string_view title) {
    const auto rest = after_program(title);
    if (!rest || !rest->ends_with(kMonitorEnding)) return std::nullopt;
    return parse_login(rest->substr(0, rest->size() - kMonitorEnding.size()));
}

std::optional<Login> served_login(std::string_view title) {
    const auto rest = after_program(title);
    const auto at = rest ? rest->rfind('@') : std::string_view::npos;
    return at == std::string_view::npos ? std::nullopt : parse_login(rest->substr(0, at));
}

std::vector<Stray> find_stray_sshds() {
    const std::vector<ProcessFacts> all = all_processes().value_or({}); // unread: nobody is ended for it
    std::vector<Stray> strays;
    for (const ProcessFacts& facts : all) {
        const pid_t pid = facts.id.pid;
        if (facts.is_zombie || real_uid_of(pid).value_or(std::nullopt) != uid_t{0}) continue;
        const std::string title = title_of(pid);
        auto login = monitored_login(title);
        const bool is_in = login ? has_let_in(facts.id, *login, all) : served_login(title).has_value();
        if (!login) login = served_login(title);
        if (login && is_in && sits_outside(pid)) strays.push_back({facts.id, *std::move(login)});
    }
    return strays;
}

} // namespace latchkey::agent
