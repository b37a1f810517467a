// SPDX-License-Identifier: Apache-2.0
// sudo in a bound session: its monitor is process 100, a shell 110 below it, sudo 120 below that.
#include "agent/gate/step_ups.h"

#include <gtest/gtest.h>

#include "agent/fixture/gate_house.h"

namespace latchkey::agent {
namespace {

using fixture::GateHouse;
using fixture::kMonitor;
using fixture::kNow;
using protocol::StepUpDecision;
using protocol::StepUpVerdict;
using protocol::SudoRule;

constexpr pid_t kShell = 110;
constexpr pid_t kSudo = 120;
constexpr pid_t kOtherMonitor = 200;
constexpr pid_t kOtherSudo = 220;
constexpr pid_t kDaemonSudo = 320; // re-parented to init

struct House : GateHouse {
    House() {
        processes.add(kShell, kMonitor);
        processes.add(kSudo, kShell);
        processes.add(kOtherMonitor, 1);
        processes.add(kOtherSudo, kOtherMonitor);
        processes.add(kDaemonSudo, 1);
        step_ups.meet_broker({std::string(protocol::kStepUpCapability)});
        open(kMonitor, 7, "c7");
        open(kOtherMonitor, 8, "c8");
    }
    void open(pid_t monitor, std::uint64_t serial, const std::string& logind) {
        BoundSession session;
        session.monitor = *processes.find(monitor);
        session.user = *UserName::parse("bob");
        session.login = *Login::parse("deploy");
        session.key = issuer.user_key.public_key().fingerprint();
        session.serial = {serial};
        session.ca = issuer.ca.public_key().fingerprint();
        session.issued_at = kNow;
        session.logind_session = logind;
        if (!sessions.open(session)) std::abort();
    }
    void end_session() { // no process of these was ever there
        sessions.goodbye();
        loop.advance(kAfterGoodbye);
        loop.run_jobs();
    }
    // What the grant of a session said about sudo.
    void grant_says(pid_t monitor, std::uint64_t serial, SudoRule rule) {
        AllowedLogin allowed;
        allowed.offer.login = *Login::parse("deploy");
        allowed.offer.key = issuer.user_key.public_key().fingerprint();
        allowed.credential.key = allowed.offer.key;
        allowed.credential.serial = {serial};
        allowed.ends_at = kNow + from_seconds(3600);
        allowed.sudo = rule;
        monitors.allow(*processes.find(monitor), allowed);
    }
    StepUpVerdict ask(pid_t asker = kSudo, const std::string& login = "deploy") {
        protocol::StepUp request;
        request.login = *Login::parse(login);
        request.service = "sudo";
        step_ups.ask(asker, request, [this](protocol::StepUpAnswer got) { sudo = std::move(got); });
        return sudo.verdict;
    }
    void give(const std::string& code, pid_t asker = kSudo) {
        sudo = {};
        protocol::StepUpCode request;
        request.login = *Login::parse("deploy");
        request.service = "sudo";
        request.code = SecretBytes(as_bytes(code));
        step_ups.judge(asker, request, [this](protocol::StepUpAnswer got) { sudo = std::move(got); });
    }
    protocol::Verdict check(pid_t asker = kSudo) {
        protocol::AccountCheck request;
        request.login = *Login::parse("deploy");
        request.service = "sudo";
        account_answer = {};
        step_ups.check(asker, request, [this](protocol::AccountAnswer got) { account_answer = got; });
        return account_answer.verdict;
    }
    void broker_says(StepUpDecision decision, Micros ends_at = {}) {
        protocol::HubStepUpAnswer said;
        said.request = hub.all<protocol::HubStepUp>().back().request;
        said.decision = decision;
        said.reason = "because";
        said.ends_at = ends_at;
        step_ups.take(said);
    }
    // With a broker that asks for codes.
    StepUpVerdict ask_with_broker(pid_t asker = kSudo, StepUpDecision decision = StepUpDecision::kAsk) {
        sudo = {};
        ask(asker);
        broker_says(decision);
        return sudo.verdict;
    }
    protocol::Verdict check_with_broker(pid_t asker = kSudo) {
        check(asker);
        broker_says(StepUpDecision::kAsk);
        return account_answer.verdict;
    }
    void step_up(Micros grace = from_seconds(300)) {
        give("123456");
        broker_says(StepUpDecision::kAllow, state.broker_clock.now() + grace);
        ASSERT_EQ(sudo.verdict, StepUpVerdict::kAllow);
    }
    void pass(Micros time) { // with a broker that goes on speaking
        loop.advance(time);
        state.lease.cover(state.broker_clock.hear(state.broker_clock.now()));
    }
    void lose_broker() {
        state.lease.go_offline();
        step_ups.lose_broker();
    }
    std::size_t questions() const { return hub.all<protocol::HubStepUp>().size(); }

