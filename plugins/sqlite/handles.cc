// SPDX-License-Identifier: Apache-2.0
#include "plugins/sqlite/handles.h"

#include <cstring>
#include <string>

namespace latchkey::sqlite {
namespace {

struct Row {
    int result; // primary or extended code
    Code code;
    const char* what; // nullptr: SQLite's own words, which name tables and columns but no values
    const char* next;
};

constexpr Row kRows[] = {
    {SQLITE_CONSTRAINT_UNIQUE, Code::kExists, nullptr, ""},
    {SQLITE_CONSTRAINT_PRIMARYKEY, Code::kExists, nullptr, ""},
    {SQLITE_CONSTRAINT_ROWID, Code::kExists, nullptr, ""},
    {SQLITE_CONSTRAINT, Code::kRefused, nullptr, ""},
    {SQLITE_BUSY, Code::kConflict, "another transaction holds the write lock", "try again"},
    {SQLITE_LOCKED, Code::kConflict, "another transaction holds the table", "try again"},
    {SQLITE_FULL, Code::kIo, "the disk is full", "free space on the file system of the database"},
    {SQLITE_IOERR_SHMSIZE, Code::kIo, "its index cannot grow, the disk may be full",
     "free space on the file system of the database"},
    {SQLITE_READONLY, Code::kIo, "it is read-only", "check the owner and mode of the file and its folder"},
    {SQLITE_PERM, Code::kIo, "no permission", "check the owner and mode of the file and its folder"},
    {SQLITE_IOERR, Code::kIo, "the file system reports an error", "see the kernel log"},
    {SQLITE_CANTOPEN, Code::kUnavailable, "it cannot be opened",
     "check that it exists and that its folder is writable"},
    {SQLITE_CORRUPT, Code::kTampered, "it is damaged", "restore the last backup"},
    {SQLITE_NOTADB, Code::kTampered, "it is not a database", "check the path, or restore the last backup"},
    {SQLITE_TOOBIG, Code::kTooLarge, "a value is too large", ""},
    {SQLITE_INTERRUPT, Code::kTimedOut, "interrupted", ""},
};

const Row* find(int result) {
    for (const Row& row : kRows) {
        if (row.result == result) return &row;
    }
    return nullptr;
}

// For whoever must act: SQLite's own number, and the kernel's word where there is one.
std::string details(sqlite3* database, int extended) {
    const int error = database == nullptr ? 0 : sqlite3_system_errno(database);
    std::string text = " (SQLite code " + std::to_string(extended);
    if (error != 0) text += std::string(", ") + std::strerror(error);
    return text + ")";
}

} // namespace

Failure failure(sqlite3* database, int result, std::string_view where) {
    const int extended = database == nullptr ? result : sqlite3_extended_errcode(database);
    const char* own_words = database == nullptr ? sqlite3_errstr(result) : sqlite3_errmsg(database);
    const Row* row = find(extended);
    if (row == nullptr) row = find(result & 0xff);

    std::string message = "database " + std::string(where) + ": ";
    if (row == nullptr) return fail(Code::kInternal, message + own_words);
    message += row->what != nullptr ? row->what : own_words;
    if (row->code == Code::kIo) message += details(database, extended);
    return fail(row->code, std::move(message), row->next);
}

} // namespace latchkey::sqlite
