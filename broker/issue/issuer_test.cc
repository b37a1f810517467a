// SPDX-License-Identifier: Apache-2.0
#include "broker/issue/issuer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "broker/issue/issuer_for_tests.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/vms.h"
#include "core/cert/certificate.h"
#include "core/cert/statement.h"

namespace latchkey::issue {
namespace {

using ledger::take;
using ledger::Transaction;
using protocol::GrantDecision;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Issuing = IssuerTest;
using Judging = IssuerTest;

std::uint64_t seconds(Micros at) {
    return static_cast<std::uint64_t>(at.seconds());
}

TEST_F(Issuing, RecordsACertificateThatBothKeysStandFor) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy", "root"}, 1800);
    const auto row = take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    const auto certificate = take(cert::Certificate::from_blob(row.blob));
    EXPECT_TRUE(
        cert::verify(certificate, {ledger::ca_key().public_key()}, clock_.now(), *Login::parse("deploy")));
    EXPECT_FALSE(
        cert::verify(certificate, {ledger::ca_key().public_key()}, clock_.now(), *Login::parse("other")));
    const cert::Content& content = certificate.content();
    EXPECT_EQ(content.key_id, "bob/" + std::to_string(row.serial.value));
    EXPECT_EQ(content.subject.fingerprint(), bob.key.fingerprint);
    EXPECT_THAT(content.principals, ElementsAre("deploy", "root"));
    EXPECT_THAT(content.extensions, ElementsAre(cert::Option{"permit-pty", ""}));
    EXPECT_EQ(content.valid_after, seconds(clock_.now()) - 60);
    EXPECT_EQ(content.valid_before, seconds(clock_.now()) + 1800);
    const auto statement = take(cert::Statement::open(row.statement, {ledger::ledger_key().public_key()}));
    EXPECT_EQ(statement.certificate_digest, certificate.digest());
    const auto recorded = take(read([&](Transaction& t) { return ledger::find_certificate(t, row.serial); }));
    EXPECT_TRUE(recorded);
}

TEST_F(Issuing, NeverOutlastsTheUnlock) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    clock_.advance(from_seconds(12 * 3600 - 100));
    const auto row = take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    EXPECT_LE(row.ends_at, bob.unlock.ends_at);
    clock_.advance(from_seconds(101));
    EXPECT_EQ(ledger::code_of(issuer_->issue(bob.user, bob.key, bob.unlock, "bob")), Code::kExpired);
}

TEST_F(Issuing, RefusesAUserWithoutRules) {
    const auto bob = add_person("bob");
    EXPECT_EQ(ledger::code_of(issuer_->issue(bob.user, bob.key, bob.unlock, "bob")), Code::kRefused);
    EXPECT_EQ(signer_.signatures, 0);
}

TEST_F(Issuing, RecordsNothingWhereTheSignerIsGone) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    signer_.is_gone = true;
    EXPECT_EQ(ledger::code_of(issuer_->issue(bob.user, bob.key, bob.unlock, "bob")), Code::kUnavailable);
    EXPECT_FALSE(newest_of(bob));
}

TEST_F(Issuing, RecordsNothingThatTheSignerDidNotSign) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    signer_.signs_other_bytes = true;
    EXPECT_EQ(ledger::code_of(issuer_->issue(bob.user, bob.key, bob.unlock, "bob")), Code::kBadSignature);
    EXPECT_FALSE(newest_of(bob));
}

TEST_F(Issuing, KeepsTheCurrentOneUntilAQuarterIsLeft) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    const auto first = take(issuer_->current(bob.user, bob.key, bob.unlock, "bob"));
    clock_.advance(from_seconds(2600));
    EXPECT_EQ(take(issuer_->current(bob.user, bob.key, bob.unlock, "bob")).serial, first.serial);
    clock_.advance(from_seconds(200));
    EXPECT_NE(take(issuer_->current(bob.user, bob.key, bob.unlock, "bob")).serial, first.serial);
}

TEST_F(Issuing, KeepsTheOneThatLastsAsLongAsTheUnlock) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    clock_.advance(from_seconds(12 * 3600 - 120));
    const auto first = take(issuer_->current(bob.user, bob.key, bob.unlock, "bob"));
    clock_.advance(from_seconds(110));
    EXPECT_EQ(take(issuer_->current(bob.user, bob.key, bob.unlock, "bob")).serial, first.serial);
}

