// SPDX-License-Identifier: Apache-2.0
#pragma once
// A verified grant as the cache holds it: a VM holds a thousand for hours and is asked for one now and then,
// so most of it is one run of bytes, and what the grants of one rule have alike is held once for all of them.
// Values; one thread.

#include <memory>
#include <string_view>
#include <vector>

#include "agent/decide/verified_grant.h"

namespace latchkey::agent {

class HeldGrant {
public:
    struct Common {
        Fingerprint ca;
        std::vector<protocol::GrantLine> lines;
        protocol::SudoRule sudo;
        bool operator==(const Common&) const = default;
        static Common of(const VerifiedGrant& grant) { return {grant.ca, grant.lines, grant.sudo}; }
    };

    // `common` is Common::of(grant).
    HeldGrant(const VerifiedGrant& grant, std::shared_ptr<const Common> common);

    // Until the grant changes.
    std::string_view login() const;
    std::string_view key() const;
    Micros ends_at() const { return ends_at_; }
    Bytes digest() const; // worked out from the certificate

    VerifiedGrant whole() const;
    // As whole() without digest, certificate, statement and lines, a tenth of the work: enough for
    // still_holds().
    VerifiedGrant facts() const;

private:
    Bytes packed_; // login, key, user, certificate, statement
    std::shared_ptr<const Common> common_;
    Micros issued_at_;
    Micros ends_at_;
    Micros starts_at_;
    Serial serial_;
};

} // namespace latchkey::agent
