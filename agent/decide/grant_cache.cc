// SPDX-License-Identifier: Apache-2.0
#include "agent/decide/grant_cache.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace latchkey::agent {

GrantCache::Place GrantCache::place_of(const Login& login, const Fingerprint& key) const {
    const std::tuple<std::string_view, std::string_view> wanted(login.str(), key.str());
    const auto of = [](const Held& held) { return std::tuple(held.grant.login(), held.grant.key()); };
    const auto first = std::lower_bound(held_.begin(), held_.end(), wanted,
                                        [&](const Held& held, const auto& want) { return of(held) < want; });
    auto last = first;
    while (last != held_.end() && of(*last) == wanted) ++last;
    return {static_cast<std::size_t>(first - held_.begin()), static_cast<std::size_t>(last - held_.begin())};
}

// At most one a grant, so those of grants that went do not gather.
std::shared_ptr<const HeldGrant::Common> GrantCache::common_of(const VerifiedGrant& grant) {
    auto wanted = HeldGrant::Common::of(grant);
    const auto same = std::ranges::find_if(commons_, [&](const auto& common) { return *common == wanted; });
    if (same != commons_.end()) return *same;
    if (commons_.size() > held_.size())
        std::erase_if(commons_, [](const auto& common) { return common.use_count() == 1; });
    return commons_.emplace_back(std::make_shared<const HeldGrant::Common>(std::move(wanted)));
}

void GrantCache::make_room() {
    if (held_.size() < kMaxGrants) return;
    Micros first{INT64_MAX};
    for (const Held& held : held_) first = std::min(first, held.grant.ends_at());
    std::erase_if(held_, [&](const Held& held) { return held.grant.ends_at() <= first; });
}

void GrantCache::put(const VerifiedGrant& grant, Serves serves) {
    make_room();
    const Place place = place_of(grant.login, grant.key);
    Held fresh{HeldGrant(grant, common_of(grant)), serves, false};
    for (std::size_t i = place.begin; i < place.end; ++i) {
        if (held_[i].grant.digest() != grant.digest) continue;
        if (held_[i].serves == Serves::kPlainKeyToo) fresh.serves = Serves::kPlainKeyToo;
        held_[i] = std::move(fresh);
        return;
    }
    held_.insert(held_.begin() + static_cast<std::ptrdiff_t>(place.end), std::move(fresh));
}

bool GrantCache::answers(const Held& held, const Offer& offer) {
    return offer.is_certificate() ? held.grant.digest() == offer.certificate_digest
                                  : held.serves == Serves::kPlainKeyToo;
}

GrantCache::Found GrantCache::find(const Offer& offer) const {
    const Place place = place_of(offer.login, offer.key);
    const Held* best = nullptr;
    for (std::size_t i = place.begin; i < place.end; ++i) {
        const Held& held = held_[i];
        if (!answers(held, offer)) continue;
        const bool is_better =
            best == nullptr || (best->is_stale && !held.is_stale) ||
            (best->is_stale == held.is_stale && best->grant.ends_at() < held.grant.ends_at());
        if (is_better) best = &held;
    }
    if (best == nullptr) return {};
    return {best->grant.whole(), best->is_stale};
}

std::vector<GrantCache::Found> GrantCache::all_for(const Login& login, const Fingerprint& key) const {
    std::vector<Found> found;
    const Place place = place_of(login, key);
    for (std::size_t i = place.begin; i < place.end; ++i)
        found.push_back({held_[i].grant.whole(), held_[i].is_stale});
    return found;
}

void GrantCache::make_stale() {
    for (Held& held : held_) held.is_stale = true;
}

void GrantCache::forget(const Login& login, const Fingerprint& key) {
    std::erase_if(held_, [&](const Held& held) {
        return held.grant.login() == login.str() && held.grant.key() == key.str();
    });
}

void GrantCache::forget(const Offer& offer) {
    std::erase_if(held_, [&](const Held& held) {
        return held.grant.login() == offer.login.str() && held.grant.key() == offer.key.str() &&
               answers(held, offer);
    });
}

std::size_t GrantCache::drop_ended(const JudgedBy& by) {
    return std::erase_if(held_,
                         [&](const Held& held) { return !still_holds(held.grant.facts(), by).has_value(); });
}

std::size_t GrantCache::verify_again(const JudgedBy& by) {
    return std::erase_if(held_, [&](const Held& held) {
        VerifiedGrant grant = held.grant.whole();
        protocol::Grant again;
        again.decision = protocol::GrantDecision::kAllow;
        again.user = std::move(grant.user);
        again.login = std::move(grant.login);
        again.key = std::move(grant.key);
        again.certificate = std::move(grant.certificate);
        again.statement = std::move(grant.statement);
        again.lines = std::move(grant.lines);
        again.ends_at = grant.ends_at;
        return !verify_grant(again, by).has_value();
    });
}

} // namespace latchkey::agent
