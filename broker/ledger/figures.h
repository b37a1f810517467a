// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the ledger counts. Any thread.

#include "broker/metrics/registry.h"
#include "core/base/result.h"

namespace latchkey::ledger {

struct WriterFigures {
    metrics::Histogram committing;            // a commit with all its jobs
    metrics::Histogram jobs{metrics::kSizes}; // in it
    metrics::Gauge waiting;                   // jobs
    metrics::Gauge sequence;                  // of the last audit row that we wrote

    void describe(metrics::Registry& registry) const {
        registry.add("latchkey_store_commit_duration_seconds", "A commit with all the jobs in it.",
                     committing);
        registry.add("latchkey_store_commit_jobs", "Jobs that shared a commit.", jobs);
        registry.add("latchkey_store_waiting_jobs", "Changes that wait for the next commit.", waiting);
        registry.add("latchkey_audit_sequence", "The last audit row that this broker wrote since its start.",
                     sequence);
    }
};

struct LedgerFigures {
    metrics::Histogram reading;
    metrics::Histogram writing;
    metrics::Counter reads_failed;
    metrics::Counter writes_failed;

    // The store's own failures: what a job decides is none.
    static bool is_failure(const Status& status) {
        return !status &&
               (status.error().code == Code::kUnavailable || status.error().code == Code::kInternal ||
                status.error().code == Code::kIo || status.error().code == Code::kTimedOut);
    }
    void describe(metrics::Registry& registry) const {
        registry.add("latchkey_store_read_duration_seconds", "A read, with its wait for a connection.",
                     reading);
        registry.add("latchkey_store_write_duration_seconds",
                     "A change, from its caller's call to the commit.", writing);
        const std::string failures = "latchkey_store_failures_total";
        const std::string of_failures = "Reads and changes that the store did not carry out.";
        registry.add(failures, of_failures, reads_failed, {{"operation", "read"}});
        registry.add(failures, of_failures, writes_failed, {{"operation", "write"}});
    }
};

} // namespace latchkey::ledger
