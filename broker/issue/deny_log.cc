// SPDX-License-Identifier: Apache-2.0
#include "broker/issue/deny_log.h"

#include <algorithm>
#include <utility>

namespace latchkey::issue {
namespace {

constexpr double kBurst = 30;
constexpr double kPerSecond = 0.5;
constexpr std::size_t kMaxVms = 4096;

} // namespace

std::optional<std::uint64_t> DenyLog::admit(VmId vm, Micros monotonic) {
    const std::lock_guard lock(mutex_);
    if (buckets_.size() >= kMaxVms && !buckets_.contains(vm.value)) buckets_.clear();
    const auto [place, is_new] = buckets_.try_emplace(vm.value, Bucket{kBurst, monotonic, 0});
    Bucket& bucket = place->second;
    const double seconds = static_cast<double>((monotonic - bucket.filled_at).value) / 1e6;
    bucket.tokens = std::min(kBurst, bucket.tokens + seconds * kPerSecond);
    bucket.filled_at = monotonic;
    if (bucket.tokens < 1) {
        ++bucket.left_out;
        return std::nullopt;
    }
    bucket.tokens -= 1;
    return std::exchange(bucket.left_out, 0);
}

} // namespace latchkey::issue
