// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the desk asks of the connected VMs: the seam between commands and the hub, so that a test can have VMs
// that do not answer. HubFleet is the real one. Any thread; wait_receipts() blocks.

#include "broker/hub/hub.h"

namespace latchkey::desk {

class Fleet {
public:
    virtual ~Fleet() = default;
    virtual Result<hub::ReceiptCount> receipts(Epoch epoch) = 0;
    virtual bool wait_receipts(Epoch epoch, Micros deadline_monotonic) = 0;
    virtual Status end_session(VmId vm, std::uint64_t session, std::string_view reason) = 0;
    virtual bool is_connected(VmId vm) const = 0;
    virtual void prefetch(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) = 0;
};

class HubFleet : public Fleet {
public:
    explicit HubFleet(hub::Hub& hub) : hub_(hub) {}
    Result<hub::ReceiptCount> receipts(Epoch epoch) override { return hub_.receipts(epoch); }
    bool wait_receipts(Epoch epoch, Micros deadline_monotonic) override {
        return hub_.wait_receipts(epoch, deadline_monotonic);
    }
    Status end_session(VmId vm, std::uint64_t session, std::string_view reason) override {
        return hub_.end_session(vm, session, reason);
    }
    bool is_connected(VmId vm) const override { return hub_.connected(vm); }
    void prefetch(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) override {
        hub_.prefetch(user, key, unlock);
    }

private:
    hub::Hub& hub_;
};

} // namespace latchkey::desk
