// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/brokers.h"

#include <gtest/gtest.h>

#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/vms.h"

namespace latchkey::ledger {
namespace {

class Brokers : public LedgerTest {
protected:
    Brokers() {
        for (const BrokerRun* run : {&one_, &other_})
            take(write([&](Transaction& t) { return note_broker(t, *run); }));
    }
    std::vector<VmId> join(std::size_t count) {
        const auto token = take(write([&](Transaction& t) {
            return add_join_token(t, static_cast<std::uint32_t>(count), t.now + from_seconds(60), "*", {},
                                  "admin");
        }));
        std::vector<VmId> vms;
        for (std::size_t i = 0; i < count; ++i) {
            const auto key = new_public_key();
            const auto name = take(VmName::parse("web-" + std::to_string(i)));
            vms.push_back(take(write([&](Transaction& t) {
                              return join_vm(t, token.id, token.secret.view(), name, key.raw_ed25519(), {});
                          })).id);
        }
        return vms;
    }
    std::vector<PlacedVm> placed(Micros alive_since) {
        return take(read([&](Transaction& t) { return placed_vms(t, alive_since); }));
    }

    const BrokerRun one_{new_run(), "b1.example.org:7443"};
    const BrokerRun other_{new_run(), "b2.example.org:7443"};
};

TEST_F(Brokers, HaveAnyNumberOfVmsAndEachVmIsAtTheLastThatTookIt) {
    const auto vms = join(70); // more than one statement takes
    take(write([&](Transaction& t) { return place_vms(t, one_.id, SudoWord::kAsks, vms); }));
    EXPECT_EQ(placed({}).size(), 70U);
    take(write([&](Transaction& t) { return place_vms(t, other_.id, SudoWord::kNone, {vms[3]}); }));
    take(write([&](Transaction& t) { return unplace_vms(t, one_.id, vms); })); // one of them has moved on
    const auto left = placed({});
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(left[0].vm, vms[3]);
    EXPECT_EQ(left[0].broker, other_.id);
    EXPECT_EQ(left[0].sudo, SudoWord::kNone);
}

TEST_F(Brokers, AreAliveAsLongAsTheySaySo) {
    const auto vms = join(2);
    take(write([&](Transaction& t) { return place_vms(t, one_.id, SudoWord::kAsks, {vms[0]}); }));
    take(write([&](Transaction& t) { return place_vms(t, other_.id, SudoWord::kAsks, {vms[1]}); }));
    clock_.advance(from_seconds(30));
    take(write([&](Transaction& t) { return note_broker(t, other_); }));
    for (const PlacedVm& one : placed(clock_.now() - from_seconds(20)))
        EXPECT_EQ(one.is_alive, one.broker == other_.id);
    take(write([&](Transaction& t) { return forget_broker(t, other_.id); }));
    for (const PlacedVm& one : placed(Micros{1})) EXPECT_EQ(one.is_alive, one.broker == one_.id);
}

TEST_F(Brokers, KeepACopyAwayAsLongAsTheySayThatTheyRun) {
    const auto connection = take(store_->connect());
    const auto look = [&] { return need_no_broker(*connection, clock_.now(), from_seconds(20)); };
    take(write([&](Transaction& t) { return forget_broker(t, other_.id); }));
    clock_.advance(from_seconds(15));
    const Status refused = look();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kConflict);
    EXPECT_NE(refused.error().message.find("b1.example.org"), std::string::npos);
    EXPECT_NE(refused.error().next.find("wait 6 s"), std::string::npos) << refused.error().next;
    clock_.advance(from_seconds(5)); // it died, and could not take its word back
    EXPECT_TRUE(look());
    take(write([&](Transaction& t) { return note_broker(t, other_); }));
    EXPECT_FALSE(look());
    take(write([&](Transaction& t) { return forget_broker(t, other_.id); })); // it was stopped
    EXPECT_TRUE(look());
}

TEST_F(Brokers, AreAskedToEndSessionsOfTheirOwnVmsUntilTheyHaveAnswered) {
    const auto vms = join(1);
    take(write([&](Transaction& t) { return place_vms(t, one_.id, SudoWord::kAsks, vms); }));
    const RowId id = take(write([&](Transaction& t) { return ask_session_end(t, vms[0], 77, "ended"); }));
    const auto ends = [&](RowId run, Micros since) {
        return take(read([&](Transaction& t) { return session_ends_for(t, run, since); }));
    };
    EXPECT_TRUE(ends(other_.id, {}).empty());
    EXPECT_TRUE(ends(one_.id, clock_.now() + from_seconds(1)).empty()) << "too old";
    ASSERT_EQ(ends(one_.id, {}).size(), 1U);
    EXPECT_EQ(ends(one_.id, {})[0].session, 77U);
    const auto outcome = [&] {
        return take(read([&](Transaction& t) { return outcome_of_session_end(t, id); }));
    };
    EXPECT_FALSE(outcome());
    take(
        write([&](Transaction& t) { return answer_session_end(t, id, protocol::SessionOutcome::kWasGone); }));
    take(write([&](Transaction& t) { // the first answer stands
        return answer_session_end(t, id, protocol::SessionOutcome::kStillThere);
    }));
    EXPECT_EQ(outcome(), protocol::SessionOutcome::kWasGone);
    EXPECT_TRUE(ends(one_.id, {}).empty());
    take(write([&](Transaction& t) { return drop_session_end(t, id); }));
    EXPECT_FALSE(outcome());
}

TEST_F(Brokers, ShareTheKeysOfTheFirst) {
    const Fingerprint identity = new_public_key().fingerprint();
    const Fingerprint ledger_key = new_public_key().fingerprint();
    const auto check = [&](const Fingerprint& of_agents, const Fingerprint& of_statements) {
        return write([&](Transaction& t) { return check_broker_keys(t, of_agents, of_statements); });
    };
    EXPECT_TRUE(check(identity, ledger_key));
    EXPECT_TRUE(check(identity, ledger_key));
    EXPECT_EQ(code_of(check(new_public_key().fingerprint(), ledger_key)), Code::kConfig);
    EXPECT_EQ(code_of(check(identity, new_public_key().fingerprint())), Code::kConfig);
}

} // namespace
} // namespace latchkey::ledger
