// SPDX-License-Identifier: Apache-2.0
#pragma once
// Verified grants that are held until they end, so that the second of sshd's two questions, the next login
// and a login without a broker are answered here. A grant answers the offer it was fetched for and, where it
// was fetched for the plain key or prefetched, the plain key and exactly its own certificate. kMaxGrants at
// most: then the one that ends first gives way. After a Refresh what is held is stale: good without a broker
// alone. One thread.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/decide/held_grant.h"

namespace latchkey::agent {

inline constexpr std::size_t kMaxGrants = 4096;

class GrantCache {
public:
    enum class Serves : std::uint8_t { kPlainKeyToo = 1, kCertificateOnly };

    void put(const VerifiedGrant& grant, Serves serves);
    struct Found {
        std::optional<VerifiedGrant> grant;
        bool is_stale = false;
    };
    // A fresh one before a stale one. The caller asks still_holds() before it uses it.
    Found find(const Offer& offer) const;
    std::vector<Found> all_for(const Login& login, const Fingerprint& key) const;
    void make_stale();
    void forget(const Login& login, const Fingerprint& key);
    void forget(const Offer& offer); // what would answer it

    // Those that are no longer good by `by` go; returns how many.
    std::size_t drop_ended(const JudgedBy& by);
    // After a change of trust: everything verified anew from its bytes. Returns how many went.
    std::size_t verify_again(const JudgedBy& by);
    std::size_t size() const { return held_.size(); }

private:
    struct Held {
        HeldGrant grant;
        Serves serves;
        bool is_stale = false;
    };
    struct Place { // the range in held_ of one login and key
        std::size_t begin = 0;
        std::size_t end = 0;
    };
    static bool answers(const Held& held, const Offer& offer);
    Place place_of(const Login& login, const Fingerprint& key) const;
    std::shared_ptr<const HeldGrant::Common> common_of(const VerifiedGrant& grant);
    void make_room();

    std::vector<Held> held_; // in the order of login and key
    std::vector<std::shared_ptr<const HeldGrant::Common>> commons_;
};

} // namespace latchkey::agent
