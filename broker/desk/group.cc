// SPDX-License-Identifier: Apache-2.0
// group ls | add | join | leave
#include "broker/desk/command.h"
#include "broker/ledger/policy_rows.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

Status ls(Call& call) {
    const bool sees_all = call.is_at_least(Role::kAuditor);
    LK_TRY(rows, call.read([&](ledger::Transaction& t) -> Result<std::vector<Record>> {
        LK_TRY(groups, sees_all ? ledger::list_groups(t) : ledger::groups_of(t, call.user.id));
        std::vector<Record> made;
        for (const ledger::Group& group : groups) {
            Record row{{"name", group.name.str()}, {"created_at", group.created_at}};
            if (sees_all) {
                LK_TRY(members, ledger::members_of(t, group.id));
                std::vector<std::string> names;
                for (const UserName& member : members) names.push_back(member.str());
                row.push_back({"members", names});
            }
            made.push_back(std::move(row));
        }
        return made;
    }));
    call.list("groups", rows, "no groups");
    return {};
}

Status add(Call& call) {
    LK_TRY(name, GroupName::parse(call.arguments.at(0)));
    LK_TRY(group,
           call.write([&](ledger::Transaction& t) { return ledger::add_group(t, name, call.actor()); }));
    call.done({{"group", group.name.str()}, {"created_at", group.created_at}},
              "added group " + group.name.str());
    return {};
}

Status change(Call& call, bool joins) {
    const std::string& group_name = call.arguments.at(0);
    const std::string& user_name = call.arguments.at(1);
    LK_CHECK(call.write([&](ledger::Transaction& t) -> Status {
        LK_TRY(group, find_group_named(t, group_name));
        LK_TRY(user, find_user_named(t, user_name));
        return joins ? ledger::join_group(t, group.id, user.id, call.actor())
                     : ledger::leave_group(t, group.id, user.id, call.actor());
    }));
    call.done({{"group", group_name}, {"user", user_name}, {"member", joins}},
              user_name + (joins ? " is in group " : " is no more in group ") + group_name);
    return {};
}

Status join(Call& call) {
    return change(call, true);
}

Status leave(Call& call) {
    return change(call, false);
}

} // namespace

std::span<const Command> group_commands() {
    static const std::vector<Command> table = {
        {"group ls",
         "",
         "your groups; all with their members for auditors",
         Role::kUser,
         Freshness::kAudit,
         0,
         0,
         {},
         ls},
        {"group add", "G", "make a group", Role::kAdmin, Freshness::kRecent, 1, 1, {}, add},
        {"group join", "G U", "put a user into a group", Role::kAdmin, Freshness::kRecent, 2, 2, {}, join},
        {"group leave",
         "G U",
         "take a user out of a group",
         Role::kAdmin,
         Freshness::kRecent,
         2,
         2,
         {},
         leave},
    };
    return table;
}

} // namespace latchkey::desk
