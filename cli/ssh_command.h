// SPDX-License-Identifier: Apache-2.0
#pragma once
// How `ssh` is called: as a child whose stdout we read (a certificate), or in our place. The broker splits
// its command line as a shell does, so words are quoted for that. Main thread only.

#include <string>
#include <string_view>
#include <vector>

#include "cli/profile.h"
#include "core/base/result.h"

namespace latchkey::cli {

std::string quote(std::string_view word);

// ssh's arguments for a broker command with this profile.
std::vector<std::string> broker_command(const Profile& profile, const std::vector<std::string>& words);

// Runs argv with our stdin and stderr; its stdout comes back (64 KiB at most). kRefused where it exits other
// than 0.
Result<std::string> run_for_output(const std::vector<std::string>& argv);

// Becomes argv; returns only where that fails.
Error become(const std::vector<std::string>& argv);

} // namespace latchkey::cli
