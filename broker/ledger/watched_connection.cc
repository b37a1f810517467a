// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/watched_connection.h"

namespace latchkey::ledger {

Result<plugin_host::Rows> WatchedConnection::run(std::string_view sql,
                                                 std::span<const plugin_host::Value> parameters) {
    auto rows = connection_.run(sql, parameters);
    if (!rows) watch(rows.error());
    return rows;
}

Status WatchedConnection::post(std::string_view sql, std::span<const plugin_host::Value> parameters) {
    Status done = connection_.post(sql, parameters);
    if (!done) watch(done.error());
    return done;
}

Status WatchedConnection::run_script(std::string_view sql) {
    Status done = connection_.run_script(sql);
    if (!done) watch(done.error());
    return done;
}

void WatchedConnection::watch(const Error& error) {
    switch (error.code) {
        case Code::kConflict:
        case Code::kUnavailable:
        case Code::kTimedOut:
        case Code::kIo:
        case Code::kTampered:
            if (!trouble_) trouble_ = error;
            break;
        default:
            break; // the statement's own fault: unique violation, value too large
    }
}

} // namespace latchkey::ledger
