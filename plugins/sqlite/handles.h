// SPDX-License-Identifier: Apache-2.0
#pragma once
// Owners of SQLite's handles, and its result codes as ours.

#include <sqlite3.h>

#include <string_view>

#include "core/base/result.h"
#include "core/base/unique_handle.h"

namespace latchkey::sqlite {

using Database = UniqueHandle<sqlite3, sqlite3_close>;
using StatementHandle = UniqueHandle<sqlite3_stmt, sqlite3_finalize>;

// For a result code that is neither SQLITE_OK, SQLITE_ROW nor SQLITE_DONE. Asks the database for its message
// at once; `where` names the database for the operator.
Failure failure(sqlite3* database, int result, std::string_view where);

} // namespace latchkey::sqlite
