// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the signer takes away from itself: core dumps, its memory's way to swap, root, new privileges. Called
// once, at start, from the only thread there is.

#include <optional>
#include <string>

#include "core/base/result.h"

#include <sys/types.h>

namespace latchkey::signer {

// No core dumps, no ptrace by others, memory locked as far as the system lets us.
void harden();

struct UserIds {
    uid_t uid;
    gid_t gid;
};
Result<UserIds> find_unix_user(const std::string& name); // kConfig where there is none

// For good: groups, gid, uid, no new privileges. No-op where we are not root.
Status drop_root(const UserIds& to);

} // namespace latchkey::signer
