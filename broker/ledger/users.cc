// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/users.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/tables.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kEmailLimit = 254;

Result<std::optional<Stored<User>>> find_stored(Transaction& t, const UserName& name) {
    return find_row<User>(t, "SELECT " LK_USER_COLUMNS " FROM users u WHERE u.name = $1 AND u.state <> 3",
                          name);
}

// For a change: what is not there, or fails its check, cannot be changed.
Result<Stored<User>> need_user(Transaction& t, const UserName& name) {
    LK_TRY(row,
           query_one(t, "SELECT " LK_USER_COLUMNS " FROM users u WHERE u.name = $1 AND u.state <> 3", name));
    if (!row) return fail(Code::kNotFound, "no user " + name.str(), "see: user ls");
    auto stored = take_row<User>(t, *row);
    if (stored) return std::move(*stored);
    return fail(Code::kTampered, "the row of user " + name.str() + " fails its check: it counts as absent",
                "run: user rm " + name.str() + ", then add the user again");
}

Status audit_user(Transaction& t, const std::string& actor, const char* action, const UserName& name,
                  const Detail& detail) {
    t.scratch.has_policy_changed = true;
    return append_audit(t, {actor, action, name.str(), "done", detail.json()});
}

std::string_view role_name(Role role) {
    return role == Role::kAdmin ? "admin" : role == Role::kAuditor ? "auditor" : "user";
}

} // namespace

Status update_user(Transaction& t, const Stored<User>& stored) {
    const User& user = stored.value;
    const std::uint64_t next = stored.version + 1;
    return execute_on_one(
        t, "user " + user.name.str(),
        "UPDATE users SET version = $3, email = $4, role = $5, state = $6, lock_reason = $7, "
        "mac = $8 WHERE id = $1 AND version = $2",
        user.id, stored.version, next, user.email, user.role, user.state, user.lock_reason,
        mac_of(t, user, next));
}

Result<User> add_user(Transaction& t, const UserName& name, const std::string& email, Role role,
                      const std::string& actor) {
    if (name.empty()) return fail(Code::kUsage, "a user needs a name");
    LK_TRY(there, query_one(t, "SELECT 1 FROM users WHERE name = $1 AND state <> 3", name));
    if (there) return fail(Code::kExists, "there is a user " + name.str() + " already", "see: user ls");
    const User user{.id = t.new_id(),
                    .name = name,
                    .email = clean_text(email, kEmailLimit),
                    .role = role,
                    .state = UserState::kActive,
                    .lock_reason = {},
                    .created_at = t.now};
    LK_CHECK(
        execute(t,
                "INSERT INTO users (id, version, name, email, role, state, lock_reason, created_at, mac) "
                "VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8)",
                user.id, user.name, user.email, user.role, user.state, user.lock_reason, user.created_at,
                mac_of(t, user, 1)));
    LK_CHECK(audit_user(t, actor, "user.add", name,
                        Detail().text("email", user.email).text("role", role_name(role))));
    return user;
}

Result<std::optional<User>> find_user(Transaction& t, const UserName& name) {
    LK_TRY(stored, find_stored(t, name));
    if (!stored) return std::optional<User>();
    return std::optional<User>(std::move(stored->value));
}

Result<std::optional<Stored<User>>> find_stored_user(Transaction& t, RowId id) {
    return find_row<User>(t, "SELECT " LK_USER_COLUMNS " FROM users u WHERE u.id = $1", id);
}

Result<std::optional<User>> find_user(Transaction& t, RowId id) {
    LK_TRY(stored, find_stored_user(t, id));
    if (!stored) return std::optional<User>();
    return std::optional<User>(std::move(stored->value));
}

Result<User> need_active(std::optional<Stored<User>> stored) {
    if (!stored || stored->value.state == UserState::kRemoved) return fail(Code::kNotFound, "no such user");
    User& user = stored->value;
    if (user.state != UserState::kActive) {
        return fail(Code::kLocked, "the account " + user.name.str() + " is locked",
                    "an admin can run: user unlock " + user.name.str());
    }
    return std::move(user);
}

Result<User> need_active_user(Transaction& t, RowId id) {
    LK_TRY(stored, find_stored_user(t, id));
    return need_active(std::move(stored));
}

Result<std::vector<User>> list_users(Transaction& t) {
    return find_rows<User>(t, "SELECT " LK_USER_COLUMNS " FROM users u WHERE u.state <> 3 ORDER BY u.name");
}

Status set_user_role(Transaction& t, const UserName& name, Role role, const std::string& actor) {
    LK_TRY(stored, need_user(t, name));
    stored.value.role = role;
    LK_CHECK(update_user(t, stored));
    return audit_user(t, actor, "user.role", name, Detail().text("role", role_name(role)));
}

Status lock_user(Transaction& t, const UserName& name, const std::string& reason, const std::string& actor) {
    LK_TRY(stored, need_user(t, name));
    stored.value.state = UserState::kLocked;
    stored.value.lock_reason = clean_text(reason);
    LK_CHECK(update_user(t, stored));
    LK_CHECK(end_unlocks_of_user(t, stored.value.id));
    t.scratch.has_taken_access = true;
    return audit_user(t, actor, "user.lock", name, Detail().text("reason", reason));
}

Status unlock_user(Transaction& t, const UserName& name, const std::string& actor) {
    LK_TRY(stored, need_user(t, name));
    stored.value.state = UserState::kActive;
    stored.value.lock_reason.clear();
    LK_CHECK(update_user(t, stored));
    LK_CHECK(clear_failures(t, stored.value.id));
    return audit_user(t, actor, "user.unlock", name, Detail());
}

// Takes a row that fails its check too: it is never made to fit again, as what it says is not known.
Status remove_user(Transaction& t, const UserName& name, const std::string& actor) {
    LK_TRY(row, query_one(t, "SELECT u.id, u.version FROM users u WHERE u.name = $1 AND u.state <> 3", name));
    if (!row) return fail(Code::kNotFound, "no user " + name.str(), "see: user ls");
    Columns columns(*row);
    Stored<User> removed;
    const RowId id = columns.id<RowId>();
    removed.version = columns.number();
    LK_TRY(stored, find_stored(t, name));
    if (stored) {
        removed = std::move(*stored);
    } else {
        removed.value.id = id;
        removed.value.name = name;
    }
    t.scratch.has_taken_access = true;
    removed.value.state = UserState::kRemoved;
    removed.value.role = Role::kUser;
    removed.value.lock_reason = "removed";
    const std::uint64_t next = removed.version + 1;
    LK_CHECK(execute_on_one(
        t, "user " + name.str(),
        "UPDATE users SET version = $2, name = $3, email = $4, role = $5, state = $6, lock_reason = $7, "
        "created_at = $8, mac = $9 WHERE id = $1",
        id, next, removed.value.name, removed.value.email, removed.value.role, removed.value.state,
        removed.value.lock_reason, removed.value.created_at, mac_of(t, removed.value, next)));
    LK_CHECK(end_unlocks_of_user(t, id));
    LK_CHECK(remove_keys_of_user(t, id));
    LK_CHECK(execute(t, "DELETE FROM factors WHERE user_id = $1", id));
    LK_CHECK(execute(t, "DELETE FROM invites WHERE user_id = $1", id));
    LK_CHECK(execute(t, "DELETE FROM members WHERE user_id = $1", id));
    LK_CHECK(clear_failures(t, id));
    return audit_user(t, actor, "user.remove", name, Detail());
}

} // namespace latchkey::ledger
