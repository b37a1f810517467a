// SPDX-License-Identifier: Apache-2.0
#pragma once
// Ends sessions through logind, and trusts no answer of it: TerminateSession succeeds without effect on a
// session that is opening or closing, and lets processes live that ignore SIGTERM. So: cut the connection by
// SIGTERM to its sshd, without asking anybody; wait out `opening`, terminate, verify that the monitor and the
// whole scope are gone, else escalate, at last by pidfd. Blocking, any thread.

#include <functional>
#include <memory>

#include "agent/sessions/logind.h"
#include "agent/sessions/sessions.h"

namespace latchkey::agent {

class LogindEnder : public SessionEnder {
public:
    using Connect = std::function<Result<std::unique_ptr<Logind>>(const posix::Deadline&)>;
    explicit LogindEnder(Connect connect) : connect_(std::move(connect)) {}

    EndResult end(const BoundSession& session, const posix::Deadline& deadline) override;
    EndResult end_jobs(std::span<const BoundSession> ended, const posix::Deadline& deadline) override;
    std::vector<Stray> strays() const override;
    bool is_without_session(const ProcessId& leader) const override;

private:
    Connect connect_;
};

} // namespace latchkey::agent