    protocol::StepUpAnswer sudo;
    protocol::AccountAnswer account_answer;
};

TEST(StepUp, AsksForACodeAndNamesPersonAndMachine) {
    House house;
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAsk);
    EXPECT_EQ(house.sudo.prompt, "Latchkey code for bob on web-1: ");
    const auto asked = house.hub.all<protocol::HubStepUp>();
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_EQ(asked[0].user.str(), "bob");
    EXPECT_EQ(asked[0].login.str(), "deploy");
    EXPECT_TRUE(asked[0].code.empty());
    EXPECT_NE(asked[0].session, 0U);
}

TEST(StepUp, LetsInByARightCodeAndAsksAgainForAWrongOne) {
    House house;
    house.give("000000");
    EXPECT_EQ(as_text(house.hub.all<protocol::HubStepUp>().back().code.view()), "000000");
    house.broker_says(StepUpDecision::kAsk);
    EXPECT_EQ(house.sudo.verdict, StepUpVerdict::kAsk);
    EXPECT_EQ(house.sudo.reason, "because");
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAsk) << "a wrong code opens no grace";
    house.step_up();
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAllow);
}

TEST(StepUp, HoldsItsGraceForThatSessionAlone) {
    House house;
    house.step_up();
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAllow);
    EXPECT_EQ(house.ask_with_broker(kOtherSudo), StepUpVerdict::kAsk);
    EXPECT_NE(house.hub.all<protocol::HubStepUp>()[1].session,
              house.hub.all<protocol::HubStepUp>()[2].session);
}

TEST(StepUp, EndsItsGraceInTime) {
    House house;
    house.step_up(from_seconds(300));
    house.pass(from_seconds(299));
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAllow);
    house.pass(from_seconds(2));
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAsk);
}

TEST(StepUp, BoundsTheGraceWhateverTheBrokerSays) {
    House house;
    house.step_up(from_seconds(24 * 3600));
    house.pass(kMaxSudoGrace + from_seconds(1));
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAsk);
}

TEST(StepUp, OfARevokedLoginIsDeniedInItsGrace) {
    House house;
    house.step_up();
    house.revoke("user", "bob");
    const auto before = house.questions();
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny);
    EXPECT_EQ(house.questions(), before);
}

TEST(StepUp, OfASessionThatHasEndedIsDenied) {
    House house;
    house.state.managed.insert(*Login::parse("deploy"));
    house.step_up();
    house.end_session();
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny);
    house.step_ups.drop_dead();
    EXPECT_EQ(house.step_ups.size(), 0U);
}

TEST(StepUp, IsDeniedWhereTheSessionEndsWhileTheBrokerThinks) {
    House house;
    house.give("123456");
    house.end_session();
    house.broker_says(StepUpDecision::kAllow, kNow + from_seconds(300));
    EXPECT_EQ(house.sudo.verdict, StepUpVerdict::kDeny);
}

