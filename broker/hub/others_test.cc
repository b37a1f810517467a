// SPDX-License-Identifier: Apache-2.0
// Two brokers on one ledger: VMs at the other one are known, waited for and asked; and what a heartbeat
// vouches for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "broker/hub/hub_for_tests.h"
#include "broker/ledger/brokers.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"

namespace latchkey::hub {
namespace {

using ledger::code_of;
using ledger::take;
using ledger::Transaction;
using ::testing::HasSubstr;

constexpr Micros kLong = from_seconds(20);
constexpr Micros kBeat = from_millis(50);
constexpr Micros kNextBeat = from_millis(60);

// hub_ is the one that is asked; agents come to there_.
class OtherBrokers : public HubTest {
protected:
    OtherBrokers() {
        hub_.reset();
        hub_ = begin();
        there_ = begin();
    }
    ~OtherBrokers() override { there_.reset(); }

    std::unique_ptr<Hub> begin() {
        Settings settings;
        settings.heartbeat = kBeat; // of a clock that the test moves
        settings.shares_ledger = true;
        settings.brokers = {{"b1.example.org", 7443}, {"b2.example.org", 7443}};
        return HubTest::begin(std::move(settings));
    }
    std::vector<ledger::PlacedVm> placed() {
        return take(read([](Transaction& t) { return ledger::placed_vms(t, Micros{}); }));
    }
    bool is_placed(std::size_t count) {
        return eventually([&] { return placed().size() == count; });
    }
    Answer answer_of_one(Epoch epoch) {
        const auto count = take(hub_->receipts(epoch));
        return count.vms.empty() ? Answer::kRefused : count.vms[0].answer;
    }

    // Where a reader of that moment locks it, again.
    bool change(std::string_view schema) {
        return eventually([&] {
            const auto connection = store_->connect();
            return connection && (*connection)->run(schema, {});
        });
    }

