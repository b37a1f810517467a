// SPDX-License-Identifier: Apache-2.0
#include "agent/run/broker_talk.h"

#include <algorithm>

#include "agent/log/log.h"
#include "agent/version.h"

namespace latchkey::agent {

protocol::Hello BrokerTalk::hello() {
    protocol::Hello hello;
    hello.software = "latchkey-agent " + std::string(kAgentVersion);
    hello.capabilities.emplace_back(protocol::kStepUpCapability);
    hello.epoch = parts_.revoker.epoch_on_disk();
    hello.time = parts_.state.clock.now();
    if (parts_.revoker.wants_all()) hello.extensions.push_back({std::string(protocol::kResyncExtension), {}});
    return hello;
}

protocol::Heartbeat BrokerTalk::heartbeat() {
    protocol::Heartbeat beat;
    beat.time = parts_.state.clock.now();
    beat.epoch = parts_.state.revocations.epoch();
    return beat;
}

Status BrokerTalk::welcome(const protocol::Welcome& welcome) {
    AgentState& state = parts_.state;
    if (welcome.version != protocol::kHubVersion)
        return fail(Code::kUnsupported, "the broker chose a version of the protocol that we did not offer",
                    "update the older side");
    if (welcome.vm_id != state.vm_id)
        return fail(Code::kConflict, "the broker takes this VM for another one",
                    "join again with a new token");
    LK_CHECK(parts_.revoker.begin(welcome));
    if (!welcome.vm_name.empty()) state.vm = welcome.vm_name;
    state.broker_clock.sync(welcome.time);
    state.beat = from_seconds(std::clamp<std::int64_t>(welcome.heartbeat_seconds, 1, 300));
    LK_CHECK(adopt(welcome.trust));
    state.grants.make_stale(); // a Refresh may have been missed
    parts_.step_ups.meet_broker(welcome.capabilities);
    state.lease.begin_catch_up();
    state.troubles.clear(TroubleKind::kBroker);
    parts_.front.set_connected(true);
    last_reason_.clear();
    log_info("reach broker epoch=" + std::to_string(welcome.epoch.value) +
             " ours=" + std::to_string(state.revocations.epoch().value));
    parts_.sessions.report_all();
    go_online_if_caught_up();
    note_change();
    return {};
}

Status BrokerTalk::adopt(const protocol::TrustSet& trust) {
    AgentState& state = parts_.state;
    protocol::Trust before;
    before.trust = state.trust;
    protocol::Trust after;
    after.trust = trust;
    LK_CHECK(state.adopt(trust));
    state.everything_is_managed = false; // the broker has just said which are
    if (protocol::encode(before) == protocol::encode(after)) return {};
    parts_.keeper.keep_trust();
    if (trust_changed_) trust_changed_();
    return {};
}

void BrokerTalk::go_online_if_caught_up() {
    if (!parts_.revoker.has_caught_up() || parts_.state.lease.standing() != Standing::kCatchingUp) return;
    parts_.state.lease.go_online();
    log_info("serve epoch=" + std::to_string(parts_.state.revocations.epoch().value));
    parts_.fetches.go_online();
}

Status BrokerTalk::take(const protocol::Frame& frame) {
    const Status taken = handle(frame);
    note_change();
    return taken;
}

Status BrokerTalk::handle(const protocol::Frame& frame) {
    using protocol::Type;
    switch (frame.type) {
        case Type::kHeartbeat: {
            LK_TRY(beat, protocol::decode<protocol::Heartbeat>(frame));
            parts_.state.broker_clock.sync(beat.time);
            return {};
        }
        case Type::kGrant: {
            LK_TRY(grant, protocol::decode<protocol::Grant>(frame));
            parts_.fetches.take(grant);
            return {};
        }
        case Type::kRevoke: {
            LK_TRY(revoke, protocol::decode<protocol::Revoke>(frame));
            LK_CHECK(parts_.revoker.take(revoke));
            go_online_if_caught_up();
            return {};
        }
        case Type::kTrust: {
            LK_TRY(trust, protocol::decode<protocol::Trust>(frame));
            return adopt(trust.trust);
        }
        case Type::kRefresh: {
            LK_TRY(refresh, protocol::decode<protocol::Refresh>(frame));
            parts_.state.grants.make_stale();
            parts_.step_ups.make_stale();
            return {};
        }
        case Type::kHubStepUpAnswer: {
            LK_TRY(answer, protocol::decode<protocol::HubStepUpAnswer>(frame));
            parts_.step_ups.take(answer);
            return {};
        }
        case Type::kSessionEnd: {
            LK_TRY(end, protocol::decode<protocol::SessionEnd>(frame));
            end_session(end);
            return {};
        }
        case Type::kUnsupported:
            return {}; // an older broker does not know something that we said: it goes on without
        default:
            log_warn("skip message from broker type=" + std::to_string(static_cast<int>(frame.type)));
            return {};
    }
}

void BrokerTalk::end_session(const protocol::SessionEnd& message) {
    for (const BoundSession& session : parts_.sessions.all()) {
        if (session.id != message.session || session.id == 0) continue;
        parts_.sessions.cut({session}, message.reason, [this, id = session.id](const auto& still_there) {
            tell_ended(id, still_there.empty() ? protocol::SessionOutcome::kEnded
                                               : protocol::SessionOutcome::kStillThere);
        });
        return;
    }
    tell_ended(message.session, protocol::SessionOutcome::kWasGone);
}

// Somebody waits for it at the broker now: it is not kept for later.
void BrokerTalk::tell_ended(std::uint64_t session, protocol::SessionOutcome outcome) {
    protocol::SessionEnded answer;
    answer.session = session;
    answer.outcome = outcome;
    parts_.hub.send(protocol::encode(answer));
}

void BrokerTalk::lost(const Error& why) {
    parts_.state.lease.go_offline();
    parts_.front.set_connected(false);
    parts_.fetches.fail_all("the connection to the broker was lost");
    parts_.step_ups.lose_broker();
    note_change();
    const std::string line = why.line();
    if (line == last_reason_) return;
    last_reason_ = line;
    log_warn("lose broker why=" + line);
    if (parts_.state.troubles.of(TroubleKind::kRollback).empty())
        parts_.state.troubles.set(TroubleKind::kBroker, line);
}

} // namespace latchkey::agent
