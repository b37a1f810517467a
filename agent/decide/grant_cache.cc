// SPDX-License-Identifier: Apache-2.0
#include "agent/decide/grant_cache.h"

#include <algorithm>

namespace latchkey::agent {

template <class Drop>
std::size_t GrantCache::drop_if(Drop drop) {
    std::size_t dropped = 0;
    for (auto place = held_.begin(); place != held_.end();) {
        dropped += std::erase_if(place->second, drop);
        place = place->second.empty() ? held_.erase(place) : std::next(place);
    }
    size_ -= dropped;
    return dropped;
}

void GrantCache::make_room() {
    if (size_ < kMaxGrants) return;
    Micros first{INT64_MAX};
    for (const auto& [place, list] : held_) {
        for (const Held& held : list) first = std::min(first, held.grant.ends_at);
    }
    drop_if([&](const Held& held) { return held.grant.ends_at <= first; });
}

void GrantCache::put(VerifiedGrant grant, Serves serves) {
    make_room();
    denials_.erase(Offer{grant.login, grant.key, {}, {}});
    denials_.erase(Offer{grant.login, grant.key, grant.serial(), grant.digest});
    std::vector<Held>& list = held_[{grant.login, grant.key}];
    const auto same =
        std::ranges::find_if(list, [&](const Held& held) { return held.grant.digest == grant.digest; });
    if (same != list.end()) {
        if (same->serves == Serves::kPlainKeyToo) serves = Serves::kPlainKeyToo;
        *same = {std::move(grant), serves};
        return;
    }
    list.push_back({std::move(grant), serves});
    ++size_;
}

const VerifiedGrant* GrantCache::find(const Offer& offer) const {
    const auto place = held_.find({offer.login, offer.key});
    if (place == held_.end()) return nullptr;
    const VerifiedGrant* best = nullptr;
    for (const Held& held : place->second) {
        const bool fits = offer.is_certificate() ? held.grant.digest == offer.certificate_digest
                                                 : held.serves == Serves::kPlainKeyToo;
        if (fits && (best == nullptr || best->ends_at < held.grant.ends_at)) best = &held.grant;
    }
    return best;
}

void GrantCache::forget(const Login& login, const Fingerprint& key) {
    const auto place = held_.find({login, key});
    if (place == held_.end()) return;
    size_ -= place->second.size();
    held_.erase(place);
}

std::size_t GrantCache::drop_ended(const JudgedBy& by) {
    return drop_if([&](const Held& held) { return !still_holds(held.grant, by).has_value(); });
}

std::size_t GrantCache::verify_again(const JudgedBy& by) {
    return drop_if([&](const Held& held) {
        const VerifiedGrant& grant = held.grant;
        protocol::Grant again;
        again.decision = protocol::GrantDecision::kAllow;
        again.user = grant.user;
        again.login = grant.login;
        again.key = grant.key;
        again.certificate = grant.certificate.blob();
        again.statement = grant.statement;
        again.lines = grant.lines;
        again.ends_at = grant.ends_at;
        return !verify_grant(again, by).has_value();
    });
}

void GrantCache::deny(const Offer& offer, std::string reason, Micros monotonic_now) {
    if (denials_.size() >= kMaxDenials)
        std::erase_if(denials_, [&](const auto& entry) { return entry.second.until <= monotonic_now; });
    if (denials_.size() >= kMaxDenials) denials_.clear();
    denials_[offer] = {std::move(reason), monotonic_now + kDenialLife};
}

std::optional<std::string> GrantCache::denial(const Offer& offer, Micros monotonic_now) const {
    const auto found = denials_.find(offer);
    if (found == denials_.end() || found->second.until <= monotonic_now) return std::nullopt;
    return found->second.reason;
}

} // namespace latchkey::agent
