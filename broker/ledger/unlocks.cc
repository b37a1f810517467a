// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"

#define LK_NEWEST_FIRST "ORDER BY n.opened_at DESC, n.id"
#define LK_SELECT_LIVE                                                                 \
    "SELECT " LK_UNLOCK_COLUMNS ", " LK_USER_COLUMNS ", " LK_KEY_COLUMNS               \
    " FROM unlocks n JOIN users u ON u.id = n.user_id JOIN keys k ON k.id = n.key_id " \
    "WHERE n.user_id = $1 AND n.ended_at = 0 AND n.ends_at > $2 "

namespace latchkey::ledger {
namespace {

constexpr std::string_view kSelectOpen =
    "SELECT " LK_UNLOCK_COLUMNS
    " FROM unlocks n WHERE n.user_id = $1 AND n.ended_at = 0 AND n.ends_at > $2 " LK_NEWEST_FIRST;

Status update_unlock(Transaction& t, const Stored<UnlockRow>& stored) {
    const UnlockRow& row = stored.value;
    const std::uint64_t next = stored.version + 1;
    t.scratch.has_policy_changed = true;
    return execute_on_one(t, "the unlock",
                          "UPDATE unlocks SET version = $3, ends_at = $4, factor_at = $5, ended_at = $6, "
                          "mac = $7 WHERE id = $1 AND version = $2",
                          row.unlock.id, stored.version, next, row.unlock.ends_at, row.unlock.factor_at,
                          row.ended_at, mac_of(t, row, next));
}

// Rows that fail their check open nothing and are left as they are.
template <class... Parameters>
Result<std::uint64_t> end_all(Transaction& t, std::string_view sql, const Parameters&... parameters) {
    LK_TRY(rows, query(t, sql, parameters...));
    std::uint64_t ended = 0;
    for (const Row& row : rows.rows) {
        auto stored = take_row<UnlockRow>(t, row);
        if (!stored) continue;
        stored->value.ended_at = t.now;
        LK_CHECK(update_unlock(t, *stored));
        ++ended;
    }
    return ended;
}

Status audit_unlock(Transaction& t, const std::string& actor, const char* action, const User& user,
                    const Unlock& unlock, const Fingerprint& key) {
    return append_audit(t, {actor, action, user.name.str(), "done",
                            Detail()
                                .id("unlock", unlock.id.value)
                                .text("key", key.str())
                                .time("ends_at", unlock.ends_at)
                                .time("factor_at", unlock.factor_at)
                                .json()});
}

Result<Key> need_key_of(Transaction& t, RowId key, RowId user) {
    LK_TRY(found, find_key_by_id(t, key));
    if (found && found->user == user) return std::move(*found);
    return fail(Code::kNotFound, "the key is not registered for this account", "see: key ls");
}

// Of an active user and a registered key of theirs.
std::vector<Unlock> take_live(Transaction& t, const plugin_host::Rows& rows, RowId user) {
    std::vector<Unlock> live;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        const auto unlock = take_row<UnlockRow>(t, columns); // after a bad one nothing is looked at
        if (!unlock || !is_live(unlock->value, t.now) || unlock->value.unlock.user != user) continue;
        const auto owner = take_row<User>(t, columns);
        if (!owner || owner->value.id != user || owner->value.state != UserState::kActive) continue;
        const auto key = if_registered(take_row<KeyRow>(t, columns));
        if (key && key->id == unlock->value.unlock.key && key->user == user)
            live.push_back(unlock->value.unlock);
    }
    return live;
}

Status check_end(Transaction& t, Micros ends_at) {
    if (ends_at > t.now) return {};
    return fail(Code::kUsage, "an unlock must end in the future");
}

} // namespace

Status end_unlocks_of_user(Transaction& t, RowId user) {
    LK_TRY(ended, end_all(t, kSelectOpen, user, t.now));
    (void)ended;
    return {};
}