TEST_F(Issuing, MakesANewOneWherePolicySaysOtherwise) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    const auto first = take(issuer_->current(bob.user, bob.key, bob.unlock, "bob"));
    grant(bob, "db-*", {"postgres"});
    const auto second = take(issuer_->current(bob.user, bob.key, bob.unlock, "bob"));
    EXPECT_THAT(take(cert::Certificate::from_blob(second.blob)).content().principals,
                ElementsAre("deploy", "postgres"));
    EXPECT_NE(first.serial, second.serial);
}

TEST_F(Issuing, MakesANewOneWhereTheLastIsRevoked) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    const auto first = take(issuer_->current(bob.user, bob.key, bob.unlock, "bob"));
    revoke("cert", std::to_string(first.serial.value));
    EXPECT_NE(take(issuer_->current(bob.user, bob.key, bob.unlock, "bob")).serial, first.serial);
}

TEST_F(Issuing, ServesTheLastOneOnWhileTheSignerIsGone) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    const auto first = take(issuer_->current(bob.user, bob.key, bob.unlock, "bob"));
    clock_.advance(from_seconds(3000));
    signer_.is_gone = true;
    EXPECT_EQ(take(issuer_->current(bob.user, bob.key, bob.unlock, "bob")).serial, first.serial);
    clock_.advance(from_seconds(601));
    EXPECT_EQ(ledger::code_of(issuer_->current(bob.user, bob.key, bob.unlock, "bob")), Code::kUnavailable);
}

// A signer that takes a request and does not answer, until the test is over.
class Holding {
public:
    explicit Holding(MemorySigner& signer) {
        signer.meanwhile = [answer = answer_.get_future().share()] { answer.wait(); };
    }
    ~Holding() { answer_.set_value(); }

private:
    std::promise<void> answer_;
};

TEST_F(Issuing, ServesTheLastOneOnWhileAnotherRequestWaitsForASignerThatHangs) {
    restart_issuer(from_millis(100));
    const auto bob = add_person("bob");
    const auto eve = add_person("eve");
    grant(bob, "*", {"deploy"});
    grant(eve, "*", {"deploy"});
    const auto first = take(issuer_->current(bob.user, bob.key, bob.unlock, "bob"));
    clock_.advance(from_seconds(2800)); // a new one is due, and the old one good for a while
    const auto ask = [&](const ledger::Person& person) {
        return std::async(std::launch::async,
                          [&] { return issuer_->current(person.user, person.key, person.unlock, "x"); });
    };
    const auto is_waiting = [&](int signatures) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (signer_.signatures < signatures && std::chrono::steady_clock::now() < end)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return signer_.signatures == signatures;
    };
    std::future<Result<ledger::CertificateRow>> held_of_bob, held_of_eve, served, refused; // end after it
    {
        const Holding holding(signer_);
        held_of_bob = ask(bob);
        ASSERT_TRUE(is_waiting(2));
        served = ask(bob);
        ASSERT_EQ(served.wait_for(std::chrono::seconds(20)), std::future_status::ready);
        EXPECT_EQ(take(served.get()).serial, first.serial);
        held_of_eve = ask(eve);
        ASSERT_TRUE(is_waiting(3)) << "nobody waits for another unlock's";
        refused = ask(eve);
        ASSERT_EQ(refused.wait_for(std::chrono::seconds(20)), std::future_status::ready);
        EXPECT_EQ(ledger::code_of(refused.get()), Code::kUnavailable) << "there is none to serve";
    }
    EXPECT_NE(take(held_of_bob.get()).serial, first.serial);
    EXPECT_TRUE(held_of_eve.get());
}

TEST_F(Issuing, AsksASignerThatRefusesOnceMore) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    signer_.refusals = 1;
    EXPECT_TRUE(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    signer_.refusals = 2;
    EXPECT_EQ(ledger::code_of(issuer_->issue(bob.user, bob.key, bob.unlock, "bob")), Code::kRefused);
}

TEST_F(Issuing, GoesOnWithTheNewKeyOnceTheSignerHasAnother) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    int told = 0;
    issuer_->on_new_ca_keys([&] { ++told; });
    take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    EXPECT_EQ(told, 0);
    signer_.has_new_key = true;
    const auto row = take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    EXPECT_TRUE(take(cert::Certificate::from_blob(row.blob)).ca() == signer_.key().public_key());
    EXPECT_TRUE(take(issuer_->ca_keys()).front() == signer_.key().public_key());
    EXPECT_EQ(told, 1);
}

