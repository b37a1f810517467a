// SPDX-License-Identifier: Apache-2.0
#pragma once
// Groups, memberships and rules (what `grant add` makes). Judging them is broker/policy; here they are rows.

#include <optional>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

Result<Group> add_group(Transaction& t, const GroupName& name, const std::string& actor);
Result<std::optional<Group>> find_group(Transaction& t, const GroupName& name);
Result<std::vector<Group>> list_groups(Transaction& t);
Result<std::vector<UserName>> members_of(Transaction& t, RowId group);
Result<std::vector<Group>> groups_of(Transaction& t, RowId user);
Status join_group(Transaction& t, RowId group, RowId user, const std::string& actor);
Status leave_group(Transaction& t, RowId group, RowId user, const std::string& actor);

Result<Rule> add_rule(Transaction& t, Rule rule, const std::string& actor); // id and created_at are filled in
Result<std::vector<Rule>> list_rules(Transaction& t);                       // oldest first
Result<std::vector<Rule>> rules_for_user(Transaction& t, RowId user); // of the user's groups, oldest first
// Moves with each commit that changed policy, where several brokers write to the store; else it is always 0.
Result<std::uint64_t> policy_count(Transaction& t);
Status remove_rule(Transaction& t, RowId rule, const std::string& actor);

} // namespace latchkey::ledger
