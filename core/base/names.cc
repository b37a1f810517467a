// SPDX-License-Identifier: Apache-2.0
#include "core/base/names.h"

#include <algorithm>

namespace latchkey {
namespace {

bool is_lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

Status check_plain(std::string_view text, std::string_view what, std::size_t limit, std::string_view extra) {
    const bool good = !text.empty() && text.size() <= limit && is_lower_or_digit(text.front()) &&
                      std::all_of(text.begin(), text.end(), [&](char c) {
                          return is_lower_or_digit(c) || extra.find(c) != std::string_view::npos;
                      });
    if (good) return {};
    return fail(Code::kMalformed, "not a " + std::string(what),
                "use a-z, 0-9 and " + std::string(extra) + ", first a letter or digit, " +
                    std::to_string(limit) + " characters at most");
}

} // namespace

Status UserNameTag::check(std::string_view text) {
    return check_plain(text, "user name", 32, "._-");
}

Status GroupNameTag::check(std::string_view text) {
    return check_plain(text, "group name", 32, "._-");
}

Status VmNameTag::check(std::string_view text) {
    return check_plain(text, "VM name", 64, ".-");
}

Status LoginTag::check(std::string_view text) {
    static constexpr std::string_view forbidden = " /,:\"'\\`$*?!&|;<>(){}[]#%=~^";
    const bool good = !text.empty() && text.size() <= 32 && text.front() != '-' &&
                      std::all_of(text.begin(), text.end(), [](char c) {
                          return c > 0x20 && c < 0x7f && forbidden.find(c) == std::string_view::npos;
                      });
    if (good) return {};
    return fail(Code::kMalformed, "not a login name",
                "use the name of a Unix account, 32 characters at most");
}

Status FingerprintTag::check(std::string_view text) {
    static constexpr std::string_view prefix = "SHA256:";
    const bool good = text.size() == prefix.size() + 43 && text.substr(0, prefix.size()) == prefix &&
                      std::all_of(text.begin() + 7, text.end(), [](char c) {
                          return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '+' || c == '/';
                      });
    if (good) return {};
    return fail(Code::kMalformed, "not a SHA256 fingerprint",
                "use what `ssh-keygen -lf key.pub` prints: SHA256:…");
}

} // namespace latchkey
