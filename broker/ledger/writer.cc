// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/writer.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>

#include "broker/ledger/audit.h"
#include "broker/ledger/chain.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/watched_connection.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kMostJobsInCommit = 256;
constexpr int kMostAttempts = 8;
constexpr auto kMostLinger = std::chrono::microseconds(500);
constexpr auto kRetryFor = std::chrono::seconds(10);

thread_local bool in_job = false;

bool may_retry(const Status& status, int attempt, std::chrono::steady_clock::time_point since) {
    return !status && status.error().code == Code::kConflict && attempt < kMostAttempts &&
           std::chrono::steady_clock::now() - since < kRetryFor;
}

// What the callers are told: a conflict of the store is not theirs to understand.
Error for_callers(const Error& error) {
    if (error.code != Code::kConflict) return error;
    return Error{Code::kUnavailable, "the database is busy: " + error.message, "try again"};
}

} // namespace

bool is_in_job() {
    return in_job;
}

JobMark::JobMark() {
    in_job = true;
}

JobMark::~JobMark() {
    in_job = false;
}

Status run_guarded(const std::function<Status(Transaction&)>& job, Transaction& t) {
    const JobMark mark;
    try {
        return job(t);
    } catch (const std::exception& exception) {
        return fail(Code::kInternal, std::string("a ledger job threw: ") + exception.what());
    } catch (...) {
        return fail(Code::kInternal, "a ledger job threw");
    }
}

Writer::Writer(Parts parts, std::unique_ptr<plugin_host::Connection> connection)
    : parts_(parts), connection_(std::move(connection)), thread_([this] { loop(); }) {}

Writer::~Writer() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    work_.notify_all();
    thread_.join();
}

Status Writer::run(const Job& job) {
    if (is_in_job()) return fail(Code::kInternal, "a ledger job called the ledger");
    Waiting waiting;
    waiting.job = &job;
    std::unique_lock lock(mutex_);
    if (is_stopping_) return fail(Code::kUnavailable, "the broker is stopping");
    if (waiting_.size() >= parts_.max_waiting) {
        return fail(Code::kUnavailable, "the broker is overloaded: too many changes wait for the database",
                    "try again");
    }
    waiting_.push_back(&waiting);
    work_.notify_one();
    waiting.done.wait(lock, [&] { return waiting.is_done; });
    return std::move(waiting.outcome);
}

void Writer::wake() {
    const std::lock_guard lock(mutex_);
    work_.notify_one();
}

void Writer::on_epoch(std::function<void(Epoch)> listener) {
    const std::lock_guard lock(mutex_);
    epoch_listeners_.push_back(std::move(listener));
}

void Writer::on_policy_change(std::function<void()> listener) {
    const std::lock_guard lock(mutex_);
    policy_listeners_.push_back(std::move(listener));
}

void Writer::on_access_taken(std::function<void()> listener) {
    const std::lock_guard lock(mutex_);
    access_listeners_.push_back(std::move(listener));
}

void Writer::loop() {
    pthread_setname_np(pthread_self(), "lk-ledger");
    std::unique_lock lock(mutex_);
    for (;;) {
        work_.wait(lock, [&] { return is_stopping_ || !waiting_.empty() || parts_.tampered.has_untold(); });
        linger(lock);
        std::vector<Waiting*> batch;
        while (!waiting_.empty() && batch.size() < kMostJobsInCommit) {
            batch.push_back(waiting_.front());
            waiting_.pop_front();
        }
        if (is_stopping_) {
            for (Waiting* one : batch) one->outcome = fail(Code::kUnavailable, "the broker is stopping");
        } else {
            lock.unlock();
            const auto since = std::chrono::steady_clock::now();
            serve(batch);
            last_size_ = batch.size();
            last_took_ = std::chrono::steady_clock::now() - since;
            lock.lock();
        }
        for (Waiting* one : batch) {
            one->is_done = true;
            one->done.notify_one(); // under the lock: the caller owns it and is gone after
        }
        if (is_stopping_ && waiting_.empty()) return;
    }
}

