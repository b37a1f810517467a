// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a job gets for a connection: statements only, and a note of the store's own failures, which a job's
// Status cannot be told from (kConflict is also a code that was used before). Borrows the connection.

#include <optional>

#include "broker/plugin_host/store.h"

namespace latchkey::ledger {

class WatchedConnection : public plugin_host::Connection {
public:
    explicit WatchedConnection(plugin_host::Connection& connection) : connection_(connection) {}

    Result<plugin_host::Rows> run(std::string_view sql,
                                  std::span<const plugin_host::Value> parameters) override;
    Status post(std::string_view sql, std::span<const plugin_host::Value> parameters) override;
    Status run_script(std::string_view sql) override;
    // Transactions belong to the ledger, not to its jobs.
    Status begin(bool) override { return refuse(); }
    Status commit() override { return refuse(); }
    Status rollback() override { return refuse(); }
    Status savepoint() override { return refuse(); }
    Status release_savepoint() override { return refuse(); }
    Status rollback_to_savepoint() override { return refuse(); }

    // The first failure that the whole transaction, and not the job alone, has to answer for.
    const std::optional<Error>& trouble() const { return trouble_; }

private:
    static Status refuse() {
        return fail(Code::kInternal, "a ledger job must not begin or end transactions");
    }
    void watch(const Error& error);

    plugin_host::Connection& connection_;
    std::optional<Error> trouble_;
};

} // namespace latchkey::ledger
