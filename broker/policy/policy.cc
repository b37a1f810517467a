// SPDX-License-Identifier: Apache-2.0
#include "broker/policy/policy.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "broker/policy/selector.h"

namespace latchkey::policy {
namespace {

constexpr std::size_t kMaxSelectorSize = 512;

struct Term {
    std::string label; // empty: a pattern for the VM's name
    std::string text;
};

bool has_only(std::string_view text, std::string_view extra) {
    return std::ranges::all_of(text, [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               extra.find(c) != std::string_view::npos;
    });
}

Result<std::vector<Term>> parse_selector(std::string_view selector) {
    static constexpr std::string_view next =
        "write '*', a name pattern like 'web-*', or label=value, joined by commas";
    if (selector.empty() || selector.size() > kMaxSelectorSize)
        return fail(Code::kMalformed, "a VM selector has 1 to 512 characters", std::string(next));
    std::vector<Term> terms;
    for (const std::string& part : split_list(selector)) {
        const auto equals = part.find('=');
        Term term;
        if (equals == std::string::npos) {
            term.text = part;
        } else {
            term.label = part.substr(0, equals);
            term.text = part.substr(equals + 1);
        }
        const bool is_good = equals == std::string::npos
                                 ? !term.text.empty() && has_only(term.text, ".-*?")
                                 : !term.label.empty() && !term.text.empty() &&
                                       has_only(term.label, "._-/") && has_only(term.text, "._-/:@+");
        if (!is_good) return fail(Code::kMalformed, "'" + part + "' selects no VM", std::string(next));
        terms.push_back(std::move(term));
    }
    return terms;
}

bool holds(const Term& term, const ledger::Vm& vm) {
    if (term.label.empty()) return matches_pattern(term.text, vm.name.str());
    return std::ranges::any_of(vm.labels, [&](const protocol::KeyValue& label) {
        return label.name == term.label && label.value == term.text;
    });
}

// A stored selector that does not parse selects nothing: denied when in doubt.
bool applies(const ledger::Rule& rule, const ledger::Vm& vm) {
    const auto matched = vm_matches(rule.vm_selector, vm);
    return matched && *matched;
}

bool names(const ledger::Rule& rule, const Login& login) {
    return std::ranges::find(rule.logins, login) != rule.logins.end();
}

std::string describe(const ledger::Rule& rule) {
    return "rule " + std::to_string(rule.id.value) + " (group " + rule.group_name.str() + ", VMs " +
           rule.vm_selector + ")";
}

// The least restricted first: sshd takes the first line that fits.
auto restriction(const ledger::Rule& rule) {
    return std::tuple(!rule.command.empty(), rule.verify_required, !rule.from.empty(),
                      -static_cast<int>(rule.allow.size()), rule.created_at, rule.id);
}

template <class Same>
bool all_same(const std::vector<ledger::Rule>& rules, Same same) {
    return std::ranges::all_of(rules, [&](const ledger::Rule& rule) { return same(rule, rules.front()); });
}

std::vector<cert::Option> common_restrictions(const std::vector<ledger::Rule>& rules) {
    std::vector<cert::Option> options;
    const std::string& command = rules.front().command;
    if (!command.empty() &&
        all_same(rules, [](const auto& a, const auto& b) { return a.command == b.command; }))
        options.push_back({"force-command", command});
    if (std::ranges::none_of(rules, [](const auto& rule) { return rule.from.empty(); })) {
        std::set<std::string> networks;
        for (const ledger::Rule& rule : rules) {
            for (std::string& network : split_list(rule.from)) networks.insert(std::move(network));
        }
        std::string joined;
        for (const std::string& network : networks) joined += (joined.empty() ? "" : ",") + network;
        options.push_back({"source-address", joined});
    }
    if (std::ranges::all_of(rules, [](const auto& rule) { return rule.verify_required; }))
        options.push_back({"verify-required", ""});
    return options;
}

} // namespace

Status check_selector(std::string_view selector) {
    LK_TRY(terms, parse_selector(selector));
    return {};
}

Result<bool> vm_matches(std::string_view selector, const ledger::Vm& vm) {
    LK_TRY(terms, parse_selector(selector));
    return std::ranges::all_of(terms, [&](const Term& term) { return holds(term, vm); });
}

Decision decide(const ledger::User& user, const std::vector<ledger::Rule>& rules, const Login& login,
                const ledger::Vm& vm) {
    Decision decision;
    if (user.state != ledger::UserState::kActive) {
        const bool is_locked = user.state == ledger::UserState::kLocked;
        decision.reason = "account " + user.name.str() + " is " + (is_locked ? "locked" : "removed") +
                          (user.lock_reason.empty() ? "" : ": " + user.lock_reason);
        return decision;
    }
    if (vm.state != ledger::VmState::kActive) {
        decision.reason = "VM " + vm.name.str() + " is removed";
        return decision;
    }
    if (rules.empty()) {
        decision.reason = "no group of " + user.name.str() + " has a rule";
        return decision;
    }
    bool vm_is_named = false;
    for (const ledger::Rule& rule : rules) {
        if (!applies(rule, vm)) continue;
        vm_is_named = true;
        if (names(rule, login)) decision.rules.push_back(rule);
    }
    if (decision.rules.empty()) {
        decision.reason = vm_is_named ? "no rule gives " + user.name.str() + " the login " + login.str() +
                                            " on VM " + vm.name.str()
                                      : "no rule of " + user.name.str() + " selects VM " + vm.name.str();
        return decision;
    }
    std::ranges::sort(decision.rules, {}, restriction);
    decision.verdict = Verdict::kAllow;
    decision.reason = "allowed by " + describe(decision.rules.front());
    return decision;
}

SudoPolicy sudo_policy(const std::vector<ledger::Rule>& rules) {
    SudoPolicy policy;
    std::uint32_t grace_seconds = kMaxSudoGraceSeconds;
    for (const ledger::Rule& rule : rules) {
        policy.rule = std::max(policy.rule, rule.sudo); // the enumeration goes from lax to strict
        if (rule.sudo == protocol::SudoRule::kFactor)
            grace_seconds = std::min(grace_seconds, rule.sudo_grace_seconds);
    }
    if (policy.rule == protocol::SudoRule::kFactor) policy.grace = from_seconds(grace_seconds);
    return policy;
}

std::vector<protocol::GrantLine> grant_lines(const std::vector<ledger::Rule>& rules) {
    std::vector<protocol::GrantLine> lines;
    for (const ledger::Rule& rule : rules) {
        protocol::GrantLine line{rule.id, rule.allow, rule.from, rule.command, rule.verify_required};
        const bool is_new = std::ranges::none_of(lines, [&](const protocol::GrantLine& other) {
            return std::tie(line.allow, line.from, line.command, line.verify_required) ==
                   std::tie(other.allow, other.from, other.command, other.verify_required);
        });
        if (is_new) lines.push_back(std::move(line));
    }
    return lines;
}

Result<CertificatePlan> plan_certificate(const std::vector<ledger::Rule>& rules, Micros unlock_left,
                                         Micros max_ttl) {
    if (rules.empty()) {
        return fail(Code::kRefused, "no rule of policy grants you a login",
                    "ask an admin for a group: group join G U, grant add --group G");
    }
    if (unlock_left.value <= 0) return fail(Code::kExpired, "the unlock has ended", "run: unlock");
    CertificatePlan plan;
    std::set<std::string> principals;
    std::set<std::string> extensions;
    std::uint32_t ttl_seconds = 0;
    for (const ledger::Rule& rule : rules) {
        for (const Login& login : rule.logins) principals.insert(login.str());
        for (const std::string& word : rule.allow) extensions.insert("permit-" + word);
        ttl_seconds = std::max(ttl_seconds, rule.ttl_seconds);
    }
    if (principals.empty() || principals.size() > cert::kMaxPrincipals) {
        return fail(
            Code::kRefused,
            "policy grants " + std::to_string(principals.size()) + " logins, a certificate names 1 to 256",
            "ask an admin to take you out of some groups");
    }
    plan.principals.assign(principals.begin(), principals.end());
    for (const std::string& name : extensions) plan.extensions.push_back({name, ""});
    plan.critical_options = common_restrictions(rules);
    plan.ttl = std::min({unlock_left, from_seconds(ttl_seconds), max_ttl});
    return plan;
}

std::vector<Login> managed_logins(const std::vector<ledger::Rule>& rules, const ledger::Vm& vm) {
    std::set<Login> logins;
    for (const ledger::Rule& rule : rules) {
        if (applies(rule, vm)) logins.insert(rule.logins.begin(), rule.logins.end());
    }
    return {logins.begin(), logins.end()};
}

} // namespace latchkey::policy
