// SPDX-License-Identifier: Apache-2.0
// Revocations on their way to agents, and what comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <vector>

#include "broker/hub/hub_for_tests.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"

namespace latchkey::hub {
namespace {

using ledger::take;
using ledger::Transaction;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Revoking : public HubTest {
protected:
    ledger::RevocationRow revoke_bob() { return revoke("user", "bob"); }
    std::vector<ledger::ReceiptRow> stored(Epoch epoch) {
        return take(read([&](Transaction& t) { return ledger::receipts_for(t, epoch); }));
    }
    ledger::Person bob_ = add_person("bob");
};

TEST_F(Revoking, ReachesEveryAgentAndCountsTheirReceipts) {
    const Member web = add_member("web-7");
    const Member db = add_member("db-1");
    const Member away = add_member("away-1");
    TestAgent first = connect(web);
    TestAgent second = connect(db);
    first.greet();
    second.greet();
    const Epoch epoch = revoke_bob().revocation.epoch;
    for (TestAgent* agent : {&first, &second}) {
        const auto news = agent->receive<protocol::Revoke>();
        EXPECT_EQ(news.epoch, epoch);
        ASSERT_THAT(news.entries, SizeIs(1));
        EXPECT_EQ(news.entries[0].kind, "user");
        EXPECT_EQ(news.entries[0].text, "bob");
    }
    first.send(first.receipt(epoch, web.vm.id));
    EXPECT_FALSE(hub_->wait_receipts(epoch, clock_.monotonic())); // no time to wait: one is due
    second.send(second.receipt(epoch, db.vm.id));
    EXPECT_TRUE(hub_->wait_receipts(epoch, clock_.monotonic() + from_seconds(20)));
    const auto count = take(hub_->receipts(epoch));
    ASSERT_EQ(count.expected(), 3u);
    EXPECT_EQ(count.confirmed(), 2u);
    EXPECT_EQ(count.vms[0].name, away.vm.name);
    EXPECT_EQ(count.vms[0].answer, Answer::kUnreachable);
    EXPECT_EQ(count.vms[1].receipt_epoch, epoch);
    EXPECT_NE(count.vms[1].answered_at.value, 0);
    const auto rows = stored(epoch);
    ASSERT_THAT(rows, SizeIs(2));
    EXPECT_EQ(rows[0].vm_name, db.vm.name);
}

// Whose end lets go what it holds up.
class Gate {
public:
    ~Gate() { open_.set_value(); }
    std::function<void()> waiter() const {
        return [opened = opened_] { opened.wait(); };
    }

private:
    std::promise<void> open_;
    std::shared_future<void> opened_ = open_.get_future().share();
};

TEST_F(Revoking, WaitsForNoSignerThatHangs) {
    const Member web = add_member("web-7");
    const Member db = add_member("db-1");
    const int all_workers = static_cast<int>(Settings().workers);
    std::vector<ledger::Person> people;
    for (int i = 0; i <= all_workers; ++i) {
        people.push_back(add_person("user" + std::to_string(i)));
        grant(people.back(), "*", {"deploy"});
    }
    TestAgent agent = connect(web);
    agent.greet();
    TestAgent asking = connect(db);
    asking.greet();
    const Gate gate;
    signer_.meanwhile = gate.waiter();
    for (const ledger::Person& person : people) asking.send(fetch_of(person, "deploy"));
    ASSERT_TRUE(eventually([&] { return signer_.signatures == all_workers; }));
    const Epoch epoch = revoke_bob().revocation.epoch;
    EXPECT_EQ(agent.receive<protocol::Revoke>().epoch, epoch);
    agent.send(agent.receipt(epoch, web.vm.id));
    EXPECT_TRUE(eventually([&] { return stored(epoch).size() == 1; }));
}

TEST_F(Revoking, WaitsForNoLongReads) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    std::atomic<unsigned> reading = 0;
    std::vector<std::future<void>> readers;
    const Gate gate; // opens before they are waited for
    for (int i = 0; i < 8; ++i) {
        readers.push_back(std::async(std::launch::async, [&, wait = gate.waiter()] {
            take(read([&](Transaction&) -> Status {
                ++reading;
                wait();
                return {};
            }));
        }));
    }
    const unsigned in_turn = ledger::is_on_postgres() ? 1 : 3; // the fixture's, without the one that is kept
    ASSERT_TRUE(eventually([&] { return reading >= in_turn; }));
    const Epoch epoch = revoke_bob().revocation.epoch;
    EXPECT_EQ(agent.receive<protocol::Revoke>().epoch, epoch);
}

TEST_F(Revoking, IsNotConfirmedByAReceiptThatAnotherKeySigned) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    const Epoch epoch = revoke_bob().revocation.epoch;
    agent.receive<protocol::Revoke>();
    auto forged = agent.receipt(epoch, web.vm.id);
    forged.signature = *new_private_key().sign(protocol::receipt_signed_bytes(forged));
    agent.send(forged);
    EXPECT_TRUE(agent.is_closed());
    EXPECT_TRUE(has_logged("refuse receipt vm=web-7"));
    EXPECT_THAT(stored(epoch), IsEmpty());
    EXPECT_EQ(take(hub_->receipts(epoch)).confirmed(), 0u);
}

