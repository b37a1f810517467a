// SPDX-License-Identifier: Apache-2.0
#pragma once
// Disk writes one after the other, off the loop's thread: a newer content never loses against an older one.
// Belongs to the loop's thread and outlives its pool.

#include <deque>
#include <functional>
#include <memory>

#include "agent/loop/loop.h"
#include "core/base/result.h"

namespace latchkey::agent {

class DiskQueue {
public:
    explicit DiskQueue(Loop& loop) : loop_(loop) {}

    void write(std::function<Status()> job, std::function<void(const Status&)> then) {
        waiting_.push_back({std::move(job), std::move(then)});
        if (waiting_.size() == 1) start();
    }

private:
    struct Entry {
        std::function<Status()> job;
        std::function<void(const Status&)> then;
    };

    void start() {
        auto outcome = std::make_shared<Status>(fail(Code::kInternal, "the write broke off")); // by throwing
        loop_.work([job = waiting_.front().job, outcome] { *outcome = job(); },
                   [this, outcome] {
                       const auto then = std::move(waiting_.front().then);
                       waiting_.pop_front();
                       if (!waiting_.empty()) start();
                       if (then) then(*outcome);
                   });
    }

    Loop& loop_;
    std::deque<Entry> waiting_; // the first is being written
};

} // namespace latchkey::agent
