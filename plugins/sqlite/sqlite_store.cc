// SPDX-License-Identifier: Apache-2.0
#include "plugins/sqlite/sqlite_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "plugins/sqlite/connection.h"

namespace latchkey::sqlite {
namespace {

constexpr std::string_view kMemory = ":memory:";

std::string next_memory_name() {
    static std::atomic<unsigned> count{0};
    return "file:/latchkey-" + std::to_string(++count) + "?vfs=memdb";
}

// A file that exists is judged by its name, never opened and closed here: a close would drop the locks that
// SQLite holds on it in this process.
Status check_existing(const std::string& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) {
        return fail(Code::kIo, "cannot look at the database " + path + ": " + std::strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) return fail(Code::kRefused, "the database " + path + " is not a plain file");
    if ((info.st_mode & 077) != 0) {
        return fail(Code::kRefused, "the database " + path + " is open to its group or to others",
                    "run: chmod 600 " + path);
    }
    return {};
}

// Made here and not by SQLite, for its mode: the WAL and its index take over the mode of the file.
Status create_or_check(const std::string& path) {
    const UniqueFd made(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (made) return {};
    if (errno == EEXIST) return check_existing(path);
    const std::string folder = std::filesystem::path(path).parent_path();
    if (errno == ENOENT) {
        return fail(Code::kNotFound, "the folder " + folder + " of the database does not exist",
                    "make it, owned by the broker's user, mode 0700");
    }
    return fail(Code::kIo, "cannot make the database " + path + ": " + std::strerror(errno),
                "check the owner and mode of " + folder);
}

constexpr const char* kSetUp =
    "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
    "PRAGMA temp_store=MEMORY; PRAGMA synchronous=FULL;";

struct Switch {
    int option;
    int value;
};
constexpr Switch kSwitches[] = {
    {SQLITE_DBCONFIG_DEFENSIVE, 1},
    {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
    {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
    {SQLITE_DBCONFIG_DQS_DML, 0}, // "name" is never a string, as in PostgreSQL
    {SQLITE_DBCONFIG_DQS_DDL, 0},
};

Status harden(sqlite3* database, const std::string& path) {
    for (const Switch& one : kSwitches) {
        const int result = sqlite3_db_config(database, one.option, one.value, nullptr);
        if (result != SQLITE_OK) return failure(database, result, path);
    }
    return {};
}

// WAL stays with the file; asking again costs nothing.
Status use_wal(sqlite3* database, const std::string& path) {
    sqlite3_stmt* raw = nullptr;
    int result = sqlite3_prepare_v2(database, "PRAGMA journal_mode=WAL", -1, &raw, nullptr);
    const StatementHandle statement(raw);
    if (result == SQLITE_OK) result = sqlite3_step(raw);
    if (result != SQLITE_ROW) return failure(database, result, path);
    const auto* mode = reinterpret_cast<const char*>(sqlite3_column_text(raw, 0));
    if (mode != nullptr && std::string_view(mode) == "wal") return {};
    return fail(Code::kUnsupported, "database " + path + ": its file system cannot hold a write-ahead log",
                "put it on a local file system");
}

} // namespace

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const sdk::Host& host) {
    LK_CHECK(host.only({"path", "busy_timeout_ms"}));
    std::unique_ptr<SqliteStore> store(new SqliteStore);
    LK_TRY(path, host.required("path"));
    LK_TRY(timeout, host.number("busy_timeout_ms", 5'000, 0, 60'000));
    store->path_ = path;
    store->in_memory_ = path == kMemory;
    store->name_ = store->in_memory_ ? next_memory_name() : path;
    store->busy_timeout_ms_ = static_cast<int>(timeout);
    if (!store->in_memory_) {
        if (path.front() != '/') {
            return fail(Code::kConfig, "the setting path must be an absolute path, or :memory:");
        }
        LK_CHECK(create_or_check(path));
    }
    LK_TRY(anchor, store->open_database());
    LK_CHECK(store->execute(anchor.get(), "SELECT count(*) FROM sqlite_schema")); // holds the WAL from now on
    store->anchor_ = std::move(anchor);
    return store;
}

Result<Database> SqliteStore::open_database() const {
    sqlite3* raw = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (in_memory_ ? SQLITE_OPEN_URI | SQLITE_OPEN_CREATE : 0);
    const int result = sqlite3_open_v2(name_.c_str(), &raw, flags, nullptr);
    Database database(raw);
    if (result != SQLITE_OK) return failure(raw, result, path_);
    sqlite3_busy_timeout(raw, busy_timeout_ms_);
    LK_CHECK(harden(raw, path_));
    if (!in_memory_) LK_CHECK(use_wal(raw, path_));
    LK_CHECK(execute(raw, kSetUp));
    return database;
}

Status SqliteStore::execute(sqlite3* database, const char* sql) const {
    const int result = sqlite3_exec(database, sql, nullptr, nullptr, nullptr);
    if (result != SQLITE_OK) return failure(database, result, path_);
    return {};
}

Result<std::unique_ptr<sdk::StoreConnection>> SqliteStore::connect() {
    LK_TRY(database, open_database());
    return std::unique_ptr<sdk::StoreConnection>(std::make_unique<Connection>(std::move(database), path_));
}

} // namespace latchkey::sqlite
