// SPDX-License-Identifier: Apache-2.0
#pragma once
// Ends sessions without logind's help: by the process table and pidfds alone. Blocking, any thread.

#include "agent/sessions/sessions.h"

namespace latchkey::agent {

class TreeEnder : public SessionEnder {
public:
    EndResult end(const BoundSession& session, const posix::Deadline& deadline) override;
};

} // namespace latchkey::agent
