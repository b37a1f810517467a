// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/board.h"

#include <chrono>

namespace latchkey::hub {

void Board::connect(VmId vm, Epoch confirmed, Micros now, bool has_step_up) {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[vm.value];
    if (!entry.is_connected) ++connected_;
    entry.is_connected = true;
    entry.is_elsewhere = false;
    entry.is_refusing = false;
    entry.confirmed = std::max(entry.confirmed, counted(confirmed));
    entry.last_heard = now;
    entry.has_step_up = has_step_up;
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

void Board::confirm(const std::vector<Receipt>& receipts, Micros now) {
    const std::lock_guard lock(mutex_);
    for (const Receipt& receipt : receipts) {
        Entry& entry = entries_[receipt.vm.value];
        if (receipt.epoch >= entry.confirmed) entry.troubled = receipt.has_trouble ? receipt.epoch : Epoch{};
        entry.confirmed = std::max(entry.confirmed, counted(receipt.epoch));
        entry.last_heard = now;
    }
    changed_.notify_all();
}

void Board::refuse(VmId vm) {
    const std::lock_guard lock(mutex_);
    entries_[vm.value].is_refusing = true;
    changed_.notify_all();
}

void Board::set_elsewhere(const std::vector<ledger::PlacedVm>& placed, RowId own_run) {
    const std::lock_guard lock(mutex_);
    for (auto& [vm, entry] : entries_) entry.is_elsewhere = false;
    for (const ledger::PlacedVm& one : placed) {
        if (one.broker == own_run || !one.is_alive) continue;
        Entry& entry = entries_[one.vm.value];
        if (entry.is_connected) continue; // it has just come to us
        entry.is_elsewhere = true;
        entry.is_refusing = false;
        entry.has_step_up = one.sudo == ledger::SudoWord::kAsks;
        if (one.confirmed > entry.confirmed) entry.troubled = one.has_trouble ? one.confirmed : Epoch{};
        entry.confirmed = std::max(entry.confirmed, counted(one.confirmed));
    }
    changed_.notify_all();
}

bool Board::waits_for_others(Epoch epoch) const {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(entries_, [&](const auto& item) {
        return item.second.is_elsewhere && !item.second.is_connected && item.second.confirmed < epoch;
    });
}

bool Board::is_connected(VmId vm) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(vm.value);
    return found != entries_.end() && found->second.is_connected;
}

bool Board::has_step_up(VmId vm) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(vm.value);
    return found != entries_.end() && found->second.is_reachable() && found->second.has_step_up;
}

std::size_t Board::connected_count() const {
    const std::lock_guard lock(mutex_);
    return connected_;
}

std::unordered_map<std::uint64_t, Board::Entry> Board::entries() const {
    const std::lock_guard lock(mutex_);
    return entries_;
}

Board::Entry Board::entry(VmId vm) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(vm.value);
    return found == entries_.end() ? Entry() : found->second;
}

void Board::set_back(Epoch to) {
    const std::lock_guard lock(mutex_);
    set_back_to_ = to;
    for (auto& [vm, entry] : entries_) entry.confirmed = counted(entry.confirmed);
    changed_.notify_all();
}

std::optional<Epoch> Board::set_back_to() const {
    const std::lock_guard lock(mutex_);
    return set_back_to_;
}

void Board::commit(Epoch epoch) {
    const std::lock_guard lock(mutex_);
    committed_ = std::max(committed_, epoch);
}

void Board::tell(Epoch epoch) {
    const std::lock_guard lock(mutex_);
    told_ = std::max(told_, epoch);
    changed_.notify_all();
}

void Board::wait_until_told(Micros left) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::microseconds(left.value),
                      [&] { return is_closed_ || set_back_to_ || told_ >= committed_; });
}

bool Board::all_answered(Epoch epoch) const {
    if (set_back_to_ && epoch > *set_back_to_) return false;
    return std::ranges::all_of(entries_, [&](const auto& item) {
        const Entry& entry = item.second;
        return !entry.is_reachable() || entry.is_refusing || entry.confirmed >= epoch;
    });
}

bool Board::wait_for_all(Epoch epoch, Micros left) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::microseconds(std::max<std::int64_t>(left.value, 0)),
                      [&] { return is_closed_ || all_answered(epoch); });
    return !is_closed_ && all_answered(epoch);
}

void Board::close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    changed_.notify_all();
}

} // namespace latchkey::hub
