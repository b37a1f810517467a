// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/board.h"

#include <algorithm>
#include <chrono>

namespace latchkey::hub {

void Board::connect(VmId vm, Epoch confirmed, Micros now) {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[vm.value];
    if (!entry.is_connected) ++connected_;
    entry = {true, std::max(entry.confirmed, confirmed), now};
}

void Board::disconnect(VmId vm, Micros now) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(vm.value);
    if (found == entries_.end() || !found->second.is_connected) return;
    found->second.is_connected = false;
    found->second.last_heard = now;
    --connected_;
    changed_.notify_all();
}

void Board::confirm(const std::vector<std::pair<VmId, Epoch>>& receipts, Micros now) {
    const std::lock_guard lock(mutex_);
    for (const auto& [vm, epoch] : receipts) {
        Entry& entry = entries_[vm.value];
        entry.confirmed = std::max(entry.confirmed, epoch);
        entry.last_heard = now;
    }
    changed_.notify_all();
}

bool Board::is_connected(VmId vm) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(vm.value);
    return found != entries_.end() && found->second.is_connected;
}

std::size_t Board::connected_count() const {
    const std::lock_guard lock(mutex_);
    return connected_;
}

std::unordered_map<std::uint64_t, Board::Entry> Board::entries() const {
    const std::lock_guard lock(mutex_);
    return entries_;
}

bool Board::all_confirmed(Epoch epoch) const {
    return std::ranges::all_of(entries_, [&](const auto& item) {
        return !item.second.is_connected || item.second.confirmed >= epoch;
    });
}

bool Board::wait_for_all(Epoch epoch, Micros left) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::microseconds(std::max<std::int64_t>(left.value, 0)),
                      [&] { return is_closed_ || all_confirmed(epoch); });
    return !is_closed_ && all_confirmed(epoch);
}

void Board::close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    changed_.notify_all();
}

} // namespace latchkey::hub
