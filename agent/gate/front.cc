// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/front.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "agent/gate/explain.h"
#include "agent/version.h"

namespace latchkey::agent {
namespace {

using protocol::Type;

enum class Asker : std::uint8_t { kHelper = 1, kRoot };

struct Permit {
    Type type;
    Asker who;
};
constexpr std::array kPermits = {
    Permit{Type::kAuthorize, Asker::kHelper}, Permit{Type::kAccountCheck, Asker::kRoot},
    Permit{Type::kSessionOpen, Asker::kRoot}, Permit{Type::kSessionClose, Asker::kRoot},
    Permit{Type::kAgentStatus, Asker::kRoot}, Permit{Type::kStepUp, Asker::kRoot},
    Permit{Type::kStepUpCode, Asker::kRoot},  Permit{Type::kExplainLogin, Asker::kRoot},
};

Bytes refused(Code code, std::string message, std::string next = {}) {
    protocol::Refused answer;
    answer.code = info(code).name;
    answer.message = std::move(message);
    answer.next = std::move(next);
    return protocol::encode(answer);
}

// Decodes the request and gives it to `serve`, or answers Refused.
template <class Request, class Serve>
void with(const protocol::Frame& frame, const Front::Reply& reply, Serve serve) {
    auto request = protocol::decode<Request>(frame);
    if (!request) return reply(refused(request.error().code, request.error().message, request.error().next));
    serve(*request);
}

} // namespace

void Front::answer(const Peer& peer, const protocol::Frame& request, const Reply& reply) {
    const auto permit = std::ranges::find(kPermits, request.type, &Permit::type);
    if (permit == kPermits.end()) {
        protocol::Unsupported unsupported;
        unsupported.type = static_cast<std::uint8_t>(request.type);
        return reply(protocol::encode(unsupported));
    }
    const bool may_ask = peer.uid == 0 || (permit->who == Asker::kHelper && peer.uid == helper_uid_);
    if (!may_ask) return reply(refused(Code::kUnauthenticated, "this user may not ask that", "ask as root"));

    switch (request.type) {
        case Type::kAuthorize:
            return with<protocol::Authorize>(request, reply, [&](const protocol::Authorize& asked) {
                keys_.authorize(peer.pid, asked,
                                [reply](protocol::Authorized answer) { reply(protocol::encode(answer)); });
            });
        case Type::kAccountCheck:
            return with<protocol::AccountCheck>(request, reply, [&](const protocol::AccountCheck& asked) {
                if (is_sudo(asked.service))
                    return step_ups_.check(peer.pid, asked, [reply](protocol::AccountAnswer answer) {
                        reply(protocol::encode(answer));
                    });
                reply(protocol::encode(accounts_.check(peer.pid, asked)));
            });
        case Type::kStepUp:
            return with<protocol::StepUp>(request, reply, [&](const protocol::StepUp& asked) {
                step_ups_.ask(peer.pid, asked,
                              [reply](protocol::StepUpAnswer answer) { reply(protocol::encode(answer)); });
            });
        case Type::kStepUpCode:
            return with<protocol::StepUpCode>(request, reply, [&](const protocol::StepUpCode& asked) {
                step_ups_.judge(peer.pid, asked,
                                [reply](protocol::StepUpAnswer answer) { reply(protocol::encode(answer)); });
            });
        case Type::kSessionOpen:
            return with<protocol::SessionOpen>(request, reply, [&](const protocol::SessionOpen& asked) {
                const protocol::SessionAnswer answer = accounts_.open(peer.pid, asked);
                if (answer.verdict != protocol::Verdict::kAllow) return reply(protocol::encode(answer));
                // A session must not begin that an agent killed in this moment would not know again.
                sessions_.once_recorded([this, reply, answer, asked, pid = peer.pid](const Status& recorded) {
                    reply(protocol::encode(recorded ? answer
                                                    : accounts_.take_back(pid, asked, recorded.error())));
                });
            });
        case Type::kSessionClose:
            return with<protocol::SessionClose>(request, reply, [&](const protocol::SessionClose&) {
                accounts_.close(peer.pid);
                reply(protocol::encode(protocol::Acknowledged{}));
            });
        case Type::kExplainLogin:
            return with<protocol::ExplainLogin>(request, reply, [&](const protocol::ExplainLogin& asked) {
                protocol::ExplainLoginAnswer answer;
                answer.lines = explain(state_, sessions_.all(), asked.login, asked.key);
                reply(protocol::encode(answer));
            });
        default:
            return with<protocol::AgentStatus>(
                request, reply, [&](const protocol::AgentStatus&) { reply(protocol::encode(status())); });
    }
}

protocol::AgentStatusAnswer Front::status() const {
    protocol::AgentStatusAnswer answer;
    answer.connected = is_connected_;
    answer.serving = !state_.troubles.denies() && state_.lease.serves_held_grants();
    answer.vm = state_.vm;
    answer.broker = broker_;
    answer.epoch = state_.revocations.epoch();
    if (state_.broker_clock.is_known()) {
        answer.last_heartbeat = state_.broker_clock.last_heard();
        const std::int64_t offset = state_.broker_clock.offset().value;
        answer.offset_magnitude = static_cast<std::uint64_t>(std::abs(offset));
        answer.broker_is_ahead = offset > 0;
    }
    answer.version = kAgentVersion;
    answer.trouble = state_.troubles.line();
    answer.cached_grants = static_cast<std::uint32_t>(state_.grants.size());
    for (const BoundSession& session : sessions_.all()) {
        if (answer.sessions.size() == kMaxSessionsTold) break;
        answer.sessions.push_back(to_live(session));
    }
    answer.managed_logins = state_.gated();
    if (answer.managed_logins.size() > kMaxManagedTold) {
        const std::size_t more = answer.managed_logins.size() - kMaxManagedTold;
        protocol::set_more_managed(answer, static_cast<std::uint32_t>(more));
        answer.managed_logins.resize(kMaxManagedTold);
    }
    return answer;
}

} // namespace latchkey::agent
