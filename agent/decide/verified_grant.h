// SPDX-License-Identifier: Apache-2.0
#pragma once
// VerifiedGrant: a grant of the broker's that this VM has checked for itself; verify_grant() is its only
// source. Each refusal has its own error: decision, login or key other than asked, certificate (wrong CA, bad
// signature, window, principal), statement (other key, other certificate), user, revocation. Values; any
// thread.

#include <optional>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/cert/certificate.h"
#include "core/protocol/hub.h"
#include "core/revocation/revocation.h"

namespace latchkey::agent {

// What a login offers: the plain key, or a certificate over it.
struct Offer {
    Login login;
    Fingerprint key; // of the plain key in both cases
    Serial serial;   // 0: the plain key alone
    Bytes certificate_digest;
    auto operator<=>(const Offer&) const = default;
    bool is_certificate() const { return !certificate_digest.empty(); }
};

// The keys behind a TrustSet. kMalformed names the key that does not parse.
struct TrustedKeys {
    std::vector<keys::PublicKey> cas;
    std::vector<keys::PublicKey> ledgers;
    static Result<TrustedKeys> parse(const protocol::TrustSet& trust);
};

// Borrowed for one call.
struct JudgedBy {
    const TrustedKeys& trusted;
    const revocation::RevocationSet& revocations;
    const VmName& vm;
    Micros broker_now;    // for what must have begun
    Micros broker_latest; // for what must not have ended
};

struct VerifiedGrant {
    UserName user;
    Login login;
    Fingerprint key;
    Fingerprint ca;
    Bytes digest; // SHA-256 of the certificate
    Micros issued_at;
    Micros ends_at; // the grant's or the certificate's end, whichever is first; broker time
    Micros starts_at;
    Serial serial;
    Bytes certificate; // the blob alone: a thousand of these are held, and parsing one costs microseconds
    Bytes statement;
    std::vector<protocol::GrantLine> lines;
    protocol::SudoRule sudo = protocol::SudoRule::kUnsaid;

    revocation::Credential credential(const VmName& vm) const;
};

Result<VerifiedGrant> verify_grant(const protocol::Grant& grant, const JudgedBy& by);
// kRefused where the grant answers another question than `asked`.
Status answers(const VerifiedGrant& grant, const Offer& asked);
// For a grant that is held: window and revocations as they stand now.
Status still_holds(const VerifiedGrant& grant, const JudgedBy& by);

} // namespace latchkey::agent
