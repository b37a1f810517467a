// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a command has to say, once, for both readers: a person gets aligned text, --json one document with the
// same names. Ids and serials are strings (63 bits do not fit a JSON number), times RFC 3339 in UTC, null for
// never. Values; any thread.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/base/clock.h"

namespace latchkey::desk {

struct RawJson {
    std::string text; // a JSON document inside another one
};
using Value =
    std::variant<std::monostate, bool, std::int64_t, std::string, Micros, std::vector<std::string>, RawJson>;

enum class Shown : std::uint8_t { kBoth = 1, kJsonOnly };

struct Field {
    std::string name; // stable, snake_case
    Value value;
    Shown shown = Shown::kBoth;
};
using Record = std::vector<Field>;

inline Value text_or_null(const std::string& text) {
    return text.empty() ? Value() : Value(text);
}
inline Value count(std::uint64_t value) {
    return static_cast<std::int64_t>(value);
}

// width 0: as wide as it is; else the last column is cut.
std::string table_text(const std::vector<Record>& rows, unsigned width);
std::string object_text(const Record& record);

RawJson rows_json(const std::vector<Record>& rows); // a list, for a field
std::string list_json(const std::string& name, const std::vector<Record>& rows);
std::string object_json(const Record& record);
std::string line_json(const Record& record); // on one line
std::string error_json(const std::string& code, const std::string& message, const std::string& next);

} // namespace latchkey::desk
