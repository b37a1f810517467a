// SPDX-License-Identifier: Apache-2.0
// What a rule may hold: each part checked, then put in its one form.
#include <algorithm>
#include <array>

#include "broker/policy/policy.h"
#include "broker/policy/selector.h"

namespace latchkey::policy {
namespace {

constexpr std::size_t kMaxLogins = 64;
constexpr std::size_t kMaxNetworks = 64;
constexpr std::size_t kMaxCommandSize = 1024;
constexpr std::array<std::string_view, 5> kAllowWords = {"X11-forwarding", "agent-forwarding",
                                                         "port-forwarding", "pty", "user-rc"};

Failure usage(std::string message, std::string next) {
    return fail(Code::kUsage, std::move(message), std::move(next));
}

Status check_allow(std::vector<std::string>& words) {
    std::ranges::sort(words);
    words.erase(std::unique(words.begin(), words.end()), words.end());
    for (const std::string& word : words) {
        if (std::ranges::find(kAllowWords, word) == kAllowWords.end()) {
            return usage("there is nothing called '" + word + "' to allow",
                         "use pty, port-forwarding, agent-forwarding, X11-forwarding or user-rc");
        }
    }
    return {};
}

Result<std::string> canonical_networks(std::string_view from) {
    if (from.empty()) return std::string();
    std::vector<std::string> networks;
    for (const std::string& part : split_list(from)) {
        LK_TRY(network, canonical_network(part));
        networks.push_back(std::move(network));
    }
    std::ranges::sort(networks);
    networks.erase(std::unique(networks.begin(), networks.end()), networks.end());
    if (networks.size() > kMaxNetworks)
        return usage("over 64 networks in one rule", "make several rules of them");
    std::string joined;
    for (const std::string& network : networks) joined += (joined.empty() ? "" : ",") + network;
    return joined;
}

// It travels inside double quotes in a line for sshd, which knows no other escape than \" and has no long
// lines.
Status check_command(std::string_view command) {
    if (command.size() > kMaxCommandSize)
        return usage("a forced command over 1024 characters", "put it in a script");
    for (const char c : command) {
        if (c < ' ' || c > '~')
            return usage("a forced command with an unprintable character", "put it in a script");
        if (c == '"' || c == '\\')
            return usage("a forced command with a double quote or a backslash",
                         "use single quotes, or a script");
    }
    if (!command.empty() && (command.front() == ' ' || command.back() == ' '))
        return usage("a forced command with a blank at its edge", "leave it out");
    return {};
}

Status check_sudo(const ledger::Rule& rule) {
    if (rule.sudo != protocol::SudoRule::kFactor && rule.sudo_grace_seconds != 0)
        return usage("a grace for sudo that asks for no code",
                     "add --sudo factor, or leave out --sudo-grace");
    if (rule.sudo_grace_seconds > kMaxSudoGraceSeconds)
        return usage("a grace of " + std::to_string(rule.sudo_grace_seconds) + " s for sudo", "use 0 to 15m");
    return {};
}

} // namespace

Result<ledger::Rule> validate_rule(ledger::Rule rule) {
    LK_CHECK(check_selector(rule.vm_selector));
    std::ranges::sort(rule.logins);
    rule.logins.erase(std::unique(rule.logins.begin(), rule.logins.end()), rule.logins.end());
    if (rule.logins.empty() || rule.logins.front().empty())
        return usage("a rule without a login", "add --login NAME");
    if (rule.logins.size() > kMaxLogins)
        return usage("over 64 logins in one rule", "make several rules of them");
    if (rule.ttl_seconds < kMinTtlSeconds || rule.ttl_seconds > kMaxTtlSeconds)
        return usage("a ttl of " + std::to_string(rule.ttl_seconds) + " s", "use 1m to 24h");
    LK_CHECK(check_allow(rule.allow));
    LK_TRY(networks, canonical_networks(rule.from));
    rule.from = std::move(networks);
    LK_CHECK(check_command(rule.command));
    LK_CHECK(check_sudo(rule));
    return rule;
}

} // namespace latchkey::policy
