// SPDX-License-Identifier: Apache-2.0
#pragma once
// `doctor --fix`: mends what is safe to mend, one thing after another, and says what it did. Each file that
// it changes is written whole, the old one kept beside it as FILE.latchkey-old (with the time, from the
// second on). sshd's configuration is first shown to sshd in a folder of its own; it counts only if `sshd -t`
// takes it and `sshd -T` says the same as before for local, root's and unmanaged logins, Latchkey's own lines
// apart. What fails afterwards is taken back. Killed at any moment, it leaves only whole files, each step of
// which sshd accepts; the next run goes on. A second run changes nothing.

#include <string>
#include <vector>

#include "agent/doctor/checks.h"
#include "agent/doctor/doctor.h"

namespace latchkey::agent::doctor {

std::vector<Deed> fix(Machine& machine, const std::string& config_file);

} // namespace latchkey::agent::doctor
