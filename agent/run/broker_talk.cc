// SPDX-License-Identifier: Apache-2.0
#include "agent/run/broker_talk.h"

#include <sys/random.h>

#include <algorithm>

#include "agent/log/log.h"
#include "agent/version.h"
#include "core/protocol/dropped.h"

namespace latchkey::agent {
namespace {

constexpr std::size_t kMaxReason = 200; // of what the broker says for the log

} // namespace

BrokerTalk::BrokerTalk(const Parts& parts) : parts_(parts), instance_(16) {
    if (::getrandom(instance_.data(), instance_.size(), 0) != static_cast<ssize_t>(instance_.size()))
        instance_.clear(); // then it is not said
}

protocol::Hello BrokerTalk::hello() {
    protocol::Hello hello;
    hello.software = "latchkey-agent " + std::string(kAgentVersion);
    hello.capabilities.emplace_back(protocol::kStepUpCapability);
    hello.epoch = parts_.revoker.goes_on_from();
    hello.time = parts_.state.clock.now();
    if (parts_.revoker.wants_all()) hello.extensions.push_back({std::string(protocol::kResyncExtension), {}});
    if (!instance_.empty()) hello.extensions.push_back({"instance", instance_});
    return hello;
}

protocol::Heartbeat BrokerTalk::heartbeat() {
    protocol::Heartbeat beat;
    beat.time = parts_.state.clock.now();
    beat.epoch = parts_.state.revocations.epoch();
    return beat;
}

// What we have applied, every broker with a fresh view knows of. One whose word is older was cut off, or
// asleep: no revocation of that time has come by this connection.
bool BrokerTalk::vouches(const protocol::Heartbeat& beat) {
    return beat.epoch >= parts_.state.revocations.epoch();
}

// Where it is, and where others are.
void BrokerTalk::note_broker(const protocol::Welcome& welcome) {
    parts_.front.set_broker(parts_.brokers.current().text());
    auto told = protocol::brokers_of(welcome);
    if (told && parts_.brokers.learn(*told)) parts_.keeper.keep_brokers(*std::move(told));
}

Status BrokerTalk::welcome(const protocol::Welcome& welcome) {
    AgentState& state = parts_.state;
    if (welcome.version != protocol::kHubVersion)
        return fail(Code::kUnsupported, "the broker chose a version of the protocol that we did not offer",
                    "update the older side");
    if (welcome.vm_id != state.vm_id)
        return fail(Code::kConflict, "the broker takes this VM for another one",
                    "join again with a new token");
    if (Status begun = parts_.revoker.begin(welcome); !begun) {
        parts_.reports.add("rollback", begun.error().message);
        return begun;
    }
    note_broker(welcome);
    if (!welcome.vm_name.empty()) state.vm = welcome.vm_name;
    state.broker_clock.sync(welcome.time);
    state.beat = from_seconds(std::clamp<std::int64_t>(welcome.heartbeat_seconds, 1, 300));
    state.lease.set_period(state.beat);
    LK_CHECK(adopt(welcome.trust));
    state.grants.make_stale(); // a Refresh may have been missed
    parts_.step_ups.meet_broker(welcome.capabilities);
    state.lease.begin_catch_up();
    state.troubles.clear(TroubleKind::kBroker);
    parts_.front.set_connected(true);
    last_reason_.clear();
    for (const protocol::Extension& extension : welcome.extensions) {
        if (extension.name != protocol::kDroppedExtension) continue;
        log_warn("was dropped by broker why=" + std::string(as_text(extension.value).substr(0, kMaxReason)));
    }
    log_info("reach broker at=" + parts_.brokers.current().text() +
             " epoch=" + std::to_string(welcome.epoch.value) +
             " ours=" + std::to_string(state.revocations.epoch().value));
    parts_.sessions.report_all();
    parts_.reports.go_online();
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
    const bool was_torn = !state.troubles.of(TroubleKind::kTrust).empty();
    state.troubles.clear(TroubleKind::kTrust);
    if (!was_torn && protocol::encode(before) == protocol::encode(after)) return {};
    parts_.keeper.keep_trust();
    if (trust_changed_) trust_changed_();
    return {};
}

void BrokerTalk::go_online_if_caught_up() {
    if (!parts_.revoker.has_caught_up() || parts_.state.lease.standing() != Standing::kCatchingUp) return;
    parts_.state.lease.go_online();
    log_info("serve epoch=" + std::to_string(parts_.state.revocations.epoch().value));
    parts_.fetches.look_again();
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
            if (vouches(beat)) return hear(beat);
            log_warn("skip heartbeat why=the broker is at epoch " + std::to_string(beat.epoch.value) +
                     ", this VM at " + std::to_string(parts_.state.revocations.epoch().value));
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
        case Type::kReported: {
            LK_TRY(reported, protocol::decode<protocol::Reported>(frame));
            parts_.reports.recorded(reported.id);
            return {};
        }
        case Type::kUnsupported:
            return {}; // an older broker does not know something that we said: it goes on without
        default:
            log_warn("skip message from broker type=" + std::to_string(static_cast<int>(frame.type)));
            return {};
    }
}

// What comes late was held back on the way, or we were asleep: then everything else on this connection is old
// too.
Status BrokerTalk::hear(const protocol::Heartbeat& beat) {
    const Micros age = parts_.state.broker_clock.hear(beat.time);
    // A broker beats while a long catch-up is still on its way: such a beat names what is not here yet.
    if (beat.epoch == parts_.state.revocations.epoch()) parts_.state.lease.cover(age);
    if (!parts_.state.lease.is_late(age)) {
        if (parts_.state.lease.standing() == Standing::kOnline)
            parts_.fetches.look_again(); // we slept a little
        return {};
    }
    return fail(Code::kTimedOut,
                "the broker's words come " + std::to_string(age.seconds()) + " s late: connecting anew");
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
    parts_.reports.go_offline();
    parts_.fetches.fail_sent("the connection to the broker was lost");
    if (parts_.state.lease.standing() != Standing::kCatchingUp) parts_.fetches.look_again(); // by the lease
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
