// SPDX-License-Identifier: Apache-2.0
#pragma once
// The embedded default store: SQLite 3.40, WAL, every commit synced. Settings: path (absolute, in a folder
// that exists; or ":memory:" for tests, shared by all connections of this store) and busy_timeout_ms.
// One connection stays open for the store's life: it keeps the memory database, and the WAL.

#include <memory>
#include <string>

#include "plugins/sdk/plugin.h"
#include "plugins/sqlite/handles.h"

namespace latchkey::sqlite {

class SqliteStore : public sdk::StorePlugin {
public:
    static Result<std::unique_ptr<SqliteStore>> open(const sdk::Host& host);

    const char* dialect() const override { return "sqlite"; }
    Result<std::unique_ptr<sdk::StoreConnection>> connect() override;

private:
    SqliteStore() = default;
    Result<Database> open_database() const;
    Status execute(sqlite3* database, const char* sql) const;

    std::string path_; // as the settings have it
    std::string name_; // as sqlite3_open_v2 takes it
    bool in_memory_ = false;
    int busy_timeout_ms_ = 0;
    Database anchor_;
};

} // namespace latchkey::sqlite
