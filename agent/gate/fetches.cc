// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/fetches.h"

#include "agent/log/log.h"

namespace latchkey::agent {

void Fetches::ask(const Offer& offer, Micros deadline, Done done) {
    if (const auto same = by_offer_.find(offer); same != by_offer_.end()) {
        Pending& pending = pending_.at(same->second);
        if (pending.askers.size() < kMaxFetches) {
            pending.askers.push_back(std::move(done));
            return;
        }
    }
    if (pending_.size() >= kMaxFetches) {
        done(fail(Code::kUnavailable, "too many questions to the broker at once"));
        return;
    }
    if (!may_ask_for(offer.login)) {
        done(fail(Code::kRefused, "not an account of ours, and asked for too often"));
        return;
    }
    const std::uint64_t request = ++last_request_;
    Pending& pending = pending_[request];
    pending.offer = offer;
    pending.askers.push_back(std::move(done));
    by_offer_[offer] = request;
    loop_.after(deadline - state_.clock.monotonic(), [this, request] {
        finish(request, fail(Code::kTimedOut, "the broker did not answer in time"));
    });
    if (state_.lease.standing() != Standing::kOnline) return;
    pending.was_sent = true;
    protocol::Fetch fetch;
    fetch.request = request;
    fetch.login = offer.login;
    fetch.key = offer.key;
    fetch.serial = offer.serial;
    fetch.certificate_digest = offer.certificate_digest;
    hub_.send(protocol::encode(fetch));
}

bool Fetches::may_ask_for(const Login& login) {
    if (state_.is_managed(login)) return true;
    const Micros now = state_.clock.monotonic();
    if (now - second_began_ >= from_seconds(1)) {
        second_began_ = now;
        unmanaged_in_second_ = 0;
    }
    return ++unmanaged_in_second_ <= kUnmanagedFetchesPerSecond;
}

void Fetches::finish(std::uint64_t request, const Status& status) {
    const auto place = pending_.find(request);
    if (place == pending_.end()) return;
    const std::vector<Done> askers = std::move(place->second.askers);
    const auto same = by_offer_.find(place->second.offer);
    if (same != by_offer_.end() && same->second == request) by_offer_.erase(same);
    pending_.erase(place);
    for (const Done& done : askers) done(status);
}

Status Fetches::accept(const Offer& offer, const protocol::Grant& grant) {
    LK_TRY(verified, verify_grant(grant, state_.judged()));
    LK_CHECK(answers(verified, offer));
    state_.grants.put(verified, offer.is_certificate() ? GrantCache::Serves::kCertificateOnly
                                                       : GrantCache::Serves::kPlainKeyToo);
    return {};
}

void Fetches::take(const protocol::Grant& grant) {
    if (grant.request == 0) return take_unasked(grant);
    const auto place = pending_.find(grant.request);
    if (place == pending_.end()) return; // too late
    const Offer offer = place->second.offer;
    const Status status = accept(offer, grant);
    if (!status) state_.grants.forget(offer); // what is held says more than the broker does now
    if (!status && grant.decision == protocol::GrantDecision::kAllow)
        log_error("refuse grant login=" + offer.login.str() + " why=" + status.error().message);
    finish(grant.request, status);
}

// A prefetch; or a denial: what was granted for this login and key is no longer.
void Fetches::take_unasked(const protocol::Grant& grant) {
    if (grant.decision == protocol::GrantDecision::kDeny) {
        state_.grants.forget(grant.login, grant.key);
        return;
    }
    const Offer offer{grant.login, grant.key, {}, {}};
    if (const Status status = accept(offer, grant); !status)
        log_error("refuse prefetched grant login=" + offer.login.str() + " why=" + status.error().message);
}

void Fetches::look_again() {
    std::vector<std::uint64_t> waiting;
    for (const auto& [request, pending] : pending_) {
        if (!pending.was_sent) waiting.push_back(request);
    }
    for (const std::uint64_t request : waiting) finish(request, {});
}

void Fetches::fail_sent(const std::string& why) {
    std::vector<std::uint64_t> sent;
    for (const auto& [request, pending] : pending_) {
        if (pending.was_sent) sent.push_back(request);
    }
    for (const std::uint64_t request : sent) finish(request, fail(Code::kUnavailable, why));
}

} // namespace latchkey::agent
