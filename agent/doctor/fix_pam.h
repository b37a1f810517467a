// SPDX-License-Identifier: Apache-2.0
#pragma once
// PAM's part of --fix: our two lines in sshd's service file. PAM has nothing like `sshd -t`, and a line whose
// module is missing or that finds no list of managed logins denies everybody: so nothing is written unless
// the module is there and the agent, or its list, is. The draft is read as libpam reads it before it counts.

#include "agent/doctor/checks.h"
#include "agent/doctor/doctor.h"

namespace latchkey::agent::doctor {

void fix_pam(const Look& look, const Findings& findings, std::vector<Deed>& deeds);

} // namespace latchkey::agent::doctor
