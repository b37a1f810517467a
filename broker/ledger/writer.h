// SPDX-License-Identifier: Apache-2.0
#pragma once
// The one writer of the ledger: a thread ("lk-ledger") that takes all waiting jobs into one commit, a
// savepoint each, for a quarter of a second; what is left goes into the next one, since other brokers wait
// for the write lock. A job that fails is rolled back alone; a conflict, or a connection that was lost before
// the commit, runs the whole again; a commit that fails fails every job in it, and nothing of it is kept.
// Where the connection is lost in the commit itself, the audit row is looked for before anybody is answered.
// run() blocks its caller until the commit is durable. Borrows all its parts.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "broker/ledger/connector.h"
#include "broker/ledger/figures.h"
#include "broker/ledger/ledger.h"
#include "broker/ledger/listeners.h"
#include "broker/ledger/tamper_log.h"

namespace latchkey::ledger {

class Writer {
public:
    using Job = std::function<Status(Transaction&)>;
    struct Parts {
        Connector& connector;
        const Sealer& sealer;
        const Clock& clock;
        TamperLog& tampered;
        Listeners& listeners;
        std::size_t max_waiting;
        std::chrono::milliseconds settle_for;
        bool has_others; // other brokers write too, and must hear of our commits
    };

    Writer(Parts parts, std::unique_ptr<plugin_host::Connection> connection);
    ~Writer(); // waiting jobs fail with kUnavailable

    Status run(const Job& job);
    void wake(); // there is a tampered row to be told
    const WriterFigures& figures() const { return figures_; }

private:
    struct Waiting {
        const Job* job = nullptr;
        Status outcome;
        bool is_done = false;
        std::condition_variable done;
    };

    void loop();
    void linger(std::unique_lock<std::mutex>& lock);
    std::size_t serve(const std::vector<Waiting*>& batch); // how many of them have their outcome
    // One transaction, with `taken` of the batch. Its failure is that of the whole; nothing of it was kept
    // then.
    Status try_commit(const std::vector<Waiting*>& batch, Scratch& scratch, std::size_t& taken);
    // True: there is a change.
    Result<bool> run_jobs(const std::vector<Waiting*>& batch, Scratch& scratch, std::size_t& taken);
    Status tell_tampered(Scratch& scratch);
    Status connect();
    Status tell_others(Scratch& scratch);
    Status settle(const Scratch& scratch, const Error& error);
    Result<bool> was_committed(const ChainHead& head);

    const Parts parts_;
    std::unique_ptr<plugin_host::Connection> connection_; // the thread's own; empty after it was lost
    std::vector<TamperLog::Row> untold_; // taken out of the log and not committed yet: the thread's own
    std::size_t last_size_ = 0;          // of the last commit, and how long it took: the thread's own
    std::size_t missed_ = 0;             // how many came while it ran
    std::chrono::nanoseconds last_took_{};
    WriterFigures figures_;
    std::mutex mutex_;
    std::condition_variable work_;
    std::deque<Waiting*> waiting_;
    bool is_stopping_ = false;
    std::thread thread_; // last: starts when all else stands
};

// True on a thread that is running a job of this or any ledger: a job must not wait for another.
bool is_in_job();
class JobMark {
public:
    JobMark();
    ~JobMark();
    JobMark(const JobMark&) = delete;
    JobMark& operator=(const JobMark&) = delete;
};
// Runs the job and turns an exception (out of memory) into kInternal.
Status run_guarded(const std::function<Status(Transaction&)>& job, Transaction& t);

} // namespace latchkey::ledger
