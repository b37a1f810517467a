// SPDX-License-Identifier: Apache-2.0
#pragma once
// One statement with its parameters: values of the model become values of the store in one place. Inside the
// ledger only; the transaction's thread.

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "broker/ledger/ledger.h"
#include "core/base/bytes.h"

namespace latchkey::ledger {

using plugin_host::Value;
using Row = std::vector<Value>;

// Values for parameters.
inline Value to_value(std::int64_t value) {
    return value;
}
inline Value to_value(std::uint64_t value) {
    return static_cast<std::int64_t>(value);
}
inline Value to_value(std::uint32_t value) {
    return static_cast<std::int64_t>(value);
}
inline Value to_value(bool value) {
    return static_cast<std::int64_t>(value);
}
inline Value to_value(Micros value) {
    return value.value;
}
inline Value to_value(std::string_view value) {
    return std::string(value);
}
inline Value to_value(const std::string& value) {
    return value;
}
inline Value to_value(const char* value) {
    return std::string(value);
}
inline Value to_value(ByteView value) {
    return to_bytes(value);
}
inline Value to_value(const Bytes& value) {
    return value;
}
inline Value to_value(const std::array<std::uint8_t, 32>& value) { // a MAC, a hash
    return Bytes(value.begin(), value.end());
}
template <class Tag>
Value to_value(const Name<Tag>& value) {
    return value.str();
}
template <class Tag>
Value to_value(Number<Tag> value) {
    return static_cast<std::int64_t>(value.value);
}
template <class E>
requires std::is_enum_v<E> Value to_value(E value) {
    return static_cast<std::int64_t>(value);
}

template <class... Parameters>
Result<plugin_host::Rows> query(Transaction& t, std::string_view sql, const Parameters&... parameters) {
    const std::array<Value, sizeof...(Parameters)> values{to_value(parameters)...};
    return t.sql.run(sql, values);
}

// The first row, if any.
template <class... Parameters>
Result<std::optional<Row>> query_one(Transaction& t, std::string_view sql, const Parameters&... parameters) {
    LK_TRY(rows, query(t, sql, parameters...));
    if (rows.rows.empty()) return std::optional<Row>();
    return std::optional<Row>(std::move(rows.rows.front()));
}

template <class... Parameters>
Status execute(Transaction& t, std::string_view sql, const Parameters&... parameters) {
    LK_TRY(rows, query(t, sql, parameters...));
    return {};
}

// For a change whose answer the job does not need: it may travel with the next statement (store.h). Where it
// fails, the commit is made again without this, so that the job that it belongs to meets the failure itself.
template <class... Parameters>
Status post(Transaction& t, std::string_view sql, const Parameters&... parameters) {
    const std::array<Value, sizeof...(Parameters)> values{to_value(parameters)...};
    if (t.scratch.may_post) return t.sql.post(sql, values);
    LK_TRY(rows, t.sql.run(sql, values));
    return {};
}

// For an update that must meet exactly one row; `what` was changed or removed meanwhile otherwise.
template <class... Parameters>
Status execute_on_one(Transaction& t, const std::string& what, std::string_view sql,
                      const Parameters&... parameters) {
    LK_TRY(rows, query(t, sql, parameters...));
    if (rows.changed == 1) return {};
    return fail(Code::kConflict, what + " was changed meanwhile", "try again");
}

} // namespace latchkey::ledger