TEST(StepUp, WithoutABrokerGoesOnlyInItsGrace) {
    House house;
    house.step_up();
    house.lose_broker();
    EXPECT_EQ(house.ask(), StepUpVerdict::kAllow);
    EXPECT_EQ(house.ask(kOtherSudo), StepUpVerdict::kDeny);
    house.loop.advance(from_seconds(301));
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny);
    EXPECT_NE(house.sudo.reason.find("cannot be reached"), std::string::npos);
}

TEST(StepUp, HasItsGraceConfirmedAfterARefresh) {
    House house;
    house.step_up();
    house.step_ups.make_stale();
    house.state.lease.go_offline();
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny) << "a lock may be behind it";
    house.state.lease.go_online();
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAllow);
    house.state.lease.go_offline();
    EXPECT_EQ(house.ask(), StepUpVerdict::kAllow);
}

TEST(StepUp, LosesItsGraceWhereTheBrokerDenies) {
    House house;
    house.step_up();
    EXPECT_EQ(house.ask_with_broker(kSudo, StepUpDecision::kDeny), StepUpVerdict::kDeny);
    EXPECT_EQ(house.sudo.reason, "because");
    EXPECT_EQ(house.ask_with_broker(), StepUpVerdict::kAsk);
    house.lose_broker();
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny);
}

TEST(StepUp, IsDeniedWhereTheBrokerIsSilentOrLeaves) {
    House house;
    house.give("123456");
    house.loop.advance(kCodeTime - from_millis(1));
    EXPECT_TRUE(house.sudo.reason.empty());
    house.loop.advance(from_millis(2));
    EXPECT_EQ(house.sudo.verdict, StepUpVerdict::kDeny);
    EXPECT_NE(house.sudo.reason.find("cannot be reached"), std::string::npos);
    house.broker_says(StepUpDecision::kAllow, kNow + from_seconds(300)); // too late
    house.give("234567");
    house.lose_broker();
    EXPECT_EQ(house.sudo.verdict, StepUpVerdict::kDeny);
}

TEST(StepUp, WithoutABrokerGoesByWhatTheGrantSaid) {
    House house;
    house.grant_says(kMonitor, 7, SudoRule::kFree);
    house.grant_says(kOtherMonitor, 8, SudoRule::kDenied);
    house.lose_broker();
    EXPECT_EQ(house.ask(), StepUpVerdict::kAllow);
    EXPECT_EQ(house.ask(kOtherSudo), StepUpVerdict::kDeny);
    house.loop.advance(from_seconds(2 * 3600)); // the lease is over
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny);
}

TEST(StepUp, StaysOutWherePolicySaysNothing) {
    House house;
    EXPECT_EQ(house.ask_with_broker(kSudo, StepUpDecision::kUnsaid), StepUpVerdict::kUnmanaged);
    house.lose_broker();
    EXPECT_EQ(house.ask(), StepUpVerdict::kUnmanaged);
    house.grant_says(kOtherMonitor, 8, SudoRule::kUnsaid);
    EXPECT_EQ(house.ask(kOtherSudo), StepUpVerdict::kUnmanaged);
}

TEST(StepUp, OfASessionOfAnEarlierRunIsDeniedWithoutABroker) {
    House house;
    house.lose_broker();
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny);
}

TEST(StepUp, GoesByTheGrantWhereTheBrokerIsOlder) {
    House house;
    house.step_ups.meet_broker({});
    EXPECT_EQ(house.ask(), StepUpVerdict::kUnmanaged) << "it never had such a policy";
    house.grant_says(kMonitor, 7, SudoRule::kFactor);
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny);
    EXPECT_EQ(house.questions(), 0U);
}

TEST(StepUp, OutsideOfASessionIsDeniedToManagedLoginsAlone) {
    House house;
    house.state.managed.insert(*Login::parse("deploy"));
    EXPECT_EQ(house.ask(kDaemonSudo), StepUpVerdict::kDeny);
    EXPECT_EQ(house.ask(kDaemonSudo, "carol"), StepUpVerdict::kUnmanaged);
    house.state.local.insert(*Login::parse("deploy"));
    EXPECT_EQ(house.ask(kDaemonSudo), StepUpVerdict::kUnmanaged);
}

