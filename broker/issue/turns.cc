// SPDX-License-Identifier: Apache-2.0
#include "broker/issue/turns.h"

namespace latchkey::issue {

Turns::Turn::Turn(Turns& turns, RowId whose, std::chrono::microseconds longest)
    : turns_(turns), whose_(whose) {
    std::unique_lock lock(turns_.mutex_);
    has_waited_ = turns_.taken_.contains(whose_.value);
    const bool is_free =
        turns_.given_back_.wait_for(lock, longest, [&] { return !turns_.taken_.contains(whose_.value); });
    if (!is_free) return;
    turns_.taken_.insert(whose_.value);
    has_come_ = true;
}

Turns::Turn::~Turn() {
    if (!has_come_) return;
    {
        const std::lock_guard lock(turns_.mutex_);
        turns_.taken_.erase(whose_.value);
    }
    turns_.given_back_.notify_all();
}

} // namespace latchkey::issue
