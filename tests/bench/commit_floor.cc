// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/commit_floor.h"

#include <sqlite3.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/unique_handle.h"
#include "tests/bench/timing.h"

namespace latchkey::bench {
namespace {

using DatabaseHandle = UniqueHandle<sqlite3, sqlite3_close>;
using StatementHandle = UniqueHandle<sqlite3_stmt, sqlite3_finalize>;

constexpr const char* kSchema =
    "pragma journal_mode = wal; pragma synchronous = full;"
    "create table audit (seq integer primary key, at text not null default current_timestamp, actor text,"
    " vm text, action text, serial integer, body text);"
    "create index audit_vm on audit (vm, at)";
constexpr const char* kInsert =
    "insert into audit (actor, vm, action, serial, body)"
    " values ('alice@example.org', 'vm-1234', 'issue', ?, ?)";

StatementHandle prepare(sqlite3* database, const char* sql) {
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(database, sql, -1, &statement, nullptr);
    return StatementHandle(statement);
}

bool step(const StatementHandle& statement) {
    const bool is_done = sqlite3_step(statement.get()) == SQLITE_DONE;
    sqlite3_reset(statement.get());
    return is_done;
}

void remove_files(const std::filesystem::path& file) {
    for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + ending);
}

Result<double> measure(const std::filesystem::path& file, unsigned writers, double seconds) {
    sqlite3* opened = nullptr;
    const int result = sqlite3_open(file.c_str(), &opened);
    const DatabaseHandle database(opened);
    if (result != SQLITE_OK || sqlite3_exec(opened, kSchema, nullptr, nullptr, nullptr) != SQLITE_OK)
        return fail(Code::kIo, "cannot make " + file.string() + ": " + sqlite3_errmsg(opened));
    const StatementHandle begin = prepare(opened, "begin immediate");
    const StatementHandle insert = prepare(opened, kInsert);
    const StatementHandle commit = prepare(opened, "commit");

    const std::string body(300, 'x');
    std::mutex turn;
    std::atomic<bool> has_failed{false};
    long commits = 0;
    const Stopwatch watch;
    auto write = [&] {
        while (watch.seconds() < seconds && !has_failed) {
            const std::lock_guard lock(turn);
            sqlite3_bind_int64(insert.get(), 1, commits);
            sqlite3_bind_text(insert.get(), 2, body.data(), static_cast<int>(body.size()), SQLITE_STATIC);
            if (!step(begin) || !step(insert) || !step(commit)) has_failed = true;
            ++commits;
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 1; i < writers; ++i) threads.emplace_back(write);
    write();
    for (std::thread& thread : threads) thread.join();
    const double rate = static_cast<double>(commits) / watch.seconds();
    if (has_failed) return fail(Code::kIo, std::string("SQLite: ") + sqlite3_errmsg(opened));
    return rate;
}

} // namespace

Result<double> commits_per_second(const std::filesystem::path& folder, unsigned writers, double seconds) {
    const std::filesystem::path file = folder / "floor.db";
    remove_files(file);
    auto rate = measure(file, writers, seconds);
    remove_files(file);
    return rate;
}

} // namespace latchkey::bench
