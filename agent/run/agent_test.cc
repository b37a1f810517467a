// SPDX-License-Identifier: Apache-2.0
#include "agent/run/agent.h"

#include <future>

#include "agent/fixture/whole_agent.h"
#include "core/posix/file.h"

namespace latchkey::agent {
namespace {

using fixture::kNow;
using fixture::Running;
using ::testing::HasSubstr;

class AgentTest : public fixture::WholeAgent {};

TEST_F(AgentTest, FetchesOnceAndAnswersFromTheCache) {
    const Running agent(config_, clock_);
    auto broker = greet();
    auto first = std::async(std::launch::async, [this] { return authorize(); });
    answer_fetch(broker);
    EXPECT_EQ(first.get().lines.size(), 1U);
    EXPECT_EQ(authorize().lines.size(), 1U) << "no second Fetch is answered by anybody";
    EXPECT_EQ(status().cached_grants, 1U);
}

TEST_F(AgentTest, TakesAwayWhatIsRevokedAndAnswersWithAReceiptOfTheVmsKey) {
    const Running agent(config_, clock_);
    auto broker = greet();
    broker.say(issuer_.make()); // a prefetch
    broker.say(revoke_user(1, "bob"));
    const auto receipt = broker.take<protocol::Receipt>();
    EXPECT_EQ(receipt.epoch.value, 1U);
    EXPECT_EQ(receipt.grants_purged, 1U);
    EXPECT_TRUE(state_.load_identity()->public_key().verify(receipt.signature,
                                                            protocol::receipt_signed_bytes(receipt)));
    EXPECT_EQ(state_.load_revocations()->epoch().value, 1U);
    auto denied = std::async(std::launch::async, [this] { return authorize(); });
    answer_fetch(broker); // even where the broker would still grant it
    EXPECT_TRUE(denied.get().lines.empty());
}

TEST_F(AgentTest, BindsTheSessionOfTheHelpersParentAndEndsItWhenItIsRevoked) {
    const Running agent(config_, clock_);
    auto broker = greet();
    broker.say(issuer_.make());
    EXPECT_EQ(account(), protocol::Verdict::kDeny) << "nobody has asked for a key yet";
    EXPECT_THAT(run_helper(), ::testing::StartsWith("restrict,pty,"));
    EXPECT_EQ(account(), protocol::Verdict::kAllow);
    EXPECT_EQ(open_session().verdict, protocol::Verdict::kAllow);
    EXPECT_EQ(broker.take<protocol::SessionEvent>().phase, protocol::SessionPhase::kRefused);
    const auto opened = broker.take<protocol::SessionEvent>();
    EXPECT_EQ(opened.phase, protocol::SessionPhase::kOpened);
    EXPECT_EQ(status().sessions.at(0).monitor_pid, static_cast<std::uint32_t>(::getpid()));
    broker.say(revoke_user(1, "alice"));
    EXPECT_EQ(broker.take<protocol::Receipt>().sessions_found, 0U);
    broker.say(revoke_user(2, "bob"));
    const auto ended = broker.take<protocol::SessionEvent>();
    EXPECT_EQ(ended.phase, protocol::SessionPhase::kEnded);
    EXPECT_EQ(ended.session, opened.session);
    const auto receipt = broker.take<protocol::Receipt>();
    EXPECT_EQ(receipt.sessions_found, 1U);
    EXPECT_EQ(receipt.sessions_ended, 1U);
}

TEST_F(AgentTest, StillKnowsItsSessionsAfterARestart) {
    std::uint64_t id = 0;
    {
        const Running agent(config_, clock_);
        auto broker = greet();
        broker.say(issuer_.make());
        EXPECT_FALSE(run_helper().empty());
        EXPECT_EQ(open_session().verdict, protocol::Verdict::kAllow);
        id = broker.take<protocol::SessionEvent>().session;
        broker.say(revoke_user(1, "alice")); // its record is written behind that of the session
        static_cast<void>(broker.take<protocol::Receipt>());
    }
    const Running agent(config_, clock_);
    auto broker = hub_.accept();
    static_cast<void>(broker.take<protocol::Hello>());
    broker.say(welcome(1));
    EXPECT_EQ(broker.take<protocol::SessionEvent>().session, id);
    broker.say(revoke_user(2, "bob"));
    EXPECT_EQ(broker.take<protocol::Receipt>().sessions_found, 1U);
}

TEST_F(AgentTest, EndsTheOneSessionThatTheBrokerNames) {
    const Running agent(config_, clock_);
    auto broker = greet();
    broker.say(issuer_.make());
    EXPECT_FALSE(run_helper().empty());
    EXPECT_EQ(open_session().verdict, protocol::Verdict::kAllow);
    protocol::SessionEnd end;
    end.session = broker.take<protocol::SessionEvent>().session;
    end.reason = "ended by admin";
    broker.say(end);
    EXPECT_EQ(broker.take<protocol::SessionEvent>().reason, "ended by admin");
    EXPECT_TRUE(status().sessions.empty());
    EXPECT_FALSE(run_helper().empty()) << "the grant itself stands";
}

TEST_F(AgentTest, WritesTheManagedLoginsThatPamReadsWithoutIt) {
    config_.managed_logins = {*Login::parse("backup")};
    config_.local_logins = {*Login::parse("rescue")};
    protocol::Welcome words = welcome();
    words.trust.managed_logins.push_back(*Login::parse("rescue"));
    const Running agent(config_, clock_);
    auto broker = hub_.accept();
    static_cast<void>(broker.take<protocol::Hello>());
    broker.say(words);
    // Disk writes go one after the other: behind two revocations the trust is written.
    for (std::uint64_t epoch = 1; epoch <= 2; ++epoch) {
        broker.say(revoke_user(epoch, "alice"));
        static_cast<void>(broker.take<protocol::Receipt>());
    }
    EXPECT_EQ(as_text(*posix::read_file(folder_ / "state/managed-logins")),
              "# written by latchkey-agent; logins 2; crc32 c016f60a\nbackup\ndeploy\n");
}

TEST_F(AgentTest, RunsWithADamagedStateButLetsNobodyInWhereItIsManaged) {
    {
        const Running agent(config_, clock_);
        auto broker = greet();
    }
    ASSERT_TRUE(state_.save_trust(issuer_.trust()));
    std::filesystem::resize_file(folder_ / "state/revocations", 10);
    const Running agent(config_, clock_);
    EXPECT_EQ(account(), protocol::Verdict::kDeny);
    EXPECT_TRUE(authorize().lines.empty());
    EXPECT_FALSE(status().serving);
    EXPECT_THAT(status().trouble, HasSubstr("revocation"));
    // And serves again once the broker has sent everything; which it hears of.
    auto broker = hub_.accept();
    EXPECT_EQ(broker.take<protocol::Hello>().epoch.value, 0U);
    broker.say(welcome(2));
    const auto report = broker.take<protocol::Report>();
    EXPECT_EQ(report.kind, "state");
    EXPECT_THAT(report.text, HasSubstr("revocations"));
    protocol::Revoke first = revoke_user(1, "alice");
    first.last = false;
    broker.say(first);
    EXPECT_EQ(account(), protocol::Verdict::kDeny);
    broker.say(revoke_user(2, "carol"));
    while (broker.take<protocol::Receipt>().epoch.value < 2) {
    } // one for each, or one for both
    EXPECT_TRUE(status().serving);
    EXPECT_EQ(status().trouble, "");
    EXPECT_EQ(state_.load_revocations()->size(), 2U);
}

TEST_F(AgentTest, HearsAgainWhatItTrustsWhereThatIsTornAndIsClosedUntilThen) {
    ASSERT_TRUE(state_.save_trust(issuer_.trust()));
    std::filesystem::resize_file(folder_ / "state/trust", 30);
    const Running agent(config_, clock_);
    EXPECT_EQ(account(), protocol::Verdict::kDeny);
    EXPECT_FALSE(status().serving);
    auto broker = greet();
    EXPECT_TRUE(status().serving);
    EXPECT_EQ(status().trouble, "");
    broker.say(revoke_user(1, "alice")); // written behind the trust
    static_cast<void>(broker.take<protocol::Receipt>());
    broker.say(revoke_user(2, "alice"));
    static_cast<void>(broker.take<protocol::Receipt>());
    EXPECT_TRUE(state_.load_trust());
}

TEST_F(AgentTest, GatesEveryLoginWhereItCannotEvenReadWhichAreManaged) {
    config_.local_logins = {*Login::parse("rescue")};
    std::filesystem::resize_file(folder_ / "state/trust", 3);
    const Running agent(config_, clock_);
    protocol::AccountCheck check;
    check.login = *Login::parse("anybody");
    check.service = "sshd";
    EXPECT_EQ(ask<protocol::AccountAnswer>(check).verdict, protocol::Verdict::kDeny);
    check.login = *Login::parse("rescue");
    EXPECT_EQ(ask<protocol::AccountAnswer>(check).verdict, protocol::Verdict::kUnmanaged);
}

TEST_F(AgentTest, KeepsClosedAfterAJoinWhatWasClosedBeforeUntilItHearsTheBroker) {
    ASSERT_TRUE(state_.save_managed_logins({issuer_.login, *Login::parse("old")}));
    const Running agent(config_, clock_);
    EXPECT_EQ(account(), protocol::Verdict::kDeny);
    protocol::AccountCheck check;
    check.login = *Login::parse("anybody");
    check.service = "sshd";
    EXPECT_EQ(ask<protocol::AccountAnswer>(check).verdict, protocol::Verdict::kUnmanaged);
    EXPECT_EQ(state_.load_managed_logins()->size(), 2U);
    auto broker = greet();
    EXPECT_EQ(account(), protocol::Verdict::kDeny);
    check.login = *Login::parse("old");
    EXPECT_EQ(ask<protocol::AccountAnswer>(check).verdict, protocol::Verdict::kUnmanaged)
        << "the broker has said which are";
    for (std::uint64_t epoch = 1; epoch <= 2; ++epoch) { // written behind the list
        broker.say(revoke_user(epoch, "alice"));
        static_cast<void>(broker.take<protocol::Receipt>());
    }
    EXPECT_EQ(*state_.load_managed_logins(), std::vector<Login>{issuer_.login});
}

TEST_F(AgentTest, WritesNoListThatIsShorterThanOneThatItCouldNotRead) {
    const std::string torn = "# written by latchkey-agent; logins 2; crc32 c016f60a\nbackup\n";
    ASSERT_TRUE(posix::write_file(folder_ / "state/managed-logins", as_bytes(torn), 0644));
    {
        const Running agent(config_, clock_);
        EXPECT_EQ(account(), protocol::Verdict::kDeny);
    }
    EXPECT_EQ(as_text(*posix::read_file(folder_ / "state/managed-logins")), torn);
}

TEST_F(AgentTest, DoesNotRunWhereItHasNotJoined) {
    std::filesystem::remove(folder_ / "state/broker");
    boost::asio::io_context io(1);
    const auto agent = Agent::make(io, clock_, config_, std::make_unique<fixture::ObedientEnder>());
    ASSERT_FALSE(agent);
    EXPECT_EQ(agent.error().code, Code::kNotFound);
    EXPECT_THAT(agent.error().next, HasSubstr("latchkey-agent join"));
}

TEST_F(AgentTest, ClosesAnAskerThatSendsRubbishOrTwoRequestsAndServesTheNext) {
    const Running agent(config_, clock_);
    EXPECT_FALSE(say(Bytes{0, 0, 0, 0}));
    EXPECT_FALSE(say(Bytes{0xff, 0xff, 0xff, 0xff, 1}));
    Bytes two = protocol::encode(protocol::AgentStatus{});
    two.insert(two.end(), two.begin(), two.end());
    EXPECT_FALSE(say(two));
    EXPECT_EQ(status().vm.str(), "web-1");
}

TEST_F(AgentTest, DoesNotTakeTheSocketOfALivingAgentButThatOfADeadOne) {
    const Running agent(config_, clock_);
    boost::asio::io_context io(1);
    auto second = Agent::make(io, clock_, config_, std::make_unique<fixture::ObedientEnder>());
    ASSERT_TRUE(second);
    const Status started = (*second)->start();
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().code, Code::kConflict);
    EXPECT_EQ(status().vm.str(), "web-1") << "and the first one still answers";
}

} // namespace
} // namespace latchkey::agent