TEST_F(Issuing, MakesOneCertificateForManyAskersAtOnce) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] { EXPECT_TRUE(issuer_->current(bob.user, bob.key, bob.unlock, "bob")); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(signer_.signatures, 1);
}

// As other VMs, or other brokers, may ask between the reading and the recording.
TEST_F(Issuing, TakesTheOneThatWasMadeMeanwhile) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    bool is_first = true;
    std::vector<ledger::CertificateRow> others;
    signer_.meanwhile = [&] {
        if (std::exchange(is_first, false))
            others.push_back(take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob")));
    };
    const auto mine = take(issuer_->current(bob.user, bob.key, bob.unlock, "bob"));
    ASSERT_EQ(others.size(), 1u);
    EXPECT_EQ(mine.serial, others[0].serial);
    EXPECT_EQ(audit_count("certificate.issue"), 1u);
}

TEST_F(Judging, AnswersManyVmsAtOnceWithOneCertificate) {
    const auto bob = add_person("bob");
    const auto vm = add_vm("web-7");
    grant(bob, "*", {"deploy"});
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            EXPECT_EQ(take(issuer_->grant_for(vm, fetch_of(bob, "deploy"))).decision, GrantDecision::kAllow);
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(audit_count("certificate.issue"), 1u);
}

TEST_F(Judging, AllowsAPlainKeyWithAFreshCertificate) {
    const auto bob = add_person("bob");
    const auto vm = add_vm("web-7");
    const auto rule = grant(bob, "web-*", {"deploy"}, 600);
    const auto granted = take(issuer_->grant_for(vm, fetch_of(bob, "deploy")));
    ASSERT_EQ(granted.decision, GrantDecision::kAllow) << granted.reason;
    EXPECT_EQ(granted.request, 1u);
    EXPECT_EQ(granted.user, bob.user.name);
    EXPECT_EQ(granted.key, bob.key.fingerprint);
    EXPECT_TRUE(cert::Certificate::from_blob(granted.certificate));
    EXPECT_TRUE(cert::Statement::open(granted.statement, {ledger::ledger_key().public_key()}));
    ASSERT_EQ(granted.lines.size(), 1u);
    EXPECT_EQ(granted.lines[0].rule, rule.id);
    EXPECT_EQ(granted.ends_at, clock_.now() + from_seconds(600));
    EXPECT_EQ(audit_count("login.deny"), 0u);
}

TEST_F(Judging, TellsTheVmWhatItsRulesSayOfSudo) {
    using protocol::SudoRule;
    const auto bob = add_person("bob");
    const auto vm = add_vm("web-7");
    grant(bob, "web-*", {"deploy", "ops"});
    const auto says = [&](const char* login) {
        return protocol::sudo_rule_of(take(issuer_->grant_for(vm, fetch_of(bob, login))));
    };
    EXPECT_EQ(says("deploy"), SudoRule::kUnsaid);
    grant(bob, "web-*", {"deploy"}, 3600, SudoRule::kFree);
    EXPECT_EQ(says("deploy"), SudoRule::kFree);
    grant(bob, "*", {"deploy"}, 3600, SudoRule::kFactor);
    grant(bob, "db-*", {"deploy"}, 3600, SudoRule::kDenied);
    EXPECT_EQ(says("deploy"), SudoRule::kFactor);
    EXPECT_EQ(says("ops"), SudoRule::kUnsaid);
}

TEST_F(Judging, AllowsTheCertificateThatTheClientOffers) {
    const auto bob = add_person("bob");
    const auto vm = add_vm("web-7");
    grant(bob, "*", {"deploy"});
    const auto row = take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    const auto granted = take(issuer_->grant_for(vm, fetch_of(bob, "deploy", row)));
    ASSERT_EQ(granted.decision, GrantDecision::kAllow) << granted.reason;
    EXPECT_EQ(granted.certificate, row.blob);
    EXPECT_EQ(signer_.signatures, 1);
}

class Denying : public IssuerTest {
protected:
    void expect_denial(const protocol::Fetch& fetch, const std::string& why) {
        const auto denied = take(issuer_->grant_for(vm_, fetch));
        EXPECT_EQ(denied.decision, GrantDecision::kDeny);
        EXPECT_THAT(denied.reason, HasSubstr(why));
        EXPECT_TRUE(denied.certificate.empty());
        EXPECT_TRUE(denied.statement.empty());
        EXPECT_TRUE(denied.lines.empty());
        EXPECT_EQ(audit_count("login.deny"), ++denials_);
    }
    ledger::Person bob_ = add_person("bob");
    ledger::Vm vm_ = add_vm("web-7");
    std::size_t denials_ = 0;
};

