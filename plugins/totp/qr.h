// SPDX-License-Identifier: Apache-2.0
#pragma once
// A QR code for a terminal: two rows of modules a line, in UTF-8 half blocks, without any escape sequence
// (ssh prints keyboard-interactive text with control characters made visible). Light modules and the quiet
// zone are the drawn ones: right on a dark terminal, reversed on a light one, and phones read both.

#include <string>
#include <string_view>

namespace latchkey::totp {

// Empty where the text is too long for a code.
std::string draw_qr(std::string_view text);

} // namespace latchkey::totp
