// SPDX-License-Identifier: Apache-2.0
#pragma once
// Three brokers, each a store of its own, a ledger and an issuer, over one database: for the tests of what
// must hold between brokers. SQLite, or PostgreSQL beside tests/support/with_postgres.

#include <array>
#include <filesystem>
#include <memory>
#include <string>

#include "broker/issue/issuer_for_tests.h"

namespace latchkey::issue {

inline constexpr std::size_t kBrokers = 3;

struct TestBroker {
    std::unique_ptr<plugin_host::Store> store;
    std::unique_ptr<ledger::Ledger> ledger;
    MemorySigner signer;
    std::unique_ptr<Issuer> issuer;
};

class BrokersTest : public ::testing::Test {
public:
    BrokersTest();
    ~BrokersTest() override;

    TestBroker& broker(std::size_t which) { return brokers_[which]; }
    ledger::MovableClock& clock() { return clock_; }
    void restart(std::size_t which); // killed and started: nothing but the database is left
    // What a broker leaves that dies inside a transaction which would move the epoch.
    void leave_half_done(std::size_t which);
    ledger::Vm add_vm(std::string_view name);
    std::size_t count(const std::string& table); // its rows

private:
    void start(TestBroker& broker);
    static void stop(TestBroker& broker);

    ledger::MovableClock clock_;
    std::filesystem::path folder_;
    std::array<TestBroker, kBrokers> brokers_;
};

} // namespace latchkey::issue
