// SPDX-License-Identifier: Apache-2.0
#pragma once
// Hears what other brokers committed to the same database: a thread ("lk-ledger-ear") with a connection of
// its own. A notification only says "look": the thread reads the counters and tells the listeners what moved,
// and it looks every few seconds and after each reconnect without being told. Borrows its parts.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>

#include "broker/ledger/connector.h"
#include "broker/ledger/ledger.h"
#include "broker/ledger/listeners.h"

namespace latchkey::ledger {

// Where commits are told that others must hear of.
inline constexpr std::string_view kChannel = "latchkey";

class Ear {
public:
    struct Parts {
        Connector& connector;
        const Sealer& sealer;
        const Clock& clock;
        TamperLog& tampered;
        Listeners& listeners;
    };
    explicit Ear(Parts parts) : parts_(parts), thread_([this] { loop(); }) {}
    ~Ear(); // within half a second

private:
    void loop();
    Status hear();
    Status look();
    bool is_stopping();

    const Parts parts_;
    std::unique_ptr<plugin_host::Connection> connection_; // the thread's own
    std::mutex mutex_;
    std::condition_variable stop_;
    bool is_stopping_ = false;
    std::thread thread_; // last: starts when all else stands
};

} // namespace latchkey::ledger
