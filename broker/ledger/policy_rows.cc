// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/policy_rows.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"

namespace latchkey::ledger {
namespace {

Result<Group> need_group(Transaction& t, RowId id) {
    LK_TRY(stored, find_row<Group>(t, "SELECT " LK_GROUP_COLUMNS " FROM user_groups g WHERE g.id = $1", id));
    if (!stored) return fail(Code::kNotFound, "no such group", "see: group ls");
    return std::move(stored->value);
}

Status audit_member(Transaction& t, const std::string& actor, const char* action, const std::string& user,
                    const std::string& group) {
    t.scratch.has_policy_changed = true;
    return append_audit(t, {actor, action, user, "done", Detail().text("group", group).json()});
}

} // namespace

Result<Group> add_group(Transaction& t, const GroupName& name, const std::string& actor) {
    if (name.empty()) return fail(Code::kUsage, "a group needs a name");
    LK_TRY(there, query_one(t, "SELECT 1 FROM user_groups WHERE name = $1", name));
    if (there) return fail(Code::kExists, "there is a group " + name.str() + " already", "see: group ls");
    const Group group{.id = t.new_id(), .name = name, .created_at = t.now};
    LK_CHECK(
        execute(t, "INSERT INTO user_groups (id, version, name, created_at, mac) VALUES ($1, 1, $2, $3, $4)",
                group.id, group.name, group.created_at, mac_of(t, group, 1)));
    t.scratch.has_policy_changed = true;
    LK_CHECK(append_audit(t, {actor, "group.add", "group:" + name.str(), "done", "{}"}));
    return group;
}

Result<std::optional<Group>> find_group(Transaction& t, const GroupName& name) {
    LK_TRY(stored,
           find_row<Group>(t, "SELECT " LK_GROUP_COLUMNS " FROM user_groups g WHERE g.name = $1", name));
    if (!stored) return std::optional<Group>();
    return std::optional<Group>(std::move(stored->value));
}

Result<std::vector<Group>> list_groups(Transaction& t) {
    return find_rows<Group>(t, "SELECT " LK_GROUP_COLUMNS " FROM user_groups g ORDER BY g.name");
}

Result<std::vector<UserName>> members_of(Transaction& t, RowId group) {
    LK_TRY(rows,
           query(t,
                 "SELECT " LK_MEMBER_COLUMNS ", " LK_USER_COLUMNS
                 " FROM members m JOIN users u ON u.id = m.user_id WHERE m.group_id = $1 ORDER BY u.name",
                 group));
    std::vector<UserName> names;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        const auto member = take_row<Member>(t, columns);
        if (!member) continue; // the columns after a bad row are not looked at
        const auto user = take_row<User>(t, columns);
        if (user && user->value.state != UserState::kRemoved) names.push_back(user->value.name);
    }
    return names;
}

Result<std::vector<Group>> groups_of(Transaction& t, RowId user) {
    LK_TRY(rows, query(t,
                       "SELECT " LK_MEMBER_COLUMNS ", " LK_GROUP_COLUMNS
                       " FROM members m JOIN user_groups g ON g.id = m.group_id WHERE m.user_id = $1 "
                       "ORDER BY g.name",
                       user));
    std::vector<Group> groups;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        const auto member = take_row<Member>(t, columns);
        if (!member) continue;
        auto group = take_row<Group>(t, columns);
        if (group) groups.push_back(std::move(group->value));
    }
    return groups;
}

Status join_group(Transaction& t, RowId group, RowId user, const std::string& actor) {
    LK_TRY(into, need_group(t, group));
    LK_TRY(who, find_user(t, user));
    if (!who || who->state == UserState::kRemoved)
        return fail(Code::kNotFound, "no such user", "see: user ls");
    LK_TRY(there, query_one(t, "SELECT 1 FROM members WHERE group_id = $1 AND user_id = $2", group, user));
    if (there) {
        return fail(Code::kExists, who->name.str() + " is in " + into.name.str() + " already",
                    "see: group ls");
    }
    const Member member{.group = group, .user = user, .added_at = t.now};
    LK_CHECK(execute(
        t, "INSERT INTO members (group_id, version, user_id, added_at, mac) VALUES ($1, 1, $2, $3, $4)",
        group, user, member.added_at, mac_of(t, member, 1)));
    return audit_member(t, actor, "group.join", who->name.str(), into.name.str());
}

// Takes rows that fail their check too: to leave opens nothing.
Status leave_group(Transaction& t, RowId group, RowId user, const std::string& actor) {
    LK_TRY(names,
           query_one(t, "SELECT u.name, g.name FROM users u, user_groups g WHERE u.id = $1 AND g.id = $2",
                     user, group));
    LK_TRY(done, query(t, "DELETE FROM members WHERE group_id = $1 AND user_id = $2", group, user));
    if (!names || done.changed == 0)
        return fail(Code::kNotFound, "no such member of the group", "see: group ls");
    t.scratch.has_taken_access = true;
    Columns columns(*names);
    const std::string user_name = columns.text();
    return audit_member(t, actor, "group.leave", user_name, columns.text());
}

} // namespace latchkey::ledger
