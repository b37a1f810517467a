// SPDX-License-Identifier: Apache-2.0
#pragma once
// For the tests of this folder: a store opened through the SDK's fake host, and rows as text to compare.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/sdk/fake_host.h"
#include "plugins/sqlite/sqlite_store.h"

namespace latchkey::sqlite {

inline lk_value null() {
    return {LK_NULL, 0, {nullptr, 0}};
}
inline lk_value integer(std::int64_t value) {
    return {LK_INTEGER, value, {nullptr, 0}};
}
inline lk_value text(std::string_view value) {
    return {LK_TEXT, 0, sdk::lend(value)};
}
inline lk_value blob(std::string_view value) {
    return {LK_BLOB, 0, sdk::lend(value)};
}

// "7", "'text'", "x'00ff'", "null", joined by commas.
inline std::string row_text(std::span<const lk_value> values) {
    std::string line;
    for (const lk_value& value : values) {
        if (!line.empty()) line += ',';
        if (value.type == LK_NULL) line += "null";
        if (value.type == LK_INTEGER) line += std::to_string(value.integer);
        if (value.type == LK_TEXT) line += "'" + std::string(sdk::text(value.bytes)) + "'";
        if (value.type == LK_BLOB) line += "x'" + to_hex(sdk::view(value.bytes)) + "'";
    }
    return line;
}

using Lines = std::vector<std::string>;

struct Ran {
    Lines rows;
    std::int64_t changed = 0;
};

inline Result<Ran> run(sdk::StoreConnection& connection, std::string_view sql,
                       const std::vector<lk_value>& parameters = {}) {
    Ran ran;
    const lk_row_sink sink{&ran.rows,
                           [](void* rows, const lk_value* values, std::size_t count) -> std::int32_t {
                               static_cast<Lines*>(rows)->push_back(row_text({values, count}));
                               return LK_OK;
                           }};
    LK_TRY(changed, connection.run(sql, parameters, sdk::RowSink(&sink)));
    ran.changed = changed;
    return ran;
}

inline Lines rows(sdk::StoreConnection& connection, std::string_view sql,
                  const std::vector<lk_value>& parameters = {}) {
    const auto ran = run(connection, sql, parameters);
    return ran ? ran->rows : Lines{ran.error().message};
}

// The code of what must fail.
inline Code code_of(const Status& status) {
    EXPECT_FALSE(status);
    return status ? Code::kInternal : status.error().code;
}
inline Code code_of(const Result<Ran>& ran) {
    EXPECT_FALSE(ran);
    return ran ? Code::kInternal : ran.error().code;
}

struct TestDatabase {
    explicit TestDatabase(std::map<std::string, std::string> settings = {{"path", ":memory:"}})
        : host(std::move(settings)), store(std::move(*SqliteStore::open(host.host()))) {}

    std::unique_ptr<sdk::StoreConnection> connect() { return std::move(*store->connect()); }

    sdk::FakeHost host;
    std::unique_ptr<SqliteStore> store;
};

} // namespace latchkey::sqlite
