// SPDX-License-Identifier: Apache-2.0
#pragma once
// The store as the ledger sees it: an SQL driver behind the plugin seam. A plugin contains no query; all SQL
// stands in broker/ledger. A Connection has one owner at a time and may move between threads between calls;
// its calls block. Errors: kConflict where a transaction must be retried, kExists on a unique violation,
// kUnavailable where the database is gone, kIo where it is full or unwritable.

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace latchkey::plugin_host {

using Null = std::monostate;
using Value = std::variant<Null, std::int64_t, std::string, Bytes>;

struct Rows {
    std::vector<std::vector<Value>> rows;
    std::int64_t changed = 0; // rows that the statement inserted, updated or deleted
};

struct Notification {
    std::string channel;
    std::string payload;
};

class Connection {
public:
    virtual ~Connection() = default;
    // One statement, parameters $1, $2, …; prepared once a connection and kept.
    virtual Result<Rows> run(std::string_view sql, std::span<const Value> parameters) = 0;
    // In a transaction for writing: a statement whose answer nobody needs; it may travel with the next one.
    // Where it turns out to have failed, all calls fail until rollback(), commit() too, with kConflict: the
    // transaction must be made again, by run() alone, which tells whose failure it was.
    virtual Status post(std::string_view sql, std::span<const Value> parameters) {
        LK_TRY(rows, run(sql, parameters));
        return {};
    }
    // Several statements without parameters: a migration.
    virtual Status run_script(std::string_view sql) = 0;
    virtual Status begin(bool for_writing) = 0; // for_writing: takes the write lock at once (BEGIN IMMEDIATE)
    // Durable when it returns. Where it fails, it has rolled back: there is no transaction, either way.
    virtual Status commit() = 0;
    virtual Status rollback() = 0; // nothing to do without a transaction
    // One level inside a transaction: a failing job does not fail its neighbours. Release keeps what was done
    // since, rollback_to undoes it; both end the savepoint. A database that gave the whole transaction up (a
    // full disk) fails each call until rollback().
    virtual Status savepoint() = 0;
    virtual Status release_savepoint() = 0;
    virtual Status rollback_to_savepoint() = 0;

    // Word between brokers on one database; only where Store::listens(), kUnsupported otherwise. notify()
    // belongs to the transaction: it is told when that commits. wait() gives what came, and blocks that long
    // at most.
    virtual Status listen(std::string_view) { return fail(Code::kUnsupported, kNoWord); }
    virtual Status notify(std::string_view, std::string_view) { return fail(Code::kUnsupported, kNoWord); }
    virtual Result<std::vector<Notification>> wait(std::chrono::milliseconds) {
        return fail(Code::kUnsupported, kNoWord);
    }

private:
    static constexpr const char* kNoWord = "this store has no word between brokers";
};

class Store {
public:
    virtual ~Store() = default;
    virtual Result<std::unique_ptr<Connection>> connect() = 0; // any thread
    virtual std::string_view dialect() const = 0;              // "sqlite", "postgres": for migrations alone
    // Other brokers may write to it too. Where they cannot, there is nobody to listen to.
    virtual bool listens() const { return false; }
};

} // namespace latchkey::plugin_host
