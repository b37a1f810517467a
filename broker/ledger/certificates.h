// SPDX-License-Identifier: Apache-2.0
#pragma once
// Issued certificates and the sequence. record_certificate is the line that nothing may cross: a certificate
// leaves the broker only after the transaction that holds it is durable.

#include <optional>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "core/cert/certificate.h"

namespace latchkey::ledger {

// In the writing transaction: checks again that user, key and unlock stand (kLocked, kNotFound, kExpired),
// takes the next sequence and the epoch, signs the statement, writes the row and its audit row.
Result<CertificateRow> record_certificate(Transaction& t, const cert::Certificate& certificate, RowId user,
                                          RowId key, RowId unlock, const keys::PrivateKey& ledger_key,
                                          const std::string& actor);
Result<std::optional<CertificateRow>> find_certificate(Transaction& t, Serial serial);
// The newest of this unlock that is still valid at t.now.
Result<std::optional<CertificateRow>> newest_certificate(Transaction& t, RowId unlock);
// For taking access away: what was issued until then and has not ended, to all accounts that ever bore this
// name, or to anybody. Removed accounts and rows that fail their check are in it.
Result<std::vector<Serial>> live_serials_of(Transaction& t, const UserName& name, Micros issued_until);
Result<std::vector<Serial>> live_serials(Transaction& t, Micros issued_until);

} // namespace latchkey::ledger
