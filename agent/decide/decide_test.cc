// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/decide/grant_cache.h"
#include "agent/decide/key_line.h"
#include "agent/decide/lease.h"
#include "agent/fixture/issuer.h"

namespace latchkey::agent {
namespace {

using fixture::Issuer;
using fixture::kNow;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Grants : public ::testing::Test {
protected:
    JudgedBy judged() const { return {trusted_, revocations_, vm_, now_, now_}; }
    Result<VerifiedGrant> verify(const protocol::Grant& grant) const { return verify_grant(grant, judged()); }
    Offer plain() const { return {issuer_.login, issuer_.key(), {}, {}}; }
    static Offer exact(const VerifiedGrant& grant) {
        return {grant.login, grant.key, grant.serial, grant.digest};
    }
    void revoke(const char* kind, const std::string& text) {
        const Epoch next{revocations_.epoch().value + 1};
        ASSERT_TRUE(revocations_.apply({next, *revocation::Selector::parse(kind, text),
                                        kNow + from_seconds(1), kNow + from_seconds(9999)}));
    }

    Issuer issuer_;
    TrustedKeys trusted_ = *TrustedKeys::parse(issuer_.trust());
    revocation::RevocationSet revocations_;
    VmName vm_ = *VmName::parse("web-1");
    Micros now_ = kNow;
};

TEST_F(Grants, AreGoodWhereBothKeysSignedAndNothingWasRevoked) {
    const auto grant = verify(issuer_.make());
    ASSERT_TRUE(grant) << grant.error().message;
    EXPECT_EQ(grant->user.str(), "bob");
    EXPECT_EQ(grant->serial.value, 7U);
    EXPECT_EQ(grant->ends_at, kNow + from_seconds(1800));
    EXPECT_TRUE(answers(*grant, plain()));
    EXPECT_TRUE(answers(*grant, exact(*grant)));
}

TEST_F(Grants, OfAnUntrustedCaAreRefused) {
    const Bytes forged = Issuer::certificate(issuer_.content(), fixture::new_key());
    EXPECT_EQ(verify(issuer_.grant_of(forged)).error().code, Code::kRefused);
}

TEST_F(Grants, WithACertificateThatTheCaDidNotSignAreRefused) {
    Bytes altered = Issuer::certificate(issuer_.content(), issuer_.ca);
    altered.back() ^= 1;
    EXPECT_EQ(verify(issuer_.grant_of(altered)).error().code, Code::kBadSignature);
}

TEST_F(Grants, WithAStatementOverAnotherCertificateAreRefused) {
    protocol::Grant grant = issuer_.make(7);
    grant.statement = issuer_.make(8).statement;
    EXPECT_EQ(verify(grant).error().code, Code::kBadSignature);
}

TEST_F(Grants, WithAStatementByAnotherKeyAreRefused) {
    protocol::Grant grant = issuer_.make();
    grant.statement = Issuer::statement(grant.certificate, issuer_.ca); // the CA key alone opens nothing
    EXPECT_EQ(verify(grant).error().code, Code::kBadSignature);
}

TEST_F(Grants, WithoutAStatementAreRefused) {
    protocol::Grant grant = issuer_.make();
    grant.statement.clear();
    EXPECT_FALSE(verify(grant));
}

TEST_F(Grants, ThatHaveEndedAreRefused) {
    now_ = kNow + from_seconds(1800);
    EXPECT_EQ(verify(issuer_.make()).error().code, Code::kExpired);
    now_ = now_ - Micros{1};
    EXPECT_TRUE(verify(issuer_.make()));
}

TEST_F(Grants, EndWithTheirCertificateAtTheLatest) {
    protocol::Grant grant = issuer_.make();
    grant.ends_at = kNow + from_seconds(999'999);
    EXPECT_EQ(verify(grant)->ends_at, kNow + from_seconds(3600));
    now_ = kNow + from_seconds(3600);
    EXPECT_EQ(verify(grant).error().code, Code::kExpired);
}

TEST_F(Grants, ThatAreNotYetValidAreRefused) {
    now_ = kNow - from_seconds(61);
    EXPECT_EQ(verify(issuer_.make()).error().code, Code::kNotYetValid);
    now_ = kNow - from_seconds(60);
    EXPECT_TRUE(verify(issuer_.make()));
}

TEST_F(Grants, BeginByTheMonotonicReckoningOnly) {
    const JudgedBy wall_jumped{trusted_, revocations_, vm_, kNow - from_seconds(61), kNow};
    EXPECT_EQ(verify_grant(issuer_.make(), wall_jumped).error().code, Code::kNotYetValid);
}

TEST_F(Grants, ForALoginThatIsNoPrincipalAreRefused) {
    protocol::Grant grant = issuer_.make();
    grant.login = *Login::parse("root");
    EXPECT_EQ(verify(grant).error().code, Code::kRefused);
}

TEST_F(Grants, OverAnotherSubjectKeyAreRefused) {
    protocol::Grant grant = issuer_.make();
    grant.key = fixture::new_key().public_key().fingerprint();
    EXPECT_EQ(verify(grant).error().code, Code::kRefused);
}

TEST_F(Grants, WhoseKeyIdNamesAnotherUserAreRefused) {
    protocol::Grant grant = issuer_.make();
    grant.user = *UserName::parse("alice");
    EXPECT_EQ(verify(grant).error().code, Code::kRefused);
}

TEST_F(Grants, ThatTheBrokerDeniesOrLeavesEmptyAreRefused) {
    protocol::Grant grant = issuer_.make();
    grant.decision = protocol::GrantDecision::kDeny;
    EXPECT_EQ(verify(grant).error().code, Code::kRefused);
    grant = issuer_.make();
    grant.lines.clear();
    EXPECT_FALSE(verify(grant));
}

TEST_F(Grants, AreRefusedByEachKindOfRevocation) {
    const std::vector<std::pair<const char*, std::string>> cases = {
        {"user", "bob"},
        {"key", issuer_.key().str()},
        {"cert", "7"},
        {"vm", "web-1"},
        {"ca", issuer_.ca.public_key().fingerprint().str()},
        {"before", std::to_string(kNow.value + 1)},
    };
    for (const auto& [kind, text] : cases) {
        revocations_ = {};
        revoke(kind, text);
        const auto grant = verify(issuer_.make());
        ASSERT_FALSE(grant) << kind;
        EXPECT_EQ(grant.error().code, Code::kRevoked) << kind;
    }
    revocations_ = {};
    revoke("user", "alice");
    revoke("cert", "8");
    revoke("vm", "web-2");
    EXPECT_TRUE(verify(issuer_.make())) << "revocations of others must not touch this one";
}

TEST_F(Grants, AnswerOnlyWhatWasAsked) {
    const auto grant = *verify(issuer_.make());
    Offer other = plain();
    other.login = *Login::parse("backup");
    EXPECT_FALSE(answers(grant, other));
    other = plain();
    other.key = fixture::new_key().public_key().fingerprint();
    EXPECT_FALSE(answers(grant, other));
    other = exact(grant);
    other.certificate_digest.back() ^= 1;
    EXPECT_FALSE(answers(grant, other));
}

TEST_F(Grants, InTheCacheServeTheOfferTheyWereFetchedFor) {
    GrantCache cache;
    const auto grant = *verify(issuer_.make());
    cache.put(grant, GrantCache::Serves::kCertificateOnly);
    EXPECT_TRUE(cache.find(exact(grant)).grant);
    EXPECT_FALSE(cache.find(plain()).grant) << "the plain key was never asked for";
    cache.put(grant, GrantCache::Serves::kPlainKeyToo);
    EXPECT_TRUE(cache.find(plain()).grant);
    EXPECT_TRUE(cache.find(exact(grant)).grant);
    Offer another = exact(grant);
    another.certificate_digest.back() ^= 1;
    EXPECT_FALSE(cache.find(another).grant);
    EXPECT_EQ(cache.size(), 1U);
    cache.forget(issuer_.login, issuer_.key());
    EXPECT_FALSE(cache.find(plain()).grant);
    EXPECT_EQ(cache.size(), 0U);
}

TEST_F(Grants, LeaveTheCacheWhenRevokedOrEnded) {
    GrantCache cache;
    cache.put(*verify(issuer_.make(7)), GrantCache::Serves::kPlainKeyToo);
    cache.put(*verify(issuer_.make(8)), GrantCache::Serves::kPlainKeyToo);
    revoke("cert", "7");
    EXPECT_EQ(cache.drop_ended(judged()), 1U);
    EXPECT_EQ(cache.find(plain()).grant->serial.value, 8U);
    now_ = kNow + from_seconds(1800);
    EXPECT_EQ(cache.drop_ended(judged()), 1U);
    EXPECT_FALSE(cache.find(plain()).grant);
}

TEST_F(Grants, ComeOutOfTheCacheAsTheyWentIn) {
    GrantCache cache;
    protocol::Grant raw = issuer_.make();
    raw.lines[0].from = "10.0.0.0/8";
    raw.lines[0].verify_required = true;
    raw.lines.push_back({{4}, {}, {}, "backup", false});
    protocol::set_sudo_rule(raw, protocol::SudoRule::kFactor);
    const VerifiedGrant grant = *verify(raw);
    cache.put(*verify(issuer_.make(8)), GrantCache::Serves::kCertificateOnly);
    cache.put(grant, GrantCache::Serves::kPlainKeyToo);
    EXPECT_EQ(cache.size(), 2U);
    const auto held = cache.find(plain()).grant;
    ASSERT_TRUE(held);
    EXPECT_EQ(std::tie(held->user, held->login, held->key, held->ca, held->serial, held->sudo),
              std::tie(grant.user, grant.login, grant.key, grant.ca, grant.serial, grant.sudo));
    EXPECT_EQ(std::tie(held->issued_at, held->starts_at, held->ends_at),
              std::tie(grant.issued_at, grant.starts_at, grant.ends_at));
    EXPECT_EQ(std::tie(held->digest, held->certificate, held->statement),
              std::tie(grant.digest, grant.certificate, grant.statement));
    EXPECT_EQ(held->lines, grant.lines);
    EXPECT_EQ(cache.all_for(issuer_.login, issuer_.key()).size(), 2U);
}

TEST_F(Grants, AreFoundAmongManyWhateverTheOrderTheyCameIn) {
    GrantCache cache;
    VerifiedGrant grant = *verify(issuer_.make());
    for (const char* login : {"m", "c", "z", "a", "mm", "b"}) {
        grant.login = *Login::parse(login);
        cache.put(grant, GrantCache::Serves::kPlainKeyToo);
    }
    for (const char* login : {"a", "b", "c", "m", "mm", "z"})
        EXPECT_TRUE(cache.find({*Login::parse(login), issuer_.key(), {}, {}}).grant) << login;
    EXPECT_FALSE(cache.find({*Login::parse("aa"), issuer_.key(), {}, {}}).grant);
    cache.forget(*Login::parse("m"), issuer_.key());
    EXPECT_FALSE(cache.find({*Login::parse("m"), issuer_.key(), {}, {}}).grant);
    EXPECT_TRUE(cache.find({*Login::parse("mm"), issuer_.key(), {}, {}}).grant);
    EXPECT_EQ(cache.size(), 5U);
}

TEST_F(Grants, LeaveTheCacheWhenTheirSignersAreNoLongerTrusted) {
    GrantCache cache;
    cache.put(*verify(issuer_.make()), GrantCache::Serves::kPlainKeyToo);
    EXPECT_EQ(cache.verify_again(judged()), 0U);
    trusted_.ledgers = {fixture::new_key().public_key()};
    EXPECT_EQ(cache.verify_again(judged()), 1U);
    EXPECT_EQ(cache.size(), 0U);
}

TEST_F(Grants, GiveWayToLaterEndingOnesWhereTheCacheIsFull) {
    GrantCache cache;
    VerifiedGrant grant = *verify(issuer_.make());
    for (std::size_t i = 0; i < kMaxGrants; ++i) {
        grant.login = *Login::parse("u" + std::to_string(i));
        grant.ends_at = kNow + from_seconds(100 + static_cast<std::int64_t>(i));
        cache.put(grant, GrantCache::Serves::kPlainKeyToo);
    }
    grant.login = issuer_.login;
    cache.put(grant, GrantCache::Serves::kPlainKeyToo);
    EXPECT_EQ(cache.size(), kMaxGrants);
    EXPECT_TRUE(cache.find(plain()).grant);
    EXPECT_FALSE(cache.find({*Login::parse("u0"), issuer_.key(), {}, {}}).grant);
}

TEST_F(Grants, AreStaleAfterARefreshUntilTheyAreFetchedAgain) {
    GrantCache cache;
    const auto grant = *verify(issuer_.make());
    cache.put(grant, GrantCache::Serves::kPlainKeyToo);
    EXPECT_FALSE(cache.find(plain()).is_stale);
    cache.make_stale();
    EXPECT_TRUE(cache.find(plain()).is_stale);
    cache.put(grant, GrantCache::Serves::kPlainKeyToo);
    EXPECT_FALSE(cache.find(plain()).is_stale);
}

TEST_F(Grants, ThatAnswerAnOfferAreForgottenWithIt) {
    GrantCache cache;
    const auto grant = *verify(issuer_.make());
    cache.put(grant, GrantCache::Serves::kPlainKeyToo);
    Offer forged = plain();
    forged.serial = Serial{4711};
    forged.certificate_digest = Bytes(32, 1);
    cache.forget(forged);
    EXPECT_TRUE(cache.find(plain()).grant);
    cache.forget(plain());
    EXPECT_FALSE(cache.find(plain()).grant);
}

TEST_F(Grants, BecomeOneRestrictedLineARule) {
    const auto grant = *verify(issuer_.make());
    const auto plain_lines = key_lines(grant, false, kNow + from_seconds(60));
    ASSERT_EQ(plain_lines.lines.size(), 1U);
    EXPECT_EQ(plain_lines.lines[0], "restrict,pty,port-forwarding,expiry-time=\"20270115080100Z\" " +
                                        issuer_.user_key.public_key().line());
    const auto certificate_lines = key_lines(grant, true, kNow + from_seconds(60));
    EXPECT_EQ(certificate_lines.lines[0],
              "cert-authority,principals=\"deploy\",restrict,pty,port-forwarding,"
              "expiry-time=\"20270115080100Z\" " +
                  issuer_.ca.public_key().line());
}

TEST_F(Grants, AllowNoMoreThanTheirCertificateDoes) {
    cert::Content content = issuer_.content();
    content.extensions = {{"permit-pty", ""}};
    content.critical_options = {{"source-address", "10.0.0.0/8"}, {"verify-required", ""}};
    protocol::Grant raw = issuer_.grant_of(Issuer::certificate(content, issuer_.ca));
    raw.lines[0].command = "say \"hi\"";
    const auto lines = key_lines(*verify(raw), false, kNow).lines;
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_THAT(lines[0],
                StartsWith("restrict,pty,from=\"10.0.0.0/8\",command=\"say \\\"hi\\\"\",expiry-time="));
    EXPECT_THAT(lines[0], HasSubstr(",verify-required ssh-ed25519 "));
}

TEST_F(Grants, BoundEachRuleByItsOwnNetworksWithinTheCertificates) {
    cert::Content content = issuer_.content();
    content.critical_options = {{"source-address", "10.0.0.0/8,192.0.2.0/24,198.51.100.0/24"}};
    protocol::Grant raw = issuer_.grant_of(Issuer::certificate(content, issuer_.ca));
    raw.lines[0].from = "10.0.0.0/8,198.51.100.0/24";
    EXPECT_THAT(key_lines(*verify(raw), false, kNow).lines.at(0),
                HasSubstr(",from=\"10.0.0.0/8,198.51.100.0/24\","));
    raw.lines[0].from = "10.0.0.0/8,10.0.0.0/16";
    EXPECT_TRUE(key_lines(*verify(raw), false, kNow).lines.empty()) << "not one that the certificate allows";
}

TEST_F(Grants, LeaveOutALineThatContradictsTheCertificateOrThatSshdWouldMisread) {
    cert::Content content = issuer_.content();
    content.critical_options = {{"force-command", "backup"}};
    protocol::Grant raw = issuer_.grant_of(Issuer::certificate(content, issuer_.ca));
    raw.lines[0].command = "shell";
    EXPECT_TRUE(key_lines(*verify(raw), false, kNow).lines.empty());

    raw = issuer_.make();
    for (const std::string& bad : std::vector<std::string>{"a\nb", "ends in \\", std::string("nul\0", 4)}) {
        raw.lines[0].command = bad;
        const auto lines = key_lines(*verify(raw), false, kNow);
        EXPECT_TRUE(lines.lines.empty()) << bad;
        EXPECT_FALSE(lines.why_none.empty());
    }
}

class Leases : public ::testing::Test {
protected:
    FakeClock clock_{kNow};
    BrokerClock broker_{clock_};
    Lease lease_{broker_};
};

TEST_F(Leases, ServeNothingBeforeABrokerWasEverHeard) {
    lease_.set_grace(from_seconds(3600));
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, HoldUntilTheGraceIsOver) {
    lease_.set_grace(from_seconds(3600));
    broker_.sync(kNow);
    lease_.begin_catch_up();
    EXPECT_FALSE(lease_.serves_held_grants()) << "not before what was missed is applied";
    lease_.go_online();
    lease_.go_offline();
    clock_.advance(from_seconds(3600));
    EXPECT_EQ(lease_.standing(), Standing::kOffline);
    clock_.advance(Micros{1});
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, AreNotRenewedByAWelcomeAlone) {
    lease_.set_grace(from_seconds(3600));
    broker_.sync(kNow);
    lease_.begin_catch_up();
    lease_.go_online();
    lease_.go_offline();
    for (int again = 0; again < 2; ++again) { // cut before the last Revoke, at the next broker too
        clock_.advance(from_seconds(59 * 60));
        broker_.sync(clock_.now());
        lease_.begin_catch_up();
        lease_.cover(Micros{}); // a heartbeat in the middle of the catch-up
        EXPECT_EQ(lease_.standing(), Standing::kCatchingUp);
        lease_.go_offline();
        EXPECT_EQ(lease_.standing(), again == 0 ? Standing::kOffline : Standing::kOver);
    }
}

TEST_F(Leases, AreRenewedByAWelcomeWhoseRevocationsAreAllHere) {
    lease_.set_grace(from_seconds(3600));
    broker_.sync(kNow);
    lease_.begin_catch_up();
    lease_.go_online();
    lease_.go_offline();
    clock_.advance(from_seconds(59 * 60));
    broker_.sync(clock_.now());
    lease_.begin_catch_up();
    clock_.advance(from_seconds(60)); // it takes its time
    lease_.go_online();
    lease_.go_offline();
    EXPECT_EQ(lease_.left(), from_seconds(59 * 60)) << "as of the Welcome, not of its last Revoke";
    clock_.advance(from_seconds(59 * 60));
    EXPECT_EQ(lease_.standing(), Standing::kOffline);
    clock_.advance(Micros{1});
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, AreRenewedByHeartbeatsOfOurEpochAndByNoOlderWord) {
    lease_.set_grace(from_seconds(60));
    broker_.sync(kNow);
    lease_.go_online();
    clock_.advance(from_seconds(50));
    lease_.cover(broker_.hear(kNow + from_seconds(48)));
    lease_.cover(from_seconds(49));
    lease_.go_online(); // a revocation that came behind it
    lease_.go_offline();
    EXPECT_EQ(lease_.left(), from_seconds(58));
    lease_.cover(Micros{}); // without a connection there is no heartbeat
    clock_.advance(from_seconds(59));
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, AreNotStretchedByABrokerWhoseClockIsBehindOrAhead) {
    lease_.set_grace(from_seconds(3600));
    for (const std::int64_t off : {-1800, 1800}) {
        broker_.sync(clock_.now());
        lease_.begin_catch_up();
        lease_.go_online();
        lease_.go_offline();
        clock_.advance(from_seconds(3599));
        broker_.sync(clock_.now() + from_seconds(off));
        lease_.begin_catch_up();
        lease_.go_offline();
        EXPECT_EQ(lease_.standing(), Standing::kOffline) << off;
        clock_.advance(from_seconds(2));
        EXPECT_EQ(lease_.standing(), Standing::kOver) << off;
    }
}

TEST_F(Leases, OfOneThatSleptBeforeItHeardABrokerServeNothing) {
    lease_.beat();
    clock_.advance(from_seconds(60));
    lease_.beat();
    EXPECT_EQ(lease_.standing(), Standing::kOver);
    lease_.go_offline();
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, WithoutGraceAreOverAtOnce) {
    broker_.sync(kNow);
    lease_.go_online();
    EXPECT_EQ(lease_.standing(), Standing::kOnline);
    lease_.go_offline();
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, EndForAMachineThatWasPausedWithoutItsMonotonicClockNoticing) {
    lease_.set_grace(from_seconds(3600));
    broker_.sync(kNow);
    lease_.go_online();
    lease_.go_offline();
    clock_.step_wall(from_seconds(2 * 24 * 3600));
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, AreNotProlongedByAWallClockThatIsSetBack) {
    lease_.set_grace(from_seconds(3600));
    broker_.sync(kNow);
    lease_.go_online();
    lease_.go_offline();
    clock_.advance(from_seconds(3601));
    clock_.step_wall(from_seconds(-7200));
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, AreNotStretchedByWordsThatAreHeldBack) {
    lease_.set_grace(from_seconds(60));
    broker_.sync(kNow);
    lease_.go_online();
    clock_.advance(from_seconds(100));
    EXPECT_EQ(broker_.hear(kNow + from_seconds(5)), from_seconds(95)) << "it says how late it came";
    EXPECT_EQ(broker_.now(), kNow + from_seconds(100)) << "and does not set the time back";
    EXPECT_EQ(broker_.last_heard(), kNow + from_seconds(5));
    EXPECT_EQ(lease_.standing(), Standing::kCatchingUp);
    lease_.go_offline();
    lease_.go_offline();
    EXPECT_EQ(lease_.standing(), Standing::kOver) << "95 s are more than the grace";
}

TEST_F(Leases, BrokerTimeRunsWithTheMonotonicClockBetweenWelcomesAndGoesBackAtOne) {
    broker_.sync(kNow);
    Micros before = broker_.now();
    for (int beat = 0; beat < 50; ++beat) {
        clock_.advance(from_seconds(5));
        EXPECT_GE(broker_.hear(kNow + from_seconds(beat)).value, 0);
        EXPECT_GE((broker_.now() - before).value, from_seconds(5).value);
        before = broker_.now();
    }
    EXPECT_EQ(broker_.hear(before + from_seconds(7)), Micros{}) << "a broker that is ahead is followed";
    EXPECT_EQ(broker_.now(), before + from_seconds(7));
    broker_.sync(kNow);
    EXPECT_EQ(broker_.now(), kNow);
}

TEST_F(Leases, HoldASleeperBackUntilItHasHeardWhatItMissed) {
    lease_.set_grace(from_seconds(3600));
    broker_.sync(kNow);
    lease_.go_online();
    lease_.beat();
    clock_.advance(from_seconds(10));
    EXPECT_EQ(lease_.standing(), Standing::kOnline) << "a beat may be late";
    clock_.advance(from_seconds(10)); // stopped, or suspended
    EXPECT_EQ(lease_.standing(), Standing::kCatchingUp);
    lease_.beat();
    EXPECT_EQ(lease_.standing(), Standing::kCatchingUp) << "it is awake, and knows nothing new yet";
    lease_.go_offline(); // the old connection turns out to be dead
    EXPECT_EQ(lease_.standing(), Standing::kCatchingUp);
    lease_.go_offline(); // and there is no broker
    EXPECT_EQ(lease_.standing(), Standing::kOffline) << "by the lease, as without a sleep";
    clock_.advance(from_seconds(3600));
    EXPECT_EQ(lease_.standing(), Standing::kOver);
}

TEST_F(Leases, LetASleeperGoOnWhoseConnectionLives) {
    lease_.set_grace(from_seconds(3600));
    broker_.sync(kNow);
    lease_.go_online();
    lease_.beat();
    clock_.advance(from_seconds(20));
    EXPECT_EQ(lease_.standing(), Standing::kCatchingUp);
    broker_.hear(clock_.now() - from_seconds(2)); // behind all that was sent before it
    EXPECT_EQ(lease_.standing(), Standing::kOnline);
    lease_.beat();
    lease_.go_offline();
    EXPECT_EQ(lease_.standing(), Standing::kOffline);
}

TEST_F(Leases, OfOneThatDidNotSleepDecideAtOnceWhereTheBrokerGoesSilent) {
    lease_.set_grace(from_seconds(3600));
    broker_.sync(kNow);
    lease_.go_online();
    for (int beat = 0; beat < 4; ++beat) {
        lease_.beat();
        EXPECT_EQ(lease_.standing(), Standing::kOnline);
        clock_.advance(from_seconds(5));
    }
    lease_.go_offline();
    EXPECT_EQ(lease_.standing(), Standing::kOffline);
}

TEST_F(Leases, BrokerTimeIsKeptWhateverTheWallClockSays) {
    broker_.sync(kNow + from_seconds(100)); // our clock is 100 s behind
    EXPECT_EQ(broker_.offset(), from_seconds(100));
    EXPECT_EQ(broker_.to_wall(kNow + from_seconds(150)), kNow + from_seconds(50));
    clock_.step_wall(from_seconds(-500));
    EXPECT_EQ(broker_.now(), kNow + from_seconds(100));
    EXPECT_EQ(broker_.latest(), broker_.now());
    EXPECT_EQ(broker_.to_wall(kNow + from_seconds(150)), kNow - from_seconds(450));
}

} // namespace
} // namespace latchkey::agent
