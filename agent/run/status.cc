// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <nlohmann/json.hpp>

#include "agent/config/agent_config.h"
#include "agent/run/ask_status.h"
#include "agent/run/commands.h"
#include "core/posix/stream.h"
#include "core/protocol/local.h"

namespace latchkey::agent {
namespace {

template <class Answer, class Question>
Result<Answer> ask(const std::string& socket, const Question& question) {
    const auto deadline = posix::Deadline::after(from_seconds(2));
    auto stream = posix::Stream::connect_unix(socket, deadline);
    if (!stream)
        return fail(stream.error().code, "no agent answers: " + stream.error().message,
                    "start it, or ask as root");
    LK_CHECK(stream->send(protocol::encode(question), deadline));
    LK_TRY(frame, stream->receive(protocol::kLocalFrameLimit, deadline));
    if (frame.type == protocol::Type::kRefused) {
        LK_TRY(refused, protocol::decode<protocol::Refused>(frame));
        return fail(Code::kRefused, refused.message, refused.next);
    }
    return protocol::decode<Answer>(frame);
}

Result<AgentConfig> read(const ConfigChoice& choice) {
    if (choice.file.empty()) return load_config(kDefaultConfigFile, MissingFile::kMeansDefaults);
    return load_config(choice.file, MissingFile::kIsAnError);
}

double signed_offset_seconds(const protocol::AgentStatusAnswer& answer) {
    const double seconds = static_cast<double>(answer.offset_magnitude) / 1e6;
    return answer.broker_is_ahead ? seconds : -seconds;
}

nlohmann::json to_json(const protocol::AgentStatusAnswer& answer) {
    nlohmann::json sessions = nlohmann::json::array();
    for (const protocol::LiveSession& session : answer.sessions) {
        sessions.push_back({{"id", session.id},
                            {"user", session.user.str()},
                            {"login", session.login.str()},
                            {"key", session.key.str()},
                            {"serial", session.serial.value},
                            {"from", session.from},
                            {"since_micros", session.since.value},
                            {"monitor_pid", session.monitor_pid}});
    }
    nlohmann::json logins = nlohmann::json::array();
    for (const Login& login : answer.managed_logins) logins.push_back(login.str());
    return {{"connected", answer.connected},
            {"serving", answer.serving},
            {"vm", answer.vm.str()},
            {"broker", answer.broker},
            {"epoch", answer.epoch.value},
            {"last_heartbeat_micros", answer.last_heartbeat.value},
            {"broker_minus_vm_clock_seconds", signed_offset_seconds(answer)},
            {"version", answer.version},
            {"trouble", answer.trouble},
            {"cached_grants", answer.cached_grants},
            {"sessions", sessions},
            {"managed_logins", logins},
            {"managed_logins_more", protocol::more_managed(answer)}};
}

void print_for_people(const protocol::AgentStatusAnswer& answer) {
    std::printf("vm        %s\nbroker    %s (%s)\nserving   %s\nepoch     %llu\n", answer.vm.str().c_str(),
                answer.broker.c_str(), answer.connected ? "connected" : "not connected",
                answer.serving ? "yes" : "no", static_cast<unsigned long long>(answer.epoch.value));
    std::printf("clock     broker %+.3f s\ngrants    %u held\nmanaged  ", signed_offset_seconds(answer),
                answer.cached_grants);
    for (const Login& login : answer.managed_logins) std::printf(" %s", login.str().c_str());
    if (const std::uint32_t more = protocol::more_managed(answer); more > 0)
        std::printf(" and %u more", more);
    std::printf("\nsessions  %zu\n", answer.sessions.size());
    for (const protocol::LiveSession& session : answer.sessions) {
        std::printf("  %s as %s from %s, certificate %llu, sshd %u\n", session.user.str().c_str(),
                    session.login.str().c_str(), session.from.c_str(),
                    static_cast<unsigned long long>(session.serial.value), session.monitor_pid);
    }
    if (!answer.trouble.empty()) std::printf("trouble   %s\n", answer.trouble.c_str());
}

} // namespace

Result<protocol::AgentStatusAnswer> ask_agent(const std::string& socket) {
    return ask<protocol::AgentStatusAnswer>(socket, protocol::AgentStatus{});
}

Status run_explain(const ConfigChoice& choice, const std::string& login, const std::string& key) {
    protocol::ExplainLogin question;
    LK_TRY(asked_login, Login::parse(login));
    LK_TRY(asked_key, Fingerprint::parse(key));
    question.login = std::move(asked_login);
    question.key = std::move(asked_key);
    LK_TRY(config, read(choice));
    LK_TRY(answer, ask<protocol::ExplainLoginAnswer>(config.socket, question));
    for (const std::string& line : answer.lines) std::printf("%s\n", line.c_str());
    return {};
}

Status run_status(const ConfigChoice& choice, bool as_json) {
    LK_TRY(config, read(choice));
    LK_TRY(answer, ask_agent(config.socket));
    if (as_json) {
        std::printf("%s\n", to_json(answer).dump().c_str());
    } else {
        print_for_people(answer);
    }
    return {};
}

} // namespace latchkey::agent
