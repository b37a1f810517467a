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
    std::vector<Held>& list = held_[{grant.login, grant.key}];
    const auto same =
        std::ranges::find_if(list, [&](const Held& held) { return held.grant.digest == grant.digest; });
    if (same != list.end()) {
        if (same->serves == Serves::kPlainKeyToo) serves = Serves::kPlainKeyToo;
        *same = {std::move(grant), serves, false};
        return;
    }
    list.push_back({std::move(grant), serves, false});
    ++size_;
}

bool GrantCache::answers(const Held& held, const Offer& offer) {
    return offer.is_certificate() ? held.grant.digest == offer.certificate_digest
                                  : held.serves == Serves::kPlainKeyToo;
}

GrantCache::Found GrantCache::find(const Offer& offer) const {
    const auto place = held_.find({offer.login, offer.key});
    if (place == held_.end()) return {};
    Found best;
    for (const Held& held : place->second) {
        if (!answers(held, offer)) continue;
        const bool is_better = best.grant == nullptr || (best.is_stale && !held.is_stale) ||
                               (best.is_stale == held.is_stale && best.grant->ends_at < held.grant.ends_at);
        if (is_better) best = {&held.grant, held.is_stale};
    }
    return best;
}

std::vector<GrantCache::Found> GrantCache::all_for(const Login& login, const Fingerprint& key) const {
    std::vector<Found> found;
    const auto place = held_.find({login, key});
    if (place == held_.end()) return found;
    for (const Held& held : place->second) found.push_back({&held.grant, held.is_stale});
    return found;
}

void GrantCache::make_stale() {
    for (auto& [place, list] : held_) {
        for (Held& held : list) held.is_stale = true;
    }
}

void GrantCache::forget(const Login& login, const Fingerprint& key) {
    const auto place = held_.find({login, key});
    if (place == held_.end()) return;
    size_ -= place->second.size();
    held_.erase(place);
}

void GrantCache::forget(const Offer& offer) {
    const auto place = held_.find({offer.login, offer.key});
    if (place == held_.end()) return;
    size_ -= std::erase_if(place->second, [&](const Held& held) { return answers(held, offer); });
    if (place->second.empty()) held_.erase(place);
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
        again.certificate = grant.certificate;
        again.statement = grant.statement;
        again.lines = grant.lines;
        again.ends_at = grant.ends_at;
        return !verify_grant(again, by).has_value();
    });
}

} // namespace latchkey::agent
