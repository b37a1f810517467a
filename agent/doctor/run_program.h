// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs one program to its end, or to the deadline: then its whole process group is killed and the answer is
// kTimedOut. Standard input is /dev/null, the environment a plain one (C locale, the system's PATH). What it
// prints is kept up to 1 MiB. kNotFound: no such program. Any thread.

#include "agent/doctor/machine.h"

namespace latchkey::agent::doctor {

Result<Ran> run_program(const Words& argv, Micros time_limit);

} // namespace latchkey::agent::doctor
