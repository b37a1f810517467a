// SPDX-License-Identifier: Apache-2.0
#pragma once
// Issued certificates and the sequence. record_certificate is the line that nothing may cross: a certificate
// leaves the broker only after the transaction that holds it is durable.

#include <functional>
#include <optional>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "core/cert/certificate.h"

namespace latchkey::ledger {

// Whether the certificate still fits the rules, by how often policy has changed until now (policy_rows.h).
using PolicyCheck = std::function<Status(std::uint64_t policy_count)>;
// In the writing transaction: checks the policy where asked to, checks again that user, key and unlock stand
// (kLocked, kNotFound, kExpired), takes the next sequence and the epoch, signs the statement, writes the row
// and its audit row. Three statements, for a writer that others wait for.
Result<CertificateRow> record_certificate(Transaction& t, const cert::Certificate& certificate, RowId user,
                                          RowId key, RowId unlock, const keys::PrivateKey& ledger_key,
                                          const std::string& actor, const PolicyCheck& check = nullptr);
// The last sequence that was given, by this commit too; read once a commit, and written back by whoever ends
// it where t.scratch has one.
Result<Sequence> last_sequence(Transaction& t);
Status write_sequence(Transaction& t);
Result<std::optional<CertificateRow>> find_certificate(Transaction& t, Serial serial);
// The newest of this unlock that is still valid at t.now.
Result<std::optional<CertificateRow>> newest_certificate(Transaction& t, RowId unlock);
// For taking access away: what was issued until then and has not ended, to all accounts that ever bore this
// name, or to anybody. Removed accounts and rows that fail their check are in it.
Result<std::vector<Serial>> live_serials_of(Transaction& t, const UserName& name, Micros issued_until);
Result<std::vector<Serial>> live_serials(Transaction& t, Micros issued_until);

} // namespace latchkey::ledger
