// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/holders.h"

#include "broker/ledger/tables.h"

#define LK_HOLDER_COLUMNS LK_KEY_COLUMNS ", " LK_USER_COLUMNS ", " LK_UNLOCK_COLUMNS
#define LK_HOLDER_TABLES                                                \
    "keys k JOIN users u ON u.id = k.user_id "                          \
    "LEFT JOIN unlocks n ON n.user_id = k.user_id AND n.key_id = k.id " \
    "AND n.ended_at = 0 AND n.ends_at > $2 "

namespace latchkey::ledger {
namespace {

constexpr std::string_view kSelectHolder =
    "SELECT " LK_HOLDER_COLUMNS " FROM " LK_HOLDER_TABLES
    "WHERE k.fingerprint = $1 AND k.state = 1 ORDER BY n.opened_at DESC, n.id";

constexpr std::string_view kSelectHolding =
    "SELECT COALESCE((SELECT p.value FROM counters p WHERE p.name = 'policy'), 0), " LK_EPOCH_COLUMNS
    ", " LK_HOLDER_COLUMNS ", " LK_CERTIFICATE_COLUMNS " FROM " LK_HOLDER_TABLES
    "LEFT JOIN certificates c ON c.user_id = n.user_id AND c.unlock_id = n.id AND c.ends_at > $2 "
    "WHERE k.fingerprint = $1 AND k.state = 1 ORDER BY n.opened_at DESC, n.id, c.sequence DESC";

// What one row says of its holder. False: nothing behind it is to be looked at.
bool take_holder(Transaction& t, Columns& columns, std::optional<Holder>& holder) {
    auto key = if_registered(take_row<KeyRow>(t, columns)); // after a bad one nothing is looked at
    if (!key) return false;
    auto user = take_row<User>(t, columns);
    if (!user || user->value.id != key->user) return false;
    if (!holder) holder = Holder{std::move(*key), std::move(user->value), std::nullopt};
    if (columns.is_null()) return false; // no unlock
    const auto unlock = take_row<UnlockRow>(t, columns);
    if (!unlock || !is_live(unlock->value, t.now) || holder->user.state != UserState::kActive) return false;
    const Unlock& found = unlock->value.unlock;
    if (found.user != holder->user.id || found.key != holder->key.id) return false;
    if (!holder->unlock) holder->unlock = found;
    return holder->unlock->id == found.id;
}

} // namespace

Result<std::optional<Holder>> find_holder(Transaction& t, const Fingerprint& key) {
    LK_TRY(rows, query(t, kSelectHolder, key, t.now));
    std::optional<Holder> holder;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        if (take_holder(t, columns, holder)) break;
    }
    return holder;
}

Result<std::optional<Holding>> find_holding(Transaction& t, const Fingerprint& key) {
    LK_TRY(rows, query(t, kSelectHolding, key, t.now));
    std::optional<Holder> holder;
    Holding holding;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        holding.policy_count = static_cast<std::uint64_t>(columns.integer()); // under no MAC: no key's fault
        holding.epoch = take_epoch(columns);
        if (!take_holder(t, columns, holder)) continue;
        if (columns.is_null()) break;                                                // no certificate
        if (holding.last.value == 0) holding.last = Columns(columns).id<Sequence>(); // the first is the last
        auto certificate = take_row<CertificateRow>(t, columns);
        if (!certificate) continue;
        holding.newest = std::move(certificate->value);
        break;
    }
    if (!holder) return std::optional<Holding>();
    holding.holder = std::move(*holder);
    return std::optional(std::move(holding));
}

} // namespace latchkey::ledger
