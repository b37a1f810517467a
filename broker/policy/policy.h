// SPDX-License-Identifier: Apache-2.0
#pragma once
// Policy: pure judgement over ledger rows, no clock, no store. What is not granted by a rule is denied. Rules
// come from ledger::rules_for_user (those of the user's groups). Values only; any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/ledger/model.h"
#include "core/base/result.h"
#include "core/cert/certificate.h"
#include "core/protocol/hub.h"

namespace latchkey::policy {

inline constexpr std::uint32_t kMinTtlSeconds = 60;
inline constexpr std::uint32_t kMaxTtlSeconds = 24 * 3600;

// A VM selector is a comma-separated list of terms that must all hold: a name pattern ("web-*", '?' is one
// character) or "label=value". "*" is every VM. kMalformed names the term that does not parse.
Status check_selector(std::string_view selector);
Result<bool> vm_matches(std::string_view selector, const ledger::Vm& vm);

enum class Verdict : std::uint8_t { kAllow = 1, kDeny };

struct Decision {
    Verdict verdict = Verdict::kDeny;
    std::string reason;              // for people who may explain: which rule, or what is missing
    std::vector<ledger::Rule> rules; // those that allow it, the most permissive first

    bool is_allowed() const { return verdict == Verdict::kAllow; }
};

// May this user log in as `login` on this VM? Account state and rules only: unlocks, certificates and
// revocations are judged in broker/issue.
Decision decide(const ledger::User& user, const std::vector<ledger::Rule>& rules, const Login& login,
                const ledger::Vm& vm);

// What rules that allow a login say about sudo there: the strictest of them, and of those that ask for a code
// the shortest grace.
struct SudoPolicy {
    protocol::SudoRule rule = protocol::SudoRule::kUnsaid;
    Micros grace; // with kFactor
};
SudoPolicy sudo_policy(const std::vector<ledger::Rule>& rules);
inline constexpr std::uint32_t kDefaultSudoGraceSeconds = 5 * 60;
inline constexpr std::uint32_t kMaxSudoGraceSeconds = 15 * 60;

// What the rules say at one VM, for authorized_keys: one line a rule, duplicates dropped, order kept.
std::vector<protocol::GrantLine> grant_lines(const std::vector<ledger::Rule>& rules);

// What a certificate of these rules holds: the union of what they allow; what restricts it only where all
// rules agree. What one rule says at one VM is enforced there, by its grant line.
struct CertificatePlan {
    std::vector<std::string> principals; // 1 to 256, sorted
    Micros ttl;
    std::vector<cert::Option> critical_options;
    std::vector<cert::Option> extensions;
};
// ttl = the least of: what the unlock has left, the largest ttl of a rule, max_ttl. kRefused without rules or
// with over 256 logins, kExpired where the unlock has ended.
Result<CertificatePlan> plan_certificate(const std::vector<ledger::Rule>& rules, Micros unlock_left,
                                         Micros max_ttl);

// What `grant add` was given, checked and put in its one form: words sorted, each once; addresses as the
// network writes them. kUsage or kMalformed names what does not do.
Result<ledger::Rule> validate_rule(ledger::Rule rule);

// The logins that rules name on this VM: sorted, each once. Of all rules: what the VM's PAM gates; of one
// user's rules: where that user may log in.
std::vector<Login> managed_logins(const std::vector<ledger::Rule>& rules, const ledger::Vm& vm);

} // namespace latchkey::policy
