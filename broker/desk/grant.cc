// SPDX-License-Identifier: Apache-2.0
// grant add | ls | rm
#include <algorithm>
#include <array>

#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/vms.h"
#include "broker/policy/policy.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

std::string sudo_text(const ledger::Rule& rule) {
    return std::string(protocol::word_of(rule.sudo));
}

Record row_of(const ledger::Rule& rule) {
    return {
        {"id", std::to_string(rule.id.value)},
        {"group", rule.group_name.str()},
        {"vm", rule.vm_selector},
        {"logins", login_texts(rule.logins)},
        {"ttl_seconds", count(rule.ttl_seconds)},
        {"allow", rule.allow},
        {"from", text_or_null(rule.from)},
        {"verify_required", rule.verify_required, Shown::kJsonOnly},
        {"created_at", rule.created_at, Shown::kJsonOnly},
        {"sudo", text_or_null(sudo_text(rule))},
        {"sudo_grace_seconds", count(rule.sudo_grace_seconds), Shown::kJsonOnly},
        {"command", text_or_null(rule.command)},
    };
}

// An empty part is a variable that was not set, and dropping it would widen the rule: `--from=$NET`.
Result<std::vector<std::string>> parts_of(const Arguments& arguments, const char* flag) {
    std::vector<std::string> parts;
    for (const std::string& text : arguments.all(flag)) {
        std::size_t at = 0;
        while (at <= text.size()) {
            const std::size_t comma = std::min(text.find(',', at), text.size());
            std::string part = text.substr(at, comma - at);
            if (part.find_first_not_of(" \t") == std::string::npos) {
                return fail(Code::kUsage, std::string(flag) + " has an empty part",
                            "leave the flag out, or write what it is for");
            }
            parts.push_back(std::move(part));
            at = comma + 1;
        }
    }
    return parts;
}

std::string joined(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
    return text;
}

Status read_sudo(const Arguments& arguments, ledger::Rule& rule) {
    using protocol::SudoRule;
    const auto word = arguments.one("--sudo");
    if (word) {
        const std::array known = {SudoRule::kFree, SudoRule::kFactor, SudoRule::kDenied};
        const auto found = std::ranges::find(known, *word, protocol::word_of);
        if (found == known.end())
            return fail(Code::kUsage, "--sudo '" + printable(*word) + "' is none of ours",
                        "use free, factor or none");
        rule.sudo = *found;
    }
    if (rule.sudo == SudoRule::kFactor) rule.sudo_grace_seconds = policy::kDefaultSudoGraceSeconds;
    const auto grace = arguments.one("--sudo-grace");
    if (!grace) return {};
    if (rule.sudo != SudoRule::kFactor)
        return fail(Code::kUsage, "--sudo-grace without --sudo factor", "add: --sudo factor");
    rule.sudo_grace_seconds = 0;
    if (*grace == "0") return {};
    LK_TRY(span, parse_span(*grace, "--sudo-grace"));
    rule.sudo_grace_seconds = static_cast<std::uint32_t>(span.seconds());
    return {};
}

// sudo is asked about where the agent is new enough; on the others it stays as it was.
std::string older_agents(const Call& call, const ledger::Rule& rule, const std::vector<ledger::Vm>& vms) {
    constexpr std::size_t kMostNamed = 5;
    std::string names;
    std::size_t found = 0;
    for (const ledger::Vm& vm : vms) {
        const auto selected = policy::vm_matches(rule.vm_selector, vm);
        if (!selected || !*selected || !call.context.fleet.is_connected(vm.id)) continue;
        if (call.context.fleet.has_step_up(vm.id)) continue;
        if (++found <= kMostNamed) names += (names.empty() ? "" : ", ") + vm.name.str();
    }
    if (found > kMostNamed) names += ", …";
    return names;
}

