// SPDX-License-Identifier: Apache-2.0
#include "pam/facilities.h"

#include <syslog.h>

#include "core/base/clock.h"
#include "pam/agent.h"
#include "pam/break_glass.h"
#include "pam/managed_logins.h"
#include "pam/session_scope.h"
#include "pam/step_up.h"

namespace latchkey::pam {
namespace {

void log_refusal(const Caller& caller, const Login& login, const std::string& why) {
    caller.log(LOG_NOTICE, "deny login=" + login.str() + ": " + why);
}

// The agent did not answer. Not PAM_AUTHINFO_UNAVAIL, which many a stack is told to pass over.
int without_agent(const Caller& caller, const Options& options, const Login& login, const Error& error) {
    const Finding finding = look_up(options.managed, login);
    if (finding.standing == Standing::kUnmanaged) return PAM_IGNORE;
    std::string why = error.line();
    if (finding.standing == Standing::kUnknown)
        why += "; and the managed logins are not known: " + finding.why;
    log_refusal(caller, login, why + "; look at: systemctl status latchkey-agent");
    return PAM_PERM_DENIED;
}

int by_verdict(const Caller& caller, const Login& login, protocol::Verdict verdict, const std::string& why) {
    switch (verdict) {
        case protocol::Verdict::kUnmanaged:
            return PAM_IGNORE;
        case protocol::Verdict::kAllow:
            return PAM_SUCCESS;
        case protocol::Verdict::kDeny:
            break;
    }
    log_refusal(caller, login, why);
    return PAM_PERM_DENIED;
}

// Nobody is kept out here: these accounts are for when everything else fails, a disk that is full among it.
int note_break_glass(const Caller& caller, const Options& options, const Login& login) {
    if (is_sudo(caller)) return PAM_IGNORE; // not a login: sudo names the account that somebody becomes
    const std::string from = caller.item(PAM_RHOST);
    caller.log(LOG_WARNING, "break-glass account used: login=" + login.str() + " from=" + from);
    const Status noted = record_use(options, {SystemClock().now(), login, caller.item(PAM_SERVICE), from});
    if (!noted) caller.log(LOG_CRIT, "the use cannot be recorded for the broker: " + noted.error().line());
    return PAM_IGNORE;
}

// A name that cannot be written in a policy is not managed; anything else about the user is a fault.
int without_login(const Error& error) {
    return error.code == Code::kMalformed ? PAM_IGNORE : PAM_USER_UNKNOWN;
}

} // namespace

int check_account(const Caller& caller, const Options& options) {
    if (is_sudo_of_root(caller)) return PAM_IGNORE;
    const auto login = caller.login();
    if (!login) return without_login(login.error());
    if (is_break_glass(options, *login)) return PAM_IGNORE;
    protocol::AccountCheck question;
    question.login = *login;
    question.service = caller.item(PAM_SERVICE);
    question.remote_host = caller.item(PAM_RHOST);
    const auto answer = ask<protocol::AccountAnswer>(options.socket, question);
    if (!answer) return without_agent(caller, options, *login, answer.error());
    // sudo's person is known and sits there; a stranger at sshd's door is told nothing.
    if (answer->verdict == protocol::Verdict::kDeny && is_sudo(caller))
        caller.tell("Latchkey: " + answer->reason);
    return by_verdict(caller, *login, answer->verdict, answer->reason);
}

int open_session(const Caller& caller, const Options& options) {
    const auto login = caller.login();
    if (!login) return without_login(login.error());
    if (is_break_glass(options, *login)) return note_break_glass(caller, options, *login);
    protocol::SessionOpen question;
    question.login = *login;
    question.service = caller.item(PAM_SERVICE);
    question.remote_host = caller.item(PAM_RHOST);
    question.auth_info = caller.environment("SSH_AUTH_INFO_0");
    question.xdg_session = caller.environment("XDG_SESSION_ID");
    const auto answer = ask<protocol::SessionAnswer>(options.socket, question);
    if (!answer) return without_agent(caller, options, *login, answer.error());
    const int decided = by_verdict(caller, *login, answer->verdict, answer->reason);
    if (decided != PAM_SUCCESS) return decided;
    if (!caller.remember_bound()) return PAM_BUF_ERR;
    if (options.scope == Scope::kOptional || !logind_is_due()) return PAM_SUCCESS;
    if (const Status placed = check_own_scope(question.xdg_session); !placed) {
        static_cast<void>(close_session(caller, options));
        log_refusal(caller, *login, placed.error().line());
        return PAM_PERM_DENIED;
    }
    return PAM_SUCCESS;
}

int close_session(const Caller& caller, const Options& options) {
    const auto login = caller.login();
    if (!login || !caller.is_bound()) return PAM_IGNORE;
    protocol::SessionClose question;
    question.login = *login;
    // The session ends in any case; an agent that did not hear of it notices that the process is gone.
    const auto answer = ask<protocol::Acknowledged>(options.socket, question);
    if (!answer) caller.log(LOG_WARNING, "close login=" + login->str() + ": " + answer.error().line());
    return PAM_SUCCESS;
}

} // namespace latchkey::pam
