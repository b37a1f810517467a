// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/explain.h"

#include <algorithm>

namespace latchkey::agent {
namespace {

std::string span_text(Micros span) {
    const std::int64_t seconds = span.seconds();
    if (seconds < 120) return std::to_string(seconds) + " s";
    if (seconds < 120 * 60) return std::to_string(seconds / 60) + " min";
    return std::to_string(seconds / 3600) + " h";
}

std::string broker_line(const AgentState& state) {
    if (!state.broker_clock.is_known()) return "broker: not heard since this agent began";
    const std::int64_t offset_ms = state.broker_clock.offset().value / 1000;
    return "broker: last heard " + span_text(state.broker_clock.silence()) +
           " ago, its clock minus ours is " + std::to_string(offset_ms) + " ms";
}

std::string lease_line(const AgentState& state) {
    switch (state.lease.standing()) {
        case Standing::kOnline:
            return "lease: online, all revocations up to epoch " +
                   std::to_string(state.revocations.epoch().value) + " applied";
        case Standing::kCatchingUp:
            return "lease: the broker is back and still says what this VM has missed";
        case Standing::kOffline:
            return "lease: without a broker; held grants are served for another " +
                   span_text(state.lease.left());
        case Standing::kOver:
            break;
    }
    return "lease: over; without a broker nothing is served any more";
}

std::string login_line(const AgentState& state, const Login& login) {
    if (state.is_local(login)) return "login: " + login.str() + " is local (break-glass), never gated";
    if (state.everything_is_managed)
        return "login: every login counts as managed, the list could not be read";
    if (state.is_managed(login)) return "login: " + login.str() + " is managed, no other key gets in";
    return "login: " + login.str() + " is not managed, its own authorized_keys count besides";
}

// Revocations of the key itself, of this VM, of everything before a time; a user's or a certificate's are
// found with the grant.
std::string key_line_of(const AgentState& state, const Fingerprint& key) {
    const auto covering = state.revocations.covers({{}, key, {}, {}, state.vm, {}});
    if (!covering) return "key: not revoked";
    return "key: what was issued for it until " + span_text(state.broker_clock.now() - covering->made_at) +
           " ago is revoked by epoch " + std::to_string(covering->epoch.value) + " (" +
           std::string(covering->selector.kind_name()) + ")";
}

std::string grant_line(const AgentState& state, const GrantCache::Found& held) {
    const VerifiedGrant& grant = *held.grant;
    std::string line =
        "grant: held for " + grant.user.str() + ", certificate " + std::to_string(grant.serial.value);
    const Status holds = still_holds(grant, state.judged());
    if (!holds) return line + ": " + holds.error().message;
    line += ", ends in " + span_text(grant.ends_at - state.broker_clock.latest());
    if (held.is_stale) line += ", to be asked again";
    return line;
}

std::string verdict(const AgentState& state, const Offer& offer) {
    if (state.is_local(offer.login)) return "denied: a local login is not ours to decide; its own keys count";
    if (state.troubles.denies()) return "denied: " + state.troubles.line();
    const Standing standing = state.lease.standing();
    if (standing == Standing::kOver)
        return "denied: no broker, and the time that grants may be served without one is over";
    if (standing == Standing::kCatchingUp)
        return "open: waits until the revocations are here, then looks again";
    const auto held = state.grants.find(offer);
    const bool may_serve = !held.is_stale || standing == Standing::kOffline;
    if (held.grant && may_serve && still_holds(*held.grant, state.judged()))
        return "allowed: granted to " + held.grant->user.str();
    if (standing == Standing::kOffline) return "denied: no broker, and no grant held for this key";
    return "open: no grant held that may be served; the broker would be asked";
}

} // namespace

std::vector<std::string> explain(const AgentState& state, const std::vector<BoundSession>& sessions,
                                 const Login& login, const Fingerprint& key) {
    std::vector<std::string> lines = {"vm: " + state.vm.str() + ", epoch " +
                                      std::to_string(state.revocations.epoch().value)};
    lines.push_back(broker_line(state));
    lines.push_back(lease_line(state));
    if (const auto trouble = state.troubles.line(); !trouble.empty()) lines.push_back("trouble: " + trouble);
    lines.push_back(login_line(state, login));
    lines.push_back(key_line_of(state, key));
    const auto held = state.grants.all_for(login, key);
    for (const auto& one : held) lines.push_back(grant_line(state, one));
    if (held.empty()) lines.emplace_back("grant: none held");
    const auto live = std::ranges::count_if(
        sessions, [&](const BoundSession& s) { return s.login == login && s.key == key; });
    lines.push_back("sessions: " + std::to_string(live) + " by this key as this login");
    lines.push_back(verdict(state, {login, key, {}, {}}));
    return lines;
}

} // namespace latchkey::agent
