// SPDX-License-Identifier: Apache-2.0
#pragma once
// One at a time for each unlock, so that two requests at once make one certificate; who waits for another
// one's turn does so for a bounded time, for that one may wait for a signer that hangs. Any thread; outlives
// its turns.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <unordered_set>

#include "core/base/names.h"

namespace latchkey::issue {

class Turns {
public:
    // Gives the turn back at its end, where it has come.
    class Turn {
    public:
        Turn(Turns& turns, RowId whose, std::chrono::microseconds longest);
        ~Turn();
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        bool has_come() const { return has_come_; }     // false: another one has it still
        bool has_waited() const { return has_waited_; } // another one had it meanwhile

    private:
        Turns& turns_;
        const RowId whose_;
        bool has_come_ = false;
        bool has_waited_ = false;
    };

private:
    std::mutex mutex_;
    std::condition_variable given_back_;
    std::unordered_set<std::uint64_t> taken_;
};

} // namespace latchkey::issue
