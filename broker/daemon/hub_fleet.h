// SPDX-License-Identifier: Apache-2.0
#pragma once
// The hub as the desk sees it. The hub outlives it; any thread.

#include "broker/desk/fleet.h"
#include "broker/hub/hub.h"

namespace latchkey::daemon {

class HubFleet : public desk::Fleet {
public:
    explicit HubFleet(hub::Hub& hub) : hub_(hub) {}
    Result<hub::ReceiptCount> receipts(Epoch epoch) override { return hub_.receipts(epoch); }
    void look(hub::ReceiptCount& count) const override { hub_.look(count); }
    bool wait_receipts(Epoch epoch, Micros deadline_monotonic) override {
        return hub_.wait_receipts(epoch, deadline_monotonic);
    }
    Result<protocol::SessionOutcome> end_session(VmId vm, std::uint64_t session, std::string_view reason,
                                                 Micros deadline_monotonic) override {
        return hub_.end_session(vm, session, reason, deadline_monotonic);
    }
    bool is_connected(VmId vm) const override { return hub_.connected(vm); }
    Micros last_heard(VmId vm) const override { return hub_.last_heard(vm); }
    bool has_step_up(VmId vm) const override { return hub_.has_step_up(vm); }
    void prefetch(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) override {
        hub_.prefetch(user, key, unlock);
    }

private:
    hub::Hub& hub_;
};

} // namespace latchkey::daemon
