// SPDX-License-Identifier: Apache-2.0
// user add | ls | show | lock | unlock | rm | role
#include <algorithm>

#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/desk/words.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/users.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

Result<Role> parse_role(std::string_view text) {
    for (const Role role : {Role::kUser, Role::kAuditor, Role::kAdmin}) {
        if (text == role_name(role)) return role;
    }
    return fail(Code::kUsage, "no role " + quote_word(text.substr(0, 32)), "roles: user, auditor, admin");
}

Record row_of(const ledger::User& user) {
    return {
        {"name", user.name.str()},
        {"role", std::string(role_name(user.role))},
        {"state", std::string(state_name(user.state))},
        {"email", text_or_null(user.email)},
        {"created_at", user.created_at},
    };
}

Status check_email(const std::string& email) {
    LK_CHECK(check_free_text(email, "--email", 254));
    const std::size_t at = email.find('@');
    const bool is_address = at != std::string::npos && at > 0 && at + 1 < email.size() &&
                            email.find('@', at + 1) == std::string::npos &&
                            email.find(' ') == std::string::npos;
    if (!is_address) return fail(Code::kUsage, "--email is no mail address", "write name@host");
    return {};
}

Status add(Call& call) {
    const Arguments& arguments = call.arguments;
    LK_TRY(name, UserName::parse(arguments.at(0)));
    if (name.str() == "join") return fail(Code::kUsage, "join is the name that new people log in with");
    const auto email = arguments.one("--email");
    if (!email) return fail(Code::kUsage, "--email is missing", "usage: user add U --email E [--group G]…");
    LK_CHECK(check_email(*email));
    const std::vector<std::string> groups = arguments.all("--group");
    const Micros ends_at = call.now() + call.context.settings.invite_for;
    LK_TRY(code, call.write([&](ledger::Transaction& t) -> Result<std::string> {
        LK_TRY(user, ledger::add_user(t, name, *email, Role::kUser, call.actor()));
        for (const std::string& group : groups) {
            LK_TRY(found, find_group_named(t, group));
            LK_CHECK(ledger::join_group(t, found.id, user.id, call.actor()));
        }
        return ledger::add_invite(t, user.id, ends_at, call.actor());
    }));
    const std::string line = call.ssh_line("", "", "join");
    call.done({{"user", name.str()},
               {"email", *email},
               {"groups", groups},
               {"invite", code},
               {"invite_ends_at", ends_at},
               {"run", line}},
              "Invite code: " + code + "\nadded " + name.str() + "; the invite is good once, until " +
                  until_text(ends_at, call.now()) + "\nsend to them: run `" + line +
                  "` with your own key and enter the code");
    return {};
}

Status ls(Call& call) {
    LK_TRY(users, call.read([&](ledger::Transaction& t) { return ledger::list_users(t); }));
    std::vector<Record> rows;
    for (const ledger::User& user : users) rows.push_back(row_of(user));
    call.list("users", rows, "no users");
    return {};
}

struct Details {
    ledger::User user;
    std::vector<ledger::Key> keys;
    std::vector<ledger::FactorRow> factors;
    std::vector<ledger::Group> groups;
    std::vector<ledger::Unlock> unlocks;
    ledger::FailureState failures;
};

Status show(Call& call) {
    if (call.arguments.at(0) != call.actor()) LK_CHECK(call.require(Role::kAuditor, "another user's record"));
    LK_TRY(details, call.read([&](ledger::Transaction& t) -> Result<Details> {
        Details found;
        LK_TRY(user, find_user_named(t, call.arguments.at(0)));
        found.user = std::move(user);
        LK_TRY(keys, ledger::keys_of(t, found.user.id));
        found.keys = std::move(keys);
        LK_TRY(factors, ledger::factors_of(t, found.user.id));
        found.factors = std::move(factors);
        LK_TRY(groups, ledger::groups_of(t, found.user.id));
        found.groups = std::move(groups);
        LK_TRY(unlocks, ledger::live_unlocks(t, found.user.id));
        found.unlocks = std::move(unlocks);
        LK_TRY(failures, ledger::failure_state(t, found.user.id));
        found.failures = failures;
        return found;
    }));
    Record record = row_of(details.user);
    std::vector<std::string> groups;
    for (const ledger::Group& group : details.groups) groups.push_back(group.name.str());
    std::vector<std::string> keys;
    for (const ledger::Key& key : details.keys) keys.push_back(key.fingerprint.str());
    std::vector<std::string> factors;
    for (const ledger::FactorRow& factor : details.factors) factors.push_back(factor.kind);
    Micros ends_at;
    for (const ledger::Unlock& unlock : details.unlocks) ends_at = std::max(ends_at, unlock.ends_at);
    const Record more{
        {"lock_reason", text_or_null(details.user.lock_reason)},
        {"groups", groups},
        {"keys", keys},
        {"factors", factors},
        {"unlocked", !details.unlocks.empty()},
        {"unlock_ends_at", ends_at},
        {"factor_blocked_until", details.failures.blocked_until},
    };
    record.insert(record.end(), more.begin(), more.end());
    call.object(record);
    return {};
}

