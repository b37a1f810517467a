// SPDX-License-Identifier: Apache-2.0
#include "core/base/bytes.h"

#include <array>

namespace latchkey {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> make_reverse() {
    std::array<std::int8_t, 256> table{};
    for (auto& entry : table) entry = -1;
    for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
        table[static_cast<std::uint8_t>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    }
    return table;
}
constexpr auto kReverse = make_reverse();

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

} // namespace

std::string to_hex(ByteView bytes) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    out.reserve(bytes.size() * 2);
    for (std::uint8_t byte : bytes) {
        out += digits[byte >> 4];
        out += digits[byte & 15];
    }
    return out;
}

Result<Bytes> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) return fail(Code::kMalformed, "hex text of odd length");
    Bytes out;
    out.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_digit(text[i]);
        const int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0)
            return fail(Code::kMalformed, "hex text with a character that is not a digit");
        out.push_back(static_cast<std::uint8_t>(high * 16 + low));
    }
    return out;
}

std::string to_base64(ByteView bytes, Padding padding) {
    const std::size_t rest = bytes.size() % 3;
    const std::size_t tail = rest == 0 ? 0 : padding == Padding::kWith ? 4 : rest + 1;
    std::string out(bytes.size() / 3 * 4 + tail, '='); // sized once: each certificate line goes through here
    char* to = out.data();
    const std::uint8_t* from = bytes.data();
    for (const std::uint8_t* const end = from + (bytes.size() - rest); from != end; from += 3) {
        const std::uint32_t group = static_cast<std::uint32_t>(from[0] << 16 | from[1] << 8 | from[2]);
        *to++ = kAlphabet[group >> 18];
        *to++ = kAlphabet[group >> 12 & 63];
        *to++ = kAlphabet[group >> 6 & 63];
        *to++ = kAlphabet[group & 63];
    }
    if (rest > 0) {
        const std::uint32_t group = static_cast<std::uint32_t>(from[0] << 16) |
                                    (rest == 2 ? static_cast<std::uint32_t>(from[1] << 8) : 0U);
        *to++ = kAlphabet[group >> 18];
        *to++ = kAlphabet[group >> 12 & 63];
        if (rest == 2) *to = kAlphabet[group >> 6 & 63];
    }
    return out;
}

Result<Bytes> from_base64(std::string_view text, Padding padding) {
    if (padding == Padding::kWith) {
        if (text.size() % 4 != 0)
            return fail(Code::kMalformed, "base64 text whose length is no multiple of 4");
        for (int i = 0; i < 2 && !text.empty() && text.back() == '='; ++i) text.remove_suffix(1);
    }
    if (text.size() % 4 == 1) return fail(Code::kMalformed, "base64 text of impossible length");
    Bytes out;
    out.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t group = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const int value = kReverse[static_cast<std::uint8_t>(c)];
        if (value < 0) return fail(Code::kMalformed, "base64 text with a character outside its alphabet");
        group = (group << 6 | static_cast<std::uint32_t>(value)) & 0xffffffU;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out.push_back(static_cast<std::uint8_t>(group >> bits));
        }
    }
    if ((group & ((1U << bits) - 1U)) != 0)
        return fail(Code::kMalformed, "base64 text with stray bits at its end");
    return out;
}

} // namespace latchkey
