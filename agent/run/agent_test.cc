// SPDX-License-Identifier: Apache-2.0
// The whole agent: real TLS to a hub that the test speaks for, real Unix socket, real disk. The test program
// stands for sshd's monitor: it runs the real helper as its child and asks as PAM does.
#include "agent/run/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <future>
#include <thread>

#include "agent/fixture/fakes.h"
#include "agent/fixture/folder.h"
#include "agent/fixture/hub.h"
#include "agent/fixture/issuer.h"
#include "core/posix/file.h"

namespace latchkey::agent {
namespace {

using fixture::kNow;
using ::testing::HasSubstr;

// An agent on a thread of its own, from start to stop.
class Running {
public:
    Running(const AgentConfig& config, const Clock& clock) {
        auto ender = std::make_unique<fixture::ObedientEnder>();
        auto made = Agent::make(io_, clock, config, std::move(ender));
        if (!made) std::abort();
        agent_ = *std::move(made);
        if (!agent_->start()) std::abort();
        thread_ = std::thread([this] { io_.run(); });
    }
    ~Running() {
        io_.stop();
        thread_.join();
        agent_->stop();
        agent_.reset();
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

private:
    boost::asio::io_context io_{1};
    std::unique_ptr<Agent> agent_;
    std::thread thread_;
};

class AgentTest : public ::testing::Test {
protected:
    void SetUp() override {
        config_.state_dir = folder_ / "state";
        config_.socket = (folder_ / "run/agent.sock").string();
        config_.helper_user = "root";
        ASSERT_TRUE(state_.make());
        ASSERT_TRUE(state_.load_or_make_identity());
        ASSERT_TRUE(state_.begin_with({hub_.address(), hub_.key(), {42}, *VmName::parse("web-1")}));
    }

    protocol::Welcome welcome(std::uint64_t epoch = 0) const {
        protocol::Welcome welcome;
        welcome.vm_id = {42};
        welcome.vm_name = *VmName::parse("web-1");
        welcome.time = kNow;
        welcome.epoch = {epoch};
        welcome.trust = issuer_.trust();
        return welcome;
    }
    // Accepts, hears Hello, says Welcome and that nothing was missed; online when the receipt is here.
    fixture::HubConnection greet(std::uint64_t epoch = 0) {
        auto connection = hub_.accept();
        EXPECT_TRUE(connection.is_open());
        static_cast<void>(connection.take<protocol::Hello>());
        connection.say(welcome(epoch));
        protocol::Revoke nothing;
        nothing.epoch = {epoch};
        connection.say(nothing);
        static_cast<void>(connection.take<protocol::Receipt>());
        return connection;
    }

    Result<protocol::Frame> say(const Bytes& request) const {
        const auto deadline = posix::Deadline::after(from_seconds(20));
        LK_TRY(stream, posix::Stream::connect_unix(config_.socket, deadline));
        LK_CHECK(stream.send(request, deadline));
        return stream.receive(protocol::kLocalFrameLimit, deadline);
    }
    template <class Answer, class Request>
    Answer ask(const Request& request) const {
        const auto frame = say(protocol::encode(request));
        if (!frame) std::abort();
        return *protocol::decode<Answer>(*frame);
    }
    protocol::Authorized authorize() const {
        protocol::Authorize question;
        question.login = issuer_.login;
        question.key_type = "ssh-ed25519";
        question.key_blob = issuer_.user_key.public_key().blob();
        question.fingerprint = issuer_.key();
        return ask<protocol::Authorized>(question);
    }
    protocol::AgentStatusAnswer status() const {
        return ask<protocol::AgentStatusAnswer>(protocol::AgentStatus{});
    }
    protocol::Verdict account() const {
        protocol::AccountCheck check;
        check.login = issuer_.login;
        check.service = "sshd";
        return ask<protocol::AccountAnswer>(check).verdict;
    }
    // What sshd does: the helper as a child of the monitor, which is this process.
    std::string run_helper() const {
        const auto& key = issuer_.user_key.public_key();
        const std::string command = std::string(LATCHKEY_HELPER) + " --socket " + config_.socket + " " +
                                    issuer_.login.str() + " ssh-ed25519 " + to_base64(key.blob()) + " " +
                                    key.fingerprint().str();
        std::FILE* pipe = ::popen(("exec " + command).c_str(), "r");
        std::string text;
        std::array<char, 512> chunk{};
        while (std::fgets(chunk.data(), chunk.size(), pipe) != nullptr) text += chunk.data();
        ::pclose(pipe);
        return text;
    }
    protocol::SessionAnswer open_session() const {
        protocol::SessionOpen open;
        open.login = issuer_.login;
        open.service = "sshd";
        open.remote_host = "192.0.2.9";
        open.auth_info = "publickey " + issuer_.user_key.public_key().line() + "\n";
        return ask<protocol::SessionAnswer>(open);
    }
    static protocol::Revoke revoke_user(std::uint64_t epoch, const std::string& user) {
        protocol::Revoke revoke;
        revoke.epoch = {epoch};
        revoke.entries = {{{epoch}, "user", user, kNow, kNow + from_seconds(9999)}};
        return revoke;
    }
    void answer_fetch(fixture::HubConnection& connection) const {
        protocol::Grant grant = issuer_.make();
        grant.request = connection.take<protocol::Fetch>().request;
        connection.say(grant);
    }

    fixture::Folder folder_;
    fixture::TestHub hub_;
    fixture::Issuer issuer_;
    FakeClock clock_{kNow};
    AgentConfig config_;
    StateFolder state_{folder_ / "state"};
};

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
              "# written by latchkey-agent\nbackup\ndeploy\n");
}

TEST_F(AgentTest, ServesHeldGrantsWithoutABrokerAndComesBack) {
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

TEST_F(AgentTest, RefusesABrokerThatWasSetBackAndTellsItSo) {
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

TEST_F(AgentTest, SaysNothingToABrokerOfAnotherKey) {
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
