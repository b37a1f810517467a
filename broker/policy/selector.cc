// SPDX-License-Identifier: Apache-2.0
#include "broker/policy/selector.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace latchkey::policy {
namespace {

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

Failure bad_network(std::string_view text, const std::string& why) {
    return fail(Code::kMalformed, "'" + std::string(text) + "' is no network address: " + why,
                "write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32");
}

bool has_bits_behind(const std::uint8_t* address, std::size_t size, unsigned mask) {
    for (std::size_t bit = mask; bit < size * 8; ++bit) {
        if ((address[bit / 8] >> (7 - bit % 8) & 1) != 0) return true;
    }
    return false;
}

} // namespace

bool matches_pattern(std::string_view pattern, std::string_view text) {
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos; // the last '*' seen, and how far it has eaten
    std::size_t eaten = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            eaten = t;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++eaten;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

std::vector<std::string> split_list(std::string_view text) {
    std::vector<std::string> parts;
    for (;;) {
        const auto comma = text.find(',');
        parts.emplace_back(trimmed(text.substr(0, comma)));
        if (comma == std::string_view::npos) return parts;
        text.remove_prefix(comma + 1);
    }
}

Result<std::string> canonical_network(std::string_view text) {
    const auto slash = text.find('/');
    const std::string host(text.substr(0, slash));
    const int family = host.find(':') == std::string::npos ? AF_INET : AF_INET6;
    std::array<std::uint8_t, sizeof(in6_addr)> address{};
    if (::inet_pton(family, host.c_str(), address.data()) != 1) return bad_network(text, "it does not parse");
    const std::size_t size = family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
    static constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (family == AF_INET6 && std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.begin()))
        return bad_network(text, "sshd sees such a peer as IPv4");

    std::array<char, INET6_ADDRSTRLEN> shown{};
    if (::inet_ntop(family, address.data(), shown.data(), shown.size()) == nullptr)
        return bad_network(text, "it does not parse");
    if (slash == std::string_view::npos) return std::string(shown.data());

    const std::string_view digits = text.substr(slash + 1);
    unsigned mask = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), mask);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || mask > size * 8)
        return bad_network(text, "its mask does not fit");
    if (has_bits_behind(address.data(), size, mask)) return bad_network(text, "bits are set behind its mask");
    return std::string(shown.data()) + "/" + std::to_string(mask);
}

} // namespace latchkey::policy
