// SPDX-License-Identifier: Apache-2.0
#pragma once
// Threads that serve one job after the other: to make and end one costs as much as a login's key exchange. A
// job that finds all of them busy gets a new one; one that is done stays for the next job where fewer than
// `kept` do. Any thread.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/result.h"

namespace latchkey::door {

class Crew {
public:
    using Job = std::function<void()>; // throws nothing; destroyed as soon as it is done

    Crew(std::string name, std::size_t kept); // the threads: name-1, name-2, …; 15 characters at most
    ~Crew();
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    Status run(Job job); // at once; kUnavailable where no thread is to be had, or after stop()
    void stop();         // waits for all jobs; idempotent

private:
    using Workers = std::list<std::thread>;
    void work(Workers::iterator self, Job job);
    bool next(Job& job);
    void join_ended(std::unique_lock<std::mutex>& lock);

    const std::string name_;
    const std::size_t kept_;
    std::mutex mutex_;
    std::condition_variable has_job_;
    std::condition_variable has_ended_;
    std::deque<Job> jobs_; // each for one of the idle
    std::size_t idle_ = 0;
    Workers workers_;
    std::vector<std::thread> ended_; // to be joined
    std::size_t made_ = 0;
    bool is_stopping_ = false;
};

} // namespace latchkey::door
