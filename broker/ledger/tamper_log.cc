// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/tamper_log.h"

#include <spdlog/spdlog.h>

namespace latchkey::ledger {

void TamperLog::note(std::string_view table, std::uint64_t id) {
    {
        const std::lock_guard lock(mutex_);
        if (seen_.size() >= kMostRows) return;
        const auto [place, is_new] = seen_.insert(Row{std::string(table), id});
        if (!is_new) return;
        untold_.push_back(*place);
    }
    spdlog::error("tampered table={} id={}", table, id);
    if (wake_) wake_();
}

std::uint64_t TamperLog::count() const {
    const std::lock_guard lock(mutex_);
    return seen_.size();
}

bool TamperLog::has_untold() const {
    const std::lock_guard lock(mutex_);
    return !untold_.empty();
}

std::vector<TamperLog::Row> TamperLog::take_untold() {
    const std::lock_guard lock(mutex_);
    return std::exchange(untold_, {});
}

} // namespace latchkey::ledger
