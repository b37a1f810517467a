// SPDX-License-Identifier: Apache-2.0
#pragma once
// Revocations as they are read. What counts is the record under its MAC; the other columns are for people.
// Epochs have no gap: where a row fails its check, or is gone, something was revoked and we do not know what.
// Then its place is taken by a revocation of all that was issued before the next one that we know: denied
// when in doubt. It ends, as any other, with the last certificate that it covers. Inside the ledger only.

#include <optional>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

Status insert_revocation(Transaction& t, const RevocationRow& row);

// All above `after`, in epoch order, ended ones too.
Result<std::vector<RevocationRow>> read_revocations(Transaction& t, Epoch after);

// That of the epoch alone; a stand-in for several lost rows bears the last one's epoch.
Result<std::optional<RevocationRow>> read_revocation(Transaction& t, Epoch epoch);

// Up to here all have ended: readers of what is in force need not go through the history of years. Moved on
// now and then by revoke(), kept as a setting, under a MAC; where that fails, nothing is left out.
Epoch ended_epoch(Transaction& t);
Status move_ended_epoch(Transaction& t, Epoch newest);

struct Coverage { // of certificates that have not ended
    Micros last_end;
    Micros last_issue;
};
Result<Coverage> coverage_of_all(Transaction& t, Micros issued_until);

} // namespace latchkey::ledger
