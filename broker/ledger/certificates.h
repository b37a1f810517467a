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

// What may have changed since the certificate was decided on: Holding's (holders.h), as they are now.
struct Meanwhile {
    std::uint64_t policy_count = 0;
    Sequence last;
};
// Whether the certificate is still due.
using IssueCheck = std::function<Status(const Meanwhile&)>;
// In the writing transaction: checks again that user, key and unlock stand (kLocked, kNotFound, kExpired),
// and what the caller wants checked, takes the next sequence and the epoch, signs the statement, writes the
// row and its audit row. One statement is waited for, since others wait for the writer.
Result<CertificateRow> record_certificate(Transaction& t, const cert::Certificate& certificate, RowId user,
                                          RowId key, RowId unlock, const keys::PrivateKey& ledger_key,
                                          const std::string& actor, const IssueCheck& check = nullptr);
// The last sequence that was given, by this commit too; read once a commit, and written back by whoever ends
// it where t.scratch has one.
Result<Sequence> last_sequence(Transaction& t);
Status write_sequence(Transaction& t);
Result<std::optional<CertificateRow>> find_certificate(Transaction& t, Serial serial);
// For taking access away: what was issued until then and has not ended, to all accounts that ever bore this
// name, or to anybody. Removed accounts and rows that fail their check are in it.
Result<std::vector<Serial>> live_serials_of(Transaction& t, const UserName& name, Micros issued_until);
Result<std::vector<Serial>> live_serials(Transaction& t, Micros issued_until);

} // namespace latchkey::ledger
