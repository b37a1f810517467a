// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/words.h"

namespace latchkey::desk {
namespace {

constexpr std::string_view kPlain =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:,=@%+";

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && !is_blank(c)) || byte == 0x7f;
}

} // namespace

Result<std::vector<std::string>> split_words(std::string_view line) {
    if (line.size() > kMaxCommandLine) return fail(Code::kUsage, "command line is over 16 KiB");
    std::vector<std::string> words;
    std::string word;
    bool in_word = false;
    char quote = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (is_control(c)) return fail(Code::kUsage, "control character in the command line");
        if (quote == '\'') {
            if (c == '\'') {
                quote = 0;
            } else {
                word += c;
            }
        } else if (c == '\\') {
            if (i + 1 == line.size()) return fail(Code::kUsage, "command line ends in a backslash");
            const char next = line[++i];
            if (is_control(next)) return fail(Code::kUsage, "control character in the command line");
            in_word = true;
            // Inside "…" a backslash stands for itself but before these.
            const bool escapes =
                quote == 0 || std::string_view("\"\\$`").find(next) != std::string_view::npos;
            if (!escapes) word += c;
            word += next;
        } else if (quote == '"') {
            if (c == '"') {
                quote = 0;
            } else {
                word += c;
            }
        } else if (c == '\'' || c == '"') {
            quote = c;
            in_word = true;
        } else if (is_blank(c)) {
            if (in_word) words.push_back(std::move(word));
            word.clear();
            in_word = false;
        } else {
            word += c;
            in_word = true;
        }
        if (words.size() > kMaxWords) return fail(Code::kUsage, "over 128 words in the command line");
    }
    if (quote != 0) return fail(Code::kUsage, "a quote in the command line is not closed");
    if (in_word) words.push_back(std::move(word));
    return words;
}

std::string quote_word(std::string_view word) {
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) return std::string(word);
    std::string quoted = "'";
    for (const char c : word) {
        if (c == '\'') {
            quoted += "'\\''";
        } else {
            quoted += c;
        }
    }
    return quoted + "'";
}

} // namespace latchkey::desk
