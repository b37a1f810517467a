// SPDX-License-Identifier: Apache-2.0
#pragma once
// The audit chain's head: one row with the sequence and hash of the last audit row, under a MAC, so that rows
// cut off the end, or a chain computed anew without the data key, are noticed. A commit reads it once, at its
// first audit row, keeps it in Scratch, and writes it back once.

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

using ChainHash = std::array<std::uint8_t, 32>;

// Written where a broken head was found: it stays in the chain, and verify_audit stops there.
inline constexpr std::string_view kChainBroken = "audit.broken";

ChainHash chain_hash(const ChainHash& before, std::uint64_t sequence, Micros at, const AuditEvent& event);

Status create_chain(Transaction& t);
// The head as it stands; nothing where row or MAC do not fit.
Result<std::optional<ChainHead>> read_chain_head(Transaction& t);
// Reads it into t.scratch.head. Nobody else writes until our commit: the store's one writer has the lock.
Status take_up_chain(Transaction& t);
Status write_chain_head(Transaction& t);

} // namespace latchkey::ledger
