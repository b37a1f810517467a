// SPDX-License-Identifier: Apache-2.0
#pragma once
// The auth phase of sudo: asks the agent whether a code of the second factor is due, asks the person for it
// in the prompt itself, and has it judged. PAM_IGNORE outside of sudo and where Latchkey has no say,
// PAM_SUCCESS, PAM_AUTH_ERR for a code that did not do (sudo asks again), PAM_CRED_INSUFFICIENT for what
// another try would not change (sudo gives up at once). Two seconds for each question that needs no person,
// six for the code's judgement; how long a person types is not counted. May throw bad_alloc.

#include "pam/caller.h"
#include "pam/options.h"

namespace latchkey::pam {

bool is_sudo(const Caller& caller);
// Root calls sudo, to become somebody else: nothing is gained that could be gated.
bool is_sudo_of_root(const Caller& caller);
int authenticate(const Caller& caller, const Options& options);
// PAM_SUCCESS where authenticate() of this handle was, so that `success=done` ends this stack as well.
int set_credentials(const Caller& caller, const Options& options);

} // namespace latchkey::pam
