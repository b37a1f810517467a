// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "broker/desk/command.h"

namespace latchkey::desk {
namespace {

constexpr Flag kJson{"--json", false, false};

const Flag* find(std::span<const Flag> flags, std::string_view name) {
    if (name == kJson.name) return &kJson;
    const auto found =
        std::find_if(flags.begin(), flags.end(), [&](const Flag& flag) { return flag.name == name; });
    return found == flags.end() ? nullptr : &*found;
}

} // namespace

Result<Arguments> Arguments::parse(std::span<const std::string> words, std::span<const Flag> flags,
                                   std::size_t least, std::size_t most) {
    Arguments parsed;
    bool only_positional = false;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (only_positional || word.size() < 2 || word[0] != '-') {
            parsed.positional_.push_back(word);
            continue;
        }
        if (word == "--") {
            only_positional = true;
            continue;
        }
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const Flag* const flag = find(flags, name);
        if (flag == nullptr) return fail(Code::kUsage, "unknown flag " + name);
        if (!flag->is_repeatable && parsed.has(name)) return fail(Code::kUsage, name + " is given twice");
        std::string value;
        if (flag->takes_value && equals != std::string::npos) {
            value = word.substr(equals + 1);
        } else if (flag->takes_value) {
            // Not the next flag: `--reason $WHY --wait 1m` with WHY not set.
            if (i + 1 == words.size() || words[i + 1].starts_with("--"))
                return fail(Code::kUsage, name + " wants a value");
            value = words[++i];
            // ssh takes the quotes off: --reason "laptop stolen" comes as two words. The text goes on to the
            // next flag.
            while (flag->is_text && i + 1 < words.size() && !words[i + 1].starts_with("--"))
                value += " " + words[++i];
        } else if (equals != std::string::npos) {
            return fail(Code::kUsage, name + " takes no value");
        }
        parsed.flags_.emplace_back(name, std::move(value));
    }
    if (parsed.size() < least) return fail(Code::kUsage, "too few arguments");
    if (parsed.size() > most) return fail(Code::kUsage, "too many arguments");
    return parsed;
}

bool Arguments::has(std::string_view flag) const {
    return std::any_of(flags_.begin(), flags_.end(), [&](const auto& given) { return given.first == flag; });
}

std::optional<std::string> Arguments::one(std::string_view flag) const {
    for (const auto& [name, value] : flags_) {
        if (name == flag) return value;
    }
    return std::nullopt;
}

std::vector<std::string> Arguments::all(std::string_view flag) const {
    std::vector<std::string> values;
    for (const auto& [name, value] : flags_) {
        if (name == flag) values.push_back(value);
    }
    return values;
}

} // namespace latchkey::desk
