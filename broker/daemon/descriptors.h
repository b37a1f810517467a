// SPDX-License-Identifier: Apache-2.0
#pragma once
// File descriptors: an agent is one, a login and the store need theirs too. Where the kernel gives fewer than
// the configuration has agents, the agents get what the others leave, and the log says so.

#include <cstddef>
#include <functional>
#include <string>

#include "broker/daemon/config.h"

namespace latchkey::daemon {

// hub.max_agents, or fewer: what is left of `descriptors` for agents, at least 1. Fewer: one line to `warn`.
std::size_t room_for_agents(std::size_t descriptors, const Config& config,
                            const std::function<void(const std::string&)>& warn);

} // namespace latchkey::daemon
