// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which broker to try next. An address is a hint where to look and nothing more: whoever answers there shows
// the pinned key or hears no byte of ours, so that a false address costs an attempt and opens nothing. Each
// VM has an order of its own, by rendezvous hashing of its id and the address: agents spread evenly, and
// those of a broker that falls spread over all others. The join token's address comes last where brokers have
// said where they are. One thread.

#include <vector>

#include "core/base/names.h"
#include "core/protocol/join_token.h"

namespace latchkey::agent {

class BrokerOrder {
public:
    struct Known {
        protocol::BrokerAddress joined;                  // the join token's
        std::vector<protocol::BrokerAddress> configured; // agent.toml
        std::vector<protocol::BrokerAddress> told;       // by the last Welcome that said any
    };
    BrokerOrder(VmId vm, Known known);

    // Another list replaces what was told. The broker that is current stays so until the next call.
    // True: it is another one than before.
    bool learn(const std::vector<protocol::BrokerAddress>& told);

    const protocol::BrokerAddress& current() const { return current_; }
    void try_next();  // the one after the current one, round and round
    void try_first(); // the first choice
    std::size_t count() const { return order_.size(); }

private:
    void arrange();

    VmId vm_;
    Known known_;
    std::vector<protocol::BrokerAddress> order_; // never empty
    protocol::BrokerAddress current_;
};

} // namespace latchkey::agent
