// SPDX-License-Identifier: Apache-2.0
#pragma once
// Answers the PAM module, which runs in sshd's monitor as root. Account: was this very monitor's login
// decided by Latchkey? Session: binds it to the exact credential that sshd accepted, which the helper's
// question alone cannot tell (a key is asked for before it is proven). A managed login without both is
// denied, and where sshd would linger after a refused session, its monitor is ended. The loop's thread only.

#include <string>

#include "agent/gate/session_book.h"
#include "core/protocol/local.h"

namespace latchkey::agent {

class AccountGate {
public:
    AccountGate(AgentState& state, Loop& loop, Monitors& monitors, SessionBook& sessions,
                const Processes& processes)
        : state_(state), loop_(loop), monitors_(monitors), sessions_(sessions), processes_(processes) {}

    protocol::AccountAnswer check(pid_t asker, const protocol::AccountCheck& request);
    protocol::SessionAnswer open(pid_t asker, const protocol::SessionOpen& request);
    // After an open() that allowed a session which then could not be written down: a restarted agent would
    // not know it, and no revocation would end it.
    protocol::SessionAnswer take_back(pid_t asker, const protocol::SessionOpen& request, const Error& why);
    void close(pid_t asker);

private:
    Status still_good(const AllowedLogin& allowed) const;
    protocol::SessionAnswer refuse(const ProcessId& monitor, const protocol::SessionOpen& request,
                                   const AllowedLogin* allowed, const std::string& reason);
    void end_if_it_lingers(const ProcessId& monitor, const Login& login);
    protocol::SessionAnswer bind(const ProcessId& monitor, const protocol::SessionOpen& request,
                                 const AllowedLogin& allowed);

    AgentState& state_;
    Loop& loop_;
    Monitors& monitors_;
    SessionBook& sessions_;
    const Processes& processes_;
};

// The credential in SSH_AUTH_INFO_0: the one line "publickey TYPE BASE64" among those of other methods.
// kRefused where there is none or more than one.
Result<Offer> read_auth_info(const Login& login, std::string_view auth_info);

} // namespace latchkey::agent
