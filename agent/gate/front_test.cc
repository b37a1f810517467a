// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/front.h"

#include <gtest/gtest.h>

#include "agent/fixture/gate_house.h"
#include "agent/gate/session_codec.h"

namespace latchkey::agent {
namespace {

using fixture::kHelper;
using fixture::kHelperUid;
using fixture::kMonitor;
using protocol::Type;

class FrontTest : public ::testing::Test, protected fixture::GateHouse {
protected:
    protocol::Frame say(const Peer& peer, const protocol::Frame& request) {
        std::optional<Bytes> got;
        front.answer(peer, request, [&](Bytes bytes) { got = std::move(bytes); });
        EXPECT_TRUE(got.has_value());
        return *protocol::decode_frame(*got);
    }
    template <class Message>
    protocol::Frame say(const Peer& peer, const Message& message) {
        return say(peer, *protocol::decode_frame(protocol::encode(message)));
    }
};

TEST_F(FrontTest, LetsTheHelperAskForKeysAndNothingElse) {
    fetches.take(issuer.make());
    const Peer helper{kHelper, kHelperUid};
    const auto frame = say(helper, question());
    ASSERT_EQ(frame.type, Type::kAuthorized);
    EXPECT_EQ(protocol::decode<protocol::Authorized>(frame)->lines.size(), 1U);
    EXPECT_EQ(say(helper, protocol::AccountCheck{}).type, Type::kRefused);
    EXPECT_EQ(say(helper, protocol::SessionOpen{}).type, Type::kRefused);
    EXPECT_EQ(say(helper, protocol::SessionClose{}).type, Type::kRefused);
    EXPECT_EQ(say(helper, protocol::AgentStatus{}).type, Type::kRefused);
    EXPECT_EQ(say(helper, protocol::ExplainLogin{}).type, Type::kRefused);
}

TEST_F(FrontTest, LetsASessionBeginOnceItIsWrittenDownOrTheDiskHangs) {
    for (const bool disk_hangs : {false, true}) {
        fetches.take(issuer.make());
        ask(question());
        SessionBook::Recorded written;
        sessions.on_change([&](SessionBook::Recorded done) {
            if (done) written = std::move(done);
        });
        protocol::SessionOpen open;
        open.login = issuer.login;
        open.service = "sshd";
        open.auth_info = auth_info();
        int answers = 0;
        front.answer({kMonitor, 0}, *protocol::decode_frame(protocol::encode(open)),
                     [&](const Bytes&) { ++answers; });
        ASSERT_TRUE(written);
        EXPECT_EQ(answers, 0) << "an agent killed now would not know the session again";
        if (disk_hangs) {
            loop.advance(kRecordPatience);
        } else {
            written({});
        }
        EXPECT_EQ(answers, 1);
        written({});
        EXPECT_EQ(answers, 1);
        EXPECT_EQ(sessions.all().size(), 1U);
    }
}

TEST_F(FrontTest, DeniesASessionThatCannotBeWrittenDown) {
    fetches.take(issuer.make());
    ask(question());
    sessions.on_change([&](const SessionBook::Recorded& done) {
        if (done) done(fail(Code::kIo, "no space left"));
    });
    protocol::SessionOpen open;
    open.login = issuer.login;
    open.service = "sshd";
    open.auth_info = auth_info();
    const auto said = protocol::decode<protocol::SessionAnswer>(say({kMonitor, 0}, open));
    ASSERT_TRUE(said);
    EXPECT_EQ(said->verdict, protocol::Verdict::kDeny);
    EXPECT_NE(said->reason.find("no space left"), std::string::npos) << said->reason;
    EXPECT_TRUE(sessions.all().empty());
    loop.advance(from_seconds(1)); // sshd tells its client first
    loop.run_jobs();
    ASSERT_EQ(ender.ended.size(), 1U) << "it has no session, so it must not stay connected";
    EXPECT_EQ(ender.ended[0].monitor.pid, kMonitor);
}

TEST_F(FrontTest, LetsRootAskForEverythingAndOthersForNothing) {
    const Peer root{kMonitor, 0};
    EXPECT_EQ(say(root, protocol::AccountCheck{}).type, Type::kAccountAnswer);
    EXPECT_EQ(say(root, protocol::SessionOpen{}).type, Type::kSessionAnswer);
    EXPECT_EQ(say(root, protocol::SessionClose{}).type, Type::kAcknowledged);
    EXPECT_EQ(say(root, protocol::AgentStatus{}).type, Type::kAgentStatusAnswer);
    EXPECT_EQ(say(root, protocol::ExplainLogin{}).type, Type::kExplainLoginAnswer);
    const Peer stranger{kMonitor, 1000};
    EXPECT_EQ(say(stranger, question()).type, Type::kRefused);
    EXPECT_EQ(say(stranger, protocol::AgentStatus{}).type, Type::kRefused);
}

TEST_F(FrontTest, RefusesWhatDoesNotParseAndWhatItDoesNotKnow) {
    const Peer root{kMonitor, 0};
    EXPECT_EQ(say(root, protocol::Frame{Type::kAccountCheck, {1, 2, 3}}).type, Type::kRefused);
    EXPECT_EQ(say(root, protocol::Frame{static_cast<Type>(200), {}}).type, Type::kUnsupported);
    EXPECT_EQ(say(root, protocol::Frame{Type::kRevoke, {}}).type, Type::kUnsupported)
        << "the broker's words count on the broker's connection only";
}

TEST_F(FrontTest, TellsRootHowItStands) {
    fetches.take(issuer.make());
    front.set_broker("broker:7443");
    front.set_connected(true);
    clock.step_wall(from_seconds(-40));
    const auto frame = say(Peer{kMonitor, 0}, protocol::AgentStatus{});
    const auto status = *protocol::decode<protocol::AgentStatusAnswer>(frame);
    EXPECT_TRUE(status.connected);
    EXPECT_TRUE(status.serving);
    EXPECT_EQ(status.vm.str(), "web-1");
    EXPECT_EQ(status.broker, "broker:7443");
    EXPECT_EQ(status.cached_grants, 1U);
    EXPECT_EQ(status.offset_magnitude, 40'000'000U);
    EXPECT_TRUE(status.broker_is_ahead);
    EXPECT_EQ(status.managed_logins.size(), 1U);
    EXPECT_TRUE(status.trouble.empty());
    state.troubles.set(TroubleKind::kState, "torn");
    state.troubles.set(TroubleKind::kDisk, "full");
    const auto after =
        *protocol::decode<protocol::AgentStatusAnswer>(say(Peer{kMonitor, 0}, protocol::AgentStatus{}));
    EXPECT_FALSE(after.serving);
    EXPECT_EQ(after.trouble, "torn; full");
}

TEST_F(FrontTest, TellsNoMoreManagedLoginsThanFitAndHowManyMoreThereAre) {
    const auto ask_status = [this] {
        const auto frame = say(Peer{kMonitor, 0}, protocol::AgentStatus{});
        EXPECT_LE(frame.fields.size() + 16, protocol::kLocalFrameLimit);
        return *protocol::decode<protocol::AgentStatusAnswer>(frame);
    };
    std::vector<Login> logins;
    const auto add_up_to = [&](std::size_t count) {
        while (logins.size() < count)
            logins.push_back(
                *Login::parse("a-login-with-quite-a-name-" + std::to_string(10'000 + logins.size())));
        state.set_managed(logins);
    };
    add_up_to(kMaxManagedTold);
    EXPECT_EQ(ask_status().managed_logins.size(), kMaxManagedTold);
    EXPECT_EQ(protocol::more_managed(ask_status()), 0U);
    add_up_to(5000);
    EXPECT_EQ(ask_status().managed_logins.size(), kMaxManagedTold);
    EXPECT_EQ(protocol::more_managed(ask_status()), 5000U - kMaxManagedTold);
}

TEST(SessionCodec, RoundTripsAndRefusesEveryTruncation) {
    BoundSession session;
    session.id = 9;
    session.monitor = {123, 456};
    session.user = *UserName::parse("bob");
    session.login = *Login::parse("deploy");
    session.serial = {7};
    session.from = "192.0.2.1";
    session.logind_session = "12";
    const Bytes encoded = encode_sessions({session, session});
    const auto back = decode_sessions(encoded);
    ASSERT_TRUE(back);
    ASSERT_EQ(back->size(), 2U);
    EXPECT_EQ(back->at(1).monitor, session.monitor);
    EXPECT_EQ(back->at(1).user, session.user);
    EXPECT_EQ(encode_sessions(*back), encoded);
    for (std::size_t size = 0; size < encoded.size(); ++size)
        EXPECT_FALSE(decode_sessions(ByteView(encoded).first(size))) << size;
    session.id = 0;
    EXPECT_FALSE(decode_sessions(encode_sessions({session})));
}

TEST(SessionCodecTest, ReadsWhatTheFirstReleaseWrote) {
    BoundSession session;
    session.id = 5;
    session.monitor = {1234, 5678};
    session.login = *Login::parse("deploy");
    session.logind_session = "12";
    session.audit_session = 77;
    EXPECT_EQ(decode_sessions(encode_sessions({session}))->at(0).audit_session, 77U);
    Bytes first = encode_sessions({session});
    first.resize(first.size() - 5); // it knew no audit session: a boolean and a number less
    const auto back = decode_sessions(first);
    ASSERT_TRUE(back);
    ASSERT_EQ(back->size(), 1U);
    EXPECT_EQ(back->at(0).monitor, session.monitor);
    EXPECT_EQ(back->at(0).logind_session, "12");
    EXPECT_FALSE(back->at(0).audit_session);
}

} // namespace
} // namespace latchkey::agent
