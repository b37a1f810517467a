// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/account_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fixture/gate_house.h"
#include "agent/gate/strays.h"

namespace latchkey::agent {
namespace {

using fixture::kHelper;
using fixture::kMonitor;
using protocol::SessionPhase;
using protocol::Verdict;
using ::testing::HasSubstr;

class AccountGateTest : public ::testing::Test, protected fixture::GateHouse {
protected:
    void SetUp() override { fetches.take(issuer.make()); }
    void log_in() {
        ask(question());
        ASSERT_TRUE(is_allowed());
    }
    std::vector<protocol::SessionEvent> events() const { return hub.all<protocol::SessionEvent>(); }
};

TEST_F(AccountGateTest, AllowsTheMonitorWhoseLoginWasDecided) {
    log_in();
    EXPECT_EQ(account().verdict, Verdict::kAllow);
    EXPECT_EQ(session(auth_info()).verdict, Verdict::kAllow);
    ASSERT_EQ(sessions.all().size(), 1U);
    const BoundSession bound = sessions.all()[0];
    EXPECT_EQ(bound.user.str(), "bob");
    EXPECT_EQ(bound.serial.value, 7U);
    EXPECT_EQ(bound.key, issuer.key());
    EXPECT_EQ(bound.monitor.pid, kMonitor);
    EXPECT_EQ(bound.logind_session, "c7");
    ASSERT_EQ(events().size(), 1U);
    EXPECT_EQ(events()[0].phase, SessionPhase::kOpened);
    EXPECT_EQ(events()[0].session, bound.id);
    EXPECT_EQ(events()[0].from, "192.0.2.9");
    EXPECT_EQ(bound.id >> 63, 0U);
}

TEST_F(AccountGateTest, BindsACertificateLoginToThatCertificate) {
    ask(question(offered()));
    ASSERT_TRUE(is_allowed());
    EXPECT_EQ(session("publickey " + offered().line() + "\n").verdict, Verdict::kAllow);
}

TEST_F(AccountGateTest, DeniesAManagedLoginThatNobodyDecided) {
    const auto said = account(); // a key in the user's own authorized_keys
    EXPECT_EQ(said.verdict, Verdict::kDeny);
    ASSERT_EQ(events().size(), 1U);
    EXPECT_EQ(events()[0].phase, SessionPhase::kRefused);
    EXPECT_NE(events()[0].session, 0U);
    EXPECT_EQ(session(auth_info()).verdict, Verdict::kDeny);
}

TEST_F(AccountGateTest, DeniesADecisionForAnotherMonitorOrLogin) {
    log_in();
    processes.add(200, 1);
    EXPECT_EQ(account("deploy", "sshd", 200).verdict, Verdict::kDeny);
    processes.reuse(kMonitor);
    EXPECT_EQ(account().verdict, Verdict::kDeny) << "the pid alone is not the process";
}

TEST_F(AccountGateTest, AllowsSshdsChildThatRunsASecondFactor) {
    log_in();
    processes.add(150, kMonitor);
    EXPECT_EQ(account("deploy", "sshd", 150).verdict, Verdict::kAllow);
}

TEST_F(AccountGateTest, LeavesUnmanagedAndLocalAccountsAlone) {
    EXPECT_EQ(account("alice").verdict, Verdict::kUnmanaged);
    EXPECT_EQ(session("password\n", "alice").verdict, Verdict::kUnmanaged);
    state.local.insert(issuer.login);
    EXPECT_EQ(account().verdict, Verdict::kUnmanaged);
    EXPECT_EQ(session(auth_info()).verdict, Verdict::kUnmanaged);
    EXPECT_TRUE(sessions.all().empty());
}

TEST_F(AccountGateTest, LeavesOtherServicesThanSshdAlone) {
    processes.add(300, 1);
    EXPECT_EQ(account("deploy", "sudo", 300).verdict, Verdict::kUnmanaged);
    EXPECT_EQ(session("", "deploy", "cron", 300).verdict, Verdict::kUnmanaged);
    EXPECT_EQ(account("deploy", "sshd-lab", 300).verdict, Verdict::kDeny);
}

TEST_F(AccountGateTest, DeniesASessionOfAnotherKeyThanTheOneDecided) {
    log_in(); // a stranger can ask for bob's key without holding it, and come in by another
    const std::string other = "publickey " + fixture::new_key().public_key().line() + "\n";
    EXPECT_EQ(account().verdict, Verdict::kAllow);
    EXPECT_EQ(session(other).verdict, Verdict::kDeny);
    EXPECT_TRUE(sessions.all().empty());
}

TEST_F(AccountGateTest, DeniesASessionThatWasNotByOnePublicKey) {
    for (const std::string& words : std::vector<std::string>{
             "", "password\n", "keyboard-interactive/pam\n", "publickey\n", "publickey ssh-ed25519",
             "publickey ssh-ed25519 !!!\n", auth_info() + auth_info()}) {
        log_in();
        EXPECT_EQ(session(words).verdict, Verdict::kDeny) << words;
    }
    log_in();
    EXPECT_EQ(session(auth_info() + "keyboard-interactive/pam\n").verdict, Verdict::kAllow);
}

TEST_F(AccountGateTest, EndsAnSshdThatLingersAfterItsSessionWasRefused) {
    EXPECT_EQ(session(auth_info()).verdict, Verdict::kDeny);
    EXPECT_EQ(loop.jobs(), 0U) << "sshd tells its client first";
    loop.advance(from_seconds(1));
    loop.run_jobs();
    ASSERT_EQ(ender.ended.size(), 1U);
    EXPECT_EQ(ender.ended[0].monitor.pid, kMonitor);
}

TEST_F(AccountGateTest, EndsAnSshdThatLingersThoughProcCannotBeRead) {
    EXPECT_EQ(session(auth_info()).verdict, Verdict::kDeny);
    processes.is_unreadable = true; // the ender looks again for itself
    loop.advance(from_seconds(1));
    loop.run_jobs();
    EXPECT_EQ(ender.ended.size(), 1U);
}

TEST_F(AccountGateTest, EndsNobodyWhereThatSshdIsGoneOrItsPidIsAnothers) {
    EXPECT_EQ(session(auth_info()).verdict, Verdict::kDeny);
    processes.reuse(kMonitor);
    loop.advance(from_seconds(1));
    loop.run_jobs();
    EXPECT_TRUE(ender.ended.empty());
}

TEST_F(AccountGateTest, DeniesWhatWasRevokedBetweenKeyAndSession) {
    log_in();
    revoke("key", issuer.key().str());
    EXPECT_EQ(account().verdict, Verdict::kDeny);
    const auto said = session(auth_info());
    EXPECT_EQ(said.verdict, Verdict::kDeny);
    EXPECT_THAT(said.reason, HasSubstr("revoked"));
    EXPECT_EQ(events().back().user.str(), "bob");
}

TEST_F(AccountGateTest, DeniesWhatEndedBetweenKeyAndSession) {
    log_in();
    loop.advance(from_seconds(1800));
    EXPECT_EQ(account().verdict, Verdict::kDeny);
    EXPECT_EQ(session(auth_info()).verdict, Verdict::kDeny);
}

TEST_F(AccountGateTest, OpensWhatWasDecidedWhileTheLeaseLastsAndNotAfterIt) {
    protocol::TrustSet trust = issuer.trust();
    trust.offline_grace_seconds = 60;
    ASSERT_TRUE(state.adopt(trust));
    log_in();
    state.lease.go_offline();
    loop.advance(from_seconds(60));
    EXPECT_EQ(account().verdict, Verdict::kAllow);
    state.lease.begin_catch_up();
    EXPECT_EQ(account().verdict, Verdict::kAllow);
    loop.advance(Micros{1});
    EXPECT_EQ(account().verdict, Verdict::kDeny) << "a broker that is heard has not said yet what was missed";
    state.lease.go_offline();
    EXPECT_EQ(account().verdict, Verdict::kDeny);
    const auto said = session(auth_info());
    EXPECT_EQ(said.verdict, Verdict::kDeny);
    EXPECT_THAT(said.reason, HasSubstr("no broker"));
}

TEST_F(AccountGateTest, OpensWhatWasDecidedOnlyOnlineWhereTheGraceIsZero) {
    protocol::TrustSet trust = issuer.trust();
    trust.offline_grace_seconds = 0;
    ASSERT_TRUE(state.adopt(trust));
    log_in();
    EXPECT_EQ(account().verdict, Verdict::kAllow);
    state.lease.go_offline();
    EXPECT_EQ(account().verdict, Verdict::kDeny);
}

TEST_F(AccountGateTest, DeniesManagedLoginsWhileTheStateIsDamaged) {
    log_in();
    state.troubles.set(TroubleKind::kState, "torn");
    EXPECT_EQ(account().verdict, Verdict::kDeny);
    EXPECT_EQ(account("alice").verdict, Verdict::kUnmanaged);
    state.everything_is_managed = true; // not even the list could be read
    EXPECT_EQ(account("alice").verdict, Verdict::kDeny);
    state.local.insert(*Login::parse("alice"));
    EXPECT_EQ(account("alice").verdict, Verdict::kUnmanaged);
}

TEST_F(AccountGateTest, ReportsTheEndOfASessionOnce) {
    log_in();
    ASSERT_EQ(session(auth_info()).verdict, Verdict::kAllow);
    const std::uint64_t id = sessions.all()[0].id;
    accounts.close(kMonitor);
    accounts.close(kMonitor);
    EXPECT_EQ(sessions.all().size(), 1U) << "what it left running may still have to be ended";
    loop.advance(kAfterGoodbye);
    loop.run_jobs();
    EXPECT_TRUE(sessions.all().empty());
    ASSERT_EQ(events().size(), 2U);
    EXPECT_EQ(events()[1].phase, SessionPhase::kClosed);
    EXPECT_EQ(events()[1].session, id);
}

TEST_F(AccountGateTest, ReportsASessionThatWeEndAsEndedWhoeverNoticesFirst) {
    log_in();
    ASSERT_EQ(session(auth_info()).verdict, Verdict::kAllow);
    int told = 0;
    sessions.cut(sessions.all(), "revoked", [&](const auto& left) { told += left.empty() ? 1 : 100; });
    sessions.cut(sessions.all(), "revoked again", [&](const auto& left) { told += left.empty() ? 1 : 100; });
    accounts.close(kMonitor); // sshd's own goodbye, while it is being ended
    EXPECT_EQ(loop.jobs(), 1U) << "one session is ended once";
    loop.run_jobs();
    EXPECT_EQ(told, 2);
    ASSERT_EQ(events().size(), 2U);
    EXPECT_EQ(events()[1].phase, SessionPhase::kEnded);
    EXPECT_EQ(events()[1].reason, "revoked");
}

TEST_F(AccountGateTest, ReportsOneEndWhereTheSweepSawItDeadBeforeTheCutWasDone) {
    log_in();
    ASSERT_EQ(session(auth_info()).verdict, Verdict::kAllow);
    sessions.sweep();
    const auto finish_sweep = loop.begin_one_job();
    sessions.cut(sessions.all(), "revoked", [](const auto&) {});
    loop.run_jobs();
    finish_sweep();
    EXPECT_TRUE(sessions.all().empty());
    ASSERT_EQ(events().size(), 2U);
    EXPECT_EQ(events()[1].phase, SessionPhase::kEnded);
}

TEST_F(AccountGateTest, LeavesASessionThatIsBeingEndedToItsCut) {
    log_in();
    ASSERT_EQ(session(auth_info()).verdict, Verdict::kAllow);
    ender.result = EndResult::kStillThere;
    sessions.sweep();
    const auto finish_sweep = loop.begin_one_job();
    sessions.cut(sessions.all(), "revoked", [](const auto&) {});
    finish_sweep();
    EXPECT_EQ(sessions.all().size(), 1U);
    loop.run_jobs();
    EXPECT_EQ(events().size(), 1U) << "it has not ended";
    sessions.sweep();
    loop.run_jobs();
    ASSERT_EQ(events().size(), 2U);
    EXPECT_EQ(events()[1].phase, SessionPhase::kClosed);
}

TEST_F(AccountGateTest, EndsTheJobsOfAllSessionsOfACutWithTheLastOfThem) {
    BoundSession one;
    one.id = 1;
    one.monitor = {kMonitor, 1};
    BoundSession two = one;
    two.id = 2;
    two.monitor = {kMonitor, 2};
    std::size_t left = 99;
    ender.jobs_result = EndResult::kStillThere;
    sessions.cut({one, two}, "revoked", [&](const auto& still_there) { left = still_there.size(); });
    loop.run_one_job();
    EXPECT_TRUE(ender.jobs_of.empty());
    loop.run_jobs();
    ASSERT_EQ(ender.jobs_of.size(), 1U);
    EXPECT_EQ(ender.jobs_of[0].size(), 2U);
    EXPECT_EQ(left, 1U) << "a session whose jobs come back has not ended";
}

class StraysTest : public AccountGateTest {
protected:
    void look_twice() {
        for (int i = 0; i < 2; ++i) {
            strays_.look();
            loop.run_jobs();
        }
    }
    void find(const std::string& login) { ender.found_strays = {{{kMonitor, 1000}, *Login::parse(login)}}; }
    Strays strays_{state, loop, monitors, sessions, ender, processes};
};

TEST_F(StraysTest, LooksNowAndThenOnlyWhileNothingIsStarted) {
    processes.newest_pid = 1234;
    std::size_t looks = 0;
    const auto beats = [&](unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            strays_.look();
            looks += loop.jobs();
            loop.run_jobs();
        }
        return std::exchange(looks, 0);
    };
    EXPECT_EQ(beats(1 + kQuietBeats), 1 + kQuietBeats);
    EXPECT_EQ(beats(10 * kQuietBeats), 10U);
    processes.newest_pid = 1235;
    EXPECT_EQ(beats(kQuietBeats), kQuietBeats) << "somebody may have come";
    EXPECT_EQ(beats(10 * kQuietBeats), 10U);
    processes.newest_pid = 0;
    EXPECT_EQ(beats(3 * kQuietBeats), 3 * kQuietBeats) << "where it is not known, always";
}

TEST_F(StraysTest, HasItsSecondSightOfOneAtOnceHoweverQuietItIs) {
    processes.newest_pid = 1234;
    for (unsigned i = 0; i < 2 * kQuietBeats; ++i) look_twice();
    find("deploy");
    for (unsigned i = 0; i <= kQuietBeats; ++i) {
        strays_.look();
        loop.run_jobs();
    }
    EXPECT_FALSE(ender.ended.empty());
}

TEST_F(StraysTest, EndsAManagedLoginThatNoSessionHoldsAtTheSecondSight) {
    find("deploy");
    strays_.look();
    loop.run_jobs();
    EXPECT_TRUE(ender.ended.empty()) << "it may be just being opened";
    strays_.look();
    loop.run_jobs();
    ASSERT_EQ(ender.ended.size(), 1U);
    EXPECT_EQ(ender.ended[0].monitor.pid, kMonitor);
    EXPECT_TRUE(ender.jobs_of.empty());
    ASSERT_EQ(events().size(), 1U);
    EXPECT_EQ(events()[0].phase, SessionPhase::kRefused);
}

TEST_F(StraysTest, LeavesOthersLoginsAndBreakGlassAlone) {
    find("alice");
    look_twice();
    state.everything_is_managed = true; // the list is damaged: reason to refuse, not to cut
    look_twice();
    find("deploy");
    state.local.insert(*Login::parse("deploy"));
    look_twice();
    EXPECT_TRUE(ender.ended.empty());
}

TEST_F(StraysTest, EndsALoginWhoseSessionLogindHasLost) {
    log_in();
    ASSERT_EQ(account().verdict, Verdict::kAllow);
    ender.logind_has_lost_it = true;
    look_twice();
    EXPECT_TRUE(ender.ended.empty()) << "PAM's other modules may take their time";
    loop.advance(kOpenPatience);
    ender.logind_has_lost_it = false;
    look_twice();
    EXPECT_TRUE(ender.ended.empty()) << "logind is still opening it";
    ender.logind_has_lost_it = true;
    strays_.look();
    loop.run_jobs();
    ASSERT_EQ(ender.ended.size(), 1U);
    EXPECT_EQ(ender.ended[0].monitor.pid, kMonitor);
}

TEST_F(StraysTest, LeavesALoginAloneWhoseSessionHasCome) {
    log_in();
    ASSERT_EQ(account().verdict, Verdict::kAllow);
    ASSERT_EQ(session(auth_info()).verdict, Verdict::kAllow);
    loop.advance(kOpenPatience);
    ender.logind_has_lost_it = true;
    look_twice();
    EXPECT_TRUE(ender.ended.empty());
}

TEST_F(StraysTest, LeavesABoundSessionAlone) {
    log_in();
    ASSERT_EQ(session(auth_info()).verdict, Verdict::kAllow); // scope=optional: bound without a scope
    find("deploy");
    look_twice();
    EXPECT_TRUE(ender.ended.empty());
}

TEST_F(AccountGateTest, ForgetsMonitorsThatHaveDied) {
    log_in();
    processes.is_unreadable = true;
    monitors.drop_dead(processes);
    EXPECT_EQ(monitors.size(), 1U) << "nothing is known of them";
    EXPECT_EQ(session(auth_info()).verdict, Verdict::kDeny);
    processes.is_unreadable = false;
    processes.kill(kMonitor);
    monitors.drop_dead(processes);
    EXPECT_EQ(monitors.size(), 0U);
}

TEST_F(AccountGateTest, TellsAnewBrokerOfTheSessionsThatAreOpen) {
    log_in();
    ASSERT_EQ(session(auth_info()).verdict, Verdict::kAllow);
    hub.frames.clear();
    sessions.report_all();
    ASSERT_EQ(events().size(), 1U);
    EXPECT_EQ(events()[0].session, sessions.all()[0].id);
}

} // namespace
} // namespace latchkey::agent
