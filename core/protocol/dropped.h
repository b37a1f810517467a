// SPDX-License-Identifier: Apache-2.0
#pragma once
// The extension of a Welcome by which a broker says why it ended the last connection: a text for the agent's
// log.

#include <string_view>

namespace latchkey::protocol {

inline constexpr std::string_view kDroppedExtension = "dropped";

} // namespace latchkey::protocol
