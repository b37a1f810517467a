// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who stands behind a key: the key, its user and its live unlock, in one statement; and with them, in the
// same one, what a new certificate is decided by. Each login and each fetch begins here, so a round trip to
// the database counts. Part of the ledger: ledger.h says who may call.

#include <optional>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

struct Holder {
    Key key;                      // registered
    User user;                    // of any state
    std::optional<Unlock> unlock; // live at t.now, of an active user
};

struct Holding {
    Holder holder;
    std::optional<CertificateRow> newest; // the unlock's, still valid at t.now
    Sequence last;                        // of the unlock's certificates, such that fail their check too
    std::uint64_t policy_count = 0;       // policy_rows.h
    Epoch epoch;                          // current_epoch()
};

// Nobody where the key is not registered; rows that fail their check count as absent.
Result<std::optional<Holder>> find_holder(Transaction& t, const Fingerprint& key);
Result<std::optional<Holding>> find_holding(Transaction& t, const Fingerprint& key);

} // namespace latchkey::ledger