// Those whom the last commit woke are about to come again: a short wait for them fills this commit, where
// otherwise one of them alone would have it and all others the next.
void Writer::linger(std::unique_lock<std::mutex>& lock) {
    if (last_size_ < 2) return;
    const auto enough = std::min(last_size_, kMostJobsInCommit);
    work_.wait_for(lock, std::min<std::chrono::nanoseconds>(last_took_ / 4, kMostLinger),
                   [&] { return is_stopping_ || waiting_.size() >= enough; });
}

void Writer::serve(const std::vector<Waiting*>& batch) {
    const auto since = std::chrono::steady_clock::now();
    const auto untold = parts_.tampered.take_untold();
    Scratch scratch;
    Status status;
    for (int attempt = 1;; ++attempt) {
        scratch = Scratch{};
        scratch.is_writing = true;
        status = try_commit(batch, untold, scratch);
        if (!may_retry(status, attempt, since)) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(1 << attempt));
    }
    if (status) {
        notify(scratch);
        return;
    }
    spdlog::error("commit failed jobs={} error=\"{}\"", batch.size(), status.error().line());
    for (Waiting* one : batch) one->outcome = fail(for_callers(status.error()));
}

Status Writer::connect() {
    if (connection_) return {};
    LK_TRY(fresh, parts_.store.connect());
    connection_ = std::move(fresh);
    return {};
}

Status Writer::try_commit(const std::vector<Waiting*>& batch, const std::vector<TamperLog::Row>& untold,
                          Scratch& scratch) {
    LK_CHECK(connect());
    Status status = connection_->begin(true);
    if (status) {
        const auto has_change = run_jobs(batch, scratch);
        if (!has_change) status = fail(has_change.error());
        if (status) status = tell_tampered(untold, scratch);
        WatchedConnection watched(*connection_);
        Transaction t(watched, parts_.sealer, parts_.clock.now(), scratch, parts_.tampered);
        if (status && scratch.head) status = write_chain_head(t);
        if (status && (*has_change || scratch.head)) {
            status = connection_->commit();
            if (status) return {};
        }
    }
    // Not committed: failed, or nothing to commit.
    const Status rolled_back = connection_->rollback();
    if (!rolled_back || (!status && status.error().code == Code::kUnavailable)) connection_.reset();
    return status;
}

Result<bool> Writer::run_jobs(const std::vector<Waiting*>& batch, Scratch& scratch) {
    bool has_change = false;
    for (Waiting* one : batch) {
        const Scratch before = scratch;
        LK_CHECK(connection_->savepoint());
        WatchedConnection watched(*connection_);
        Transaction t(watched, parts_.sealer, parts_.clock.now(), scratch, parts_.tampered);
        one->outcome = run_guarded(*one->job, t);
        if (watched.trouble()) return fail(*watched.trouble());
        if (one->outcome) {
            LK_CHECK(connection_->release_savepoint());
            has_change = true;
        } else {
            LK_CHECK(connection_->rollback_to_savepoint());
            scratch = before;
        }
    }
    return has_change;
}

Status Writer::tell_tampered(const std::vector<TamperLog::Row>& untold, Scratch& scratch) {
    WatchedConnection watched(*connection_);
    Transaction t(watched, parts_.sealer, parts_.clock.now(), scratch, parts_.tampered);
    for (const TamperLog::Row& row : untold) {
        LK_CHECK(append_audit(t, {"latchkeyd", "row.tampered", "row:" + row.table, "deny",
                                  Detail().text("table", row.table).id("id", row.id).json()}));
    }
    return {};
}

void Writer::notify(const Scratch& scratch) {
    std::vector<std::function<void(Epoch)>> epoch_listeners;
    std::vector<std::function<void()>> policy_listeners;
    std::vector<std::function<void()>> access_listeners;
    {
        const std::lock_guard lock(mutex_);
        if (scratch.epoch) epoch_listeners = epoch_listeners_;
        if (scratch.has_policy_changed) policy_listeners = policy_listeners_;
        if (scratch.has_taken_access) access_listeners = access_listeners_;
    }
    for (const auto& listener : epoch_listeners) listener(*scratch.epoch);
    for (const auto& listener : policy_listeners) listener();
    for (const auto& listener : access_listeners) listener();
}

} // namespace latchkey::ledger