TEST_F(Revoking, IsConfirmedThoughItsReceiptCouldNotBeWrittenAtFirst) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    const Epoch epoch = revoke_bob().revocation.epoch;
    agent.receive<protocol::Revoke>();
    const auto rename = [&](std::string_view statement) { // where a reader of that moment locks it, again
        return eventually([&] {
            const auto connection = store_->connect();
            return connection && (*connection)->run(statement, {});
        });
    };
    ASSERT_TRUE(rename("ALTER TABLE receipts RENAME TO hidden"));
    agent.send(agent.receipt(epoch, web.vm.id));
    ASSERT_TRUE(eventually([&] { return has_logged("fail to record receipts"); }));
    EXPECT_FALSE(hub_->wait_receipts(epoch, clock_.monotonic())) << "it is not durable";
    ASSERT_TRUE(rename("ALTER TABLE hidden RENAME TO receipts"));
    EXPECT_TRUE(hub_->wait_receipts(epoch, clock_.monotonic() + from_seconds(20)));
    EXPECT_THAT(stored(epoch), SizeIs(1));
    EXPECT_TRUE(hub_->connected(web.vm.id));
}

TEST_F(Revoking, IsNotConfirmedByAReceiptWhoseCountsWereAltered) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    const Epoch epoch = revoke_bob().revocation.epoch;
    agent.receive<protocol::Revoke>();
    auto altered = agent.receipt(epoch, web.vm.id);
    altered.sessions_ended = 3;
    agent.send(altered);
    EXPECT_TRUE(agent.is_closed());
    EXPECT_THAT(stored(epoch), IsEmpty());
}

TEST_F(Revoking, IsNotConfirmedForAnotherVmNorAhead) {
    const Member web = add_member("web-7");
    const Member db = add_member("db-1");
    {
        TestAgent agent = connect(web);
        agent.greet();
        agent.send(agent.receipt(Epoch{0}, db.vm.id));
        EXPECT_TRUE(agent.is_closed());
    }
    TestAgent agent = connect(web);
    agent.greet();
    agent.send(agent.receipt(Epoch{1}, web.vm.id));
    EXPECT_TRUE(agent.is_closed());
    revoke_bob();
    EXPECT_EQ(take(hub_->receipts(Epoch{1})).confirmed(), 0u);
}

TEST_F(Revoking, IsConfirmedByTheReceiptOfALaterEpoch) {
    const Member web = add_member("web-7");
    const Epoch first = revoke_bob().revocation.epoch;
    const Epoch second = revoke_bob().revocation.epoch;
    TestAgent agent = connect(web);
    agent.greet();
    agent.send(agent.receipt(second, web.vm.id));
    EXPECT_TRUE(hub_->wait_receipts(first, clock_.monotonic() + from_seconds(20)));
    EXPECT_EQ(take(hub_->receipts(first)).confirmed(), 1u);
}

TEST_F(Revoking, ExpectsNothingOfAVmThatJoinedAfter) {
    const Epoch epoch = revoke_bob().revocation.epoch;
    clock_.advance(from_seconds(1));
    add_member("web-7");
    EXPECT_EQ(take(hub_->receipts(epoch)).expected(), 0u);
    EXPECT_TRUE(take(hub_->receipts(epoch)).is_complete());
}

TEST_F(Revoking, TellsWhenAnUnreachableVmMustHaveForgotten) {
    const Member web = add_member("web-7");
    grant(bob_, "*", {"deploy"});
    const auto row = take(issuer_->issue(bob_.user, bob_.key, bob_.unlock, "bob"));
    clock_.advance(from_seconds(600));
    const auto revocation = revoke_bob();
    const auto count = take(hub_->receipts(revocation.revocation.epoch));
    ASSERT_THAT(count.vms, SizeIs(1));
    EXPECT_EQ(count.vms[0].last_seen, web.vm.joined_at);
    EXPECT_EQ(count.vms[0].grants_end, row.ends_at);
    EXPECT_EQ(ledger::code_of(hub_->receipts(Epoch{9})), Code::kNotFound);
}

