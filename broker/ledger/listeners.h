// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who wants to know what commits changed, and how far they have been told. Our own commits tell at once;
// where other brokers write too, the numbers in the table counters say what they did, and Ear looks at them.
// A number is told once, whoever sees it first. Listeners run under the lock, in the order of the numbers:
// they must return at once. Any thread.

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "broker/ledger/ledger.h"

namespace latchkey::ledger {

class Listeners {
public:
    // How often policy changed, and how often access was taken.
    struct Counts {
        Epoch epoch;
        std::uint64_t policy = 0;
        std::uint64_t access = 0;
    };
    static Result<Counts> read_counts(Transaction& t);
    // Counts what the commit changed, in it. Fills scratch.counts.
    static Status count(Transaction& t);

    void on_epoch(std::function<void(Epoch)> listener);
    void on_policy_change(std::function<void()> listener);
    void on_access_taken(std::function<void()> listener);

    void begin_at(const Counts& counts); // nothing before is told
    void tell(const Scratch& committed); // by the writer, after its commit
    void tell(const Counts& found);      // by the ear
    Epoch told_epoch() const;            // the highest that was told in this process

private:
    void tell_epoch(Epoch epoch);
    static void tell_all(const std::vector<std::function<void()>>& listeners);

    mutable std::mutex mutex_;
    Counts told_;
    std::vector<std::function<void(Epoch)>> epoch_listeners_;
    std::vector<std::function<void()>> policy_listeners_;
    std::vector<std::function<void()>> access_listeners_;
};

} // namespace latchkey::ledger
