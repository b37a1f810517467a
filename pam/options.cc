// SPDX-License-Identifier: Apache-2.0
#include "pam/options.h"

#include <cstring>
#include <string_view>

namespace latchkey::pam {
namespace {

bool take(Options& options, std::string_view word) {
    const auto value_of = [&](std::string_view name) { return word.substr(name.size()); };
    if (word == "debug") {
        options.debug = true;
    } else if (word.starts_with("socket=/")) {
        options.socket = value_of("socket=");
    } else if (word.starts_with("managed=/")) {
        options.managed = value_of("managed=");
    } else if (word == "on_refusal=exit") {
        options.on_refusal = OnRefusal::kExit;
    } else if (word == "on_refusal=return") {
        options.on_refusal = OnRefusal::kReturn;
    } else if (word == "scope=required") {
        options.scope = Scope::kRequired;
    } else if (word == "scope=optional") {
        options.scope = Scope::kOptional;
    } else {
        return false;
    }
    return true;
}

} // namespace

Options read_options(std::span<const char* const> words) {
    Options options;
    for (const char* word : words) {
        if (!take(options, word)) options.unknown.emplace_back(word);
    }
    return options;
}

bool ends_process(OnRefusal on_refusal, const char* service) noexcept {
    if (on_refusal != OnRefusal::kByService) return on_refusal == OnRefusal::kExit;
    return service != nullptr && std::strncmp(service, "sshd", 4) == 0;
}

} // namespace latchkey::pam
