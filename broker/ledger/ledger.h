// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ledger: every SQL statement of the broker stands in this folder. Reads run on a small pool of
// connections, each in a snapshot; writes are jobs for one writer thread, which takes all that wait into one
// commit, a savepoint each, so that a failing job does not fail its neighbours. write() returns after the
// commit is durable: what leaves the broker after it is on disk. Both may be called from any thread and
// block; a job must not call the ledger itself.
//
//     auto user = ledger.read([&](Transaction& t) { return find_user(t, name); });
//     auto done = ledger.write([&](Transaction& t) { return lock_user(t, name, reason, actor); });

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "broker/plugin_host/store.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"
#include "core/keys/private_key.h"

namespace latchkey::ledger {

class Sealer; // seal.h: seals secrets and MACs rows under keys derived from the data key

// One connection inside a transaction. Lives for one job, on one thread.
class Transaction {
public:
    Transaction(plugin_host::Connection& connection, const Sealer& row_sealer, Micros at)
        : sql(connection), sealer(row_sealer), now(at) {}

    plugin_host::Connection& sql;
    const Sealer& sealer;
    const Micros now;
    RowId new_id() const; // 63 random bits, never 0
};

class Ledger {
public:
    struct Options {
        SecretBytes data_key; // 32 bytes
        const Clock* clock = nullptr;
        unsigned readers = 4;
        std::size_t max_waiting = 1024; // write jobs; more are kUnavailable at once
    };
    // Connects, checks the schema version (kConfig with the line to run where a migration is due) and starts
    // the writer. The store must outlive the ledger.
    static Result<std::unique_ptr<Ledger>> open(plugin_host::Store& store, Options options);
    // Applies the numbered migrations under a lock; idempotent.
    static Status migrate(plugin_host::Store& store);
    ~Ledger();

    template <class Job>
    std::invoke_result_t<Job, Transaction&> read(Job job) {
        std::optional<std::invoke_result_t<Job, Transaction&>> outcome;
        const Status ran = run_read([&](Transaction& transaction) -> Status {
            outcome.emplace(job(transaction));
            return {};
        });
        if (!ran) return fail(ran.error());
        return std::move(*outcome);
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

    // Called on the writer thread after a commit that moved the epoch; must return at once (post elsewhere).
    void on_epoch(std::function<void(Epoch)> listener);
    // Called on the writer thread after a commit that changed users, keys, unlocks, groups, rules or VMs.
    void on_policy_change(std::function<void()> listener);

private:
    struct State;
    explicit Ledger(std::unique_ptr<State> state);
    Status run_read(const std::function<Status(Transaction&)>& job);
    Status run_write(
        const std::function<Status(Transaction&)>& job); // may run the job again after a conflict

    std::unique_ptr<State> state_;
};

} // namespace latchkey::ledger