TEST_F(Revoking, IsSeenInMemoryAsItIsAnsweredAndAsAVmLeaves) {
    const Member web = add_member("web-7");
    const Member db = add_member("db-1");
    TestAgent first = connect(web);
    TestAgent second = connect(db);
    first.greet();
    second.greet();
    const Epoch epoch = revoke_bob().revocation.epoch;
    auto count = take(hub_->receipts(epoch));
    EXPECT_EQ(count.count(Answer::kWaiting), 2u);
    first.receive<protocol::Revoke>();
    first.send(first.receipt(epoch, web.vm.id));
    EXPECT_TRUE(eventually([&] {
        hub_->look(count);
        return count.confirmed() == 1;
    }));
    EXPECT_FALSE(count.vms[0].was_lost);
    second.close();
    EXPECT_TRUE(eventually([&] {
        hub_->look(count);
        return count.count(Answer::kUnreachable) == 1;
    }));
    EXPECT_TRUE(count.vms[0].was_lost) << "db-1 left while somebody waited for it";
    EXPECT_TRUE(hub_->wait_receipts(epoch, clock_.monotonic() + from_seconds(20)));
}

TEST_F(Revoking, IsNotConfirmedByAReceiptThatNamesTroubleUntilItIsOver) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    const Epoch epoch = revoke_bob().revocation.epoch;
    auto seen = take(hub_->receipts(epoch));
    agent.receive<protocol::Revoke>(); // nobody may answer what he was not sent
    auto troubled = agent.receipt(epoch, web.vm.id);
    troubled.sessions_found = 2;
    troubled.sessions_ended = 1;
    troubled.trouble = "session 5 of bob could not be ended";
    agent.send_signed(troubled);
    EXPECT_TRUE(hub_->wait_receipts(epoch, clock_.monotonic() + from_seconds(20))) << "it has answered";
    hub_->look(seen);
    EXPECT_EQ(seen.vms.at(0).answer, Answer::kTrouble);
    auto count = take(hub_->receipts(epoch));
    EXPECT_EQ(count.vms.at(0).answer, Answer::kTrouble);
    EXPECT_EQ(count.vms[0].trouble, troubled.trouble);
    EXPECT_FALSE(count.is_complete());

    auto again = agent.receipt(epoch, web.vm.id); // it was found again, and ended
    again.sessions_found = again.sessions_ended = 1;
    agent.send_signed(again);
    EXPECT_TRUE(eventually([&] { return take(hub_->receipts(epoch)).is_complete(); }));
    count = take(hub_->receipts(epoch));
    EXPECT_EQ(count.vms[0].sessions_found, 2u);
    EXPECT_EQ(count.vms[0].sessions_ended, 2u);
    EXPECT_THAT(stored(epoch), SizeIs(2));
}

TEST_F(Revoking, IsConfirmedWhereALaterReceiptSaysThatTheTroubleIsOver) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    const Epoch first = revoke_bob().revocation.epoch;
    agent.receive<protocol::Revoke>();
    auto troubled = agent.receipt(first, web.vm.id);
    troubled.sessions_found = 1;
    troubled.trouble = "session 5 of bob could not be ended";
    agent.send_signed(troubled);
    EXPECT_TRUE(hub_->wait_receipts(first, clock_.monotonic() + from_seconds(20)));
    const Epoch second = revoke_bob().revocation.epoch;
    EXPECT_FALSE(take(hub_->receipts(first)).is_complete());
    EXPECT_EQ(agent.receive<protocol::Revoke>().epoch, second);
    agent.send(agent.receipt(second, web.vm.id));
    EXPECT_TRUE(eventually([&] { return take(hub_->receipts(first)).is_complete(); }));
    EXPECT_EQ(take(hub_->receipts(first)).vms.at(0).receipt_epoch, second);
}

TEST_F(Revoking, WaitsForNobodyWhoDoesNotUnderstandIt) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    const Epoch epoch = revoke_bob().revocation.epoch;
    agent.receive<protocol::Revoke>();
    protocol::Unsupported answer;
    answer.type = static_cast<std::uint8_t>(protocol::Type::kRevoke);
    agent.send(answer);
    EXPECT_TRUE(hub_->wait_receipts(epoch, clock_.monotonic() + from_seconds(20)));
    const auto count = take(hub_->receipts(epoch));
    EXPECT_EQ(count.vms.at(0).answer, Answer::kRefused);
    EXPECT_FALSE(count.is_complete());
}

