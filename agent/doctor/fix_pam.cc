// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/fix_pam.h"

#include <algorithm>

#include "agent/doctor/change.h"
#include "agent/doctor/pam_stack.h"

namespace latchkey::agent::doctor {
namespace {

struct OwnLine {
    std::string options; // what stands after the module
};

// type and rest of a line of ours in this very file; nullopt: another line.
bool is_own_line(const std::string& line, std::string_view type, OwnLine& own) {
    const Words words = words_of(line.substr(0, line.find('#')));
    if (words.size() < 3 || lower(words[0]) != type) return false;
    const std::size_t at = line.find(kPamModule);
    if (at == std::string::npos) return false;
    own.options = line.substr(at + kPamModule.size());
    return true;
}

// Does this line bring in lines of that type, of that module (empty: any)?
bool brings(Machine& machine, const std::string& line, std::string_view type, std::string_view module) {
    const Words words = words_of(line.substr(0, line.find('#')));
    if (words.size() < 2) return false;
    const std::string kind = lower(words[0].front() == '-' ? words[0].substr(1) : words[0]);
    const bool is_include = words[0] == "@include";
    const bool is_partial =
        kind == type && words.size() > 2 && (lower(words[1]) == "include" || lower(words[1]) == "substack");
    if (is_include || is_partial) {
        const auto inside = read_pam_service(machine, is_include ? words[1] : words[2]);
        if (!inside) return false;
        const auto lines = of_type(*inside, type);
        return std::any_of(lines.begin(), lines.end(),
                           [&](const PamLine& one) { return module.empty() || one.module == module; });
    }
    return kind == type && (module.empty() || line.find(module) != std::string::npos);
}

std::string with_our_lines(Machine& machine, const std::string& old) {
    OwnLine account;
    OwnLine session;
    std::vector<std::string> lines;
    for (const std::string& line : lines_of(old)) {
        const bool is_ours = is_own_line(line, "account", account) || is_own_line(line, "session", session);
        if (!is_ours) lines.push_back(line);
    }
    const auto first_account = std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
        return brings(machine, line, "account", {});
    });
    lines.insert(first_account, "account    required     " + std::string(kPamModule) + account.options);
    auto after = lines.end();
    for (auto line = lines.begin(); line != lines.end(); ++line) {
        if (brings(machine, *line, "session", "pam_systemd.so")) after = line;
    }
    if (after != lines.end()) ++after;
    lines.insert(after, "session    required     " + std::string(kPamModule) + session.options);
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
}

// As libpam would read it: both of ours there, in place.
Status judge(Machine& machine, const std::string& service, const Drafts& drafts) {
    LK_TRY(stack, read_pam_service(machine, service, drafts));
    for (const std::string_view type : {"account", "session"}) {
        const auto lines = of_type(stack, type);
        const auto find = [&](std::string_view module) {
            return static_cast<std::size_t>(
                std::find_if(lines.begin(), lines.end(),
                             [&](const PamLine& line) { return line.module == module; }) -
                lines.begin());
        };
        const std::size_t own = find(kPamModule);
        if (own == lines.size() || lines[own].control != "required")
            return fail(Code::kRefused, "our " + std::string(type) + " line stands in an included file");
        if (const PamLine* before = what_can_skip(lines, own))
            return fail(Code::kRefused, before->place() + " would pass our line by");
        const std::size_t systemd = find("pam_systemd.so");
        if (type == "session" && systemd != lines.size() && systemd > own)
            return fail(Code::kRefused, "pam_systemd would still come after our line");
    }
    return {};
}

Status carry_out(const Look& look, std::vector<std::string>& kept) {
    Machine& machine = look.machine;
    Findings module;
    Report report("pam-module", module);
    check_pam_module(look, report);
    if (module.front().severity != Severity::kOk) return fail(Code::kRefused, module.front().what);
    if (!look.agent && !look.state.load_managed_logins()) {
        return fail(Code::kRefused, "no agent answers and its list of managed logins cannot be read",
                    "start the agent first: without both, PAM would deny everybody");
    }
    const SshdSettings* settings = look.settings();
    const std::string named = settings == nullptr ? "" : settings->first("pamservicename");
    const std::string service = named.empty() ? "sshd" : named;
    const std::string path = std::string(kPamFolder) + service;
    LK_TRY(old, machine.read(path));
    const Drafts drafts = {{path, with_our_lines(machine, old)}};
    LK_CHECK(judge(machine, service, drafts));
    Change change(machine);
    Status status = change.write(path, drafts.at(path));
    if (status) status = judge(machine, service, {});
    if (!status) {
        LK_CHECK(change.take_back());
        return status;
    }
    kept = change.kept();
    return {};
}

} // namespace

void fix_pam(const Look& look, const Findings& findings, std::vector<Deed>& deeds) {
    const bool is_wanted = std::any_of(findings.begin(), findings.end(), [](const Finding& one) {
        return one.can_fix && (one.id == "pam-account" || one.id == "pam-session");
    });
    if (!is_wanted) return;
    std::vector<std::string> kept;
    const Status status = carry_out(look, kept);
    std::string what = "sshd's PAM service asks Latchkey in account and session";
    for (const std::string& name : kept) what += "; the old is in " + name;
    if (!status) what = "sshd's PAM service stays as it was: " + status.error().line();
    deeds.push_back({"pam-account", status.has_value(), what});
}

} // namespace latchkey::agent::doctor