Result<ledger::Rule> rule_asked(const Call& call) {
    const Arguments& arguments = call.arguments;
    for (const char* flag : {"--group", "--vm", "--login"}) {
        if (!arguments.has(flag)) {
            return fail(Code::kUsage, std::string(flag) + " is missing",
                        "usage: grant add --group G --vm SELECTOR --login L[,L…] [--ttl 1h] [--from CIDR] "
                        "[--command C] [--allow pty,…] [--sudo free|factor|none]");
        }
    }
    ledger::Rule rule;
    LK_TRY(selectors, parts_of(arguments, "--vm"));
    rule.vm_selector = joined(selectors);
    LK_TRY(logins, parts_of(arguments, "--login"));
    for (const std::string& text : logins) {
        LK_TRY(login, Login::parse(text));
        rule.logins.push_back(std::move(login));
    }
    rule.ttl_seconds = call.context.settings.grant_ttl_seconds;
    if (const auto ttl = arguments.one("--ttl")) {
        LK_TRY(span, parse_span(*ttl, "--ttl"));
        rule.ttl_seconds = static_cast<std::uint32_t>(span.seconds());
    }
    LK_TRY(networks, parts_of(arguments, "--from"));
    rule.from = joined(networks);
    if (const auto command = arguments.one("--command")) {
        LK_CHECK(check_free_text(*command, "--command", 1024));
        rule.command = *command;
    }
    LK_TRY(allow, parts_of(arguments, "--allow"));
    rule.allow = std::move(allow);
    rule.verify_required = arguments.has("--verify-required");
    LK_CHECK(read_sudo(arguments, rule));
    return policy::validate_rule(std::move(rule));
}

Status add(Call& call) {
    LK_TRY(asked, rule_asked(call));
    LK_TRY(rule, call.write([&](ledger::Transaction& t) -> Result<ledger::Rule> {
        ledger::Rule row = asked; // the job may run twice
        LK_TRY(group, find_group_named(t, call.arguments.one("--group").value_or("")));
        row.group = group.id;
        row.group_name = group.name;
        return ledger::add_rule(t, std::move(row), call.actor());
    }));
    if (rule.sudo == protocol::SudoRule::kFactor || rule.sudo == protocol::SudoRule::kDenied) {
        LK_TRY(vms, call.read([](ledger::Transaction& t) { return ledger::list_vms(t); }));
        const std::string older = older_agents(call, rule, vms);
        if (!older.empty())
            call.console.err("the agents of " + older +
                             " are too old to ask about sudo; it stays open there: update latchkey-agent\n");
    }
    call.done(row_of(rule), "added grant " + std::to_string(rule.id.value) + ": group " +
                                rule.group_name.str() + " may log in to " + printable(rule.vm_selector) +
                                " as " + joined(login_texts(rule.logins)));
    return {};
}

Status ls(Call& call) {
    LK_TRY(rules, call.read([&](ledger::Transaction& t) {
        return call.is_at_least(Role::kAuditor) ? ledger::list_rules(t)
                                                : ledger::rules_for_user(t, call.user.id);
    }));
    std::vector<Record> rows;
    for (const ledger::Rule& rule : rules) rows.push_back(row_of(rule));
    call.list("grants", rows, "no grants");
    return {};
}

Status rm(Call& call) {
    LK_TRY(id, parse_id(call.arguments.at(0)));
    LK_CHECK(call.write([&](ledger::Transaction& t) { return ledger::remove_rule(t, id, call.actor()); }));
    call.done({{"id", std::to_string(id.value)}},
              "removed grant " + std::to_string(id.value) +
                  "; connected VMs ask again now, one that is away serves what it holds until that ends"
                  "\nopen sessions go on; to end those too: " +
                  call.ssh_line("revoke user U --reason R"));
    return {};
}

} // namespace

std::span<const Command> grant_commands() {
    static const std::vector<Command> table = {
        {"grant add",
         "--group G --vm SELECTOR --login L[,L…] [--ttl 1h] [--from CIDR] [--command C] [--allow "
         "pty,port-forwarding,…] [--verify-required] [--sudo free|factor|none] [--sudo-grace 5m]",
         "let a group log in to VMs",
         Role::kAdmin,
         Freshness::kRecent,
         0,
         0,
         {{"--group"},
          {"--vm", true, true},
          {"--login", true, true},
          {"--ttl"},
          {"--from", true, true},
          {.name = "--command", .is_text = true},
          {"--allow", true, true},
          {"--verify-required", false},
          {"--sudo"},
          {"--sudo-grace"}},
         add},
        {"grant ls",
         "",
         "the grants of your groups; all for auditors",
         Role::kUser,
         Freshness::kAudit,
         0,
         0,
         {},
         ls},
        {"grant rm", "ID", "remove a grant", Role::kAdmin, Freshness::kRecent, 1, 1, {}, rm},
    };
    return table;
}

} // namespace latchkey::desk
