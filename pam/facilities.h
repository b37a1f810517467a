// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the module decides, as PAM return codes: PAM_IGNORE for a login that is none of ours, PAM_SUCCESS,
// PAM_PERM_DENIED. May block for two seconds each. May throw bad_alloc: module.cc is the boundary.

#include "pam/caller.h"
#include "pam/options.h"

namespace latchkey::pam {

// May this sshd process log in, that is: was its key decided by Latchkey?
int check_account(const Caller& caller, const Options& options);
// Binds the session to the exact credential.
int open_session(const Caller& caller, const Options& options);
int close_session(const Caller& caller, const Options& options);

} // namespace latchkey::pam
