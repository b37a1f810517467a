// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "broker/desk/text.h"

namespace latchkey::desk {
namespace {

using Json = nlohmann::ordered_json;

template <class... Ts>
struct Overloaded : Ts... {
    using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

Json to_json(const Value& value) {
    return std::visit(Overloaded{
                          [](std::monostate) { return Json(nullptr); },
                          [](bool flag) { return Json(flag); },
                          [](std::int64_t number) { return Json(number); },
                          [](const std::string& text) { return Json(text); },
                          [](Micros at) { return at.value == 0 ? Json(nullptr) : Json(time_rfc3339(at)); },
                          [](const std::vector<std::string>& list) { return Json(list); },
                          [](const RawJson& raw) {
                              Json parsed = Json::parse(raw.text, nullptr, false);
                              return parsed.is_discarded() ? Json(raw.text) : parsed;
                          },
                      },
                      value);
}

Json to_json(const Record& record) {
    Json object = Json::object();
    for (const Field& field : record) object[field.name] = to_json(field.value);
    return object;
}

std::string dumped(const Json& document, int indent) {
    return document.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string joined(const std::vector<std::string>& list) {
    std::string text;
    for (const std::string& entry : list) text += (text.empty() ? "" : ",") + entry;
    return text;
}

std::string to_text(const Value& value) {
    return printable(
        std::visit(Overloaded{
                       [](std::monostate) { return std::string("-"); },
                       [](bool flag) { return std::string(flag ? "yes" : "no"); },
                       [](std::int64_t number) { return std::to_string(number); },
                       [](const std::string& text) { return text.empty() ? "-" : text; },
                       [](Micros at) { return time_text(at); },
                       [](const std::vector<std::string>& list) { return list.empty() ? "-" : joined(list); },
                       [](const RawJson& raw) { return raw.text; },
                   },
                   value));
}

// Columns on a terminal, near enough: one a code point.
std::size_t columns(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string title(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
        return c == '_' ? ' ' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return name;
}

std::string cut(const std::string& line, unsigned width) {
    if (width == 0 || columns(line) <= width) return line;
    std::string kept;
    std::size_t used = 0;
    for (const char c : line) {
        const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
        if (starts && ++used >= width) break;
        kept += c;
    }
    return kept + "…";
}

} // namespace

std::string table_text(const std::vector<Record>& rows, unsigned width) {
    std::vector<std::vector<std::string>> cells;
    if (rows.empty()) return {};
    std::vector<std::string> header;
    for (const Field& field : rows.front()) {
        if (field.shown == Shown::kBoth) header.push_back(title(field.name));
    }
    cells.push_back(std::move(header));
    for (const Record& row : rows) {
        std::vector<std::string> line;
        for (const Field& field : row) {
            if (field.shown == Shown::kBoth) line.push_back(to_text(field.value));
        }
        cells.push_back(std::move(line));
    }
    std::vector<std::size_t> widths(cells.front().size(), 0);
    for (const auto& line : cells) {
        for (std::size_t i = 0; i < line.size() && i < widths.size(); ++i) {
            widths[i] = std::max(widths[i], columns(line[i]));
        }
    }
    std::string text;
    for (const auto& line : cells) {
        std::string built;
        for (std::size_t i = 0; i < line.size(); ++i) {
            built += line[i];
            if (i + 1 < line.size()) built.append(widths[i] - columns(line[i]) + 2, ' ');
        }
        text += cut(built, width) + "\n";
    }
    return text;
}

std::string object_text(const Record& record) {
    std::size_t widest = 0;
    for (const Field& field : record) {
        if (field.shown == Shown::kBoth) widest = std::max(widest, field.name.size());
    }
    std::string text;
    for (const Field& field : record) {
        if (field.shown != Shown::kBoth) continue;
        std::string name = field.name;
        std::replace(name.begin(), name.end(), '_', ' ');
        text += name + ":" + std::string(widest - name.size() + 1, ' ') + to_text(field.value) + "\n";
    }
    return text;
}

RawJson rows_json(const std::vector<Record>& rows) {
    Json list = Json::array();
    for (const Record& row : rows) list.push_back(to_json(row));
    return {list.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

std::string list_json(const std::string& name, const std::vector<Record>& rows) {
    Json list = Json::array();
    for (const Record& row : rows) list.push_back(to_json(row));
    Json document = Json::object();
    document[name] = std::move(list);
    return dumped(document, 2);
}

std::string object_json(const Record& record) {
    return dumped(to_json(record), 2);
}

std::string line_json(const Record& record) {
    return dumped(to_json(record), -1);
}

std::string error_json(const std::string& code, const std::string& message, const std::string& next) {
    Json document = Json::object();
    document["error"]["code"] = code;
    document["error"]["message"] = message;
    document["error"]["next"] = next;
    return dumped(document, 2);
}

} // namespace latchkey::desk
