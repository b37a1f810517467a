// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the desk asks of the connected VMs: the seam between commands and the hub, so that a test can have VMs
// that do not answer. The real one is broker/daemon/hub_fleet.h. Any thread; receipts(),
// wait_receipts() and end_session() block.

#include "broker/hub/hub.h"

namespace latchkey::desk {

class Fleet {
public:
    virtual ~Fleet() = default;
    virtual Result<hub::ReceiptCount> receipts(Epoch epoch) = 0;
    virtual void look(hub::ReceiptCount& count) const = 0;
    virtual bool wait_receipts(Epoch epoch, Micros deadline_monotonic) = 0;
    virtual Result<protocol::SessionOutcome> end_session(VmId vm, std::uint64_t session,
                                                         std::string_view reason,
                                                         Micros deadline_monotonic) = 0;
    virtual bool is_connected(VmId vm) const = 0;
    virtual Micros last_heard(VmId vm) const = 0;
    virtual bool has_step_up(VmId vm) const = 0; // connected, and its agent asks about sudo
    virtual void prefetch(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) = 0;
};

} // namespace latchkey::desk
