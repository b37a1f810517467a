// SPDX-License-Identifier: Apache-2.0
#pragma once
// Second factors, invites and unlocks. Factor states and invite codes never stand in the database in clear:
// states are sealed and bound to their row, codes are kept as SHA-256.

#include <optional>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

Result<FactorRow> add_factor(Transaction& t, RowId user, const std::string& kind, const SecretBytes& state,
                             const std::string& actor);
Result<std::vector<FactorRow>> factors_of(Transaction& t, RowId user);
// Compare-and-swap: kConflict where the version is no longer `version` (the code was used elsewhere
// meanwhile).
Status replace_factor_state(Transaction& t, RowId factor, std::uint64_t version, const SecretBytes& next);
Status remove_factor(Transaction& t, RowId user, RowId factor, const std::string& actor);
Status remove_factors(Transaction& t, RowId user, const std::string& actor); // factor reset

// Invite: single use, returns the code in clear once ("xxxxx-xxxxx-…", 80 random bits).
Result<std::string> add_invite(Transaction& t, RowId user, Micros ends_at, const std::string& actor);
// The user it invites; does not spend it. kNotFound for wrong, kExpired, kConflict for used.
Result<User> check_invite(Transaction& t, std::string_view code);
Status spend_invite(Transaction& t, std::string_view code);

Result<Unlock> open_unlock(Transaction& t, RowId user, RowId key, Micros ends_at, Micros factor_at,
                           const std::string& actor);
Status refresh_unlock(Transaction& t, RowId unlock, Micros ends_at, Micros factor_at,
                      const std::string& actor);
// Live at t.now, of an active user and a registered key; MACs checked.
Result<std::optional<Unlock>> live_unlock(Transaction& t, RowId user, RowId key);
Result<std::vector<Unlock>> live_unlocks(Transaction& t, RowId user);
Status end_unlocks(Transaction& t, RowId user, const std::string& actor); // `lock`

} // namespace latchkey::ledger
