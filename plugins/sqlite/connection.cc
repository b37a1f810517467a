// SPDX-License-Identifier: Apache-2.0
#include "plugins/sqlite/connection.h"

namespace latchkey::sqlite {

// The failure of a call just made, remembered where it cost the transaction.
Failure Connection::noted(int result) {
    Failure made = failure(database_.get(), result, where_);
    if (in_transaction_ && sqlite3_get_autocommit(database_.get()) != 0) ended_by_ = made.error;
    return made;
}

Status Connection::still_open() const {
    if (ended_by_) return fail(*ended_by_);
    return {};
}

Status Connection::step_all(const Statement& statement, const sdk::RowSink* rows) {
    for (;;) {
        const int result = statement.step();
        if (result == SQLITE_DONE) return {};
        if (result != SQLITE_ROW) return noted(result);
        if (rows == nullptr) continue;
        LK_CHECK(statement.read_row(row_));
        LK_CHECK(rows->row(row_));
    }
}

Result<std::int64_t> Connection::run(std::string_view sql, std::span<const lk_value> parameters,
                                     const sdk::RowSink& rows) {
    LK_CHECK(still_open());
    LK_TRY(statement, cache_.get(database_.get(), sql, where_));
    // sqlite3_changes keeps its value over statements that change nothing.
    const std::int64_t before = sqlite3_total_changes64(database_.get());
    Status done = statement->bind(parameters);
    if (done) done = step_all(*statement, &rows);
    statement->reset();
    LK_CHECK(std::move(done));
    if (sqlite3_total_changes64(database_.get()) == before) return 0;
    return sqlite3_changes64(database_.get());
}

Status Connection::run_script(std::string_view sql) {
    LK_CHECK(still_open());
    const int result = sqlite3_exec(database_.get(), std::string(sql).c_str(), nullptr, nullptr, nullptr);
    if (result != SQLITE_OK) return noted(result);
    return {};
}

Status Connection::control(std::string_view sql) {
    LK_CHECK(still_open());
    LK_TRY(statement, cache_.get(database_.get(), sql, where_));
    Status done = step_all(*statement, nullptr);
    statement->reset();
    return done;
}

Status Connection::begin(bool for_writing) {
    LK_CHECK(control(for_writing ? "BEGIN IMMEDIATE" : "BEGIN"));
    in_transaction_ = true;
    return {};
}

Status Connection::commit() {
    LK_CHECK(control("COMMIT"));
    in_transaction_ = false;
    return {};
}

Status Connection::rollback() {
    in_transaction_ = false;
    ended_by_.reset();
    if (sqlite3_get_autocommit(database_.get()) != 0) return {}; // ended before
    return control("ROLLBACK");
}

Status Connection::rollback_to_savepoint() {
    LK_CHECK(control("ROLLBACK TO latchkey"));
    return control("RELEASE latchkey"); // the savepoint outlives ROLLBACK TO
}

} // namespace latchkey::sqlite
