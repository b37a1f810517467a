// SPDX-License-Identifier: Apache-2.0
#include "plugins/sqlite/statement.h"

#include <algorithm>
#include <charconv>

namespace latchkey::sqlite {
namespace {

// All SQL stands in the ledger, so the number of texts is small; the limit only bounds a fault.
constexpr std::size_t kMostStatements = 1000;
constexpr std::size_t kMostParameters = 999;

bool is_blank(std::string_view sql) {
    return sql.find_first_not_of(" \t\r\n;") == std::string_view::npos;
}

// "$12" -> 12; 0 for any other name.
unsigned parameter_number(const char* name) {
    const std::string_view text = name == nullptr ? "" : name;
    unsigned number = 0;
    if (text.size() < 2 || text[0] != '$') return 0;
    const auto end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + 1, end, number);
    return parsed.ec == std::errc() && parsed.ptr == end && number <= kMostParameters ? number : 0;
}

} // namespace

Result<Statement> Statement::prepare(sqlite3* database, std::string_view sql, std::string_view where) {
    sqlite3_stmt* raw = nullptr;
    const char* tail = nullptr;
    const int result = sqlite3_prepare_v3(database, sql.data(), static_cast<int>(sql.size()),
                                          SQLITE_PREPARE_PERSISTENT, &raw, &tail);
    Statement statement;
    statement.handle_.reset(raw);
    if (result != SQLITE_OK) return failure(database, result, where);
    if (raw == nullptr) return fail(Code::kUsage, "an empty SQL statement");
    if (!is_blank(sql.substr(static_cast<std::size_t>(tail - sql.data())))) {
        return fail(Code::kUsage, "more than one SQL statement in one run");
    }
    for (int i = 1; i <= sqlite3_bind_parameter_count(raw); ++i) {
        const unsigned number = parameter_number(sqlite3_bind_parameter_name(raw, i));
        if (number == 0) return fail(Code::kUsage, "an SQL parameter that is not $1, $2, …");
        statement.number_at_.push_back(number);
        statement.highest_ = std::max(statement.highest_, number);
    }
    return statement;
}

Status Statement::bind(std::span<const lk_value> parameters) const {
    if (parameters.size() != highest_) {
        return fail(Code::kUsage, "an SQL statement with " + std::to_string(highest_) +
                                      " parameters was given " + std::to_string(parameters.size()));
    }
    for (std::size_t i = 0; i < number_at_.size(); ++i) {
        LK_CHECK(bind_one(static_cast<int>(i) + 1, parameters[number_at_[i] - 1]));
    }
    return {};
}

Status Statement::bind_one(int position, const lk_value& value) const {
    sqlite3_stmt* raw = handle_.get();
    // A null pointer would bind NULL, also for an empty text.
    const void* data = value.bytes.data == nullptr ? "" : static_cast<const void*>(value.bytes.data);
    int result = SQLITE_MISMATCH;
    switch (value.type) {
        case LK_NULL:
            result = sqlite3_bind_null(raw, position);
            break;
        case LK_INTEGER:
            result = sqlite3_bind_int64(raw, position, value.integer);
            break;
        case LK_TEXT:
            result = sqlite3_bind_text64(raw, position, static_cast<const char*>(data), value.bytes.size,
                                         SQLITE_STATIC, SQLITE_UTF8);
            break;
        case LK_BLOB:
            result = sqlite3_bind_blob64(raw, position, data, value.bytes.size, SQLITE_STATIC);
            break;
        default:
            return fail(Code::kUsage, "an SQL parameter of an unknown type");
    }
    if (result == SQLITE_OK) return {};
    return fail(result == SQLITE_TOOBIG ? Code::kTooLarge : Code::kInternal,
                std::string("cannot bind an SQL parameter: ") + sqlite3_errstr(result));
}

Status Statement::read_row(std::vector<lk_value>& row) const {
    sqlite3_stmt* raw = handle_.get();
    const int columns = sqlite3_data_count(raw);
    row.assign(static_cast<std::size_t>(columns), lk_value{LK_NULL, 0, {nullptr, 0}});
    for (int i = 0; i < columns; ++i) {
        lk_value& value = row[static_cast<std::size_t>(i)];
        switch (sqlite3_column_type(raw, i)) {
            case SQLITE_NULL:
                break;
            case SQLITE_INTEGER:
                value.type = LK_INTEGER;
                value.integer = sqlite3_column_int64(raw, i);
                break;
            case SQLITE_TEXT:
                value.type = LK_TEXT;
                value.bytes.data = sqlite3_column_text(raw, i);
                value.bytes.size = static_cast<std::size_t>(sqlite3_column_bytes(raw, i));
                break;
            case SQLITE_BLOB:
                value.type = LK_BLOB;
                value.bytes.data = static_cast<const std::uint8_t*>(sqlite3_column_blob(raw, i));
                value.bytes.size = static_cast<std::size_t>(sqlite3_column_bytes(raw, i));
                break;
            default:
                return fail(Code::kUnsupported, "a result column holds a floating-point number");
        }
    }
    return {};
}

void Statement::reset() const {
    sqlite3_reset(handle_.get()); // repeats the error of the last step, which has been told
    sqlite3_clear_bindings(handle_.get());
}

Result<const Statement*> StatementCache::get(sqlite3* database, std::string_view sql,
                                             std::string_view where) {
    const auto found = statements_.find(sql);
    if (found != statements_.end()) return &found->second;
    LK_TRY(statement, Statement::prepare(database, sql, where));
    if (statements_.size() >= kMostStatements) statements_.clear();
    return &statements_.emplace(std::string(sql), std::move(statement)).first->second;
}

} // namespace latchkey::sqlite
