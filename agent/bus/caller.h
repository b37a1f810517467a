// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who may ask more than what every local user may know: root, and the members of the group, as the user
// database has them now. In doubt nobody else. May block on that database; any thread.

#include <sys/types.h>

#include <string>

#include "core/base/result.h"

namespace latchkey::agent::bus {

// kUnauthenticated where the user is neither, kUnavailable where the database does not say.
Status check_caller(uid_t caller, const std::string& group);

} // namespace latchkey::agent::bus
