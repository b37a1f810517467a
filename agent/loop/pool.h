// SPDX-License-Identifier: Apache-2.0
#pragma once
// A bounded pool of threads for what may block. A thread is started only where a job would wait for one, and
// stays: an idle agent has one or two. Jobs do not throw. post(): any thread.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace latchkey::agent {

class Pool {
public:
    explicit Pool(std::size_t most_threads) : most_(most_threads) {}
    ~Pool() { stop(); }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    void post(std::function<void()> job);
    // Waits for the jobs that have begun; the others are dropped. By one thread, which is none of the pool's.
    void stop();

private:
    void start_thread();
    void run();

    const std::size_t most_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> jobs_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool is_stopping_ = false;
};

} // namespace latchkey::agent
