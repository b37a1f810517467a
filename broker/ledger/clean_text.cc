// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/clean_text.h"

#include <cstdint>

namespace latchkey::ledger {
namespace {

std::uint32_t byte_at(std::string_view text, std::size_t i) {
    return static_cast<std::uint8_t>(text[i]);
}

// Length of the character at the start, 0 where it is no well-formed UTF-8 or a control character (C0, DEL,
// C1, and the marks that turn the direction of writing).
std::size_t character_length(std::string_view text) {
    const std::uint32_t first = byte_at(text, 0);
    if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
    const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
    std::uint32_t point = first & (0xffu >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte_at(text, i) & 0xc0) != 0x80) return 0;
        point = point << 6 | (byte_at(text, i) & 0x3f);
    }
    const bool is_overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    const bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
    const bool is_control = point < 0xa0 || (point >= 0x2028 && point <= 0x202e) ||
                            (point >= 0x2066 && point <= 0x2069) || point == 0x200e || point == 0x200f;
    return is_overlong || is_surrogate || is_control || point > 0x10ffff ? 0 : length;
}

} // namespace

std::string clean_text(std::string_view raw, std::size_t limit) {
    std::string clean;
    clean.reserve(raw.size() < limit ? raw.size() : limit);
    while (!raw.empty()) {
        const std::size_t length = character_length(raw);
        const std::string_view next = length == 0 ? std::string_view("?") : raw.substr(0, length);
        if (clean.size() + next.size() > limit) break;
        clean += next;
        raw.remove_prefix(length == 0 ? 1 : length);
    }
    return clean;
}

} // namespace latchkey::ledger
