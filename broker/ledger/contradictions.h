// SPDX-License-Identifier: Apache-2.0
#pragma once
// Everything in a ledger that does not fit together: rows that fail their MAC or seal, epochs that are lost,
// counters behind their rows, an audit chain that does not verify. Goes through all rows: for a copy, a
// backup or a restore, not for a running broker. Inside the ledger only; the transaction's thread.

#include <string>
#include <vector>

#include "broker/ledger/ledger.h"

namespace latchkey::ledger {

// A setting whose MAC only this database's data key makes.
inline constexpr const char* kDataKeySetting = "ledger.data_key";

// One line a kind of contradiction, at most 10,000 rows counted; none where all fits.
Result<std::vector<std::string>> find_contradictions(Transaction& t);

// kConfig where the ledger was made with another data key; kNotFound where it is nobody's yet.
Status need_data_key(Transaction& t);

} // namespace latchkey::ledger
