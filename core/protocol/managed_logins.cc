// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/managed_logins.h"

#include <array>
#include <cstdint>

namespace latchkey::protocol {
namespace {

constexpr std::string_view kHead = "# written by latchkey-agent";
constexpr std::string_view kCountMark = "; logins ";
constexpr std::string_view kSumMark = "; crc32 ";

constexpr std::array<std::uint32_t, 256> crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320U : 0U);
        table[i] = value;
    }
    return table;
}

std::uint32_t crc32(std::string_view text) {
    static constexpr auto table = crc_table();
    std::uint32_t value = 0xFFFFFFFFU;
    for (const char c : text) value = (value >> 8) ^ table[(value ^ static_cast<std::uint8_t>(c)) & 0xFFU];
    return value ^ 0xFFFFFFFFU;
}

std::string hex(std::uint32_t value) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text(8, '0');
    for (auto place = text.rbegin(); place != text.rend(); ++place, value >>= 4) *place = digits[value & 15U];
    return text;
}

std::string head_of(std::size_t count, std::string_view body) {
    return std::string(kHead) + std::string(kCountMark) + std::to_string(count) + std::string(kSumMark) +
           hex(crc32(body)) + "\n";
}

Failure tampered() {
    return fail(Code::kTampered, "the list of managed logins is torn or altered",
                "start latchkey-agent: it writes the list anew");
}

} // namespace

std::string encode_managed_logins(const std::vector<Login>& logins) {
    std::string body;
    for (const Login& login : logins) body += login.str() + "\n";
    return head_of(logins.size(), body) + body;
}

Result<std::vector<Login>> parse_managed_logins(std::string_view text) {
    const std::size_t head_end = text.find('\n');
    if (head_end == std::string_view::npos || text.back() != '\n') return tampered();
    const std::string_view head = text.substr(0, head_end + 1);
    const std::string_view body = text.substr(head.size());
    std::vector<Login> logins;
    for (std::string_view rest = body; !rest.empty();) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(line.size() + 1);
        auto login = Login::parse(line);
        if (!login) return tampered();
        logins.push_back(*std::move(login));
    }
    const bool is_of_before = head.substr(0, head_end) == kHead;
    if (!is_of_before && head != head_of(logins.size(), body)) return tampered();
    return logins;
}

} // namespace latchkey::protocol
