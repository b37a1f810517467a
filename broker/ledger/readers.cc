// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/readers.h"

#include "broker/ledger/watched_connection.h"
#include "broker/ledger/writer.h"

namespace latchkey::ledger {
namespace {

constexpr int kMostAttempts = 3;

} // namespace

std::unique_ptr<plugin_host::Connection> Readers::take(Reading reading) {
    const std::size_t left = reading == Reading::kNow ? 0 : kept_;
    std::unique_lock lock(mutex_);
    is_free_.wait(lock, [&] { return free_.size() > left; });
    auto connection = std::move(free_.back());
    free_.pop_back();
    return connection;
}

void Readers::give_back(std::unique_ptr<plugin_host::Connection> connection) {
    {
        const std::lock_guard lock(mutex_);
        free_.push_back(std::move(connection));
    }
    is_free_.notify_all(); // not each that waits may take it
}

Status Readers::run(const std::function<Status(Transaction&)>& job, Reading reading) {
    if (is_in_job()) return fail(Code::kInternal, "a ledger job called the ledger");
    auto connection = take(reading);
    Status status;
    for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
        bool must_retry = false;
        status = run_once(connection, job, must_retry);
        if (!must_retry) break;
    }
    give_back(std::move(connection));
    return status;
}

Status Readers::run_once(std::unique_ptr<plugin_host::Connection>& connection,
                         const std::function<Status(Transaction&)>& job, bool& must_retry) {
    if (!connection) {
        LK_TRY(fresh, parts_.connector.connect());
        connection = std::move(fresh);
    }
    Scratch scratch;
    WatchedConnection watched(*connection);
    Transaction t(watched, parts_.sealer, parts_.clock.now(), scratch, parts_.tampered);
    Status status = connection->begin(false);
    std::optional<Error> trouble;
    if (status) {
        status = run_guarded(job, t);
        trouble = watched.trouble();
    } else {
        trouble = status.error();
    }
    if (!connection->rollback() || (trouble && trouble->code == Code::kUnavailable)) connection.reset();
    if (!trouble) return status;
    must_retry = trouble->code == Code::kConflict || trouble->code == Code::kUnavailable;
    if (trouble->code == Code::kConflict) trouble->code = Code::kUnavailable;
    return fail(*trouble);
}

} // namespace latchkey::ledger
