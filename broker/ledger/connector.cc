// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/connector.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "broker/ledger/random_word.h"

namespace latchkey::ledger {
namespace {

constexpr std::chrono::milliseconds kFirstPause{50};
constexpr int kMostDoublings = 6; // 3.2 s

// Half of it at least, the rest by chance: brokers that lost the same database do not come back in step.
std::chrono::milliseconds pause_after(int failures) {
    const auto whole = kFirstPause.count() << std::min(failures - 1, kMostDoublings);
    const auto half = static_cast<std::uint64_t>(whole / 2);
    return std::chrono::milliseconds(half + random_number() % (half + 1));
}

} // namespace

Result<std::unique_ptr<plugin_host::Connection>> Connector::connect() {
    {
        const std::lock_guard lock(mutex_);
        const Time now = std::chrono::steady_clock::now();
        if (failures_ > 0 && now < next_try_) return fail(last_);
        // Whoever tries now keeps the others away; the pause that counts begins when it has failed.
        if (failures_ > 0) next_try_ = now + pause_after(kMostDoublings + 1);
    }
    auto made = store_.connect();
    const std::lock_guard lock(mutex_);
    if (made) {
        if (failures_ > 0) spdlog::info("reconnect database after={}", failures_);
        failures_ = 0;
        return made;
    }
    if (failures_ == 0) spdlog::error("lost database error=\"{}\"", made.error().line());
    ++failures_;
    last_ = made.error();
    next_try_ = std::chrono::steady_clock::now() + pause_after(failures_);
    return made;
}

} // namespace latchkey::ledger
