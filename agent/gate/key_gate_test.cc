// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/key_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fixture/gate_house.h"

namespace latchkey::agent {
namespace {

using fixture::kHelper;
using fixture::kMonitor;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class KeyGateTest : public ::testing::Test, protected fixture::GateHouse {
protected:
    std::size_t fetched() const { return hub.all<protocol::Fetch>().size(); }
    void hold_grant() {
        ask(question());
        broker_says(issuer.make());
        ASSERT_TRUE(is_allowed()) << answer->reason;
    }
};

TEST_F(KeyGateTest, AsksTheBrokerOnceAndAnswersSshdsSecondQuestionFromTheCache) {
    ask(question());
    ASSERT_EQ(fetched(), 1U);
    EXPECT_FALSE(answer);
    const auto fetch = hub.all<protocol::Fetch>()[0];
    EXPECT_EQ(fetch.login, issuer.login);
    EXPECT_EQ(fetch.key, issuer.key());
    EXPECT_EQ(fetch.serial.value, 0U);
    broker_says(issuer.make());
    ASSERT_TRUE(is_allowed());
    EXPECT_THAT(answer->lines[0], StartsWith("restrict,pty,"));
    ask(question());
    EXPECT_TRUE(is_allowed());
    EXPECT_EQ(fetched(), 1U);
}

TEST_F(KeyGateTest, PrintsTheCaLineWhereTheLedgersOwnCertificateWasOffered) {
    ask(question(offered()));
    const auto fetch = hub.all<protocol::Fetch>().at(0);
    EXPECT_EQ(fetch.serial.value, 7U);
    EXPECT_EQ(fetch.certificate_digest, offered().digest());
    broker_says(issuer.make());
    ASSERT_TRUE(is_allowed());
    EXPECT_THAT(answer->lines[0], StartsWith("cert-authority,principals=\"deploy\",restrict,"));
}

TEST_F(KeyGateTest, DeniesACertificateThatTheLedgerDoesNotKnow) {
    ask(question(offered(8))); // signed by the CA key, yet the broker's grant is for number 7
    broker_says(issuer.make(7));
    EXPECT_TRUE(is_denied());
    EXPECT_THAT(answer->reason, HasSubstr("not the one that the ledger knows"));
}

TEST_F(KeyGateTest, DeniesWhatTheBrokerDeniesAndRemembersNoDenial) {
    ask(question());
    protocol::Grant denial = issuer.make();
    denial.decision = protocol::GrantDecision::kDeny;
    denial.reason = "no live unlock";
    broker_says(denial);
    EXPECT_TRUE(is_denied());
    ask(question()); // the person has unlocked meanwhile
    EXPECT_EQ(fetched(), 2U);
    broker_says(issuer.make());
    EXPECT_TRUE(is_allowed());
}

TEST_F(KeyGateTest, AsksAgainForAStaleGrantAndLetsTheNewAnswerDecide) {
    hold_grant();
    state.grants.make_stale(); // a Refresh: an unlock or a rule has ended
    ask(question());
    ASSERT_EQ(fetched(), 2U);
    EXPECT_FALSE(answer);
    broker_says(issuer.make());
    EXPECT_TRUE(is_allowed());
    ask(question());
    EXPECT_EQ(fetched(), 2U) << "and now it is held again";

    state.grants.make_stale();
    ask(question());
    protocol::Grant denial = issuer.make();
    denial.decision = protocol::GrantDecision::kDeny;
    broker_says(denial);
    EXPECT_TRUE(is_denied());
    state.lease.go_offline();
    ask(question());
    EXPECT_TRUE(is_denied()) << "the broker's last word counts without it as well";
}

TEST_F(KeyGateTest, ServesAStaleGrantWithoutABroker) {
    hold_grant();
    state.grants.make_stale();
    state.lease.go_offline();
    ask(question());
    EXPECT_TRUE(is_allowed());
}

TEST_F(KeyGateTest, DeniesAGrantThatDoesNotVerify) {
    protocol::Grant forged = issuer.make();
    forged.statement = fixture::Issuer::statement(forged.certificate, fixture::new_key());
    ask(question());
    broker_says(forged);
    EXPECT_TRUE(is_denied());
    EXPECT_EQ(state.grants.size(), 0U);
}

TEST_F(KeyGateTest, DeniesWhenTheBrokerIsTooSlowAndSaysSoInTime) {
    ask(question());
    loop.advance(kAuthorizeTime - Micros{1});
    EXPECT_FALSE(answer);
    loop.advance(Micros{1});
    EXPECT_TRUE(is_denied());
    broker_says(issuer.make()); // too late to open anything
    EXPECT_EQ(state.grants.size(), 0U);
}

TEST_F(KeyGateTest, AsksTheSameQuestionOnceForAllWhoAskAtOnce) {
    int answered = 0;
    for (int i = 0; i < 5; ++i)
        keys.authorize(kHelper, question(),
                       [&](const protocol::Authorized& got) { answered += got.lines.empty() ? 0 : 1; });
    EXPECT_EQ(fetched(), 1U);
    broker_says(issuer.make());
    EXPECT_EQ(answered, 5);
}

TEST_F(KeyGateTest, DeniesAllWhoWaitWhenTheConnectionBreaks) {
    ask(question());
    state.lease.go_offline();
    fetches.fail_sent("gone");
    EXPECT_TRUE(is_denied());
}

TEST_F(KeyGateTest, ServesHeldGrantsAndThoseOnlyWithoutABroker) {
    hold_grant();
    state.lease.go_offline();
    ask(question());
    EXPECT_TRUE(is_allowed());
    ask(question(fixture::new_key().public_key()));
    EXPECT_TRUE(is_denied());
    EXPECT_EQ(fetched(), 1U);
}

TEST_F(KeyGateTest, ServesNothingOnceTheLeaseIsOver) {
    protocol::TrustSet trust = issuer.trust();
    trust.offline_grace_seconds = 60;
    ASSERT_TRUE(state.adopt(trust));
    hold_grant();
    state.lease.go_offline();
    loop.advance(from_seconds(60));
    ask(question());
    EXPECT_TRUE(is_allowed());
    loop.advance(Micros{1});
    ask(question());
    EXPECT_TRUE(is_denied());
}

TEST_F(KeyGateTest, NeverServesOfflineWhereTheGraceIsZero) {
    protocol::TrustSet trust = issuer.trust();
    trust.offline_grace_seconds = 0;
    ASSERT_TRUE(state.adopt(trust));
    hold_grant();
    state.lease.go_offline();
    ask(question());
    EXPECT_TRUE(is_denied());
}

TEST_F(KeyGateTest, MakesThemWaitWhileItCatchesUpAndThenLooksAgain) {
    hold_grant();
    state.lease.begin_catch_up();
    ask(question());
    EXPECT_FALSE(answer) << "a revocation that was missed may cover this grant";
    state.lease.go_online();
    fetches.look_again();
    EXPECT_TRUE(is_allowed());
    EXPECT_EQ(fetched(), 1U);
}

TEST_F(KeyGateTest, DeniesAfterTheCatchUpWhatItBroughtARevocationFor) {
    hold_grant();
    state.lease.begin_catch_up();
    ask(question());
    revoke("user", "bob");
    state.lease.go_online();
    fetches.look_again();
    ASSERT_FALSE(answer) << "it asks the broker anew";
    broker_says(issuer.make());
    EXPECT_TRUE(is_denied());
}

TEST_F(KeyGateTest, DeniesAHeldGrantOnceItEndsOrIsRevoked) {
    hold_grant();
    revoke("cert", "7");
    ask(question());
    EXPECT_FALSE(is_allowed());
    EXPECT_EQ(fetched(), 2U);
}

TEST_F(KeyGateTest, TakesAPrefetchAsAGrantAndADenialAsItsEnd) {
    fetches.take(issuer.make()); // request 0
    ask(question());
    EXPECT_TRUE(is_allowed());
    ask(question(offered()));
    EXPECT_TRUE(is_allowed()) << "and for exactly its own certificate";
    EXPECT_EQ(fetched(), 0U);
    protocol::Grant denial = issuer.make();
    denial.decision = protocol::GrantDecision::kDeny;
    fetches.take(denial);
    ask(question());
    EXPECT_EQ(fetched(), 1U);
}

TEST_F(KeyGateTest, DoesNotTakeAPrefetchThatDoesNotVerify) {
    protocol::Grant forged = issuer.make();
    forged.certificate = fixture::Issuer::certificate(issuer.content(), fixture::new_key());
    fetches.take(forged);
    EXPECT_EQ(state.grants.size(), 0U);
}

TEST_F(KeyGateTest, ReadsTypeBlobAndFingerprintAsOneThing) {
    protocol::Authorize wrong = question();
    wrong.fingerprint = fixture::new_key().public_key().fingerprint();
    EXPECT_FALSE(read_offer(wrong));
    wrong = question();
    wrong.key_type = "ssh-rsa";
    EXPECT_FALSE(read_offer(wrong));
    wrong = question();
    wrong.key_blob.pop_back();
    EXPECT_FALSE(read_offer(wrong));
    wrong = question(offered());
    wrong.key_type = "ssh-ed25519";
    EXPECT_FALSE(read_offer(wrong));
    wrong = question(offered());
    wrong.fingerprint = fixture::new_key().public_key().fingerprint();
    EXPECT_FALSE(read_offer(wrong));
    EXPECT_TRUE(read_offer(question()));
    EXPECT_TRUE(read_offer(question(offered())));
}

TEST_F(KeyGateTest, LeavesLocalLoginsAloneEvenWhereTheBrokerManagesThem) {
    state.local.insert(issuer.login);
    ask(question());
    EXPECT_TRUE(is_denied());
    EXPECT_EQ(fetched(), 0U);
}

TEST_F(KeyGateTest, DeniesWhereTheStateOnDiskIsDamaged) {
    hold_grant();
    state.troubles.set(TroubleKind::kState, "revocations are torn");
    ask(question());
    EXPECT_TRUE(is_denied());
    EXPECT_THAT(answer->reason, HasSubstr("torn"));
}

TEST_F(KeyGateTest, RecordsTheDecisionForTheHelpersParent) {
    hold_grant();
    const auto* records = monitors.of({kMonitor, kMonitor * 10});
    ASSERT_NE(records, nullptr);
    ASSERT_EQ(records->size(), 1U) << "the same credential asked twice is one record";
    EXPECT_EQ(records->at(0).credential.user.str(), "bob");
    EXPECT_EQ(monitors.of({kHelper, kHelper * 10}), nullptr);
}

TEST_F(KeyGateTest, DeniesAHelperWithoutAnSshd) {
    processes.kill(kHelper);
    ask(question());
    EXPECT_TRUE(is_denied());
    EXPECT_EQ(fetched(), 0U);
}

TEST_F(KeyGateTest, AsksSeldomForLoginsThatTheBrokerDoesNotManage) {
    protocol::Authorize stranger = question();
    stranger.login = *Login::parse("root");
    for (int i = 0; i < 100; ++i) {
        stranger.key_blob = fixture::new_key().public_key().blob();
        stranger.fingerprint = keys::PublicKey::from_blob(stranger.key_blob)->fingerprint();
        ask(stranger);
    }
    EXPECT_EQ(fetched(), static_cast<std::size_t>(kUnmanagedFetchesPerSecond));
    loop.advance(from_seconds(1));
    ask(stranger);
    EXPECT_EQ(fetched(), static_cast<std::size_t>(kUnmanagedFetchesPerSecond) + 1);
}

TEST_F(KeyGateTest, HoldsABoundedNumberOfMonitors) {
    for (pid_t pid = 1000; pid < 1000 + static_cast<pid_t>(kMaxMonitors); ++pid)
        EXPECT_TRUE(monitors.allow({pid, 1}, {}));
    EXPECT_FALSE(monitors.allow({1, 1}, {}));
    ask(question());
    broker_says(issuer.make());
    EXPECT_TRUE(is_denied());
    monitors.drop_dead(processes);
    EXPECT_EQ(monitors.size(), 0U);
    ask(question());
    EXPECT_TRUE(is_allowed());
}

} // namespace
} // namespace latchkey::agent