TEST(StepUp, FindsTheSessionByItsScopeWhereTheParentIsGone) {
    House house;
    house.processes.put_in_scope(kDaemonSudo, "c8");
    EXPECT_EQ(house.ask_with_broker(kDaemonSudo), StepUpVerdict::kAsk);
    house.ask_with_broker(kOtherSudo);
    const auto asked = house.hub.all<protocol::HubStepUp>();
    EXPECT_EQ(asked[0].session, asked[1].session);
}

TEST(StepUp, TrustsNoScopeThatTwoSessionsShare) {
    House house;
    house.state.managed.insert(*Login::parse("deploy"));
    house.processes.add(300, 1);
    house.open(300, 9, ""); // an sshd that was started by hand inside of session c8
    house.processes.put_in_scope(300, "c8");
    house.processes.put_in_scope(kDaemonSudo, "c8");
    EXPECT_EQ(house.ask(kDaemonSudo), StepUpVerdict::kDeny);
}

TEST(StepUp, OfAMonitorWhosePidIsAnothersNowIsDenied) {
    House house;
    house.state.managed.insert(*Login::parse("deploy"));
    house.processes.put_in_scope(kDaemonSudo, "c8");
    house.processes.reuse(kOtherMonitor);
    EXPECT_EQ(house.ask(kDaemonSudo), StepUpVerdict::kDeny);
    EXPECT_EQ(house.ask(kOtherSudo), StepUpVerdict::kDeny);
}

TEST(StepUp, IsDeniedWhileTheStateIsTorn) {
    House house;
    house.step_up();
    house.state.troubles.set(TroubleKind::kState, "torn");
    EXPECT_EQ(house.ask(), StepUpVerdict::kDeny);
}

TEST(StepUpAccount, PassesTheSudoThatGaveACodeAndNoOther) {
    House house;
    house.step_up(Micros{}); // no grace at all
    const auto before = house.questions();
    EXPECT_EQ(house.check(), protocol::Verdict::kAllow);
    EXPECT_EQ(house.questions(), before);
    house.processes.add(121, kShell);
    EXPECT_EQ(house.check_with_broker(121), protocol::Verdict::kDeny);
    EXPECT_NE(house.account_answer.reason.find("timestamp_timeout"), std::string::npos);
}

TEST(StepUpAccount, PassesInTheGrace) {
    House house;
    house.step_up();
    house.processes.add(121, kShell);
    EXPECT_EQ(house.check_with_broker(121), protocol::Verdict::kAllow);
    EXPECT_EQ(house.check_with_broker(kOtherSudo), protocol::Verdict::kDeny);
}

TEST(StepUpAccount, IsAskedThroughTheFrontForSudoOnly) {
    House house;
    protocol::AccountCheck request;
    request.login = *Login::parse("deploy");
    request.service = "sudo";
    const auto frame = *protocol::decode_frame(protocol::encode(request));
    house.front.answer({kSudo, 0}, frame, [](const Bytes&) {});
    EXPECT_EQ(house.questions(), 1U);
    request.service = "cron";
    house.front.answer({kSudo, 0}, *protocol::decode_frame(protocol::encode(request)), [](const Bytes&) {});
    EXPECT_EQ(house.questions(), 1U);
}

TEST(StepUpFront, IsForRootAlone) {
    House house;
    protocol::StepUp request;
    request.login = *Login::parse("deploy");
    request.service = "sudo";
    const auto frame = *protocol::decode_frame(protocol::encode(request));
    protocol::Type type{};
    const auto note = [&](const Bytes& bytes) { type = protocol::decode_frame(bytes)->type; };
    house.front.answer({kSudo, fixture::kHelperUid}, frame, note);
    EXPECT_EQ(type, protocol::Type::kRefused);
    house.lose_broker();
    house.front.answer({kSudo, 0}, frame, note);
    EXPECT_EQ(type, protocol::Type::kStepUpAnswer);
}

} // namespace
} // namespace latchkey::agent
