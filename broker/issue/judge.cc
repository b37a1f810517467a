// SPDX-License-Identifier: Apache-2.0
// The issuer's answers: may this key log in here as this account, and why (not).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "broker/issue/issuer.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/users.h"
#include "broker/ledger/vms.h"

namespace latchkey::issue {
namespace {

constexpr std::size_t kMaxAhead = 8;

protocol::Grant answer_to(const protocol::Fetch& fetch) {
    protocol::Grant grant;
    grant.request = fetch.request;
    grant.decision = protocol::GrantDecision::kDeny;
    grant.login = fetch.login;
    grant.key = fetch.key;
    return grant;
}

protocol::Grant deny(const protocol::Fetch& fetch, const UserName& user, std::string reason) {
    protocol::Grant grant = answer_to(fetch);
    grant.user = user;
    grant.reason = std::move(reason);
    return grant;
}

bool names_login(const ledger::CertificateRow& row, const Login& login) {
    const auto certificate = cert::Certificate::from_blob(row.blob);
    return certificate && std::ranges::find(certificate->content().principals, login.str()) !=
                              certificate->content().principals.end();
}

// Why an offered certificate does not do; empty where it does.
std::string fault_of_offer(const std::optional<ledger::CertificateRow>& row, bool is_revoked,
                           const protocol::Fetch& fetch, RowId key, Micros now) {
    if (!row) return "the certificate offered is not in the ledger";
    if (row->key != key) return "the certificate offered belongs to another key";
    if (!equal(row->digest, fetch.certificate_digest))
        return "the certificate offered is not the one in the ledger";
    if (row->ends_at <= now) return "the certificate offered has ended; renew it";
    if (is_revoked) return "the certificate offered is revoked";
    if (!names_login(*row, fetch.login)) return "the certificate offered is older than the rule; renew it";
    return {};
}

// A rule's ttl bounds how long a VM may go on without asking again.
Micros largest_ttl(const std::vector<ledger::Rule>& rules) {
    std::uint32_t seconds = 0;
    for (const ledger::Rule& rule : rules) seconds = std::max(seconds, rule.ttl_seconds);
    return from_seconds(seconds);
}

protocol::Grant allow(const protocol::Fetch& fetch, const UserName& user, const policy::Decision& decision,
                      const ledger::CertificateRow& row, Micros unlock_end, Micros now) {
    protocol::Grant grant = answer_to(fetch);
    grant.decision = protocol::GrantDecision::kAllow;
    grant.reason = decision.reason;
    grant.user = user;
    grant.certificate = row.blob;
    grant.statement = row.statement;
    grant.lines = policy::grant_lines(decision.rules);
    protocol::set_sudo_rule(grant, policy::sudo_policy(decision.rules).rule);
    grant.ends_at = std::min({row.ends_at, unlock_end, now + largest_ttl(decision.rules)});
    return grant;
}

std::string in_words(const policy::SudoPolicy& sudo) {
    switch (sudo.rule) {
        case protocol::SudoRule::kUnsaid:
            return "as the VM itself is set up";
        case protocol::SudoRule::kFree:
            return "without a code";
        case protocol::SudoRule::kFactor:
            return "with a code, then " + std::to_string(sudo.grace.seconds()) + " s in that session without";
        case protocol::SudoRule::kDenied:
            break;
    }
    return "never";
}

} // namespace

Result<protocol::Grant> Issuer::judge(const ledger::Vm& vm, const protocol::Fetch& fetch) {
    if (fetch.login.empty() || fetch.key.empty())
        return deny(fetch, {}, "the request names no login or no key");
    LK_TRY(subject, parts_.ledger.read([&](ledger::Transaction& t) {
        return read_subject(t, fetch.key, fetch.serial, vm.name);
    }));
    if (!subject) return deny(fetch, {}, "this key is not registered");
    const UserName& user = subject->user.name;
    const policy::Decision decision = policy::decide(subject->user, subject->rules, fetch.login, vm);
    if (!decision.is_allowed()) return deny(fetch, user, decision.reason);
    if (!subject->unlock) return deny(fetch, user, user.str() + " has no live unlock for this key");

    const Micros now = parts_.clock.now();
    if (fetch.serial.value != 0) {
        std::string fault =
            fault_of_offer(subject->certificate, subject->is_revoked, fetch, subject->key.id, now);
        if (!fault.empty()) return deny(fetch, user, std::move(fault));
        return allow(fetch, user, decision, *subject->certificate, subject->unlock->ends_at, now);
    }
    auto found = usable(*subject);
    if (found && *found) return allow(fetch, user, decision, **found, subject->unlock->ends_at, now);
    const ledger::Unlock unlock = *subject->unlock;
    auto row = current_at(vm.name, subject->key, unlock, "vm:" + vm.name.str(), *subject);
    if (!row && is_refusal(row.error().code)) return deny(fetch, user, row.error().message);
    if (!row) return fail(std::move(row).error());
    return allow(fetch, user, decision, *row, unlock.ends_at, now);
}

Result<protocol::Grant> Issuer::grant_for(const ledger::Vm& vm, const protocol::Fetch& fetch) {
    const metrics::Stopwatch watch(counts_.judging);
    auto grant = judge(vm, fetch);
    if (!grant) {
        counts_.not_judged.add();
    } else if (grant->decision == protocol::GrantDecision::kAllow) {
        counts_.allowed.add();
    } else {
        counts_.denied.add();
        record_denial(vm, fetch, *grant);
    }
    return grant;
}

// The denial stands whether its row can be written or not.
void Issuer::record_denial(const ledger::Vm& vm, const protocol::Fetch& fetch, const protocol::Grant& grant) {
    const auto left_out = denies_.admit(vm.id, parts_.clock.monotonic());
    if (!left_out) return;
    nlohmann::json detail = {
        {"login", fetch.login.str()}, {"key", fetch.key.str()}, {"reason", grant.reason}};
    if (fetch.serial.value != 0) detail["serial"] = std::to_string(fetch.serial.value);
    if (*left_out != 0) detail["denials_not_recorded"] = *left_out;
    const std::string object = grant.user.empty() ? "key:" + fetch.key.str() : "user:" + grant.user.str();
    const Status ignored = parts_.ledger.write([&](ledger::Transaction& t) {
        return ledger::append_audit(
            t, {.actor = "vm:" + vm.name.str(),
                .action = "login.deny",
                .object = object,
                .outcome = "deny",
                .detail = detail.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)});
    });
}

