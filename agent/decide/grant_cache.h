// SPDX-License-Identifier: Apache-2.0
#pragma once
// Verified grants that are held until they end, so that the second of sshd's two questions, the next login
// and a login without a broker are answered here. A grant answers the offer it was fetched for and, where it
// was fetched for the plain key or prefetched, the plain key and exactly its own certificate. kMaxGrants at
// most: then the one that ends first gives way. A denial is remembered for a second. One thread.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/decide/verified_grant.h"

namespace latchkey::agent {

inline constexpr std::size_t kMaxGrants = 4096;
inline constexpr std::size_t kMaxDenials = 1024;
inline constexpr Micros kDenialLife = from_seconds(1);

class GrantCache {
public:
    enum class Serves : std::uint8_t { kPlainKeyToo = 1, kCertificateOnly };

    void put(VerifiedGrant grant, Serves serves);
    // Points into the cache until its next change. The caller asks still_holds() before it uses it.
    const VerifiedGrant* find(const Offer& offer) const;
    void forget(const Login& login, const Fingerprint& key);

    // Those that are no longer good by `by` go; returns how many.
    std::size_t drop_ended(const JudgedBy& by);
    // After a change of trust: everything verified anew from its bytes. Returns how many went.
    std::size_t verify_again(const JudgedBy& by);
    std::size_t size() const { return size_; }

    void deny(const Offer& offer, std::string reason, Micros monotonic_now);
    std::optional<std::string> denial(const Offer& offer, Micros monotonic_now) const;

private:
    struct Held {
        VerifiedGrant grant;
        Serves serves;
    };
    struct Place {
        Login login;
        Fingerprint key;
        auto operator<=>(const Place&) const = default;
    };
    struct Denial {
        std::string reason;
        Micros until; // monotonic
    };
    template <class Drop>
    std::size_t drop_if(Drop drop);
    void make_room();

    std::map<Place, std::vector<Held>> held_;
    std::map<Offer, Denial> denials_;
    std::size_t size_ = 0;
};

} // namespace latchkey::agent
