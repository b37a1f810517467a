// SPDX-License-Identifier: Apache-2.0
#pragma once
// Free text of people and machines, made fit for a TEXT column, a JSON document and a terminal: well-formed
// UTF-8, no control characters (each becomes '?', as does what is not UTF-8), cut at the limit between
// characters.

#include <string>
#include <string_view>

namespace latchkey::ledger {

inline constexpr std::size_t kTextLimit = 1000; // bytes

std::string clean_text(std::string_view raw, std::size_t limit = kTextLimit);

} // namespace latchkey::ledger
