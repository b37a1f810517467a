// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a VM tells of itself that somebody must know (a broker set back, torn state, a break-glass account
// used), and what the broker notices about it. A row each, and an audit row: `break-glass`, else `vm.report`.

#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

struct VmReport {
    std::string kind;
    Micros made_at; // not later than received_at
    std::string text;
    Micros received_at;
};

// Idempotent by VM and id; id 0: noticed by the broker, which makes one.
Status record_report(Transaction& t, const Vm& vm, const protocol::Report& report);
Result<std::vector<VmReport>> reports_of(Transaction& t, VmId vm, std::uint32_t limit); // newest first

// The revocation that covers a session which a VM reports as live, ended ones among them: a certificate that
// has ended may have opened a session that has not. A certificate that the ledger does not know counts as
// issued before all of them.
Result<std::optional<RevocationRow>> revocation_of_session(Transaction& t, const Vm& vm,
                                                           const protocol::SessionEvent& session);

} // namespace latchkey::ledger
