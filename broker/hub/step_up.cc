// SPDX-License-Identifier: Apache-2.0
// What agents ask about sudo, and the answers.
#include "broker/hub/step_up.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/holders.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/vms.h"
#include "core/protocol/local.h"

namespace latchkey::hub {
namespace {

using protocol::HubStepUp;
using protocol::HubStepUpAnswer;
using protocol::StepUpDecision;
using protocol::SudoRule;

HubStepUpAnswer say(const HubStepUp& asked, StepUpDecision decision, std::string reason = {}) {
    HubStepUpAnswer answer;
    answer.request = asked.request;
    answer.decision = decision;
    answer.reason = std::move(reason);
    return answer;
}

// As one snapshot of the ledger shows it; no user where the session is none that this VM may ask about.
struct Subject {
    std::optional<ledger::User> user;
    std::optional<ledger::Unlock> unlock;
    std::vector<ledger::Rule> rules;
};

Result<Subject> read_subject(ledger::Transaction& t, const ledger::Vm& vm, const HubStepUp& asked) {
    Subject subject;
    if (asked.session == 0 || asked.session > INT64_MAX) return subject;
    LK_TRY(session, ledger::find_session(t, asked.session));
    const bool is_theirs = session && session->vm == vm.id && session->closed_at.value == 0 &&
                           session->user == asked.user && session->login == asked.login &&
                           session->key == asked.key;
    if (!is_theirs || asked.user.empty() || asked.key.empty()) return subject;
    LK_TRY(holder, ledger::find_holder(t, asked.key));
    if (!holder || holder->user.name != asked.user) return subject;
    LK_TRY(rules, ledger::rules_for_user(t, holder->user.id));
    subject.user = std::move(holder->user);
    subject.unlock = holder->unlock;
    subject.rules = std::move(rules);
    return subject;
}

ledger::Detail detail_of(const ledger::Vm& vm, const HubStepUp& asked) {
    ledger::Detail detail;
    detail.text("vm", vm.name.str()).text("login", asked.login.str()).id("session", asked.session);
    return detail;
}

// The denial stands whether its row can be written or not.
HubStepUpAnswer deny(const StepUpJudge& judge, const ledger::Vm& vm, const HubStepUp& asked,
                     const std::string& reason) {
    const auto left_out = judge.denials.admit(vm.id, judge.clock.monotonic());
    if (left_out) {
        ledger::Detail detail = detail_of(vm, asked);
        detail.text("reason", reason);
        if (*left_out != 0) detail.number("denials_not_recorded", static_cast<std::int64_t>(*left_out));
        const ledger::AuditEvent event{.actor = "vm:" + vm.name.str(),
                                       .action = "sudo.deny",
                                       .object = asked.user.str(),
                                       .outcome = "deny",
                                       .detail = detail.json()};
        const Status ignored =
            judge.ledger.write([&](ledger::Transaction& t) { return ledger::append_audit(t, event); });
    }
    return say(asked, StepUpDecision::kDeny, reason);
}

HubStepUpAnswer refusal(const HubStepUp& asked, const unlock::Outcome& outcome, Micros now) {
    if (outcome.blocked_until > now) {
        const std::int64_t seconds = (outcome.blocked_until - now).seconds() + 1;
        return say(asked, StepUpDecision::kDeny,
                   "too many wrong codes: locked for another " + std::to_string(seconds) + " s");
    }
    if (outcome.reason == "wrong code")
        return say(asked, StepUpDecision::kAsk, "wrong code; give the one that is shown now");
    if (outcome.reason == "code used before")
        return say(asked, StepUpDecision::kAsk, "this code has been used; wait for the next one");
    if (outcome.reason == "no factor")
        return say(asked, StepUpDecision::kDeny,
                   "you have no second factor; at the broker run: factor add totp");
    return say(asked, StepUpDecision::kDeny, outcome.reason + "; ask an admin");
}

} // namespace

Result<HubStepUpAnswer> judge_step_up(const StepUpJudge& judge, const ledger::Vm& vm,
                                      const HubStepUp& asked) {
    LK_TRY(subject, judge.ledger.read([&](ledger::Transaction& t) { return read_subject(t, vm, asked); }));
    if (!subject.user) {
        return deny(judge, vm, asked, "the broker does not know this session; log in again");
    }
    const policy::Decision decision = policy::decide(*subject.user, subject.rules, asked.login, vm);
    if (!decision.is_allowed()) return deny(judge, vm, asked, decision.reason + "; ask an admin");
    const policy::SudoPolicy policy = policy::sudo_policy(decision.rules);
    if (policy.rule == SudoRule::kUnsaid) return say(asked, StepUpDecision::kUnsaid);
    if (policy.rule == SudoRule::kDenied)
        return deny(judge, vm, asked,
                    "policy allows no sudo for " + asked.login.str() + " here; ask an admin");
    if (!subject.unlock)
        return deny(judge, vm, asked, "your unlock has ended; open one: log in to the broker by ssh");
    if (policy.rule == SudoRule::kFree) return say(asked, StepUpDecision::kAllow);
    if (asked.code.empty()) return say(asked, StepUpDecision::kAsk);

    const Micros ends_at = judge.clock.now() + policy.grace;
    const auto record = [&](ledger::Transaction& t) {
        ledger::Detail detail = detail_of(vm, asked);
        return ledger::append_audit(t, {asked.user.str(), "sudo.allow", asked.user.str(), "allow",
                                        detail.time("ends_at", ends_at).json()});
    };
    LK_TRY(outcome, judge.factors.step_up(subject.user->id, as_text(asked.code.view()), "vm:" + vm.name.str(),
                                          record));
    if (!outcome.accepted) return refusal(asked, outcome, judge.clock.now());
    HubStepUpAnswer answer = say(asked, StepUpDecision::kAllow);
    answer.ends_at = ends_at;
    return answer;
}

void Hub::State::take_step_up(const LinkPtr& link, HubStepUp asked) {
    if (parts.factors == nullptr) {
        protocol::Unsupported answer;
        answer.type = static_cast<std::uint8_t>(protocol::Type::kHubStepUp);
        link->send(answer);
    } else if (link->step_ups >= kMaxStepUpsAtOnce) {
        link->send(say(asked, StepUpDecision::kDeny, "too many at once on this VM; try again"));
    } else {
        ++link->step_ups;
        auto shared = std::make_shared<const HubStepUp>(std::move(asked));
        asio::co_spawn(io, answer_step_up(link, std::move(shared)), asio::detached);
    }
}

asio::awaitable<void> Hub::State::answer_step_up(LinkPtr link, std::shared_ptr<const HubStepUp> asked) {
    const auto judge = [this, vm = link->vm](const HubStepUp& question) {
        return judge_step_up({parts.ledger, *parts.factors, parts.clock, sudo_denials}, *vm, question);
    };
    const std::uint64_t judged_after = access_takings;
    auto first = [judge, asked] { return judge(*asked); };
    auto answer = co_await offload(step_up_pool, std::move(first));
    if (answer && answer->decision == StepUpDecision::kAllow && judged_after != access_takings) {
        // Something was taken away meanwhile: the code stays spent, but the rest is judged again.
        auto again = [judge, asked] {
            HubStepUp without_code;
            without_code.request = asked->request;
            without_code.session = asked->session;
            without_code.user = asked->user;
            without_code.login = asked->login;
            without_code.key = asked->key;
            return judge(without_code);
        };
        auto second = co_await offload(step_up_pool, std::move(again));
        const bool still_stands = second && second->decision != StepUpDecision::kDeny;
        if (!still_stands) answer = std::move(second);
    }
    if (!answer) {
        log_of(LogLevel::kError, *link->vm, "fail to judge sudo", " why=\"" + answer.error().line() + "\"");
        answer = say(*asked, StepUpDecision::kDeny, "the broker cannot judge now; try again later");
    }
    link->send(*answer);
    --link->step_ups;
}

} // namespace latchkey::hub
