// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why this VM would let a plain key in as an account, or would not, by what it knows now: no question to the
// broker, nothing changed. The last line is the verdict, "allowed: …", "denied: …" or "open: …" where the
// broker would be asked; it agrees with KeyGate::decide(). The loop's thread only.

#include <string>
#include <vector>

#include "agent/gate/agent_state.h"
#include "agent/sessions/sessions.h"

namespace latchkey::agent {

std::vector<std::string> explain(const AgentState& state, const std::vector<BoundSession>& sessions,
                                 const Login& login, const Fingerprint& key);

} // namespace latchkey::agent
