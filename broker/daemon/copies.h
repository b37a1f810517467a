// SPDX-License-Identifier: Apache-2.0
#pragma once
// `latchkeyd backup | restore | copy | revoke-all`: the ledger as a whole, into a file, out of one, from
// store to store, and after it was set back. Each prints what it did on stdout; root becomes the broker's
// user first, so that files are that user's. What they mean stands in docs/backup.md.

#include <filesystem>
#include <optional>

#include "broker/daemon/config.h"

namespace latchkey::daemon {

// A new SQLite file with one snapshot of the ledger, while the broker runs or not: whole or not there.
// kPartial where it was written and the ledger contradicts itself.
Status backup(const Config& config, const std::filesystem::path& file);

struct AfterLoss {
    std::uint64_t epoch_at_least = 0; // 0: as ledger/restore.h
    bool locks_users = false;
};

// Into an empty store, while no broker runs here. Without `after_loss`: at the backup's epoch, for a ledger
// that was not used after it.
Status restore(const Config& config, const std::filesystem::path& file,
               const std::optional<AfterLoss>& after_loss);

// From the one's store into the other's, empty one, while no broker runs on the first here.
Status copy(const Config& from, const Config& to);

// In place, for a database that was set back by other means.
Status revoke_all(const Config& config, const AfterLoss& after_loss);

} // namespace latchkey::daemon
