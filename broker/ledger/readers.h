// SPDX-License-Identifier: Apache-2.0
#pragma once
// The small pool of reading connections: a caller takes one, runs its job in a snapshot on its own thread,
// and gives it back; where all are out it waits. The last one is kept for what must not wait behind long
// reads (Ledger::read_now). Borrows its parts.

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "broker/ledger/connector.h"
#include "broker/ledger/ledger.h"

namespace latchkey::ledger {

class Readers {
public:
    struct Parts {
        Connector& connector;
        const Sealer& sealer;
        const Clock& clock;
        TamperLog& tampered;
    };
    Readers(Parts parts, std::vector<std::unique_ptr<plugin_host::Connection>> connections)
        : parts_(parts), kept_(connections.size() > 1 ? 1 : 0), free_(std::move(connections)) {}

    Status run(const std::function<Status(Transaction&)>& job, Reading reading);

private:
    std::unique_ptr<plugin_host::Connection> take(Reading reading);
    void give_back(std::unique_ptr<plugin_host::Connection> connection); // empty: it was lost
    Status run_once(std::unique_ptr<plugin_host::Connection>& connection,
                    const std::function<Status(Transaction&)>& job, bool& must_retry);

    const Parts parts_;
    const std::size_t kept_;
    std::mutex mutex_;
    std::condition_variable is_free_;
    std::vector<std::unique_ptr<plugin_host::Connection>> free_;
};

} // namespace latchkey::ledger
