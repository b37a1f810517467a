// SPDX-License-Identifier: Apache-2.0
#pragma once
// One session: statements, transactions, one savepoint. One thread at a time. libpq's pipeline mode
// throughout: savepoints and a reading transaction's BEGIN need no answer of their own, so they wait in
// later_ and travel with the next statement, in one round trip. What is posted is sent at once and read with
// the next answer: it may belong to a savepoint that was released by then, so that its failure cannot be told
// as the next statement's, and dooms the transaction. No call blocks longer than the statement's time-out and
// a little.

#include <chrono>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "plugins/postgres/handles.h"
#include "plugins/postgres/parameters.h"
#include "plugins/postgres/settings.h"
#include "plugins/sdk/store.h"

namespace latchkey::postgres {

class Connection : public sdk::StoreConnection {
public:
    static Result<std::unique_ptr<Connection>> open(const Settings& settings);

    Result<std::int64_t> run(std::string_view sql, std::span<const lk_value> parameters,
                             const sdk::RowSink& rows) override;
    Status post(std::string_view sql, std::span<const lk_value> parameters) override;
    Status run_script(std::string_view sql) override;
    Status begin(bool for_writing) override;
    Status commit() override;
    Status rollback() override;
    Status savepoint() override;
    Status release_savepoint() override;
    Status rollback_to_savepoint() override;
    Status listen(std::string_view channel) override;
    Status notify(std::string_view channel, std::string_view payload) override;
    Status wait(int timeout_ms, const sdk::RowSink& rows) override;

private:
    using SteadyTime = std::chrono::steady_clock::time_point;

    Connection(Session session, const Settings& settings);

    Status usable() const;
    bool send_later();
    Result<std::size_t> send(std::string_view sql, std::span<const lk_value> parameters);
    Status read_posted();
    Status ask(std::string command); // later_, the command, and its answer
    Status sync();
    Status flush(SteadyTime deadline);
    Result<Answer> next_answer(SteadyTime deadline); // empty: the end of one command's answers
    Status read_to_sync(std::size_t wanted, Answer& answer);
    Status read_all(std::size_t wanted, Answer& answer);
    Status drain();
    Failure die(std::string_view why);
    Failure noted(const PGresult* answer);
    SteadyTime deadline() const;
    bool has_failed() const;
    std::string quoted(std::string_view text, bool is_name) const;

    Session session_;
    const std::string where_;
    const std::chrono::milliseconds patience_; // for one exchange: more than the server's own time-outs
    std::vector<std::string> later_;
    bool is_writing_ = false;
    bool has_savepoint_later_ = false;                      // the last of later_ is an untouched SAVEPOINT
    int unread_syncs_ = 0;                                  // exchanges whose answers nobody waits for
    std::size_t unsynced_ = 0;                              // commands that were posted since the last sync
    std::size_t posted_bytes_ = 0;                          // of their parameters
    std::unordered_map<std::string, std::string> prepared_; // types and SQL -> name
    std::vector<std::string> unsure_;                       // its keys that came since the last sync
    Parameters parameters_;
    std::vector<lk_value> row_;
    std::optional<Error> doomed_; // why this transaction cannot go on: what was posted has failed
    std::optional<Error> lost_;   // why no further call can succeed
};

} // namespace latchkey::postgres
