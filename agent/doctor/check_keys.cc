// SPDX-License-Identifier: Apache-2.0
// What else decides in sshd: the helper's file, other ways for keys, and sshd's own limits.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "agent/doctor/checks.h"

namespace latchkey::agent::doctor {
namespace {

constexpr long kSmallBurst = 10; // sshd's default

bool is_set(const std::string& value) {
    return !value.empty() && lower(value) != "none";
}

void no_settings(const Look& look, Report& report) {
    report.unseen("what sshd would do", "sshd -T does not say",
                  look.is_root() ? "see sshd-config" : "run it as root");
}

// sshd wants root's, and nobody else may write. Debian's sshd lets root's own group.
bool is_safe(const FileFacts& facts) {
    if (facts.owner != 0) return false;
    return (facts.mode & (facts.group == 0 ? 002U : 022U)) == 0;
}

} // namespace

void check_helper_path(const Look& look, Report& report) {
    std::string path(kHelperPath);
    if (const SshdSettings* settings = look.settings()) {
        const std::string command = settings->first("authorizedkeyscommand");
        if (is_our_helper(command)) path = words_of(command).front();
    }
    const auto real = look.machine.real_path(path);
    if (!real) {
        return report.problem(path + " is not there: " + real.error().message,
                              "sshd finds no key for managed logins", "install latchkey-agent again");
    }
    const bool is_packaged = path == kHelperPath && *real == path;
    for (std::string part = *real; !part.empty(); part = part.substr(0, part.rfind('/'))) {
        const auto facts = look.machine.look(part);
        if (!facts) {
            report.unseen(part, facts.error().message, "run it as root");
            continue;
        }
        if (is_safe(*facts)) continue;
        report.problem(part + " belongs to another than root, or others may write to it",
                       "sshd refuses the command for it at each login: managed logins are denied",
                       "chown root:root " + part + " && chmod go-w " + part);
        // Folders of the system are for their owner to judge.
        if (is_packaged && part.find("/latchkey") != std::string::npos) report.can_fix();
    }
    const auto file = look.machine.look(*real);
    if (file && (file->mode & 0111U) == 0) {
        report.problem(path + " is not executable", "sshd cannot run it: managed logins are denied",
                       "chmod 755 " + path);
        if (is_packaged) report.can_fix();
    }
    if (!report.said_anything()) report.ok("sshd accepts " + *real);
}

void check_trusted_ca(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (settings == nullptr) return no_settings(look, report);
    const std::string file = settings->first("trustedusercakeys");
    if (!is_set(file)) return report.ok("sshd trusts no CA of its own");
    if (settings->first("usepam") != "yes") {
        return report.problem("sshd trusts the CAs of " + file + ", and PAM is not asked",
                              "their certificates open managed logins past Latchkey",
                              "take TrustedUserCAKeys out, or see use-pam");
    }
    report.warning("sshd trusts the CAs of " + file,
                   "their certificates open logins that are not managed; to managed ones PAM says no",
                   "take TrustedUserCAKeys out if Latchkey has taken its place");
}

void check_authorized_keys_file(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (settings == nullptr) return no_settings(look, report);
    const std::string files = settings->first("authorizedkeysfile");
    if (!is_set(files)) return report.ok("sshd reads no keys of the accounts' own");
    report.ok("accounts may keep keys in " + files + "; for managed logins PAM says no to these keys");
}

void check_revoked_keys(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (settings == nullptr) return no_settings(look, report);
    const std::string file = settings->first("revokedkeys");
    if (!is_set(file)) return report.ok("sshd has no RevokedKeys; Latchkey's revocations need none");
    const auto real = look.machine.real_path(file);
    const auto facts = look.machine.look(real ? *real : file);
    if (facts && facts->size > 0) return report.ok(file + " holds what is revoked");
    if (facts) {
        return report.problem(file + " has 0 bytes",
                              "sshd takes it for an empty list: every revoked key gets in again",
                              "write it anew: ssh … ca krl >" + file);
    }
    if (facts.error().code == Code::kNotFound) {
        return report.problem(file + " is missing", "sshd then refuses every key: nobody gets in",
                              "write it anew, or take RevokedKeys out");
    }
    report.unseen(file, facts.error().message, "run it as root");
}

void check_managed_root(const Look& look, Report& report) {
    for (const Login& login : look.managed) {
        const auto user = look.machine.user_id(login.str());
        if (!user || *user != 0) continue;
        report.warning(login.str() + " is managed, and is root",
                       "without agent and broker nobody is root here by SSH",
                       "keep a break-glass account: local_logins in agent.toml");
    }
    if (!report.said_anything())
        report.ok(std::to_string(look.managed.size()) + " managed logins, none of them root");
}

void check_penalties(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (settings == nullptr) return no_settings(look, report);
    const std::string penalties = settings->first("persourcepenalties");
    if (penalties.empty()) return report.ok("this sshd has no penalties per source");
    if (penalties == "no") return report.ok("penalties per source are off");
    const std::string exempt = settings->first("persourcepenaltyexemptlist");
    if (is_set(exempt)) return report.ok("penalties per source spare " + exempt);
    report.warning("sshd shuts out a source address after a few refused logins, for every user",
                   "one wrong client behind a NAT or a bastion locks out all others there; so do refusals "
                   "while the broker is away",
                   "name bastions and NATs: PerSourcePenaltyExemptList 192.0.2.0/24");
}

void check_max_startups(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (settings == nullptr) return no_settings(look, report);
    const std::string value = settings->first("maxstartups");
    const long start = std::strtol(value.c_str(), nullptr, 10);
    if (value.empty() || start > kSmallBurst) return report.ok("MaxStartups " + value);
    report.warning("MaxStartups " + value + ": above " + std::to_string(start) +
                       " logins at once some are dropped at random",
                   "a burst (a deployment, a bastion) loses connections that Latchkey would let in",
                   "for VMs that see bursts: MaxStartups 100:30:200");
}

} // namespace latchkey::agent::doctor
