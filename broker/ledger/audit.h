// SPDX-License-Identifier: Apache-2.0
#pragma once
// The audit chain: each row holds SHA-256 over the hash before it and its own content. append() writes the
// row inside the caller's transaction; with one writer (SQLite) the chain is made there. Detail is built by
// the caller as JSON.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

Status append_audit(Transaction& t, const AuditEvent& event);

struct AuditFilter {
    Micros since;
    std::optional<UserName> user; // as actor or object
    std::uint32_t limit = 200;    // newest first
};
Result<std::vector<AuditRow>> list_audit(Transaction& t, const AuditFilter& filter);
// The rows after that one, oldest first, `limit` of them: for all of the audit, a job a page, so that no
// snapshot is held and no memory filled for as long as a reader takes.
struct AuditPage {
    std::vector<AuditRow> rows;
    std::uint64_t last = 0; // go on after it
    bool is_end = false;
};
Result<AuditPage> audit_after(Transaction& t, std::uint64_t sequence, const AuditFilter& filter);

// Recomputes the chain, a page a call; kTampered names the first row that does not fit. At its end
// reached.sequence is how many rows it holds.
struct AuditCheck {
    ChainHead reached;
    bool is_end = false;
};
Result<AuditCheck> verify_audit_page(Transaction& t, const AuditCheck& so_far);
Result<std::uint64_t> verify_audit(Transaction& t); // all of it in this transaction

// Small named values under a MAC (the CA's stage, ids of keys).
Result<std::optional<std::string>> get_setting(Transaction& t, const std::string& name);
Status put_setting(Transaction& t, const std::string& name, const std::string& value);

} // namespace latchkey::ledger
