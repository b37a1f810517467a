// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/break_glass.h"

#include <array>
#include <charconv>
#include <optional>

namespace latchkey::protocol {
namespace {

constexpr std::size_t kMaxWord = 128;

std::string word_of(std::string_view text) {
    if (text.empty()) return "-";
    std::string word(text.substr(0, kMaxWord));
    for (char& c : word) {
        if (c <= ' ' || c > '~') c = '?';
    }
    return word;
}

// AT LOGIN SERVICE FROM end
std::optional<BreakGlassUse> parse_line(std::string_view line) {
    std::array<std::string_view, 5> words;
    for (std::string_view& word : words) {
        word = line.substr(0, line.find(' '));
        line.remove_prefix(std::min(word.size() + 1, line.size()));
    }
    const bool is_plain = word_of(words[2]) == words[2] && word_of(words[3]) == words[3];
    if (!line.empty() || words[4] != "end" || !is_plain) return std::nullopt;
    BreakGlassUse use;
    const char* last = words[0].data() + words[0].size();
    const auto [end, problem] = std::from_chars(words[0].data(), last, use.at.value);
    auto login = Login::parse(words[1]);
    if (problem != std::errc() || end != last || !login) return std::nullopt;
    use.login = *std::move(login);
    use.service = words[2];
    if (words[3] != "-") use.from = words[3];
    return use;
}

} // namespace

std::string encode_use(const BreakGlassUse& use) {
    return std::to_string(use.at.value) + " " + use.login.str() + " " + word_of(use.service) + " " +
           word_of(use.from) + " end\n";
}

SpooledUses parse_uses(std::string_view spool) {
    SpooledUses read;
    while (!spool.empty()) {
        const std::string_view line = spool.substr(0, spool.find('\n'));
        spool.remove_prefix(std::min(line.size() + 1, spool.size()));
        if (line.empty()) continue;
        if (auto use = parse_line(line)) {
            read.uses.push_back(*std::move(use));
        } else {
            ++read.unreadable;
        }
    }
    return read;
}

} // namespace latchkey::protocol
