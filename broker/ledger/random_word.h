// SPDX-License-Identifier: Apache-2.0
#pragma once
// Randomness of the kernel as ids and as words for people. Any thread; waits only before the kernel's
// generator is seeded, and cannot fail after.

#include <cstdint>
#include <string>
#include <string_view>

namespace latchkey::ledger {

// Digits and lower-case letters without those that look like another; 5 bits a character.
inline constexpr std::string_view kWordAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

std::uint64_t random_number();
std::string random_word(std::size_t length);

} // namespace latchkey::ledger
