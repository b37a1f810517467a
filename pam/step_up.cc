// SPDX-License-Identifier: Apache-2.0
#include "pam/step_up.h"

#include <syslog.h>

#include "pam/agent.h"
#include "pam/break_glass.h"
#include "pam/managed_logins.h"

namespace latchkey::pam {
namespace {

using protocol::StepUpAnswer;
using protocol::StepUpVerdict;

constexpr std::string_view kNoAgent =
    "the agent on this machine does not answer; an admin looks at: systemctl status latchkey-agent";

int give_up(const Caller& caller, const Login& login, std::string_view for_person, const std::string& why) {
    caller.tell("Latchkey: " + std::string(for_person));
    caller.log(LOG_NOTICE, "deny sudo login=" + login.str() + ": " + why);
    return PAM_CRED_INSUFFICIENT;
}

int second_factor_without_agent(const Caller& caller, const Options& options, const Login& login,
                                const Error& error) {
    const Finding finding = look_up(options.managed, login);
    if (finding.standing == Standing::kUnmanaged) return PAM_IGNORE;
    std::string why = error.line();
    if (finding.standing == Standing::kUnknown)
        why += "; and the managed logins are not known: " + finding.why;
    return give_up(caller, login, kNoAgent, why);
}

int allow(const Caller& caller) {
    return caller.remember_stepped_up() ? PAM_SUCCESS : PAM_BUF_ERR;
}

int ask_person(const Caller& caller, const Options& options, const Login& login, const std::string& prompt) {
    auto code = caller.prompt(prompt);
    if (!code) {
        return give_up(caller, login, "a code is needed, and sudo may not or cannot ask for it here",
                       code.error().line());
    }
    if (code->empty()) {
        caller.tell("Latchkey: no code was given");
        return PAM_AUTH_ERR; // no failure to count, and nothing to judge
    }
    protocol::StepUpCode question;
    question.login = login;
    question.service = caller.item(PAM_SERVICE);
    question.code = std::move(*code);
    Bytes encoded = protocol::encode(question);
    const auto frame = ask_agent(options.socket, encoded, protocol::kStepUpCodeTime);
    wipe(encoded);
    const auto answer = frame ? protocol::decode<StepUpAnswer>(*frame) : fail(frame.error());
    if (!answer) return second_factor_without_agent(caller, options, login, answer.error());
    switch (answer->verdict) {
        case StepUpVerdict::kAllow:
            return allow(caller);
        case StepUpVerdict::kAsk:
            caller.tell("Latchkey: " + answer->reason);
            caller.log(LOG_NOTICE, "refuse a code login=" + login.str() + ": " + answer->reason);
            return PAM_AUTH_ERR;
        case StepUpVerdict::kUnmanaged:
            return PAM_IGNORE;
        case StepUpVerdict::kDeny:
            break;
    }
    return give_up(caller, login, answer->reason, answer->reason);
}

} // namespace

bool is_sudo(const Caller& caller) {
    return caller.item(PAM_SERVICE).starts_with("sudo");
}

bool is_sudo_of_root(const Caller& caller) {
    return is_sudo(caller) && caller.is_called_by_root();
}

int authenticate(const Caller& caller, const Options& options) {
    // Elsewhere a code must not stand for a password: su asks for another account's.
    if (!is_sudo(caller)) return PAM_IGNORE;
    const auto login = caller.login();
    if (!login) return login.error().code == Code::kMalformed ? PAM_IGNORE : PAM_USER_UNKNOWN;
    if (is_break_glass(options, *login)) return PAM_IGNORE;
    protocol::StepUp question;
    question.login = *login;
    question.service = caller.item(PAM_SERVICE);
    const auto answer = ask<StepUpAnswer>(options.socket, question);
    if (!answer) return second_factor_without_agent(caller, options, *login, answer.error());
    switch (answer->verdict) {
        case StepUpVerdict::kUnmanaged:
            return PAM_IGNORE;
        case StepUpVerdict::kAllow:
            return allow(caller);
        case StepUpVerdict::kAsk:
            return ask_person(caller, options, *login, answer->prompt);
        case StepUpVerdict::kDeny:
            break;
    }
    return give_up(caller, *login, answer->reason, answer->reason);
}

int set_credentials(const Caller& caller, const Options& /*options*/) {
    return caller.has_stepped_up() ? PAM_SUCCESS : PAM_IGNORE;
}

} // namespace latchkey::pam