Result<std::vector<protocol::Grant>> Issuer::grants_ahead(const ledger::Vm& vm, const ledger::User& user,
                                                          const ledger::Key& key,
                                                          const ledger::Unlock& unlock) {
    std::vector<protocol::Grant> grants;
    LK_TRY(subject, parts_.ledger.read([&](ledger::Transaction& t) {
        return read_subject(t, key.fingerprint, Serial{0}, vm.name);
    }));
    if (!subject || !subject->unlock || subject->unlock->id != unlock.id) return grants;
    std::vector<Login> logins = policy::managed_logins(subject->rules, vm);
    if (logins.empty() || subject->user.state != ledger::UserState::kActive) return grants;
    if (logins.size() > kMaxAhead) logins.resize(kMaxAhead);
    LK_TRY(row, current_at(vm.name, key, unlock, "vm:" + vm.name.str(), *subject));
    const Micros now = parts_.clock.now();
    for (const Login& login : logins) {
        protocol::Fetch fetch;
        fetch.login = login;
        fetch.key = key.fingerprint;
        const policy::Decision decision = policy::decide(subject->user, subject->rules, login, vm);
        if (decision.is_allowed() && names_login(row, login))
            grants.push_back(allow(fetch, user.name, decision, row, subject->unlock->ends_at, now));
    }
    return grants;
}

Result<Issuer::Explanation> Issuer::explain(const UserName& user_name, const Login& login,
                                            const VmName& vm_name) {
    struct Found {
        ledger::User user;
        ledger::Vm vm;
        std::vector<Subject> subjects; // one a key
    };
    LK_TRY(found, parts_.ledger.read([&](ledger::Transaction& t) -> Result<Found> {
        LK_TRY(user, ledger::find_user(t, user_name));
        if (!user) return fail(Code::kNotFound, "there is no user " + user_name.str(), "run: user ls");
        LK_TRY(vm, ledger::find_vm(t, vm_name));
        if (!vm) return fail(Code::kNotFound, "there is no VM " + vm_name.str(), "run: vm ls");
        Found out{std::move(*user), std::move(*vm), {}};
        LK_TRY(keys, ledger::keys_of(t, out.user.id));
        for (const ledger::Key& key : keys) {
            LK_TRY(subject, read_subject(t, key.fingerprint, Serial{0}, vm_name));
            if (subject) out.subjects.push_back(std::move(*subject));
        }
        return out;
    }));
    Explanation explanation;
    std::vector<std::string>& checks = explanation.checks;
    if (found.subjects.empty()) {
        checks.push_back("key: none is registered");
        checks.push_back("denied: " + user_name.str() + " has no key");
        return explanation;
    }
    const std::vector<ledger::Rule>& rules = found.subjects.front().rules;
    for (const ledger::Rule& rule : rules) {
        const auto selects = policy::vm_matches(rule.vm_selector, found.vm);
        const bool names = std::ranges::find(rule.logins, login) != rule.logins.end();
        checks.push_back("rule " + std::to_string(rule.id.value) + " (group " + rule.group_name.str() +
                         "): " +
                         (!selects || !*selects ? "its VMs " + rule.vm_selector + " leave this one out"
                          : names               ? "applies"
                                                : "does not give the login " + login.str()));
    }
    const policy::Decision decision = policy::decide(found.user, rules, login, found.vm);
    checks.push_back("policy: " + decision.reason);
    if (decision.is_allowed()) checks.push_back("sudo: " + in_words(policy::sudo_policy(decision.rules)));
    const Micros now = parts_.clock.now();
    bool is_unlocked = false;
    for (const Subject& subject : found.subjects) {
        const std::string name = "key " + subject.key.fingerprint.str() + ": ";
        is_unlocked = is_unlocked || subject.unlock.has_value();
        checks.push_back(subject.unlock ? name + "unlocked for another " +
                                              std::to_string((subject.unlock->ends_at - now).seconds()) + " s"
                                        : name + "no live unlock");
    }
    explanation.is_allowed = decision.is_allowed() && is_unlocked;
    checks.push_back(explanation.is_allowed ? "allowed: with an unlocked key"
                     : !decision.is_allowed()
                         ? "denied: " + decision.reason
                         : "denied: no key is unlocked; " + user_name.str() + " runs: unlock");
    return explanation;
}

} // namespace latchkey::issue
