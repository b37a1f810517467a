// SPDX-License-Identifier: Apache-2.0
#pragma once
// One connection to the database: statements, transactions, one savepoint. One thread at a time.

#include <optional>
#include <string>
#include <vector>

#include "plugins/sdk/store.h"
#include "plugins/sqlite/handles.h"
#include "plugins/sqlite/statement.h"

namespace latchkey::sqlite {

class Connection : public sdk::StoreConnection {
public:
    Connection(Database database, std::string where)
        : database_(std::move(database)), where_(std::move(where)) {}

    Result<std::int64_t> run(std::string_view sql, std::span<const lk_value> parameters,
                             const sdk::RowSink& rows) override;
    Status run_script(std::string_view sql) override;
    Status begin(bool for_writing) override;
    Status commit() override;
    Status rollback() override;
    Status savepoint() override { return control("SAVEPOINT latchkey"); }
    Status release_savepoint() override { return control("RELEASE latchkey"); }
    Status rollback_to_savepoint() override;

private:
    Status step_all(const Statement& statement, const sdk::RowSink* rows);
    Status control(std::string_view sql);
    Status still_open() const;
    Failure noted(int result);

    Database database_; // outlives the statements: declared first
    std::string where_;
    StatementCache cache_;
    std::vector<lk_value> row_;
    bool in_transaction_ = false;
    // SQLite ends a transaction by itself where it cannot go on (a full disk). Until rollback() each call
    // repeats why, so that no later statement commits on its own.
    std::optional<Error> ended_by_;
};

} // namespace latchkey::sqlite
