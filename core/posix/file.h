// SPDX-License-Identifier: Apache-2.0
#pragma once
// Files read whole and written whole: a temporary name beside the target, synced, renamed, the folder synced,
// so that a reader sees the old content or the new, never a part. Any thread. Fails with kNotFound,
// kTooLarge, kIo (a full disk says so in words); a failed write leaves the old file and no temporary one.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"

namespace latchkey::posix {

inline constexpr std::size_t kDefaultFileLimit = 16 * 1024 * 1024;

Result<Bytes> read_file(const std::filesystem::path& path, std::size_t limit = kDefaultFileLimit);
// As read_file, but refuses (kRefused) a file that its group or others may read, or that is not ours or
// root's.
Result<SecretBytes> read_secret_file(const std::filesystem::path& path, std::size_t limit = 64 * 1024);
enum class Durability : std::uint8_t {
    kSynced = 1,  // outlives a loss of power
    kThisBootOnly // for what has no meaning after it: outlives any process, costs no sync
};
Status write_file(const std::filesystem::path& path, ByteView content, mode_t mode,
                  Durability durability = Durability::kSynced);
// After a file was made or renamed in it: then it is there after a power cut too.
Status sync_folder(const std::filesystem::path& folder);

} // namespace latchkey::posix
