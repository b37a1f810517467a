// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/writer.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>

#include "broker/ledger/audit.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/chain.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/ear.h"
#include "broker/ledger/random_word.h"
#include "broker/ledger/watched_connection.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kMostJobsInCommit = 256;
constexpr Micros kTakesJobsFor = from_millis(250); // others wait for the lock, 5 s at most
constexpr int kMostCommitTries = 8;
constexpr auto kMostLinger = std::chrono::microseconds(2000);
constexpr auto kRetryFor = std::chrono::seconds(10);
constexpr auto kSettlePause = std::chrono::milliseconds(100);

thread_local bool in_job = false;

bool may_retry(const Status& status, int attempt, std::chrono::steady_clock::time_point since) {
    return !status && status.error().code == Code::kConflict && attempt < kMostCommitTries &&
           std::chrono::steady_clock::now() - since < kRetryFor;
}

// Growing, and partly by chance: brokers that met once do not meet again.
std::chrono::microseconds pause_before_retry(int attempt) {
    const auto most = std::uint64_t{1000} << attempt;
    return std::chrono::microseconds(most / 2 + random_number() % (most / 2));
}

bool is_lost(const Error& error) {
    return error.code == Code::kUnavailable || error.code == Code::kTimedOut;
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
    figures_.waiting.set(static_cast<std::int64_t>(waiting_.size()));
    work_.notify_one();
    waiting.done.wait(lock, [&] { return waiting.is_done; });
    return std::move(waiting.outcome);
}

void Writer::wake() {
    const std::lock_guard lock(mutex_);
    work_.notify_one();
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
            last_size_ = serve(batch);
            last_took_ = std::chrono::steady_clock::now() - since;
            figures_.committing.observe(last_took_);
            figures_.jobs.observe(static_cast<double>(last_size_));
            lock.lock();
            for (; batch.size() > last_size_; batch.pop_back()) waiting_.push_front(batch.back());
            missed_ = waiting_.size();
        }
        for (Waiting* one : batch) {
            one->is_done = true;
            one->done.notify_one(); // under the lock: the caller owns it and is gone after
        }
        figures_.waiting.set(static_cast<std::int64_t>(waiting_.size()));
        if (is_stopping_ && waiting_.empty()) return;
    }
}

// Those whom the last commit woke are about to come again: a short wait for them fills this commit, where
// otherwise one of them alone would have it and all others the next, or two halves would take turns.
void Writer::linger(std::unique_lock<std::mutex>& lock) {
    const auto enough = std::min(last_size_ + missed_, kMostJobsInCommit);
    if (enough < 2) return;
    work_.wait_for(lock, std::min<std::chrono::nanoseconds>(last_took_ / 4, kMostLinger),
                   [&] { return is_stopping_ || waiting_.size() >= enough; });
}

std::size_t Writer::serve(const std::vector<Waiting*>& batch) {
    const auto since = std::chrono::steady_clock::now();
    for (TamperLog::Row& row : parts_.tampered.take_untold()) untold_.push_back(std::move(row));
    Scratch scratch;
    Status status;
    std::size_t taken = 0;
    for (int attempt = 1;; ++attempt) {
        scratch = Scratch{};
        scratch.is_writing = true;
        scratch.may_post = attempt == 1;
        scratch.least_epoch = parts_.listeners.told_epoch();
        status = try_commit(batch, scratch, taken);
        if (!may_retry(status, attempt, since)) break;
        std::this_thread::sleep_for(pause_before_retry(attempt));
    }
    if (status) {
        untold_.clear(); // else they go with the next commit, whatever brings it
        if (scratch.head) figures_.sequence.set(static_cast<std::int64_t>(scratch.head->sequence));
        parts_.listeners.tell(scratch);
        return taken;
    }
    spdlog::error("commit failed jobs={} error=\"{}\"", batch.size(), status.error().line());
    for (Waiting* one : batch) one->outcome = fail(for_callers(status.error()));
    return batch.size();
}

Status Writer::connect() {
    if (connection_) return {};
    LK_TRY(fresh, parts_.connector.connect());
    connection_ = std::move(fresh);
    return {};
}

