// SPDX-License-Identifier: Apache-2.0
#include <future>

#include "agent/fixture/whole_agent.h"

namespace latchkey::agent {
namespace {

using fixture::Running;
using ::testing::HasSubstr;

// The agent and its broker: lost, found again, set back, replaced.
class LinkTest : public fixture::WholeAgent {};

TEST_F(LinkTest, ServesHeldGrantsWithoutABrokerAndComesBack) {
    const Running agent(config_, clock_);
    {
        auto broker = greet();
        broker.say(issuer_.make());
        auto first = std::async(std::launch::async, [this] { return authorize(); });
        EXPECT_EQ(first.get().lines.size(), 1U);
        broker.close();
    }
    auto again = hub_.accept(); // it noticed, and is back
    EXPECT_EQ(authorize().lines.size(), 1U);
    EXPECT_FALSE(status().connected);
    const auto hello = again.take<protocol::Hello>();
    EXPECT_EQ(hello.epoch.value, 0U);
}

TEST_F(LinkTest, RefusesABrokerThatWasSetBackAndTellsItSo) {
    {
        const Running agent(config_, clock_);
        auto broker = greet();
        broker.say(revoke_user(1, "alice"));
        static_cast<void>(broker.take<protocol::Receipt>());
    }
    const Running agent(config_, clock_);
    auto broker = hub_.accept();
    EXPECT_EQ(broker.take<protocol::Hello>().epoch.value, 1U);
    broker.say(welcome(0));
    EXPECT_THAT(broker.take<protocol::Refused>().message, HasSubstr("rollback"));
    EXPECT_FALSE(broker.next()) << "and then it is gone";
    EXPECT_THAT(status().trouble, HasSubstr("rollback"));
    EXPECT_FALSE(status().serving);
    EXPECT_TRUE(authorize().lines.empty());
}

TEST_F(LinkTest, SaysNothingToABrokerOfAnotherKey) {
    const Fingerprint other = fixture::new_key().public_key().fingerprint();
    ASSERT_TRUE(state_.begin_with({hub_.address(), other, {42}, *VmName::parse("web-1")}));
    const Running agent(config_, clock_);
    for (int attempt = 0; attempt < 2; ++attempt) {
        auto broker = hub_.accept();
        EXPECT_FALSE(broker.is_open() && broker.next());
    }
    EXPECT_THAT(status().trouble, HasSubstr("pinned"));
    EXPECT_TRUE(authorize().lines.empty());
}

TEST_F(LinkTest, TellsTheBrokerLaterWhatHappenedWithoutIt) {
    const Running agent(config_, clock_);
    {
        auto broker = greet();
        broker.say(issuer_.make());
        EXPECT_FALSE(run_helper().empty());
        broker.close();
    }
    auto again = hub_.accept();
    EXPECT_EQ(open_session().verdict, protocol::Verdict::kAllow) << "by the grant that it holds";
    static_cast<void>(ask<protocol::Acknowledged>(protocol::SessionClose{}));
    static_cast<void>(again.take<protocol::Hello>());
    again.say(welcome());
    const auto opened = again.take<protocol::SessionEvent>();
    EXPECT_EQ(opened.phase, protocol::SessionPhase::kOpened);
    const auto closed = again.take<protocol::SessionEvent>();
    EXPECT_EQ(closed.phase, protocol::SessionPhase::kClosed);
    EXPECT_EQ(closed.session, opened.session);
}

TEST_F(LinkTest, SaysThatItIsAliveAndLeavesABrokerThatDoesNot) {
    const SystemClock clock;
    const Running agent(config_, clock);
    auto broker = hub_.accept();
    static_cast<void>(broker.take<protocol::Hello>());
    protocol::Welcome words = welcome();
    words.time = clock.now();
    words.heartbeat_seconds = 2;
    broker.say(words);
    EXPECT_EQ(broker.take<protocol::Heartbeat>().epoch.value, 0U);
    auto again = hub_.accept(); // after three periods of silence
    EXPECT_TRUE(again.is_open());
    while (broker.next()) { // and the old connection is gone
    }
    EXPECT_THAT(status().trouble, HasSubstr("heartbeats"));
}

} // namespace
} // namespace latchkey::agent