TEST_F(Denying, AnUnregisteredKey) {
    auto fetch = fetch_of(bob_, "deploy");
    fetch.key = ledger::new_public_key().fingerprint();
    expect_denial(fetch, "not registered");
}

TEST_F(Denying, ALoginOrAVmThatNoRuleGrants) {
    grant(bob_, "web-*", {"deploy"});
    expect_denial(fetch_of(bob_, "root"), "no rule gives bob the login root");
    vm_ = add_vm("db-1");
    expect_denial(fetch_of(bob_, "deploy"), "no rule of bob selects VM db-1");
}

TEST_F(Denying, AUserWhoLeftTheGroup) {
    const auto rule = grant(bob_, "*", {"deploy"});
    ASSERT_EQ(take(issuer_->grant_for(vm_, fetch_of(bob_, "deploy"))).decision, GrantDecision::kAllow);
    take(write([&](Transaction& t) { return ledger::leave_group(t, rule.group, bob_.user.id, "admin"); }));
    expect_denial(fetch_of(bob_, "deploy"), "no group of bob has a rule");
}

TEST_F(Denying, WithoutALiveUnlock) {
    grant(bob_, "*", {"deploy"});
    take(write([&](Transaction& t) { return ledger::end_unlocks(t, bob_.user.id, "bob"); }));
    expect_denial(fetch_of(bob_, "deploy"), "no live unlock");
}

TEST_F(Denying, AfterTheUnlockHasEnded) {
    grant(bob_, "*", {"deploy"});
    clock_.advance(from_seconds(12 * 3600 + 1));
    expect_denial(fetch_of(bob_, "deploy"), "no live unlock");
}

TEST_F(Denying, ALockedAccount) {
    grant(bob_, "*", {"deploy"});
    take(write([&](Transaction& t) { return ledger::lock_user(t, bob_.user.name, "left", "admin"); }));
    expect_denial(fetch_of(bob_, "deploy"), "locked");
}

TEST_F(Denying, ARevokedCertificateButNotTheNextOne) {
    grant(bob_, "*", {"deploy"});
    const auto row = take(issuer_->issue(bob_.user, bob_.key, bob_.unlock, "bob"));
    revoke("cert", std::to_string(row.serial.value));
    expect_denial(fetch_of(bob_, "deploy", row), "revoked");
    EXPECT_EQ(take(issuer_->grant_for(vm_, fetch_of(bob_, "deploy"))).decision, GrantDecision::kAllow);
}

TEST_F(Denying, ACertificateThatTheLedgerDoesNotKnow) {
    grant(bob_, "*", {"deploy"});
    auto row = take(issuer_->issue(bob_.user, bob_.key, bob_.unlock, "bob"));
    row.serial = {row.serial.value ^ 1};
    expect_denial(fetch_of(bob_, "deploy", row), "not in the ledger");
}

TEST_F(Denying, AnotherCertificateUnderAKnownSerial) {
    grant(bob_, "*", {"deploy"});
    auto row = take(issuer_->issue(bob_.user, bob_.key, bob_.unlock, "bob"));
    row.digest[0] ^= 1;
    expect_denial(fetch_of(bob_, "deploy", row), "not the one in the ledger");
}

TEST_F(Denying, ACertificateOfAnotherPersonsKey) {
    const auto eve = add_person("eve");
    grant(bob_, "*", {"deploy"});
    grant(eve, "*", {"deploy"});
    const auto row = take(issuer_->issue(bob_.user, bob_.key, bob_.unlock, "bob"));
    expect_denial(fetch_of(eve, "deploy", row), "another key");
}

TEST_F(Denying, ACertificateThatHasEnded) {
    grant(bob_, "*", {"deploy"}, 600);
    const auto row = take(issuer_->issue(bob_.user, bob_.key, bob_.unlock, "bob"));
    clock_.advance(from_seconds(601));
    expect_denial(fetch_of(bob_, "deploy", row), "has ended");
}

TEST_F(Denying, ACertificateOlderThanTheRule) {
    grant(bob_, "*", {"deploy"});
    const auto row = take(issuer_->issue(bob_.user, bob_.key, bob_.unlock, "bob"));
    grant(bob_, "*", {"root"});
    expect_denial(fetch_of(bob_, "root", row), "renew it");
    EXPECT_EQ(take(issuer_->grant_for(vm_, fetch_of(bob_, "root"))).decision, GrantDecision::kAllow);
}

