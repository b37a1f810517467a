// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/step_ups.h"

#include <algorithm>

#include "agent/gate/session_of.h"
#include "agent/log/log.h"

namespace latchkey::agent {
namespace {

using protocol::StepUpDecision;
using protocol::StepUpVerdict;
using protocol::SudoRule;

constexpr const char* kNoBroker =
    "the broker cannot be reached, so no code can be checked; try again later, or use a local account";

protocol::StepUpAnswer say(StepUpVerdict verdict, std::string reason = {}) {
    protocol::StepUpAnswer answer;
    answer.verdict = verdict;
    answer.reason = std::move(reason);
    return answer;
}

std::string describe(const BoundSession& session) {
    return "session=" + std::to_string(session.id) + " user=" + session.user.str() +
           " login=" + session.login.str();
}

} // namespace

bool is_sudo(std::string_view service) {
    return service.starts_with("sudo");
}

// nullptr: answered already.
StepUps::Shared StepUps::question_of(pid_t asker, const Login& login, Reply reply) {
    const auto process = processes_.find(asker);
    const auto session = session_of(asker, sessions_.all(), processes_);
    if (!process || !session) {
        const bool is_ours = !process || state_.is_managed(login);
        reply(is_ours ? say(StepUpVerdict::kDeny,
                            "this is not inside of a login by Latchkey; log in by ssh and use sudo there")
                      : say(StepUpVerdict::kUnmanaged));
        return nullptr;
    }
    auto question = std::make_shared<Question>(Question{*process, *session, false, std::move(reply)});
    if (state_.troubles.denies()) {
        deny(*question, state_.troubles.line());
        return nullptr;
    }
    const revocation::Credential credential{session->user, session->key, session->serial,
                                            session->ca,   state_.vm,    session->issued_at};
    if (state_.revocations.covers(credential)) {
        known_.erase(session->monitor);
        deny(*question, "this login is revoked");
        return nullptr;
    }
    return question;
}

void StepUps::ask(pid_t asker, const protocol::StepUp& request, Reply reply) {
    const Shared question = question_of(asker, request.login, std::move(reply));
    if (question) send(question, {});
}

void StepUps::judge(pid_t asker, const protocol::StepUpCode& request, Reply reply) {
    const Shared question = question_of(asker, request.login, std::move(reply));
    if (!question) return;
    if (request.code.empty()) return question->reply(say(StepUpVerdict::kAsk, "no code was given"));
    question->has_code = true;
    send(question, request.code.clone());
}

void StepUps::check(pid_t asker, const protocol::AccountCheck& request, AccountReply reply) {
    const auto in_words = [reply](const protocol::StepUpAnswer& answer) {
        protocol::AccountAnswer account;
        account.reason = answer.reason;
        if (answer.verdict == StepUpVerdict::kUnmanaged) account.verdict = protocol::Verdict::kUnmanaged;
        if (answer.verdict == StepUpVerdict::kAllow) account.verdict = protocol::Verdict::kAllow;
        if (answer.verdict == StepUpVerdict::kAsk)
            account.reason =
                "a code is due and sudo did not ask for it; set timestamp_timeout=0 and no NOPASSWD in "
                "sudoers";
        reply(account);
    };
    const Shared question = question_of(asker, request.login, in_words);
    if (!question) return;
    const auto known = known_.find(question->session.monitor);
    if (known != known_.end() && known->second.passed == question->asker)
        return question->reply(say(StepUpVerdict::kAllow));
    send(question, {});
}

bool StepUps::can_ask_broker() const {
    return broker_knows_ && state_.lease.standing() == Standing::kOnline && pending_.size() < kMaxStepUps;
}

void StepUps::send(const Shared& question, SecretBytes code) {
    if (!can_ask_broker()) return go_alone(*question);
    const std::uint64_t request = ++last_request_;
    pending_[request] = question;
    loop_.after(question->has_code ? kCodeTime : kStepUpTime, [this, request] { finish(request, nullptr); });
    protocol::HubStepUp message;
    message.request = request;
    message.session = question->session.id;
    message.user = question->session.user;
    message.login = question->session.login;
    message.key = question->session.key;
    message.code = std::move(code);
    hub_.send(protocol::encode(message));
}

void StepUps::take(const protocol::HubStepUpAnswer& answer) {
    finish(answer.request, &answer);
}

void StepUps::finish(std::uint64_t request, const protocol::HubStepUpAnswer* answer) {
    const auto place = pending_.find(request);
    if (place == pending_.end()) return; // too late, or answered
    const Shared question = std::move(place->second);
    pending_.erase(place);
    if (answer == nullptr) return go_alone(*question);
    // While the broker thought about it the session may have ended.
    const auto still = session_of(question->asker.pid, sessions_.all(), processes_);
    if (!still || still->id != question->session.id) return deny(*question, "this login has ended");
    conclude(*question, *answer);
}

void StepUps::conclude(const Question& question, const protocol::HubStepUpAnswer& answer) {
    Known& known = known_[question.session.monitor];
    switch (answer.decision) {
        case StepUpDecision::kUnsaid:
            known = Known();
            known.rule = SudoRule::kUnsaid;
            return question.reply(say(StepUpVerdict::kUnmanaged));
        case StepUpDecision::kAllow:
            if (question.has_code) {
                known.rule = SudoRule::kFactor;
                known.grace_ends = std::min(answer.ends_at, state_.broker_clock.now() + kMaxSudoGrace);
                known.holds_offline = true;
            } else {
                known = Known();
                known.rule = SudoRule::kFree;
            }
            return allow(question, question.has_code ? "a code" : "policy");
        case StepUpDecision::kAsk: {
            known.rule = SudoRule::kFactor;
            if (question.has_code) return question.reply(say(StepUpVerdict::kAsk, answer.reason));
            if (is_in_grace(question.session)) {
                known.holds_offline = true;
                return allow(question, "its grace");
            }
            protocol::StepUpAnswer due = say(StepUpVerdict::kAsk);
            due.prompt = "Latchkey code for " + question.session.user.str() + " on " + state_.vm.str() + ": ";
            return question.reply(std::move(due));
        }
        case StepUpDecision::kDeny:
            break;
    }
    // A code that did not do, or a lock, leaves nothing of what was given before.
    known = Known();
    known.rule = SudoRule::kDenied;
    deny(question, answer.reason);
}

// The broker's last word on this session, else what its grant said, else (the agent was restarted) unknown,
// which asks for a code.
SudoRule StepUps::rule_of(const BoundSession& session) const {
    const auto known = known_.find(session.monitor);
    if (known != known_.end() && known->second.rule) return *known->second.rule;
    const auto* records = monitors_.of(session.monitor);
    if (records != nullptr) {
        for (const AllowedLogin& allowed : *records) {
            if (allowed.offer.login == session.login && allowed.credential.key == session.key &&
                allowed.credential.serial == session.serial)
                return allowed.sudo;
        }
    }
    return SudoRule::kFactor;
}

bool StepUps::is_in_grace(const BoundSession& session) const {
    const auto known = known_.find(session.monitor);
    return known != known_.end() && state_.broker_clock.latest() < known->second.grace_ends;
}

void StepUps::go_alone(const Question& question) {
    const BoundSession& session = question.session;
    const bool is_older_broker = !broker_knows_ && state_.lease.standing() == Standing::kOnline;
    switch (rule_of(session)) {
        case SudoRule::kUnsaid:
            return question.reply(say(StepUpVerdict::kUnmanaged));
        case SudoRule::kFree:
            if (!state_.lease.serves_held_grants()) return deny(question, kNoBroker);
            return allow(question, "policy, as last heard");
        case SudoRule::kDenied:
            return deny(question, "the broker said no when it was last heard, and cannot be reached now");
        case SudoRule::kFactor:
            break;
    }
    const auto known = known_.find(session.monitor);
    if (known != known_.end() && known->second.holds_offline && is_in_grace(session))
        return allow(question, "its grace");
    const bool was_never_said = known == known_.end() && monitors_.of(session.monitor) == nullptr;
    // It has no such policy, and of this session nothing else was ever said.
    if (is_older_broker && was_never_said) return question.reply(say(StepUpVerdict::kUnmanaged));
    deny(question, kNoBroker);
}

void StepUps::allow(const Question& question, const std::string& why) {
    known_[question.session.monitor].passed = question.asker;
    log_info("allow sudo " + describe(question.session) + " by=" + why);
    question.reply(say(StepUpVerdict::kAllow));
}

void StepUps::deny(const Question& question, const std::string& reason) {
    log_info("deny sudo " + describe(question.session) + " why=" + reason);
    question.reply(say(StepUpVerdict::kDeny, reason));
}

void StepUps::meet_broker(const std::vector<std::string>& capabilities) {
    broker_knows_ = std::ranges::find(capabilities, protocol::kStepUpCapability) != capabilities.end();
    make_stale(); // a Refresh may have been missed
}

void StepUps::lose_broker() {
    while (!pending_.empty()) finish(pending_.begin()->first, nullptr);
}

void StepUps::make_stale() {
    for (auto& [monitor, known] : known_) known.holds_offline = false;
}

void StepUps::drop_dead() {
    const auto sessions = sessions_.all();
    std::erase_if(known_, [&](const auto& entry) {
        return std::ranges::find(sessions, entry.first, &BoundSession::monitor) == sessions.end();
    });
}

} // namespace latchkey::agent
