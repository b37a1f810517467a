// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ledger: every SQL statement of the broker stands in this folder. Reads run on a small pool of
// connections, each in a snapshot; writes are jobs for one writer thread, which takes all that wait into one
// commit, a savepoint each, so that a failing job does not fail its neighbours. write() returns after the
// commit is durable: what leaves the broker after it is on disk. Both may be called from any thread and
// block; a job must not call the ledger itself (kInternal), and may be run again, so that what it captures
// must bear that. kUnavailable: the store is gone, busy, too many jobs wait, or it was lost in the very
// commit and nobody can say whether that was done: then what the job made must not leave the broker either.
//
// One writer at a time, of all brokers on the database: a job sees all that was committed before it (SQLite:
// the write lock; PostgreSQL: an advisory lock, READ COMMITTED). So a judgement that must hold is made in the
// job.
//
//     auto user = ledger.read([&](Transaction& t) { return find_user(t, name); });
//     auto done = ledger.write([&](Transaction& t) { return lock_user(t, name, reason, actor); });

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>

#include "broker/metrics/registry.h"
#include "broker/plugin_host/store.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"
#include "core/keys/private_key.h"

namespace latchkey::ledger {

class Sealer;    // seal.h: seals secrets and MACs rows under keys derived from the data key
class TamperLog; // tamper_log.h: where a row that fails its check is reported

// What jobs leave for the commit that they share. A job that fails leaves it as it found it.
struct ChainHead {
    std::uint64_t sequence = 0; // of the last audit row
    std::array<std::uint8_t, 32> hash{};
};
struct Scratch {
    bool is_writing = false;
    bool may_post = false;            // query.h
    std::optional<ChainHead> head;    // read at a commit's first audit row, written back before it ends
    std::optional<Sequence> sequence; // the last one given, in the same way
    bool has_policy_changed = false;
    bool has_taken_access = false;   // a grant that a VM holds may say too much now
    std::optional<Epoch> epoch;      // the new one, where it moved
    std::optional<Epoch> seen_epoch; // as read at the commit's first receipt: nobody else moves it meanwhile
    Epoch least_epoch;               // told before: none is given again, whatever the database says
    std::uint64_t policy_count = 0;  // numbers of such commits
    std::uint64_t access_count = 0;
};

// One connection inside a transaction. Lives for one job, on one thread; the ledger makes it.
class Transaction {
public:
    Transaction(plugin_host::Connection& connection, const Sealer& row_sealer, Micros at, Scratch& notes,
                TamperLog& reports)
        : sql(connection), sealer(row_sealer), now(at), scratch(notes), tampered(reports) {}

    plugin_host::Connection& sql;
    const Sealer& sealer;
    const Micros now;
    Scratch& scratch;
    TamperLog& tampered;
    RowId new_id() const; // 63 random bits, never 0
};

enum class Reading : std::uint8_t { kInTurn = 1, kNow };

class Ledger {
public:
    struct Options {
        SecretBytes data_key; // 32 bytes
        const Clock* clock = nullptr;
        unsigned readers = 4;
        std::size_t max_waiting = 1024;               // write jobs; more are kUnavailable at once
        std::chrono::milliseconds settle_for{10'000}; // to find out what became of a commit that was lost
        bool hears_others = true; // a thread tells what other brokers commit, where the store can
    };
    // Connects, checks the schema version (kConfig with the line to run where a migration is due) and that
    // the data key is this database's (kConfig), and starts the writer. The store must outlive the ledger.
    static Result<std::unique_ptr<Ledger>> open(plugin_host::Store& store, Options options);
    // Applies the numbered migrations under a lock; idempotent.
    static Status migrate(plugin_host::Store& store);
    ~Ledger();

    template <class Job>
    std::invoke_result_t<Job, Transaction&> read(Job job, Reading reading = Reading::kInTurn) {
        std::optional<std::invoke_result_t<Job, Transaction&>> outcome;
        const auto run = [&](Transaction& transaction) -> Status {
            outcome.emplace(job(transaction));
            return {};
        };
        const Status ran = run_read(run, reading);
        if (!ran) return fail(ran.error());
        return std::move(*outcome);
    }
    // On the connection that is kept for it: short, and nothing that many may ask for at once. Revocations on
    // their way to VMs, and the look behind a heartbeat.
    template <class Job>
    std::invoke_result_t<Job, Transaction&> read_now(Job job) {
        return read(std::move(job), Reading::kNow);
    }

    template <class Job>
    std::invoke_result_t<Job, Transaction&> write(Job job) {
        std::optional<std::invoke_result_t<Job, Transaction&>> outcome;
        const Status ran = run_write([&](Transaction& transaction) -> Status {
            outcome.emplace(job(transaction));
            if (!*outcome) return fail(outcome->error());
            return {};
        });
        if (!ran) return fail(ran.error());
        return std::move(*outcome);
    }

    // How many different rows have failed their MAC since the start. Each is one error line in the log and
    // one audit row "row.tampered".
    std::uint64_t tampered_rows() const;

    void describe(metrics::Registry& registry) const;

    // Listeners must return at once (post elsewhere). They are called on the writer thread for our own
    // commits, on lk-ledger-ear for those of other brokers on the same database, one at a time; perhaps once
    // too often. After a commit that moved the epoch:
    void on_epoch(std::function<void(Epoch)> listener);
    // After a commit that changed users, keys, unlocks, groups, rules or VMs:
    void on_policy_change(std::function<void()> listener);
    // After a commit that ended unlocks, a membership, a rule, a key or an account:
    void on_access_taken(std::function<void()> listener);

private:
    struct State;
    explicit Ledger(std::unique_ptr<State> state);
    Status run_read(const std::function<Status(Transaction&)>& job, Reading reading);
    Status run_write(
        const std::function<Status(Transaction&)>& job); // may run the job again after a conflict

    std::unique_ptr<State> state_;
};

} // namespace latchkey::ledger
