// SPDX-License-Identifier: Apache-2.0
#pragma once
// What other threads may ask of the hub without its thread: who is connected, and how far each has confirmed.
// Any thread.

#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/base/clock.h"
#include "core/base/names.h"

namespace latchkey::hub {

class Board {
public:
    struct Entry {
        bool is_connected = false;
        Epoch confirmed;
        Micros last_heard; // wall clock
    };

    void connect(VmId vm, Epoch confirmed, Micros now);
    void disconnect(VmId vm, Micros now);
    void confirm(const std::vector<std::pair<VmId, Epoch>>& receipts, Micros now);

    bool is_connected(VmId vm) const;
    std::size_t connected_count() const;
    std::unordered_map<std::uint64_t, Entry> entries() const;
    // Until all that are connected have confirmed this epoch, for `left` at most. False where the time ran
    // out first, or the hub was closed.
    bool wait_for_all(Epoch epoch, Micros left);
    void close();

private:
    bool all_confirmed(Epoch epoch) const;

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::unordered_map<std::uint64_t, Entry> entries_;
    std::size_t connected_ = 0;
    bool is_closed_ = false;
};

} // namespace latchkey::hub
