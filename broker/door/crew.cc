// SPDX-License-Identifier: Apache-2.0
#include "broker/door/crew.h"

#include <pthread.h>

#include <exception>
#include <utility>

namespace latchkey::door {

Crew::Crew(std::string name, std::size_t kept) : name_(std::move(name)), kept_(kept) {}

Crew::~Crew() {
    stop();
}

Status Crew::run(Job job) {
    std::unique_lock lock(mutex_);
    join_ended(lock);
    if (is_stopping_) return fail(Code::kUnavailable, "no thread: shutting down");
    if (idle_ > jobs_.size()) {
        jobs_.push_back(std::move(job));
        has_job_.notify_one();
        return {};
    }
    const auto self = workers_.emplace(workers_.end());
    try {
        *self = std::thread([this, self, first = std::move(job)]() mutable { work(self, std::move(first)); });
    } catch (const std::exception& error) {
        workers_.erase(self);
        return fail(Code::kUnavailable, std::string("no thread: ") + error.what());
    }
    const std::string name = name_ + "-" + std::to_string(++made_ % 1'000'000);
    pthread_setname_np(self->native_handle(), name.c_str());
    return {};
}

void Crew::work(Workers::iterator self, Job job) {
    do {
        job();
        job = nullptr;
    } while (next(job));
    const std::lock_guard lock(mutex_);
    ended_.push_back(std::move(*self));
    workers_.erase(self);
    has_ended_.notify_all();
}

// False: this thread is not needed any more.
bool Crew::next(Job& job) {
    std::unique_lock lock(mutex_);
    if (is_stopping_ || idle_ >= kept_) return false;
    ++idle_;
    has_job_.wait(lock, [this] { return is_stopping_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return false;
    job = std::move(jobs_.front());
    jobs_.pop_front();
    return true;
}

void Crew::join_ended(std::unique_lock<std::mutex>& lock) {
    std::vector<std::thread> ended = std::exchange(ended_, {});
    lock.unlock();
    for (std::thread& one : ended) one.join();
    lock.lock();
}

void Crew::stop() {
    std::unique_lock lock(mutex_);
    is_stopping_ = true;
    has_job_.notify_all();
    has_ended_.wait(lock, [this] { return workers_.empty(); });
    join_ended(lock);
}

} // namespace latchkey::door
