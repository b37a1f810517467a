// SPDX-License-Identifier: Apache-2.0
#include "agent/decide/verified_grant.h"

#include <algorithm>

#include "core/cert/statement.h"

namespace latchkey::agent {
namespace {

constexpr std::int64_t kMaxSeconds = INT64_MAX / 1'000'000;

Micros start_of(const cert::Content& content) {
    return from_seconds(
        static_cast<std::int64_t>(std::min(content.valid_after, static_cast<std::uint64_t>(kMaxSeconds))));
}

Micros end_of(const cert::Content& content, Micros grant_end) {
    if (content.valid_before >= static_cast<std::uint64_t>(kMaxSeconds)) return grant_end;
    return std::min(grant_end, from_seconds(static_cast<std::int64_t>(content.valid_before)));
}

Result<std::vector<keys::PublicKey>> parse_keys(const std::vector<Bytes>& blobs, std::string_view what) {
    std::vector<keys::PublicKey> parsed;
    for (const Bytes& blob : blobs) {
        auto key = keys::PublicKey::from_blob(blob);
        if (!key) {
            return fail(key.error().code, "the broker sent a " + std::string(what) +
                                              " that does not parse: " + key.error().message);
        }
        parsed.push_back(*std::move(key));
    }
    return parsed;
}

} // namespace

Result<TrustedKeys> TrustedKeys::parse(const protocol::TrustSet& trust) {
    LK_TRY(cas, parse_keys(trust.ca_keys, "CA key"));
    LK_TRY(ledgers, parse_keys(trust.ledger_keys, "ledger key"));
    return TrustedKeys{std::move(cas), std::move(ledgers)};
}

revocation::Credential VerifiedGrant::credential(const VmName& vm) const {
    return {user, key, serial, ca, vm, issued_at};
}

Result<VerifiedGrant> verify_grant(const protocol::Grant& grant, const JudgedBy& by) {
    if (grant.decision != protocol::GrantDecision::kAllow)
        return fail(Code::kRefused, "the broker denies: " + grant.reason);
    if (grant.user.empty() || grant.login.empty() || grant.key.empty() || grant.lines.empty())
        return fail(Code::kMalformed, "grant without user, login, key or lines");

    LK_TRY(certificate, cert::Certificate::from_blob(grant.certificate));
    const cert::Content& content = certificate.content();
    LK_CHECK(cert::verify(certificate, by.trusted.cas, by.broker_latest, grant.login));
    if (content.subject.fingerprint() != grant.key)
        return fail(Code::kRefused, "the certificate is over another key than the grant names");
    if (content.key_id != grant.user.str() + "/" + std::to_string(content.serial.value))
        return fail(Code::kRefused, "the certificate's key id is not that of the grant's user");

    LK_TRY(statement, cert::Statement::open(grant.statement, by.trusted.ledgers));
    Bytes digest = certificate.digest();
    if (statement.certificate_digest != digest || statement.serial != content.serial)
        return fail(Code::kBadSignature, "the ledger's statement is over another certificate");

    const VerifiedGrant verified{.user = grant.user,
                                 .login = grant.login,
                                 .key = grant.key,
                                 .ca = certificate.ca().fingerprint(),
                                 .digest = std::move(digest),
                                 .issued_at = statement.issued_at,
                                 .ends_at = end_of(content, grant.ends_at),
                                 .starts_at = start_of(content),
                                 .serial = content.serial,
                                 .certificate = grant.certificate,
                                 .statement = grant.statement,
                                 .lines = grant.lines,
                                 .sudo = protocol::sudo_rule_of(grant)};
    LK_CHECK(still_holds(verified, by));
    return verified;
}

Status answers(const VerifiedGrant& grant, const Offer& asked) {
    if (grant.login != asked.login) return fail(Code::kRefused, "grant for another login than asked");
    if (grant.key != asked.key) return fail(Code::kRefused, "grant for another key than asked");
    if (asked.is_certificate() && grant.digest != asked.certificate_digest)
        return fail(Code::kRefused, "the offered certificate is not the one that the ledger knows");
    return {};
}

Status still_holds(const VerifiedGrant& grant, const JudgedBy& by) {
    if (by.broker_now < grant.starts_at)
        return fail(Code::kNotYetValid, "certificate that is not yet valid in broker time");
    if (by.broker_latest >= grant.ends_at) return fail(Code::kExpired, "grant that has ended");
    if (const auto covering = by.revocations.covers(grant.credential(by.vm))) {
        return fail(Code::kRevoked, "revoked by epoch " + std::to_string(covering->epoch.value) + " (" +
                                        std::string(covering->selector.kind_name()) + ")");
    }
    return {};
}

} // namespace latchkey::agent
