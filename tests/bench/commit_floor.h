// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many commits of one audit row of about 400 bytes SQLite makes durable: WAL, synchronous=FULL, one row a
// commit, in a new database FOLDER/floor.db that is gone afterwards. `writers` threads take turns on one
// connection, since SQLite has one writer at a time.

#include <filesystem>

#include "core/base/result.h"

namespace latchkey::bench {

Result<double> commits_per_second(const std::filesystem::path& folder, unsigned writers, double seconds);

} // namespace latchkey::bench
