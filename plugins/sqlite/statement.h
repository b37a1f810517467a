// SPDX-License-Identifier: Apache-2.0
#pragma once
// A prepared statement with parameters $1, $2, … and the cache of them that each connection owns. SQLite
// numbers $N by first appearance, so the order is mapped back by name. One thread at a time.

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "plugins/sdk/latchkey_plugin.h"
#include "plugins/sqlite/handles.h"

namespace latchkey::sqlite {

class Statement {
public:
    // kUsage for more than one statement, or a parameter that is not $N.
    static Result<Statement> prepare(sqlite3* database, std::string_view sql, std::string_view where);

    // The values are lent until reset(). kUsage where their number differs from the highest $N.
    Status bind(std::span<const lk_value> parameters) const;
    int step() const { return sqlite3_step(handle_.get()); }
    // The row that step() gave; texts and blobs are lent until the next step.
    Status read_row(std::vector<lk_value>& row) const;
    void reset() const;

private:
    Status bind_one(int position, const lk_value& value) const;

    StatementHandle handle_;
    std::vector<unsigned> number_at_; // SQLite's position - 1 -> N of $N
    unsigned highest_ = 0;
};

class StatementCache {
public:
    // The statement stays the cache's; it is good until the next call.
    Result<const Statement*> get(sqlite3* database, std::string_view sql, std::string_view where);
    void clear() { statements_.clear(); }

private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view sql) const { return std::hash<std::string_view>{}(sql); }
    };
    std::unordered_map<std::string, Statement, Hash, std::equal_to<>> statements_;
};

} // namespace latchkey::sqlite
