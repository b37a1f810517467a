// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ledger's word that a certificate was recorded before it left: signed by the ledger key over the bytes
//   string "latchkey-statement-v1", string sha256(certificate), uint64 serial, uint64 sequence, uint64 epoch,
//   uint64 micros
// A VM takes a certificate only with a statement over exactly that certificate. Values; any thread.

#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/keys/private_key.h"
#include "core/keys/public_key.h"

namespace latchkey::cert {

struct Statement {
    Bytes certificate_digest; // 32 bytes
    Serial serial;
    Sequence sequence;
    Epoch epoch; // at issue
    Micros issued_at;

    // Encoded with its signature: what is stored and sent. Limit 4 KiB.
    Result<Bytes> sign(const keys::PrivateKey& ledger_key) const;
    // Parses and verifies: kBadSignature where none of the ledger keys signed it.
    static Result<Statement> open(ByteView encoded, const std::vector<keys::PublicKey>& ledger_keys);
};

} // namespace latchkey::cert
