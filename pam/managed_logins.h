// SPDX-License-Identifier: Apache-2.0
#pragma once
// The agent's list of the logins that Latchkey manages, for the time when the agent does not answer
// (core/protocol/managed_logins.h). Denied when in doubt: a list that is missing beside an agent's state
// folder, unreadable, foreign or damaged says kUnknown, which callers treat as managed. Only where the state
// folder itself is missing has this machine never joined, and every login is kUnmanaged.

#include <string>

#include "core/base/names.h"

namespace latchkey::pam {

enum class Standing { kUnmanaged = 1, kManaged, kUnknown };

struct Finding {
    Standing standing = Standing::kUnknown;
    std::string why; // for the log, where kUnknown
};

Finding look_up(const std::string& path, const Login& login);

} // namespace latchkey::pam
