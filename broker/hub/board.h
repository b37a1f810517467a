// SPDX-License-Identifier: Apache-2.0
#pragma once
// What other threads may ask of the hub without its thread: who is connected, here or at another broker, and
// how far each has confirmed. Any thread.

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "broker/ledger/brokers.h"
#include "core/base/clock.h"
#include "core/base/names.h"

namespace latchkey::hub {

class Board {
public:
    struct Entry {
        bool is_connected = false;
        bool is_elsewhere = false; // connected to another broker, as the ledger says
        bool is_refusing = false;  // it does not understand revocations
        Epoch confirmed;
        Epoch troubled;    // up to here, but something is not done; 0: nothing
        Micros last_heard; // wall clock
        bool has_step_up = false;
        bool is_reachable() const { return is_connected || is_elsewhere; }
    };
    struct Receipt {
        VmId vm;
        Epoch epoch;
        bool has_trouble = false;
    };

    void connect(VmId vm, Epoch confirmed, Micros now, bool has_step_up);
    void disconnect(VmId vm, Micros now);
    void confirm(const std::vector<Receipt>& receipts, Micros now);
    void refuse(VmId vm);

    // All that are connected anywhere, in place of what was known of others than ours.
    void set_elsewhere(const std::vector<ledger::PlacedVm>& placed, RowId own_run);
    // Somebody at another broker has not answered yet.
    bool waits_for_others(Epoch epoch) const;

    bool is_connected(VmId vm) const; // here
    bool has_step_up(VmId vm) const;  // connected anywhere, and its agent asks about sudo
    std::size_t connected_count() const;
    std::unordered_map<std::uint64_t, Entry> entries() const;
    Entry entry(VmId vm) const;
    // The ledger went back to this epoch: what VMs have confirmed above it may have been something else, and
    // counts for nothing any more.
    void set_back(Epoch to);
    std::optional<Epoch> set_back_to() const;
    // A revocation has committed that ours are to be told of; they have been told of all up to one.
    void commit(Epoch epoch);
    void tell(Epoch epoch);
    // Until ours have been told of all that has committed, for `left` at most: who then goes through
    // thousands of answers takes no processor from those who tell.
    void wait_until_told(Micros left);
    // Until all that are connected have answered this epoch, for `left` at most. False where the time ran
    // out first, or the hub was closed.
    bool wait_for_all(Epoch epoch, Micros left);
    void close();

private:
    bool all_answered(Epoch epoch) const;
    Epoch counted(Epoch confirmed) const { return std::min(confirmed, set_back_to_.value_or(confirmed)); }

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::unordered_map<std::uint64_t, Entry> entries_;
    std::optional<Epoch> set_back_to_;
    Epoch committed_;
    Epoch told_;
    std::size_t connected_ = 0;
    bool is_closed_ = false;
};

} // namespace latchkey::hub
