// SPDX-License-Identifier: Apache-2.0
#pragma once
// The revocations on disk: `revocations`, a whole set as of some epoch, and `revocations.log`, what was
// revoked since, one checked record an epoch, so that a revocation costs one short write however many are
// known. Each record's checksum covers that of the one before it, the first one's that of the set: a record
// that is torn, altered, or of another set is noticed, and then nothing of the log from there on counts. What
// is not whole is never served by: load() says so, and the caller denies until the broker has sent
// everything. Bytes: docs/state-files.md. One caller at a time, on any thread; append() and replace() block
// on the disk.

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/revocation/revocation.h"

namespace latchkey::agent {

class RevocationFiles {
public:
    explicit RevocationFiles(const std::filesystem::path& folder)
        : set_(folder / "revocations"), log_(folder / "revocations.log") {}

    struct Loaded {
        revocation::RevocationSet set; // what could be read: the epoch is that far at least
        std::string damage;            // empty: whole
        bool is_missing = false;       // there was no set at all
    };
    Loaded load();
    // Adds to the log. Where the disk takes only a part, that part is taken back. kTampered where nothing can
    // be added to what is there (not loaded, torn, gone, changed by others): then replace().
    Status append(const std::vector<revocation::Revocation>& entries);
    // A whole set, and an empty log.
    Status replace(ByteView encoded_set);
    // True once the log is worth more than the set: then compact().
    bool wants_compaction() const;
    // Set and log become one set without what had ended by then. Reads the disk, not the agent's memory.
    Status compact(Micros ended_by);

private:
    std::filesystem::path set_;
    std::filesystem::path log_;
    Bytes last_check_; // of the last record, or of the set; empty: not known
    std::uintmax_t log_size_ = 0;
    std::uintmax_t set_size_ = 0;
};

} // namespace latchkey::agent
