// SPDX-License-Identifier: Apache-2.0
#pragma once
// The numbered scripts of migrations/, compiled in by CMake, and their application under a lock.

#include <cstdint>
#include <span>
#include <string_view>

#include "broker/plugin_host/store.h"
#include "core/base/result.h"

namespace latchkey::ledger {

struct Migration {
    std::int64_t number = 0;
    std::string_view sql;
};
std::span<const Migration> migrations(); // 1, 2, … without a gap

Status apply_migrations(plugin_host::Connection& connection, std::string_view dialect);
// Whether a ledger was ever opened in this database; for whoever has not its keys (yet).
Result<bool> is_used(plugin_host::Connection& connection);
// kConfig where a migration is due, kUnsupported where the database is newer than this program.
Status check_schema(plugin_host::Connection& connection);

} // namespace latchkey::ledger
