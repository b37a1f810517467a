// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bounds the audit rows that denials make: a VM (or whoever drives it) gets 30 at once and one every 2 s
// after. What was left out is counted and told with the next row. Any thread; at most 4096 VMs are
// remembered.

#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "core/base/clock.h"
#include "core/base/names.h"

namespace latchkey::issue {

class DenyLog {
public:
    // May a row be written now? Then: how many were left out since the last one. Else nullopt.
    std::optional<std::uint64_t> admit(VmId vm, Micros monotonic);

private:
    struct Bucket {
        double tokens = 0;
        Micros filled_at;
        std::uint64_t left_out = 0;
    };
    std::mutex mutex_;
    std::unordered_map<std::uint64_t, Bucket> buckets_;
};

} // namespace latchkey::issue
