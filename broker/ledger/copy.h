// SPDX-License-Identifier: Apache-2.0
#pragma once
// A whole ledger from one store into another, empty one: what one snapshot of the source shows, row for row,
// in one transaction of the target. Read back and compared before it commits, so that the target holds all of
// it or nothing, and a copy that was interrupted can be begun again. The source may be in use meanwhile.
// Blocks; one thread.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/plugin_host/store.h"

namespace latchkey::ledger {

enum class Contradictory : std::uint8_t { // a source that does not fit together: see contradictions.h
    kRefused = 1,
    kCopied // as it stands, and told
};

struct CopyHow {
    const SecretBytes& data_key; // of both
    const Clock& clock;
    Contradictory contradictory = Contradictory::kRefused;
    // The last change to the target, inside the same transaction; may be empty.
    std::function<Status(Transaction&)> finish = {};
};

struct TableCount {
    std::string_view table;
    std::uint64_t rows = 0;
};

struct Copied {
    std::vector<TableCount> tables;
    std::vector<std::string> contradictions; // with kCopied
    Epoch epoch;                             // of the source
    std::uint64_t audit_rows = 0;
    Micros last_audit_at; // 0: no row
    std::uint64_t rows() const;
};

// kConfig: no ledger at the source, or one of another data key or schema. kExists: the target is not empty.
// kTampered: the source contradicts itself, or what was read back is not what was written.
Result<Copied> copy_ledger(plugin_host::Store& from, plugin_host::Store& to, const CopyHow& how);

// Of an SQLite file of that size that comes from elsewhere: kTampered where it is cut short or damaged.
Status need_whole(plugin_host::Store& sqlite, std::uint64_t bytes);

} // namespace latchkey::ledger