Status end_unlocks_of_key(Transaction& t, RowId key) {
    LK_TRY(ended, end_all(t,
                          "SELECT " LK_UNLOCK_COLUMNS " FROM keys k JOIN unlocks n ON n.user_id = k.user_id "
                          "WHERE k.id = $1 AND n.key_id = $1 AND n.ended_at = 0 AND n.ends_at > $2",
                          key, t.now));
    (void)ended;
    return {};
}

Result<Unlock> open_unlock(Transaction& t, RowId user, RowId key, Micros ends_at, Micros factor_at,
                           const std::string& actor) {
    LK_TRY(owner, need_active_user(t, user));
    LK_TRY(registered, need_key_of(t, key, user));
    LK_CHECK(check_end(t, ends_at));
    LK_CHECK(end_unlocks_of_key(t, key)); // one a key
    const UnlockRow row{.unlock = {.id = t.new_id(),
                                   .user = user,
                                   .key = key,
                                   .opened_at = t.now,
                                   .ends_at = ends_at,
                                   .factor_at = factor_at},
                        .ended_at = {}};
    LK_CHECK(execute(t,
                     "INSERT INTO unlocks (id, version, user_id, key_id, opened_at, ends_at, factor_at, "
                     "ended_at, mac, certificates) VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, 0)",
                     row.unlock.id, user, key, row.unlock.opened_at, ends_at, factor_at, row.ended_at,
                     mac_of(t, row, 1)));
    t.scratch.has_policy_changed = true;
    LK_CHECK(audit_unlock(t, actor, "unlock.open", owner, row.unlock, registered.fingerprint));
    return row.unlock;
}

Status refresh_unlock(Transaction& t, RowId unlock, Micros ends_at, Micros factor_at,
                      const std::string& actor) {
    LK_TRY(stored,
           find_row<UnlockRow>(t, "SELECT " LK_UNLOCK_COLUMNS " FROM unlocks n WHERE n.id = $1", unlock));
    if (!stored) return fail(Code::kNotFound, "no such unlock", "unlock again");
    if (!is_live(stored->value, t.now)) return fail(Code::kExpired, "the unlock has ended", "unlock again");
    LK_TRY(owner, need_active_user(t, stored->value.unlock.user));
    LK_TRY(registered, need_key_of(t, stored->value.unlock.key, owner.id));
    LK_CHECK(check_end(t, ends_at));
    stored->value.unlock.ends_at = ends_at;
    stored->value.unlock.factor_at = factor_at;
    LK_CHECK(update_unlock(t, *stored));
    return audit_unlock(t, actor, "unlock.refresh", owner, stored->value.unlock, registered.fingerprint);
}

Result<std::vector<Unlock>> live_unlocks(Transaction& t, RowId user) {
    LK_TRY(rows, query(t, LK_SELECT_LIVE LK_NEWEST_FIRST, user, t.now));
    return take_live(t, rows, user);
}

Result<std::optional<Unlock>> live_unlock(Transaction& t, RowId user, RowId key) {
    LK_TRY(rows, query(t, LK_SELECT_LIVE "AND n.key_id = $3 " LK_NEWEST_FIRST, user, t.now, key));
    const std::vector<Unlock> live = take_live(t, rows, user);
    if (live.empty() || live.front().key != key) return std::optional<Unlock>();
    return std::optional(live.front());
}

Status end_unlocks(Transaction& t, RowId user, const std::string& actor) {
    LK_TRY(owner, find_user(t, user));
    if (!owner) return fail(Code::kNotFound, "no such user");
    LK_TRY(ended, end_all(t, kSelectOpen, user, t.now));
    t.scratch.has_taken_access = true;
    return append_audit(t, {actor, "unlock.end", owner->name.str(), "done",
                            Detail().number("ended", static_cast<std::int64_t>(ended)).json()});
}

} // namespace latchkey::ledger
