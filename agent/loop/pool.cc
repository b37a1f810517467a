// SPDX-License-Identifier: Apache-2.0
#include "agent/loop/pool.h"

#include <utility>

#include "agent/log/log.h"

namespace latchkey::agent {

void Pool::post(std::function<void()> job) {
    {
        const std::lock_guard lock(mutex_);
        if (is_stopping_) return;
        jobs_.push_back(std::move(job));
        if (jobs_.size() > idle_ && threads_.size() < most_) return start_thread();
    }
    changed_.notify_one(); // not under the lock: whoever wakes would wait for it, and so wake twice
}

void Pool::start_thread() {
    try {
        threads_.emplace_back([this] { run(); });
    } catch (const std::exception& problem) { // those that are there come to it, or the next that starts does
        log_error(std::string("fail to start a thread why=") + problem.what());
    }
}

void Pool::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        ++idle_;
        changed_.wait(lock, [this] { return is_stopping_ || !jobs_.empty(); });
        --idle_;
        if (is_stopping_) return;
        auto job = std::exchange(jobs_.front(), {});
        jobs_.pop_front();
        lock.unlock();
        job();
        job = {}; // what it holds may be the last of its kind, and take its time
        lock.lock();
    }
}

void Pool::stop() {
    std::deque<std::function<void()>> dropped;
    std::vector<std::thread> threads;
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
        dropped.swap(jobs_);
        threads.swap(threads_);
    }
    changed_.notify_all();
    for (std::thread& thread : threads) thread.join();
}

} // namespace latchkey::agent