// An admin who takes their own rights away could leave the broker without one.
Status check_not_self(const Call& call, const ledger::User& user) {
    if (user.id != call.user.id) return {};
    return fail(Code::kRefused, "this is your own account", "ask another admin");
}

Status lock(Call& call) {
    const std::string reason = call.arguments.one("--reason").value_or("locked by an admin");
    LK_CHECK(check_free_text(reason, "--reason", 256));
    LK_TRY(user, call.write([&](ledger::Transaction& t) -> Result<ledger::User> {
        LK_TRY(found, find_user_named(t, call.arguments.at(0)));
        LK_CHECK(check_not_self(call, found));
        LK_CHECK(ledger::lock_user(t, found.name, reason, call.actor()));
        LK_CHECK(ledger::end_unlocks(t, found.id, call.actor()));
        return found;
    }));
    const std::string& name = user.name.str();
    call.done({{"user", name}, {"state", std::string("locked")}},
              "locked " + name +
                  "; VMs let nobody in by this account now, open sessions go on\nto end those too: " +
                  call.ssh_line("revoke user " + name + " --reason …"));
    return {};
}

Status unlock(Call& call) {
    LK_TRY(user, call.write([&](ledger::Transaction& t) -> Result<ledger::User> {
        LK_TRY(found, find_user_named(t, call.arguments.at(0)));
        LK_CHECK(ledger::unlock_user(t, found.name, call.actor()));
        return found;
    }));
    call.done({{"user", user.name.str()}, {"state", std::string("active")}}, "unlocked " + user.name.str());
    return {};
}

Status rm(Call& call) {
    struct Removed {
        ledger::User user;
        Epoch epoch;
    };
    LK_TRY(removed, call.write([&](ledger::Transaction& t) -> Result<Removed> {
        LK_TRY(found, find_user_named(t, call.arguments.at(0)));
        LK_CHECK(check_not_self(call, found));
        // Removed here means cut off everywhere: VMs hold grants that outlive the row.
        LK_TRY(row, ledger::revoke(t, {revocation::SelectorKind::kUser, found.name.str()}, "user removed",
                                   call.actor()));
        LK_CHECK(ledger::remove_user(t, found.name, call.actor()));
        return Removed{std::move(found), row.revocation.epoch};
    }));
    const std::string& name = removed.user.name.str();
    call.done({{"user", name}, {"state", std::string("removed")}, {"epoch", count(removed.epoch.value)}},
              "removed " + name + "; what they held is revoked, see: revoke show " +
                  std::to_string(removed.epoch.value));
    return {};
}

Status role(Call& call) {
    LK_TRY(wanted, parse_role(call.arguments.at(1)));
    LK_TRY(user, call.write([&](ledger::Transaction& t) -> Result<ledger::User> {
        LK_TRY(found, find_user_named(t, call.arguments.at(0)));
        LK_CHECK(check_not_self(call, found));
        LK_CHECK(ledger::set_user_role(t, found.name, wanted, call.actor()));
        return found;
    }));
    call.done({{"user", user.name.str()}, {"role", std::string(role_name(wanted))}},
              user.name.str() + " is " + std::string(role_name(wanted)) + " now");
    return {};
}

} // namespace

std::span<const Command> user_commands() {
    static const std::vector<Command> table = {
        {"user add",
         "U --email E [--group G]…",
         "make an account and its invite",
         Role::kAdmin,
         Freshness::kRecent,
         1,
         1,
         {{"--email"}, {"--group", true, true}},
         add},
        {"user ls", "", "all accounts", Role::kAuditor, Freshness::kUnlock, 0, 0, {}, ls},
        {"user show",
         "U",
         "one account; your own, or any for auditors",
         Role::kUser,
         Freshness::kAudit,
         1,
         1,
         {},
         show},
        {"user lock",
         "U [--reason R]",
         "no login, no new certificate",
         Role::kAdmin,
         Freshness::kRecent,
         1,
         1,
         {{.name = "--reason", .is_text = true}},
         lock},
        {"user unlock",
         "U",
         "undo a lock; also forgets wrong codes",
         Role::kAdmin,
         Freshness::kRecent,
         1,
         1,
         {},
         unlock},
        {"user rm",
         "U",
         "remove an account and revoke what it holds",
         Role::kAdmin,
         Freshness::kRecent,
         1,
         1,
         {},
         rm},
        {"user role",
         "U user|auditor|admin",
         "what an account may do here",
         Role::kAdmin,
         Freshness::kRecent,
         2,
         2,
         {},
         role},
    };
    return table;
}

} // namespace latchkey::desk
