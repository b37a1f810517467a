// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kNameLimit = 100;

// A row that fits is kept with its state changed; one that does not is emptied, as what it says is not known.
Status remove_one(Transaction& t, const Row& row) {
    Columns columns(row);
    auto stored = take_row<KeyRow>(t, columns);
    KeyRow removed;
    Columns again(row);
    removed.key.id = again.id<RowId>();
    const std::uint64_t next = again.number() + 1;
    removed.key.user = again.id<RowId>();
    if (stored) removed = std::move(stored->value);
    removed.state = KeyState::kRemoved;
    LK_CHECK(
        execute(t,
                "UPDATE keys SET version = $2, user_id = $3, fingerprint = $4, key_blob = $5, name = $6, "
                "state = $7, added_at = $8, mac = $9 WHERE id = $1",
                removed.key.id, next, removed.key.user, removed.key.fingerprint, removed.key.blob,
                removed.key.name, removed.state, removed.key.added_at, mac_of(t, removed, next)));
    return end_unlocks_of_key(t, removed.key.id);
}

} // namespace

std::optional<Key> if_registered(std::optional<Stored<KeyRow>> stored) {
    if (!stored || stored->value.state != KeyState::kRegistered) return std::nullopt;
    return std::move(stored->value.key);
}

Result<Key> add_key(Transaction& t, RowId user, const keys::PublicKey& key, const std::string& name,
                    const std::string& actor) {
    LK_TRY(owner, need_active_user(t, user));
    const Fingerprint fingerprint = key.fingerprint();
    LK_TRY(there, query_one(t, "SELECT 1 FROM keys WHERE fingerprint = $1 AND state = 1", fingerprint));
    if (there) {
        return fail(Code::kExists, "the key " + fingerprint.str() + " is registered already",
                    "use another key: ssh-keygen -t ed25519");
    }
    const KeyRow row{.key = {.id = t.new_id(),
                             .user = user,
                             .fingerprint = fingerprint,
                             .blob = key.blob(),
                             .name = clean_text(name, kNameLimit),
                             .added_at = t.now},
                     .state = KeyState::kRegistered};
    LK_CHECK(
        execute(t,
                "INSERT INTO keys (id, version, user_id, fingerprint, key_blob, name, state, added_at, mac) "
                "VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8)",
                row.key.id, row.key.user, row.key.fingerprint, row.key.blob, row.key.name, row.state,
                row.key.added_at, mac_of(t, row, 1)));
    t.scratch.has_policy_changed = true;
    LK_CHECK(append_audit(t, {actor, "key.add", owner.name.str(), "done",
                              Detail()
                                  .text("key", fingerprint.str())
                                  .text("type", keys::type_name(key.type()))
                                  .text("name", row.key.name)
                                  .json()}));
    return row.key;
}

Result<std::optional<Key>> find_key(Transaction& t, const Fingerprint& fingerprint) {
    LK_TRY(stored, find_row<KeyRow>(
                       t, "SELECT " LK_KEY_COLUMNS " FROM keys k WHERE k.fingerprint = $1 AND k.state = 1",
                       fingerprint));
    return if_registered(std::move(stored));
}

Result<std::optional<Key>> find_key_by_id(Transaction& t, RowId id) {
    LK_TRY(stored, find_row<KeyRow>(t, "SELECT " LK_KEY_COLUMNS " FROM keys k WHERE k.id = $1", id));
    return if_registered(std::move(stored));
}

Result<std::vector<Key>> keys_of(Transaction& t, RowId user) {
    LK_TRY(rows,
           find_rows<KeyRow>(t,
                             "SELECT " LK_KEY_COLUMNS " FROM keys k WHERE k.user_id = $1 AND k.state = 1 "
                             "ORDER BY k.added_at, k.id",
                             user));
    std::vector<Key> keys;
    for (KeyRow& row : rows) keys.push_back(std::move(row.key));
    return keys;
}

Status remove_keys_with(Transaction& t, const Fingerprint& fingerprint) {
    LK_TRY(rows, query(t, "SELECT " LK_KEY_COLUMNS " FROM keys k WHERE k.fingerprint = $1 AND k.state = 1",
                       fingerprint));
    for (const Row& row : rows.rows) LK_CHECK(remove_one(t, row));
    return {};
}

Status remove_keys_of_user(Transaction& t, RowId user) {
    LK_TRY(rows,
           query(t, "SELECT " LK_KEY_COLUMNS " FROM keys k WHERE k.user_id = $1 AND k.state = 1", user));
    for (const Row& row : rows.rows) LK_CHECK(remove_one(t, row));
    return {};
}

Status remove_key(Transaction& t, const Fingerprint& fingerprint, const std::string& actor) {
    LK_TRY(row, query_one(t,
                          "SELECT u.name FROM keys k JOIN users u ON u.id = k.user_id "
                          "WHERE k.fingerprint = $1 AND k.state = 1",
                          fingerprint));
    if (!row) return fail(Code::kNotFound, "no key " + fingerprint.str(), "see: key ls");
    const std::string owner = Columns(*row).text();
    LK_CHECK(remove_keys_with(t, fingerprint));
    t.scratch.has_policy_changed = true;
    t.scratch.has_taken_access = true;
    return append_audit(t,
                        {actor, "key.remove", owner, "done", Detail().text("key", fingerprint.str()).json()});
}

} // namespace latchkey::ledger
