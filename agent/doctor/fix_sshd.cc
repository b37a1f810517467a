// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/fix_sshd.h"

#include <algorithm>
#include <set>

namespace latchkey::agent::doctor {
namespace {

constexpr Micros kReloadTime = from_seconds(30);
constexpr Micros kPause = from_millis(100);
constexpr int kMostPauses = 150;

// Whom a change must not touch: break-glass accounts, root, those that a Match names, and anybody else.
std::vector<std::string> accounts_to_spare(const Look& look) {
    std::set<std::string> names = {"root", "latchkey-doctor"};
    for (const Login& login : look.config.local_logins) names.insert(login.str());
    for (const Directive& directive : look.files->directives) {
        if (directive.keyword != "match") continue;
        const Words words = words_of(directive.value);
        for (std::size_t i = 0; i + 1 < words.size(); ++i) {
            const bool is_name =
                lower(words[i]) == "user" && words[i + 1].find_first_of("*?!,") == std::string::npos;
            if (is_name) names.insert(words[i + 1]);
        }
    }
    for (const Login& login : look.managed) names.erase(login.str());
    return {names.begin(), names.end()};
}

Status compare(const SshdSettings& before, const SshdSettings& after, const std::string& account,
               bool keeps_principals) {
    std::set<std::string> keywords;
    for (const auto& [keyword, values] : before.all()) keywords.insert(keyword);
    for (const auto& [keyword, values] : after.all()) keywords.insert(keyword);
    for (const std::string& keyword : keywords) {
        if (keyword.starts_with("authorizedkeyscommand")) continue;
        if (keeps_principals && keyword.starts_with("authorizedprincipalscommand")) continue;
        const auto one = before.all().find(keyword);
        const auto other = after.all().find(keyword);
        const bool same =
            one != before.all().end() && other != after.all().end() && one->second == other->second;
        if (same) continue;
        return fail(Code::kRefused,
                    keyword + " would change for " + account + " from " + before.first(keyword) + " to " +
                        after.first(keyword),
                    "do it by hand if that is what you want");
    }
    return {};
}

// With `config` in place of the files in effect: ours for managed logins, nothing new for the others.
Status judge(const Look& look, const SshdPlan& plan, const std::string& config,
             const std::map<std::string, SshdSettings>& before) {
    LK_CHECK(test_sshd(look.machine, look.sshd, config));
    for (const auto& [login, unused] : look.asked) {
        LK_TRY(after, ask_sshd(look.machine, look.sshd, login, config));
        const bool is_ours = is_our_helper(after.first("authorizedkeyscommand")) &&
                             after.first("authorizedkeyscommanduser") == plan.helper_user;
        if (is_ours) continue;
        return fail(Code::kRefused, "sshd would still not ask Latchkey for " + login,
                    "see sshd-options and match-blocks");
    }
    for (const auto& [account, settings] : before) {
        LK_TRY(after, ask_sshd(look.machine, look.sshd, account, config));
        LK_CHECK(compare(settings, after, account, plan.keeps_principals));
    }
    return {};
}

Result<std::map<std::string, SshdSettings>> ask_for_spared(const Look& look) {
    std::map<std::string, SshdSettings> before;
    for (const std::string& account : accounts_to_spare(look)) {
        LK_TRY(settings, ask_sshd(look.machine, look.sshd, account));
        before.emplace(account, std::move(settings));
    }
    return before;
}

// kRefused: sshd does not take it, or something would change that is not ours to change.
Status try_out(const Look& look, const SshdPlan& plan, const std::map<std::string, SshdSettings>& before) {
    LK_TRY(files, read_sshd_files(look.machine, look.files->main, plan.drafts));
    LK_TRY(config, stage_sshd_files(look.machine, files, plan.drafts));
    return judge(look, plan, config, before);
}

std::string named(const std::vector<std::string>& kept) {
    std::string text;
    for (const std::string& name : kept) text += (text.empty() ? "; the old is in " : ", ") + name;
    return text;
}

// agent.toml with another helper_user: the top of the file is the one place that is in no table.
std::string with_helper_user(const std::string& text, const std::string& user) {
    std::string out;
    bool is_in = false;
    for (const std::string& line : lines_of(text)) {
        const bool is_it = parse_line(line).keyword == "helper_user";
        if (is_it && !is_in) out += "helper_user = \"" + user + "\"\n";
        is_in = is_in || is_it;
        if (!is_it) out += line + "\n";
    }
    return is_in ? out : "helper_user = \"" + user + "\"\n" + out;
}

// The agent answers the helper of another account from now on.
Status set_helper_user(const Look& look, const std::string& user, std::vector<Deed>& deeds) {
    const auto text = look.machine.read(look.config_file);
    const std::string fresh = with_helper_user(text ? *text : std::string(), user);
    LK_TRY(parsed, parse_config(fresh, look.config_file));
    if (parsed.helper_user != user) return fail(Code::kConfig, "helper_user cannot be set");
    Change change(look.machine);
    Owed restart(look.machine, "restart-agent");
    LK_CHECK(restart.note());
    LK_CHECK(change.write(look.config_file, fresh));
    const Status restarted = restart_agent(look);
    if (!restarted) {
        LK_CHECK(change.take_back());
        static_cast<void>(restart_agent(look).has_value());
        LK_CHECK(restart.clear());
        return restarted;
    }
    deeds.push_back({"keys-command", true,
                     "helper_user = \"" + user + "\" in " + look.config_file +
                         ", agent restarted (open sessions stay)" + named(change.kept())});
    return {};
}

Status install(const Look& look, const SshdPlan& plan, Change& change) {
    const std::string drop_in(kDropIn);
    const std::string source(kDropInSource);
    // Ours first: until the others are changed, sshd goes on as before.
    if (const auto ours = plan.drafts.find(drop_in); ours != plan.drafts.end()) {
        const bool links_to_source = !look.machine.look(drop_in) && look.machine.look(source).has_value();
        LK_CHECK(change.write(links_to_source ? source : drop_in, ours->second));
        if (links_to_source) LK_CHECK(change.make_link(drop_in, source));
    }
    for (const auto& [path, text] : plan.drafts) {
        if (path != drop_in) LK_CHECK(change.write(path, text));
    }
    return {};
}

bool is_wanted(const Findings& findings) {
    static const std::set<std::string_view> ids = {"sshd-include", "dropin-order", "keys-command",
                                                   "keys-command-user", "principals-order"};
    return std::any_of(findings.begin(), findings.end(),
                       [](const Finding& one) { return one.can_fix && ids.contains(one.id); });
}

Status carry_out(const Look& look, std::vector<Deed>& deeds) {
    LK_CHECK(test_sshd(look.machine, look.sshd)); // what is broken already is not ours to build on
    LK_TRY(plan, plan_sshd(look));
    LK_TRY(before, ask_for_spared(look));
    LK_CHECK(try_out(look, plan, before));
    if (plan.helper_user != look.config.helper_user && plan.helper_user != "root")
        LK_CHECK(set_helper_user(look, plan.helper_user, deeds));
    Owed reload(look.machine, "reload-sshd");
    LK_CHECK(reload.note());
    Change change(look.machine);
    Status status = install(look, plan, change);
    if (status) status = judge(look, plan, {}, before);
    if (!status) {
        LK_CHECK(change.take_back());
        LK_CHECK(reload.clear());
        return status;
    }
    deeds.push_back(
        {"keys-command", true,
         "sshd asks Latchkey" +
             (plan.chained.empty() ? std::string()
                                   : ", and for logins that are not managed then " + plan.chained) +
             " as " + plan.helper_user + "; sshd -t accepts it" + named(change.kept())});
    const Status reloaded = reload_sshd(look);
    deeds.push_back({"keys-command", reloaded.has_value(),
                     reloaded ? "sshd reloaded; open sessions stay" : reloaded.error().line()});
    return {};
}

} // namespace

void fix_sshd(const Look& look, const Findings& findings, std::vector<Deed>& deeds) {
    if (!is_wanted(findings)) return;
    const Status status = carry_out(look, deeds);
    if (!status)
        deeds.push_back({"keys-command", false, "sshd's files stay as they were: " + status.error().line()});
}

Status reload_sshd(const Look& look) {
    Machine& machine = look.machine;
    LK_CHECK(test_sshd(machine, look.sshd));
    const auto state = machine.run({"systemctl", "is-active", "ssh.service"}, kReloadTime);
    if (state && state->status == 0) {
        LK_TRY(ran, machine.run({"systemctl", "reload", "ssh.service"}, kReloadTime));
        if (ran.status != 0) return fail(Code::kIo, "systemctl reload ssh.service fails: " + ran.err);
    } else {
        for (const Listener& listener : look.sshd.listeners) {
            if (listener.options.config.empty()) LK_CHECK(machine.hang_up(listener.pid));
        }
    }
    return Owed(machine, "reload-sshd").clear();
}

Status restart_agent(const Look& look) {
    Machine& machine = look.machine;
    const auto state = machine.run({"systemctl", "is-active", "latchkey-agent.service"}, kReloadTime);
    if (!state || state->status != 0) {
        if (!look.agent)
            return Owed(machine, "restart-agent").clear(); // none runs: it will read it at its start
        return fail(Code::kUnsupported, "the agent that runs was not started by systemd",
                    "set helper_user by hand, restart the agent, and run this again");
    }
    LK_TRY(ran, machine.run({"systemctl", "restart", "latchkey-agent.service"}, kReloadTime));
    if (ran.status != 0) return fail(Code::kIo, "systemctl restart latchkey-agent fails: " + ran.err);
    // Back at its broker too, where it was there before: a login that comes now shall not be denied.
    const bool was_connected = look.agent && look.agent->connected;
    bool answers = false;
    for (int i = 0; i < kMostPauses; ++i) {
        const auto status = machine.ask_agent(look.config.socket);
        answers = answers || status.has_value();
        if (status && (status->connected || !was_connected)) break;
        machine.pause(kPause);
    }
    if (answers) return Owed(machine, "restart-agent").clear();
    return fail(Code::kTimedOut, "the agent does not answer after its restart",
                "see: journalctl -u latchkey-agent");
}

} // namespace latchkey::agent::doctor