TEST_F(Denying, WritesABoundedNumberOfAuditRows) {
    for (int i = 0; i < 100; ++i) take(issuer_->grant_for(vm_, fetch_of(bob_, "deploy")));
    EXPECT_EQ(audit_count("login.deny"), 30u);
    clock_.advance(from_seconds(10));
    take(issuer_->grant_for(vm_, fetch_of(bob_, "deploy")));
    EXPECT_EQ(audit_count("login.deny"), 31u);
}

TEST_F(Judging, CannotJudgeWithoutSignerWhereNothingWasIssued) {
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    signer_.is_gone = true;
    EXPECT_EQ(ledger::code_of(issuer_->grant_for(add_vm("web-7"), fetch_of(bob, "deploy"))),
              Code::kUnavailable);
}

TEST_F(Judging, GrantsAheadWhatPolicyGivesThereAndNothingElse) {
    const auto bob = add_person("bob");
    grant(bob, "web-*", {"deploy", "root"});
    const auto ahead = take(issuer_->grants_ahead(add_vm("web-7"), bob.user, bob.key, bob.unlock));
    ASSERT_EQ(ahead.size(), 2u);
    for (const protocol::Grant& grant : ahead) {
        EXPECT_EQ(grant.request, 0u);
        EXPECT_EQ(grant.decision, GrantDecision::kAllow);
    }
    EXPECT_TRUE(take(issuer_->grants_ahead(add_vm("db-1"), bob.user, bob.key, bob.unlock)).empty());
    take(write([&](Transaction& t) { return ledger::end_unlocks(t, bob.user.id, "bob"); }));
    EXPECT_TRUE(take(issuer_->grants_ahead(add_vm("web-8"), bob.user, bob.key, bob.unlock)).empty());
}

TEST_F(Judging, ExplainsEachCheckInWords) {
    const auto bob = add_person("bob");
    grant(bob, "web-*", {"deploy"});
    add_vm("web-7");
    add_vm("db-1");
    const auto yes = take(issuer_->explain(bob.user.name, *Login::parse("deploy"), *VmName::parse("web-7")));
    EXPECT_TRUE(yes.is_allowed);
    EXPECT_THAT(yes.checks.front(), HasSubstr("applies"));
    EXPECT_THAT(yes.checks.back(), HasSubstr("allowed"));
    const auto no = take(issuer_->explain(bob.user.name, *Login::parse("deploy"), *VmName::parse("db-1")));
    EXPECT_FALSE(no.is_allowed);
    EXPECT_THAT(no.checks.front(), HasSubstr("leave this one out"));
    EXPECT_THAT(no.checks.back(), HasSubstr("denied"));
    take(write([&](Transaction& t) { return ledger::end_unlocks(t, bob.user.id, "bob"); }));
    EXPECT_FALSE(
        take(issuer_->explain(bob.user.name, *Login::parse("deploy"), *VmName::parse("web-7"))).is_allowed);
    EXPECT_EQ(ledger::code_of(
                  issuer_->explain(*UserName::parse("eve"), *Login::parse("x"), *VmName::parse("db-1"))),
              Code::kNotFound);
}

// This thread, or its broker, may have been stopped between the two: what counts is what stands when it
// records.
TEST_F(Issuing, WhatAnotherBrokerChangedMeanwhileCounts) {
    const auto other = ledger::take(ledger::Ledger::open(
        *store_, {.data_key = ledger::data_key(), .clock = &clock_, .readers = 1, .hears_others = false}));
    const ledger::Person bob = add_person("bob");
    const ledger::Rule rule = grant(bob, "*", {"deploy"});
    signer_.meanwhile = [&] {
        ledger::take(other->write([](ledger::Transaction& t) {
            return ledger::add_user(t, ledger::user_name("eve"), "", ledger::Role::kUser, "admin");
        }));
    };
    EXPECT_TRUE(issuer_->issue(bob.user, bob.key, bob.unlock, "bob")) << "that was about somebody else";
    signer_.meanwhile = [&] {
        ledger::take(
            other->write([&](ledger::Transaction& t) { return ledger::remove_rule(t, rule.id, "admin"); }));
    };
    const auto refused = issuer_->issue(bob.user, bob.key, bob.unlock, "bob");
    EXPECT_EQ(ledger::code_of(refused), Code::kConflict);
}

} // namespace
} // namespace latchkey::issue
