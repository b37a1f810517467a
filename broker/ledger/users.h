// SPDX-License-Identifier: Apache-2.0
#pragma once
// Users, their keys, and the count of failed factors. Every change writes its audit row in the same
// transaction. kNotFound / kExists as the names say. Part of the ledger: ledger.h says who may call.

#include <optional>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "core/keys/public_key.h"

namespace latchkey::ledger {

Result<User> add_user(Transaction& t, const UserName& name, const std::string& email, Role role,
                      const std::string& actor);
Result<std::optional<User>> find_user(Transaction& t, const UserName& name);
Result<std::optional<User>> find_user(Transaction& t, RowId id);
Result<std::vector<User>> list_users(Transaction& t);
Status set_user_role(Transaction& t, const UserName& name, Role role, const std::string& actor);
Status lock_user(Transaction& t, const UserName& name, const std::string& reason, const std::string& actor);
Status unlock_user(Transaction& t, const UserName& name,
                   const std::string& actor); // also clears the failures
// Marks the user removed and ends keys, factors, memberships and unlocks. Certificates stay in the ledger.
Status remove_user(Transaction& t, const UserName& name, const std::string& actor);

// kExists where the key is registered, with anybody: one key, one person.
Result<Key> add_key(Transaction& t, RowId user, const keys::PublicKey& key, const std::string& name,
                    const std::string& actor);
Result<std::optional<Key>> find_key(Transaction& t, const Fingerprint& fingerprint);
Result<std::vector<Key>> keys_of(Transaction& t, RowId user);
Status remove_key(Transaction& t, const Fingerprint& fingerprint, const std::string& actor);

// Failed factors: 5 within 15 minutes lock factor checks for 1 min, then 5, 30, 120 min; an accepted one
// clears.
struct FailureState {
    Micros blocked_until; // 0: not blocked
    std::uint32_t recent = 0;
};
Result<FailureState> failure_state(Transaction& t, RowId user);
Result<FailureState> note_failure(Transaction& t, RowId user);
Status clear_failures(Transaction& t, RowId user);

} // namespace latchkey::ledger
