// SPDX-License-Identifier: Apache-2.0
// sshd's configuration: is it ours that is in effect, for every managed login?
#include <algorithm>
#include <set>

#include "agent/doctor/checks.h"

namespace latchkey::agent::doctor {
namespace {

// What must be as we set it, or people are kept out, or let in past Latchkey.
constexpr std::string_view kDecisive[] = {"authorizedkeyscommand",       "authorizedkeyscommanduser",
                                          "authorizedprincipalscommand", "usepam",
                                          "trustedusercakeys",           "revokedkeys",
                                          "authorizedkeysfile",          "pamservicename",
                                          "pubkeyauthentication"};
constexpr std::string_view kOurs[] = {"authorizedkeyscommand", "authorizedkeyscommanduser",
                                      "authorizedprincipalscommand"};
constexpr std::string_view kOurWords = " %u %t %k %f";

bool is_decisive(std::string_view keyword) {
    return std::find(std::begin(kDecisive), std::end(kDecisive), keyword) != std::end(kDecisive);
}

void unseen(Report& report, const Look& look) {
    const std::string why =
        look.asked.empty() || look.asked.front().second ? "" : look.asked.front().second.error().message;
    report.unseen("what sshd would do", "sshd -T does not say: " + why,
                  look.is_root() ? "see sshd-config" : "run it as root");
}

void judge_options(const SshdOptions& options, const std::string& where, Report& report) {
    for (const std::string& option : options.options) {
        const Directive directive = parse_line(option);
        if (!is_decisive(directive.keyword)) continue;
        report.problem(where + " sets -o " + option,
                       "an option on sshd's command line wins over every file, ours too",
                       "take it out there (systemctl edit, /etc/default/ssh), then restart ssh");
    }
    if (!options.config.empty() && options.config != kMainConfig) {
        report.warning(where + " reads " + options.config,
                       "our drop-in is read from " + std::string(kMainConfig) + " only",
                       "include " + std::string(kDropIn) + " there, above all else, if Latchkey gates it");
    }
}

// Ours wins over a command that stands in the files as well: whoever relied on that one is not let in any
// more.
void warn_of_the_unasked(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (!look.files || settings == nullptr) return;
    const std::string in_effect = settings->first("authorizedkeyscommand");
    if (!is_our_helper(in_effect) || !chained_command(in_effect).empty()) return;
    for (const Directive& directive : look.files->directives) {
        if (directive.keyword != "authorizedkeyscommand" || !directive.condition.empty()) continue;
        if (is_none(directive.value) || is_our_helper(directive.value)) continue;
        report.warning(directive.place() + " sets another command, which is not asked: " + directive.value,
                       "whom only that command knows is not let in", "let --fix chain it, or take it out");
        return report.can_fix();
    }
}

} // namespace

void check_sshd_config(const Look& look, Report& report) {
    if (look.sshd.major == 0) {
        return report.problem("there is no " + look.sshd.program, "nobody logs in here by SSH",
                              "apt-get install openssh-server");
    }
    const std::string version =
        "OpenSSH " + std::to_string(look.sshd.major) + "." + std::to_string(look.sshd.minor);
    const Status tested = test_sshd(look.machine, look.sshd);
    if (tested) return report.ok(version + " accepts its configuration");
    const std::string& message = tested.error().message;
    const bool cannot_say = !look.is_root() || message.find("privilege separation") != std::string::npos ||
                            message.find("no hostkeys") != std::string::npos;
    if (cannot_say) {
        return report.unseen(version + " does not say whether its configuration is good", message,
                             look.is_root() ? "start ssh once: it makes what is missing" : "run it as root");
    }
    report.problem("sshd refuses its configuration: " + message,
                   "it runs on with the old one, and does not come back after a restart",
                   "mend that line; sshd -t says when it is good");
}

void check_sshd_include(const Look& look, Report& report) {
    const std::string drop_in(kDropIn);
    if (!look.files) {
        return report.unseen("sshd's files: " + look.files.error().message, "its main file was not read",
                             look.is_root() ? "see sshd-config" : "run it as root");
    }
    if (look.files->includes(drop_in)) return report.ok("sshd reads " + drop_in);
    const Directive* command = look.files->first("authorizedkeyscommand");
    if (command != nullptr && is_our_helper(command->value))
        return report.ok("our lines stand in " + command->file);
    if (!look.files->unreadable.empty())
        return report.unseen(look.files->unreadable.front(), "it could not be read", "run it as root");
    if (look.machine.real_path(drop_in)) {
        report.problem(look.files->main + " does not include " + drop_in,
                       "sshd never asks Latchkey: managed logins are denied",
                       "put on its first line: Include /etc/ssh/sshd_config.d/*.conf");
    } else {
        report.problem(drop_in + " is not there", "sshd never asks Latchkey: managed logins are denied",
                       "write it as docs/doctor.md shows");
    }
    if (look.files->main == kMainConfig) report.can_fix();
}

void check_sshd_options(const Look& look, Report& report) {
    std::set<std::string> said; // the unit's and the running one's are mostly the same
    for (const auto& [unit, options] : look.sshd.units) {
        for (const std::string& option : options.options) said.insert(option);
        judge_options(options, unit, report);
    }
    for (const Listener& listener : look.sshd.listeners) {
        SshdOptions fresh = listener.options;
        fresh.options.erase(std::remove_if(fresh.options.begin(), fresh.options.end(),
                                           [&](const std::string& one) { return said.contains(one); }),
                            fresh.options.end());
        judge_options(fresh, "the running sshd " + std::to_string(listener.pid), report);
    }
    if (!report.said_anything()) report.ok("nothing on sshd's command line is set over our heads");
}

void check_dropin_order(const Look& look, Report& report) {
    if (!look.files) return report.unseen("the order of sshd's files", look.files.error().message);
    if (!look.files->includes(kDropIn)) return report.ok("our drop-in is not read: see sshd-include");
    for (const std::string_view keyword : kOurs) {
        const Directive* first = look.files->first(keyword);
        if (first == nullptr || first->file == kDropIn) continue;
        const auto& all = look.files->directives;
        const auto own = std::find_if(all.begin(), all.end(), [&](const Directive& one) {
            return one.file == kDropIn && one.keyword == keyword && one.condition.empty();
        });
        if (own == all.end() || own->value == first->value) continue;
        report.problem(first->place() + " sets " + std::string(keyword) + " before our drop-in does",
                       "sshd takes the first value that it reads: ours is not in effect",
                       "take that line out, or let --fix chain the command behind ours");
        report.can_fix();
    }
    if (!report.said_anything()) report.ok("ours is the first that sshd reads");
}

void check_keys_command(const Look& look, Report& report) {
    std::set<std::string> said;
    for (const auto& [login, answer] : look.asked) {
        if (!answer) continue;
        const std::string command = answer->first("authorizedkeyscommand");
        if (!said.insert(command).second) continue;
        if (is_none(command)) {
            report.problem("sshd asks no command for the keys of " + login,
                           "Latchkey is not asked: managed logins are denied",
                           "see sshd-include and dropin-order");
            report.can_fix();
        } else if (!is_our_helper(command)) {
            report.problem(
                "sshd asks another command for the keys of " + login + ": " + command,
                "Latchkey is not asked: managed logins are denied",
                "let --fix chain it behind ours: it is then asked for logins that are not managed");
            report.can_fix();
        } else if (command.find(kOurWords) == std::string::npos) {
            report.problem("the helper is called with other words than it takes: " + command,
                           "it refuses: managed logins are denied",
                           "write: " + words_of(command).front() + std::string(kOurWords));
            report.can_fix();
        } else if (const std::string hash = answer->first("fingerprinthash"); lower(hash) != "sha256") {
            report.problem("FingerprintHash " + hash,
                           "the helper knows SHA256 only: managed logins are denied",
                           "take FingerprintHash out of sshd's configuration");
        } else {
            const std::string chained = chained_command(command);
            report.ok("sshd asks Latchkey for the keys of " + login +
                      (chained.empty() ? "" : ", then, if it is not managed, " + chained));
        }
    }
    if (said.empty()) return unseen(report, look);
    warn_of_the_unasked(look, report);
}

void check_keys_command_user(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (settings == nullptr) return unseen(report, look);
    if (!is_our_helper(settings->first("authorizedkeyscommand")))
        return report.ok("ours is not the command in effect: see keys-command");
    const std::string user = settings->first("authorizedkeyscommanduser");
    if (user == look.config.helper_user || user == "root")
        return report.ok("sshd runs the helper as " + user);
    report.problem("sshd runs the helper as " + user + ", the agent answers " + look.config.helper_user,
                   "the agent refuses the helper: managed logins are denied",
                   "let AuthorizedKeysCommandUser and agent.toml's helper_user name the same account");
    report.can_fix();
}

void check_principals_order(const Look& look, Report& report) {
    const SshdSettings* settings = look.settings();
    if (settings == nullptr || !look.files) return unseen(report, look);
    const std::string in_effect = settings->first("authorizedprincipalscommand");
    for (const Directive& directive : look.files->directives) {
        if (directive.keyword != "authorizedprincipalscommand" || !directive.condition.empty()) continue;
        if (is_none(directive.value) || !is_none(in_effect)) continue;
        report.problem("the AuthorizedPrincipalsCommand of " + directive.place() + " is not in effect",
                       "any certificate of a trusted CA that names the account gets in unasked; OpenSSH "
                       "before 10 forgets this command where AuthorizedKeysCommand stands above it, and "
                       "`none` in a file read earlier wins everywhere",
                       "put it above AuthorizedKeysCommand in our drop-in, in place of none");
        report.can_fix();
        return;
    }
    report.ok(is_none(in_effect) ? "there is no AuthorizedPrincipalsCommand" : in_effect + " is in effect");
}

void check_match_blocks(const Look& look, Report& report) {
    if (!look.files) return report.unseen("Match blocks", look.files.error().message);
    for (const Directive& directive : look.files->directives) {
        if (directive.condition.empty() || !is_decisive(directive.keyword)) continue;
        const bool is_ours = directive.keyword == "authorizedkeyscommand" && is_our_helper(directive.value);
        if (is_ours) continue;
        report.warning(directive.place() + " sets " + directive.keyword + " for Match " + directive.condition,
                       "connections that it fits do not get what our drop-in says",
                       "see what they get: sshd -T -C user=…,host=…,addr=…");
    }
    if (!report.said_anything()) report.ok("no Match block changes what ours sets");
}

} // namespace latchkey::agent::doctor
