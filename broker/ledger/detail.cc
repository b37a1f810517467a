// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/detail.h"

#include "broker/ledger/clean_text.h"

namespace latchkey::ledger {

void Detail::begin(std::string_view name) {
    if (json_.size() > 1) json_ += ',';
    json_ += '"';
    json_ += name;
    json_ += "\":";
}

void Detail::quote(std::string_view value) {
    json_ += '"';
    for (const char c : clean_text(value)) { // no control characters are left in it
        if (c == '"' || c == '\\') json_ += '\\';
        json_ += c;
    }
    json_ += '"';
}

Detail& Detail::text(std::string_view name, std::string_view value) {
    if (value.empty()) return *this;
    begin(name);
    quote(value);
    return *this;
}

Detail& Detail::number(std::string_view name, std::int64_t value) {
    begin(name);
    json_ += std::to_string(value);
    return *this;
}

Detail& Detail::id(std::string_view name, std::uint64_t value) {
    return text(name, std::to_string(value));
}

Detail& Detail::list(std::string_view name, const std::vector<std::string>& values) {
    if (values.empty()) return *this;
    begin(name);
    char separator = '[';
    for (const std::string& value : values) {
        json_ += separator;
        quote(value);
        separator = ',';
    }
    json_ += ']';
    return *this;
}

} // namespace latchkey::ledger
