// SPDX-License-Identifier: Apache-2.0
#pragma once
// Break-glass accounts: never gated, whatever the agent says or does not say, and each use written down where
// the agent finds it. The list is the agent's, beside that of the managed logins; where it is missing,
// foreign or torn an account is not one of them.

#include "core/protocol/break_glass.h"
#include "pam/options.h"

namespace latchkey::pam {

bool is_break_glass(const Options& options, const Login& login);
// Waits for others 1 s at most. A failure is to be logged and stops nobody.
Status record_use(const Options& options, const protocol::BreakGlassUse& use);

} // namespace latchkey::pam
