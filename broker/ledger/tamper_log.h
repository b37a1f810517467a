// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows that failed their MAC. Each row is told once: an error line now, an audit row with the next commit.
// Any thread; bounded, so that a database full of bad rows cannot fill the log.

#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace latchkey::ledger {

class TamperLog {
public:
    struct Row {
        std::string table;
        std::uint64_t id = 0;
        auto operator<=>(const Row&) const = default;
    };

    // Called after a new row was noted, on the thread that noted it. Set before the first note().
    void on_note(std::function<void()> wake) { wake_ = std::move(wake); }

    void note(std::string_view table, std::uint64_t id);
    std::uint64_t count() const;
    bool has_untold() const;
    std::vector<Row> take_untold(); // for the audit

private:
    static constexpr std::size_t kMostRows = 10'000;

    mutable std::mutex mutex_;
    std::set<Row> seen_;
    std::vector<Row> untold_;
    std::function<void()> wake_;
};

} // namespace latchkey::ledger
