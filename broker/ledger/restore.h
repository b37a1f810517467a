// SPDX-License-Identifier: Apache-2.0
#pragma once
// A ledger that was set back to an earlier state has lost the revocations that were made since, and would
// give their epochs a second time. revoke_all() makes it safe to go on with: the epoch goes above what any VM
// has seen, everything that was issued until now is revoked, lost certificates too, and nobody goes on
// without a new code. What it cannot bring back is told by docs/backup.md. In a writing transaction.

#include <string>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

// More than a ledger loses between two backups. Epochs and sequences are 64 bits: there is room for it.
inline constexpr std::uint64_t kLostAtMost = 1'000'000;

enum class Accounts : std::uint8_t {
    kAsTheyAre = 1,
    kLocked // all but admins, until an admin unlocks them: who was revoked since is among them
};

struct RevokeAll {
    Epoch at_least;             // 0: kLostAtMost above the ledger's own
    Micros longest_certificate; // how long one that the ledger has lost can last from now
    Accounts accounts = Accounts::kAsTheyAre;
    std::string reason;
    std::string actor;
};

// kUsage where at_least is not above the ledger's epoch. Unlocks, invites and join tokens end.
Result<RevocationRow> revoke_all(Transaction& t, const RevokeAll& how);

} // namespace latchkey::ledger
