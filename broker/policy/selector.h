// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text matching that rules use: name patterns ('*' and '?') and lists of network addresses. Pure; any thread.

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace latchkey::policy {

// Linear in pattern times text, whatever the pattern.
bool matches_pattern(std::string_view pattern, std::string_view text);

// "a, b,c" -> {"a", "b", "c"}, blanks around each dropped; empty parts stay, so that a caller can refuse
// them.
std::vector<std::string> split_list(std::string_view text);

// One address or network ("10.1.2.3", "10.0.0.0/8", "2001:db8::/32") in the form that sshd takes in from= and
// source-address. kMalformed: not an address, a mask too long, or bits set behind the mask (sshd would refuse
// it).
Result<std::string> canonical_network(std::string_view text);

} // namespace latchkey::policy
