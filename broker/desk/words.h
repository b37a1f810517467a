// SPDX-License-Identifier: Apache-2.0
#pragma once
// A command line as a POSIX shell splits it into words: blanks, '…', "…" and \. No expansion of any kind:
// $, *, ~ and ` stand for themselves. Limits: 16 KiB, 128 words. Values; any thread.

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace latchkey::desk {

inline constexpr std::size_t kMaxCommandLine = 16 * 1024;
inline constexpr std::size_t kMaxWords = 128;

// kUsage for an unfinished quote and for control characters.
Result<std::vector<std::string>> split_words(std::string_view line);

// The word as a shell takes it back: quoted only where it must be.
std::string quote_word(std::string_view word);

} // namespace latchkey::desk
