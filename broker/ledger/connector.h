// SPDX-License-Identifier: Apache-2.0
#pragma once
// Makes connections to the store for everyone in the ledger. After one that failed none is tried for a while
// that grows to seconds: callers get the last failure at once instead of queueing before a database that is
// away. Any thread; blocks as long as the store's own connecting may.

#include <chrono>
#include <memory>
#include <mutex>

#include "broker/plugin_host/store.h"

namespace latchkey::ledger {

class Connector {
public:
    explicit Connector(plugin_host::Store& store) : store_(store) {}

    Result<std::unique_ptr<plugin_host::Connection>> connect();

private:
    using Time = std::chrono::steady_clock::time_point;

    plugin_host::Store& store_;
    std::mutex mutex_;
    int failures_ = 0; // one after the other
    Time next_try_{};
    Error last_;
};

} // namespace latchkey::ledger
