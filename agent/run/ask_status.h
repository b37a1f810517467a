// SPDX-License-Identifier: Apache-2.0
#pragma once
// Asks the agent that runs what it knows, over its socket, within two seconds. kUnavailable: none answers.

#include <string>

#include "core/protocol/local.h"

namespace latchkey::agent {

Result<protocol::AgentStatusAnswer> ask_agent(const std::string& socket);

} // namespace latchkey::agent