TEST_F(Revoking, OfAVmIsAnsweredByItAndThenItIsClosedAndRefused) {
    const Member web = add_member("web-7");
    const Member db = add_member("db-1");
    TestAgent agent = connect(web);
    TestAgent other = connect(db);
    agent.greet();
    other.greet();
    const Epoch epoch = revoke("vm", "web-7").revocation.epoch;
    EXPECT_EQ(agent.receive<protocol::Revoke>().epoch, epoch);
    protocol::Fetch fetch;
    fetch.request = 5;
    fetch.login = *Login::parse("deploy");
    fetch.key = bob_.key.fingerprint;
    agent.send(fetch);
    EXPECT_EQ(agent.receive<protocol::Grant>().decision, protocol::GrantDecision::kDeny);
    auto count = take(hub_->receipts(epoch));
    EXPECT_EQ(count.expected(), 2u) << "the VM that was removed must answer too";
    agent.send(agent.receipt(epoch, web.vm.id));
    EXPECT_TRUE(agent.is_closed());
    EXPECT_EQ(take(hub_->receipts(epoch)).vms.at(1).answer, Answer::kConfirmed);
    TestAgent back = connect(web);
    back.send(protocol::Hello());
    EXPECT_EQ(back.receive<protocol::Refused>().code, info(Code::kUnauthenticated).name);
    EXPECT_EQ(other.receive<protocol::Revoke>().epoch, epoch);
    other.send(other.receipt(epoch, db.vm.id));
    EXPECT_TRUE(eventually([&] { return take(hub_->receipts(epoch)).is_complete(); }));
    EXPECT_TRUE(hub_->connected(db.vm.id));
}

TEST_F(Revoking, OfAVmThatIsAwayReachesItWhenItIsBackAndThenItIsRefused) {
    const Member web = add_member("web-7");
    const Epoch epoch = revoke("vm", "web-7").revocation.epoch;
    {
        TestAgent agent = connect(web);
        EXPECT_EQ(agent.greet().epoch, epoch);
        ASSERT_THAT(agent.caught_up, SizeIs(1));
        EXPECT_EQ(agent.caught_up[0].kind, "vm");
        protocol::Fetch fetch;
        fetch.request = 5;
        fetch.login = *Login::parse("deploy");
        fetch.key = bob_.key.fingerprint;
        agent.send(fetch);
        EXPECT_EQ(agent.receive<protocol::Grant>().decision, protocol::GrantDecision::kDeny);
        agent.send(agent.receipt(epoch, web.vm.id));
        EXPECT_TRUE(agent.is_closed());
    }
    EXPECT_TRUE(take(hub_->receipts(epoch)).is_complete());
    TestAgent back = connect(web);
    back.send(protocol::Hello());
    EXPECT_EQ(back.receive<protocol::Refused>().code, info(Code::kUnauthenticated).name);
}

TEST_F(Revoking, IsOneMessageAndNoRefreshBesides) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    const Epoch epoch = revoke_bob().revocation.epoch;
    EXPECT_EQ(agent.receive_but_heartbeat().type, protocol::Type::kRevoke);
    EXPECT_TRUE(hub_->end_session(web.vm.id, 1, "mark", clock_.monotonic()).error().code == Code::kTimedOut);
    EXPECT_EQ(agent.receive_but_heartbeat().type, protocol::Type::kSessionEnd) << "nothing came between";
    EXPECT_EQ(epoch.value, 1u);
}

TEST_F(Revoking, GoesOutOnceAndInOrderThoughManyCommitAtOnce) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    constexpr std::uint64_t kCount = 50;
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i) {
        threads.emplace_back([&] {
            for (std::uint64_t n = 0; n < kCount / 5; ++n) revoke_bob();
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::uint64_t last = 0;
    while (last < kCount) {
        const auto news = agent.receive<protocol::Revoke>();
        ASSERT_FALSE(news.entries.empty());
        for (const protocol::RevocationEntry& entry : news.entries) {
            ASSERT_EQ(entry.epoch.value, last + 1);
            last = entry.epoch.value;
        }
        ASSERT_EQ(news.epoch.value, last);
    }
}

TEST_F(Revoking, MissesNobodyWhoConnectsMeanwhile) {
    std::vector<Member> members;
    for (int i = 0; i < 8; ++i) members.push_back(add_member("web-" + std::to_string(i)));
    std::thread revoker([&] {
        for (int n = 0; n < 40; ++n) revoke_bob();
    });
    for (const Member& member : members) {
        TestAgent agent = connect(member);
        agent.greet();
        std::uint64_t last = agent.caught_up.empty() ? 0 : agent.caught_up.back().epoch.value;
        while (last < 40) {
            const auto news = agent.receive<protocol::Revoke>();
            ASSERT_FALSE(news.entries.empty());
            ASSERT_EQ(news.entries.front().epoch.value, last + 1);
            last = news.epoch.value;
        }
    }
    revoker.join();
}

} // namespace
} // namespace latchkey::hub
