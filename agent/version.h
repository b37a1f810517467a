// SPDX-License-Identifier: Apache-2.0
#pragma once
// The version as the project's CMakeLists.txt states it.

#include <string_view>

namespace latchkey::agent {

inline constexpr std::string_view kAgentVersion = LATCHKEY_VERSION;

} // namespace latchkey::agent
