// SPDX-License-Identifier: Apache-2.0
// grant add | ls | rm
#include <algorithm>

#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/policy_rows.h"
#include "broker/policy/policy.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

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
        {"command", text_or_null(rule.command)},
    };
}

std::vector<std::string> split_commas(const std::vector<std::string>& texts) {
    std::vector<std::string> parts;
    for (const std::string& text : texts) {
        std::size_t at = 0;
        while (at <= text.size()) {
            const std::size_t comma = std::min(text.find(',', at), text.size());
            if (comma > at) parts.push_back(text.substr(at, comma - at));
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

Result<ledger::Rule> rule_asked(const Call& call) {
    const Arguments& arguments = call.arguments;
    for (const char* flag : {"--group", "--vm", "--login"}) {
        if (!arguments.has(flag)) {
            return fail(Code::kUsage, std::string(flag) + " is missing",
                        "usage: grant add --group G --vm SELECTOR --login L[,L…] [--ttl 1h] [--from CIDR] "
                        "[--command C] [--allow pty,…]");
        }
    }
    ledger::Rule rule;
    rule.vm_selector = joined(split_commas(arguments.all("--vm")));
    for (const std::string& text : split_commas(arguments.all("--login"))) {
        LK_TRY(login, Login::parse(text));
        rule.logins.push_back(std::move(login));
    }
    rule.ttl_seconds = call.context.settings.grant_ttl_seconds;
    if (const auto ttl = arguments.one("--ttl")) {
        LK_TRY(span, parse_span(*ttl, "--ttl"));
        rule.ttl_seconds = static_cast<std::uint32_t>(span.seconds());
    }
    rule.from = joined(split_commas(arguments.all("--from")));
    if (const auto command = arguments.one("--command")) {
        LK_CHECK(check_free_text(*command, "--command", 1024));
        rule.command = *command;
    }
    rule.allow = split_commas(arguments.all("--allow"));
    rule.verify_required = arguments.has("--verify-required");
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
                  "; VMs may serve what they hold of it until it ends, revoke cuts at once");
    return {};
}

} // namespace

std::span<const Command> grant_commands() {
    static const std::vector<Command> table = {
        {"grant add",
         "--group G --vm SELECTOR --login L[,L…] [--ttl 1h] [--from CIDR] [--command C] [--allow "
         "pty,port-forwarding,…] [--verify-required]",
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
          {"--verify-required", false}},
         add},
        {"grant ls",
         "",
         "the grants of your groups; all for auditors",
         Role::kUser,
         Freshness::kNone,
         0,
         0,
         {},
         ls},
        {"grant rm", "ID", "remove a grant", Role::kAdmin, Freshness::kRecent, 1, 1, {}, rm},
    };
    return table;
}

} // namespace latchkey::desk
