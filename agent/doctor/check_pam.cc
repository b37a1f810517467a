// SPDX-License-Identifier: Apache-2.0
// PAM: is it asked, and does it ask us, in the right place?
#include <algorithm>

#include "agent/doctor/checks.h"
#include "agent/doctor/pam_stack.h"

namespace latchkey::agent::doctor {
namespace {

std::string pam_service(const Look& look) {
    const SshdSettings* settings = look.settings();
    const std::string named = settings == nullptr ? "" : settings->first("pamservicename");
    return named.empty() ? "sshd" : named;
}

bool is_binding(const std::string& control) {
    return control == "required" || control == "requisite" || control.front() == '[';
}

std::size_t find_module(const std::vector<PamLine>& lines, std::string_view module) {
    const auto found =
        std::find_if(lines.begin(), lines.end(), [&](const PamLine& line) { return line.module == module; });
    return static_cast<std::size_t>(found - lines.begin());
}

// What account and session share: there, binding, not passed by.
void judge_line(const Look& look, std::string_view type, const std::string& what_comes_of_it,
                Report& report) {
    const std::string service = pam_service(look);
    const auto stack = read_pam_service(look.machine, service);
    if (!stack) return report.unseen("PAM's service " + service, stack.error().message, "run it as root");
    const auto lines = of_type(*stack, type);
    const std::size_t own = find_module(lines, kPamModule);
    const std::string wanted = std::string(type) + " required pam_latchkey.so";
    const std::string where = std::string(kPamFolder) + service;
    if (own == lines.size()) {
        report.problem(where + " has no " + std::string(type) + " line of ours", what_comes_of_it,
                       "write there: " + wanted);
        report.can_fix();
        return;
    }
    const PamLine& line = lines[own];
    if (!is_binding(line.control)) {
        report.problem(line.place() + " says " + line.control, what_comes_of_it, "write there: " + wanted);
        report.can_fix();
        return;
    }
    if (const PamLine* before = what_can_skip(lines, own)) {
        report.problem(
            before->place() + " (" + before->control + " " + before->module + ") can pass our line by",
            what_comes_of_it, "put our line above it: " + wanted);
        if (type == "account") report.can_fix();
        return;
    }
    if (type != "session") return report.ok(line.place() + ": " + wanted);
    const std::size_t systemd = find_module(lines, "pam_systemd.so");
    if (systemd != lines.size() && systemd > own) {
        report.problem(line.place() + " stands above pam_systemd",
                       "the session has no scope yet when we look: managed logins are denied",
                       "put our line below it, after @include common-session");
        report.can_fix();
        return;
    }
    report.ok(line.place() + ": " + wanted);
}

} // namespace

void check_use_pam(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (settings == nullptr) {
        return report.unseen("whether sshd asks PAM", "sshd -T does not say",
                             look.is_root() ? "see sshd-config" : "run it as root");
    }
    if (settings->first("usepam") == "yes") return report.ok("sshd asks PAM");
    report.problem("UsePAM no: sshd does not ask PAM",
                   "keys in an account's own authorized_keys open managed logins; sessions are bound to no "
                   "credential and cannot be ended",
                   "set UsePAM yes (it changes how other accounts log in too: try one before you log out)");
}

void check_pam_module(const Look& look, Report& report) {
    std::vector<std::string> found = look.machine.glob("/usr/lib/*/security/pam_latchkey.so");
    for (const std::string& path : look.machine.glob("/lib/security/pam_latchkey.so")) found.push_back(path);
    if (found.empty()) {
        return report.problem("pam_latchkey.so is not installed",
                              "a PAM line that names it denies every login by sshd",
                              "install latchkey-agent again, or take the lines out of /etc/pam.d/sshd");
    }
    const auto facts = look.machine.look(found.front());
    if (facts && (facts->owner != 0 || (facts->mode & 022U) != 0)) {
        report.problem(found.front() + " may be written by others than root", "they can open every login",
                       "chown root:root " + found.front() + " && chmod 644 " + found.front());
        report.can_fix();
        return;
    }
    report.ok(found.front() + " is there");
}

void check_pam_account(const Look& look, Report& report) {
    judge_line(look, "account", "a key that Latchkey did not decide opens managed logins", report);
}

void check_pam_session(const Look& look, Report& report) {
    judge_line(look, "session", "sessions are bound to no credential: a revocation does not end them",
               report);
}

void check_pam_sudo(const Look& look, Report& report) {
    const auto stack = read_pam_service(look.machine, "sudo");
    if (!stack) {
        if (stack.error().code == Code::kNotFound) return report.ok("there is no sudo here");
        return report.unseen("sudo's PAM service", stack.error().message, "run it as root");
    }
    const auto lines = of_type(*stack, "auth");
    const std::size_t own = find_module(lines, kPamModule);
    if (own == lines.size()) return report.ok("sudo asks no second factor of Latchkey");
    if (!is_binding(lines[own].control) && lines[own].control != "sufficient") {
        return report.problem(lines[own].place() + " says " + lines[own].control,
                              "sudo goes on without the second factor",
                              "write there: auth required pam_latchkey.so");
    }
    if (const PamLine* before = what_can_skip(lines, own)) {
        return report.problem(before->place() + " can pass our line by",
                              "sudo goes on without the second factor", "put our line above it");
    }
    report.ok(lines[own].place() + ": sudo asks for a second factor where policy wants it");
}

} // namespace latchkey::agent::doctor