Status Writer::try_commit(const std::vector<Waiting*>& batch, Scratch& scratch, std::size_t& taken) {
    const bool is_fresh = connection_ == nullptr;
    LK_CHECK(connect());
    Status status = connection_->begin(true);
    bool is_in_doubt = !status; // what failed was the connection itself, and not a job on it
    if (status) {
        const auto has_change = run_jobs(batch, scratch, taken);
        if (!has_change) status = fail(has_change.error());
        if (status) status = tell_tampered(scratch);
        if (status && *has_change) status = tell_others(scratch);
        WatchedConnection watched(*connection_);
        Transaction t(watched, parts_.sealer, parts_.clock.now(), scratch, parts_.tampered);
        if (status && scratch.sequence) status = write_sequence(t);
        if (status && scratch.head) status = write_chain_head(t);
        if (status && (*has_change || scratch.head)) {
            status = connection_->commit();
            if (status) return {};
            if (parts_.has_others && is_lost(status.error())) return settle(scratch, status.error());
            is_in_doubt = true;
        }
    }
    // Not committed: failed, or nothing to commit.
    const Status rolled_back = connection_->rollback();
    const bool is_gone = !status && status.error().code == Code::kUnavailable;
    if (!rolled_back || is_gone || (is_in_doubt && status.error().code != Code::kConflict))
        connection_.reset();
    // It may have been lost long ago: once more on a new one.
    if (is_gone && !is_fresh) return fail(Code::kConflict, status.error().message, status.error().next);
    return status;
}

Result<bool> Writer::run_jobs(const std::vector<Waiting*>& batch, Scratch& scratch, std::size_t& taken) {
    bool has_change = false;
    const Micros begun = parts_.clock.monotonic();
    taken = 0;
    for (Waiting* one : batch) {
        if (taken > 0 && parts_.clock.monotonic() - begun >= kTakesJobsFor) break;
        ++taken;
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

Status Writer::tell_tampered(Scratch& scratch) {
    WatchedConnection watched(*connection_);
    Transaction t(watched, parts_.sealer, parts_.clock.now(), scratch, parts_.tampered);
    for (const TamperLog::Row& row : untold_) {
        LK_CHECK(append_audit(t, {"latchkeyd", "row.tampered", "row:" + row.table, "deny",
                                  Detail().text("table", row.table).id("id", row.id).json()}));
    }
    return {};
}

// In the same transaction: counted and told when, and only when, it commits.
Status Writer::tell_others(Scratch& scratch) {
    if (!scratch.epoch && !scratch.has_policy_changed && !scratch.has_taken_access) return {};
    WatchedConnection watched(*connection_);
    Transaction t(watched, parts_.sealer, parts_.clock.now(), scratch, parts_.tampered);
    LK_CHECK(Listeners::count(t));
    return parts_.has_others ? connection_->notify(kChannel, "look") : Status();
}

// The connection was lost while it committed: the audit says whether that was done.
Status Writer::settle(const Scratch& scratch, const Error& error) {
    connection_.reset();
    if (!scratch.head) return fail(error); // no audit row: a report, which its VM sends again
    const auto fate = was_committed(*scratch.head);
    if (!fate) {
        return fail(Code::kUnavailable, "the database was lost in a commit: " + error.message,
                    "look whether the change was made before you make it again");
    }
    spdlog::warn("settle commit done={} error=\"{}\"", *fate, error.line());
    if (*fate) return {};
    return fail(Code::kConflict, error.message); // known to be undone: again
}

// Whoever holds the write lock knows that the transaction before has ended: its last row is there or never
// will be.
Result<bool> Writer::was_committed(const ChainHead& head) {
    const auto until = std::chrono::steady_clock::now() + parts_.settle_for;
    Status status;
    do {
        status = connect();
        if (status) status = connection_->begin(true);
        if (status) {
            const plugin_host::Value sequence[] = {static_cast<std::int64_t>(head.sequence)};
            auto rows = connection_->run("SELECT hash FROM audit WHERE sequence = $1", sequence);
            const Status ended = connection_->rollback();
            if (rows && ended) {
                const auto* hash =
                    rows->rows.empty() ? nullptr : std::get_if<Bytes>(&rows->rows.front().front());
                return hash != nullptr && equal(*hash, head.hash);
            }
            status = rows ? ended : fail(rows.error());
        }
        connection_.reset();
        std::this_thread::sleep_for(kSettlePause);
    } while (std::chrono::steady_clock::now() < until);
    return fail(status.error());
}

} // namespace latchkey::ledger
