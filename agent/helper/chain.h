// SPDX-License-Identifier: Apache-2.0
#pragma once
// What stands behind --then: another AuthorizedKeysCommand, asked for logins that are not managed. It runs
// in our place (exec), as the same user and with the words that sshd filled in, so that its answer and its
// exit status are sshd's to judge.

#include <string>

#include "core/base/names.h"
#include "core/base/result.h"

namespace latchkey::helper {

// Only where no agent answers: is this login unmanaged, by the list that the agent keeps? Denied when in
// doubt: a list that is missing, unreadable or damaged says no. A machine without the agent's state folder
// has never joined: yes.
bool is_unmanaged_by_list(const std::string& list, const Login& login);

// Does not return where it succeeds. The program must stand where only root can change it, as sshd demands
// of its command: file and all folders above it root's own, and not writable by others. kRefused if not.
Status run_in_our_place(char** words);

} // namespace latchkey::helper
