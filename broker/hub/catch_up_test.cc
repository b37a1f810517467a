// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/catch_up.h"

#include <gtest/gtest.h>

#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/restore.h"
#include "broker/ledger/revocations.h"

namespace latchkey::hub {
namespace {

using ledger::take;
using ledger::Transaction;

class CatchingUp : public ledger::LedgerTest {
protected:
    CatchUp from(std::uint64_t epoch) {
        return take(read([&](Transaction& t) { return read_catch_up(t, Epoch{epoch}, Wanted::kNew); }));
    }
};

TEST_F(CatchingUp, OverEpochsThatARestoreLeftOutIsAWholeSet) {
    issue(add_person("bob"));
    take(write([&](Transaction& t) {
        return ledger::revoke(t, take(revocation::Selector::parse("user", "bob")), "a test", "admin");
    }));
    take(write([&](Transaction& t) {
        return ledger::revoke_all(t, {.at_least = Epoch{40},
                                      .longest_certificate = from_seconds(86400),
                                      .reason = "restored",
                                      .actor = "latchkeyd"});
    }));
    for (const std::uint64_t epoch : {1U, 2U, 37U, 38U}) { // some VMs have seen what was lost
        const CatchUp whole = from(epoch);
        EXPECT_TRUE(whole.is_full) << epoch;
        EXPECT_EQ(whole.epoch.value, 40U);
        EXPECT_EQ(whole.entries.size(), 2U);
    }
    const CatchUp last = from(39);
    EXPECT_FALSE(last.is_full);
    ASSERT_EQ(last.entries.size(), 1U);
    EXPECT_EQ(last.entries.front().kind, "before");
}

} // namespace
} // namespace latchkey::hub
