// SPDX-License-Identifier: Apache-2.0
#pragma once
// Revocations, epochs, receipts. revoke() locks the epoch's row first, so that commit order is epoch order;
// the revocation, its audit row and, for a user, the lock of the account are one transaction.

#include <optional>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

// drop_at is the end of the last certificate covered (at least t.now). kNotFound where the selector names
// nothing that was ever here. User: locks the account and ends its unlocks. Key: removes it and ends its
// unlocks. Vm: removes it, so that it is not served again until it joins anew. Before: covers every
// certificate issued until then.
Result<RevocationRow> revoke(Transaction& t, const revocation::Selector& selector, const std::string& reason,
                             const std::string& actor);
Result<Epoch> current_epoch(Transaction& t);
// In force at t.now with an epoch above `after`, in epoch order. Rows whose MAC fails are in it: denied when
// in doubt.
Result<std::vector<RevocationRow>> revocations_after(Transaction& t, Epoch after);
Result<std::vector<RevocationRow>> list_revocations(Transaction& t); // newest first, ended ones too
Result<std::optional<RevocationRow>> find_revocation(Transaction& t, Epoch epoch);

// The signature was verified by the caller. Idempotent. A second one of that VM for that epoch is kept beside
// the first where it adds to it (core/receipt/receipt.h), eight at most.
Status record_receipt(Transaction& t, VmId vm, const protocol::Receipt& receipt);
// By VM, each VM's in the order in which they came.
Result<std::vector<ReceiptRow>> receipts_for(Transaction& t, Epoch epoch);
// Of one VM, for this epoch or later ones: each covers what was revoked before it too.
Result<std::optional<ReceiptRow>> first_receipt_since(Transaction& t, VmId vm, Epoch epoch);
Result<std::optional<ReceiptRow>> last_receipt_since(Transaction& t, VmId vm, Epoch epoch);

} // namespace latchkey::ledger