    std::unique_ptr<Hub> there_;
    ledger::Person bob_ = add_person("bob");
};

TEST_F(OtherBrokers, HaveTheirVmsWaitedForAndTheirReceiptsCounted) {
    const Member web = add_member("web-7");
    TestAgent agent(there_->port(), web.key);
    agent.greet();
    ASSERT_TRUE(is_placed(1));
    const Epoch epoch = revoke("user", "bob").revocation.epoch;
    EXPECT_EQ(agent.receive<protocol::Revoke>().epoch, epoch);
    EXPECT_EQ(answer_of_one(epoch), Answer::kWaiting);
    EXPECT_TRUE(hub_->connected(web.vm.id));
    EXPECT_EQ(hub_->connected_count(), 0U) << "it is not here";
    EXPECT_FALSE(hub_->wait_receipts(epoch, clock_.monotonic()));
    agent.send(agent.receipt(epoch, web.vm.id));
    ASSERT_TRUE(eventually(
        [&] { return !take(read([&](Transaction& t) { return ledger::receipts_for(t, epoch); })).empty(); }));
    clock_.advance(from_millis(160)); // another look is due
    EXPECT_TRUE(hub_->wait_receipts(epoch, clock_.monotonic() + kLong));
    EXPECT_EQ(answer_of_one(epoch), Answer::kConfirmed);
}

TEST_F(OtherBrokers, LoseTheirVmsWhenTheseLeave) {
    const Member web = add_member("web-7");
    {
        TestAgent agent(there_->port(), web.key);
        agent.greet();
        ASSERT_TRUE(is_placed(1));
    }
    ASSERT_TRUE(is_placed(0));
    const Epoch epoch = revoke("user", "bob").revocation.epoch;
    EXPECT_EQ(answer_of_one(epoch), Answer::kUnreachable);
    EXPECT_TRUE(hub_->wait_receipts(epoch, clock_.monotonic())) << "nobody is there to be waited for";
}

TEST_F(OtherBrokers, KeepNoVmConnectedOnceTheyAreSilent) {
    const Member web = add_member("web-7");
    TestAgent agent(there_->port(), web.key);
    agent.greet();
    ASSERT_TRUE(is_placed(1));
    const Epoch epoch = revoke("user", "bob").revocation.epoch;
    EXPECT_EQ(answer_of_one(epoch), Answer::kWaiting);
    by_hand("UPDATE brokers SET seen_at = seen_at - 21000000"); // what 21 s without a word would be
    EXPECT_EQ(answer_of_one(epoch), Answer::kUnreachable);
    EXPECT_FALSE(hub_->connected(web.vm.id));
}

TEST_F(OtherBrokers, TakeOverAVmThatComesToThem) {
    const Member web = add_member("web-7");
    TestAgent agent(there_->port(), web.key);
    agent.greet();
    ASSERT_TRUE(is_placed(1));
    const RowId before = placed().at(0).broker;
    TestAgent moved(hub_->port(), web.key);
    moved.greet();
    EXPECT_TRUE(eventually([&] { return placed().at(0).broker != before; }));
    agent.close();
    const Epoch epoch = revoke("user", "bob").revocation.epoch;
    EXPECT_EQ(answer_of_one(epoch), Answer::kWaiting);
    EXPECT_EQ(hub_->connected_count(), 1U);
}

TEST_F(OtherBrokers, EndASessionThatTheyAreAskedToEnd) {
    const Member web = add_member("web-7");
    TestAgent agent(there_->port(), web.key);
    agent.greet();
    ASSERT_TRUE(is_placed(1));
    auto outcome = std::async(std::launch::async, [&] {
        return hub_->end_session(web.vm.id, 77, "ended by admin", clock_.monotonic() + from_seconds(600));
    });
    ASSERT_TRUE(eventually([&] { return by_hand("SELECT id FROM session_ends").rows.size() == 1; }));
    clock_.advance(kNextBeat); // a look is due there
    const auto asked = agent.receive<protocol::SessionEnd>();
    EXPECT_EQ(asked.session, 77U);
    EXPECT_EQ(asked.reason, "ended by admin");
    protocol::SessionEnded ended;
    ended.session = asked.session;
    ended.outcome = protocol::SessionOutcome::kEnded;
    agent.send(ended);
    EXPECT_EQ(take(outcome.get()), protocol::SessionOutcome::kEnded);
    EXPECT_TRUE(by_hand("SELECT id FROM session_ends").rows.empty());
}

TEST_F(OtherBrokers, AreNotAskedAboutAVmThatIsNowhere) {
    const Member web = add_member("web-7");
    EXPECT_EQ(code_of(hub_->end_session(web.vm.id, 77, "ended", clock_.monotonic() + kLong)),
              Code::kUnavailable);
    EXPECT_TRUE(by_hand("SELECT id FROM session_ends").rows.empty());
}

TEST_F(OtherBrokers, AreToldToAgentsAtTheirWelcome) {
    const Member web = add_member("web-7");
    TestAgent agent(there_->port(), web.key);
    const auto brokers = protocol::brokers_of(agent.greet());
    ASSERT_TRUE(brokers);
    ASSERT_EQ(brokers->size(), 2U);
    EXPECT_EQ(brokers->at(1).text(), "b2.example.org:7443");
}

TEST_F(OtherBrokers, SendHeartbeatsOnlyWhileTheySeeTheLedger) {
    const Member web = add_member("web-7");
    TestAgent agent(there_->port(), web.key);
    agent.greet();
    clock_.advance(kNextBeat);
    EXPECT_TRUE(agent.receive_up_to(protocol::Type::kHeartbeat));
    ASSERT_TRUE(change("ALTER TABLE brokers RENAME TO hidden"));
    clock_.advance(kNextBeat);
    EXPECT_TRUE(eventually([&] { return has_logged("lose ledger"); }));
    const Epoch epoch = revoke("user", "bob").revocation.epoch;
    EXPECT_EQ(agent.receive<protocol::Revoke>().epoch, epoch) << "what it does hear, it says";
    ASSERT_TRUE(change("ALTER TABLE hidden RENAME TO brokers"));
    EXPECT_TRUE(agent.receive_up_to(protocol::Type::kHeartbeat));
    EXPECT_TRUE(eventually([&] { return has_logged("see ledger"); })) << "each that had lost it";
}

// A failover to a database that lacks the newest commit, or a hand in it.
TEST_F(OtherBrokers, ServeNoAgentOnceTheLedgerWasSetBackUnderThem) {
    add_person("eve");
    const Member web = add_member("web-7");
    const Member late = add_member("web-8");
    TestAgent agent(there_->port(), web.key);
    agent.greet();
    const Epoch first = revoke("user", "bob").revocation.epoch;
    EXPECT_EQ(agent.receive<protocol::Revoke>().epoch, first);
    const Epoch lost = revoke("user", "bob").revocation.epoch;
    EXPECT_EQ(agent.receive<protocol::Revoke>().epoch, lost);
    agent.send(agent.receipt(lost, web.vm.id));
    ASSERT_TRUE(there_->wait_receipts(lost, clock_.monotonic() + kLong));
    clock_.advance(kNextBeat);
    ASSERT_TRUE(agent.receive_heartbeat()) << "all is well so far";

    ASSERT_TRUE(change("DELETE FROM revocations WHERE epoch = 2"));
    ASSERT_TRUE(change("UPDATE counters SET value = 1 WHERE name = 'epoch'"));
    const Micros set_back_at = clock_.now();
    clock_.advance(kNextBeat);
    while (const auto beat = agent.receive_heartbeat()) EXPECT_LE(beat->time, set_back_at);
    EXPECT_TRUE(has_logged("refuse agents told_epoch=2 ledger_epoch=1"));
    TestAgent fresh(there_->port(), late.key);
    fresh.send(protocol::Hello());
    const auto refused = fresh.receive<protocol::Refused>();
    EXPECT_EQ(refused.code, info(Code::kConflict).name);
    EXPECT_THAT(refused.next, HasSubstr("revoke-all"));
    EXPECT_TRUE(eventually([&] { return audit_count("hub.rollback") >= 1; }));

    const Epoch next = revoke("user", "eve").revocation.epoch; // perhaps under the number of the lost one
    EXPECT_FALSE(there_->wait_receipts(next, clock_.monotonic()));
    auto count = take(there_->receipts(next));
    there_->look(count);
    EXPECT_EQ(count.confirmed(), 0U);
    EXPECT_EQ(take(there_->receipts(first)).confirmed(), 1U) << "what was there before is true still";
}

TEST_F(OtherBrokers, ReportAVmThatSpeaksAtTwoOfThem) {
    const Member web = add_member("web-7");
    TestAgent original(hub_->port(), web.key);
    original.greet();
    ASSERT_TRUE(is_placed(1));
    TestAgent copy(there_->port(), web.key);
    copy.greet();
    for (int round = 0; round < 20 && !has_logged("see clone vm=web-7"); ++round) { // both go on speaking
        original.send(protocol::Heartbeat());
        copy.send(protocol::Heartbeat());
        clock_.advance(kNextBeat);
        ASSERT_TRUE(original.receive_up_to(protocol::Type::kHeartbeat));
        ASSERT_TRUE(copy.receive_up_to(protocol::Type::kHeartbeat));
    }
    EXPECT_TRUE(has_logged("see clone vm=web-7"));
}

} // namespace
} // namespace latchkey::hub
