// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/certificates.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/counting_store_for_tests.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/revocations.h"
#include "core/cert/statement.h"

namespace latchkey::ledger {
namespace {

class Certificates : public LedgerTest {};

TEST_F(Certificates, AreRecordedWithSequenceAndSignedStatement) {
    const Person bob = add_person("bob");
    const CertificateRow first = issue(bob);
    const CertificateRow second = issue(bob);
    EXPECT_EQ(first.sequence.value, 1u);
    EXPECT_EQ(second.sequence.value, 2u);
    const auto statement = take(cert::Statement::open(second.statement, {ledger_key().public_key()}));
    EXPECT_EQ(statement.serial, second.serial);
    EXPECT_EQ(statement.certificate_digest, second.digest);
    EXPECT_EQ(statement.sequence, second.sequence);

    const auto found = take(read([&](Transaction& t) { return find_certificate(t, first.serial); }));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->blob, first.blob);
    EXPECT_EQ(found->key_fingerprint, bob.key.fingerprint);
    const auto newest = newest_of(bob);
    ASSERT_TRUE(newest);
    EXPECT_EQ(newest->serial, second.serial);
    EXPECT_EQ(take(read([&](Transaction& t) { return live_serials_of(t, bob.user.name, t.now); })).size(),
              2u);
}

TEST_F(Certificates, OfOthersAreNotFound) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const CertificateRow of_bob = issue(bob);
    EXPECT_FALSE(
        take(read([&](Transaction& t) { return find_certificate(t, Serial{of_bob.serial.value ^ 1}); })));
    EXPECT_FALSE(newest_of(eve));
    EXPECT_TRUE(take(read([&](Transaction& t) { return live_serials_of(t, eve.user.name, t.now); })).empty());
}

TEST_F(Certificates, ThatEndedAreNoLongerLive) {
    const Person bob = add_person("bob");
    const CertificateRow row = issue(bob, from_seconds(600));
    clock_.advance(from_seconds(600));
    EXPECT_FALSE(newest_of(bob));
    EXPECT_TRUE(take(read([&](Transaction& t) { return live_serials_of(t, bob.user.name, t.now); })).empty());
    EXPECT_TRUE(take(read([&](Transaction& t) { return find_certificate(t, row.serial); })));
}

TEST_F(Certificates, AreRefusedWhereTheUnlockHasEnded) {
    const Person bob = add_person("bob");
    clock_.advance(from_seconds(12 * 3600));
    EXPECT_EQ(code_of(try_issue(bob)), Code::kExpired);
}

TEST_F(Certificates, AreRefusedUnderAnothersUnlock) {
    const Person bob = add_person("bob");
    Person eve = add_person("eve");
    eve.unlock = bob.unlock;
    EXPECT_EQ(code_of(try_issue(eve)), Code::kNotFound);
}

TEST_F(Certificates, AreRefusedForAnotherKeyOrName) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const auto record = [&](const cert::Certificate& certificate) {
        return write([&](Transaction& t) {
            return record_certificate(t, certificate, bob.user.id, bob.key.id, bob.unlock.id, ledger_key(),
                                      "bob");
        });
    };
    const Micros hour = from_seconds(3600);
    EXPECT_TRUE(record(make_certificate(bob.user, bob.key, clock_.now(), hour, 11)));
    EXPECT_EQ(code_of(record(make_certificate(bob.user, eve.key, clock_.now(), hour, 12))), Code::kInternal);
    EXPECT_EQ(code_of(record(make_certificate(eve.user, bob.key, clock_.now(), hour, 13))), Code::kInternal);
    EXPECT_EQ(code_of(record(make_certificate(bob.user, bob.key, clock_.now() - hour, hour, 14))),
              Code::kExpired);
    EXPECT_EQ(code_of(record(make_certificate(bob.user, bob.key, clock_.now(), hour, 1ull << 63))),
              Code::kInternal);
    EXPECT_EQ(code_of(record(make_certificate(bob.user, bob.key, clock_.now(), hour, 11))), Code::kExists);
}

TEST_F(Certificates, RefusedOnesTakeNoSequence) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    take(write([](Transaction& t) { return lock_user(t, user_name("eve"), "", "root"); }));
    EXPECT_EQ(issue(bob).sequence.value, 1u);
    EXPECT_FALSE(try_issue(eve));
    EXPECT_EQ(issue(bob).sequence.value, 2u);
}

TEST_F(Certificates, GiveTheirSequenceBackWhereTheirJobFails) {
    const Person bob = add_person("bob");
    std::uint64_t serial = 100;
    const auto record = [&](Transaction& t) {
        const auto certificate =
            make_certificate(bob.user, bob.key, clock_.now(), from_seconds(600), ++serial);
        return record_certificate(t, certificate, bob.user.id, bob.key.id, bob.unlock.id, ledger_key(),
                                  "bob");
    };
    EXPECT_EQ(issue(bob).sequence.value, 1u);
    EXPECT_EQ(code_of(write([&](Transaction& t) -> Status {
                  for (std::uint64_t due = 2; due <= 4; ++due) {
                      LK_TRY(row, record(t));
                      EXPECT_EQ(row.sequence.value, due);
                  }
                  return fail(Code::kRefused, "after it wrote");
              })),
              Code::kRefused);
    EXPECT_EQ(issue(bob).sequence.value, 2u);
    reopen();
    EXPECT_EQ(issue(bob).sequence.value, 3u);
}

// On PostgreSQL what is waited for is a round trip under the lock that all brokers wait for.
TEST_F(Certificates, CostOneRoundTripEachAndTwoACommit) {
    const Person bob = add_person("bob");
    Counted counted;
    CountingStore counting(*store_, counted);
    const auto ledger =
        take(Ledger::open(counting, {.data_key = data_key(), .clock = &clock_, .readers = 1}));
    for (const int count : {1, 16}) {
        counted.runs = 0;
        counted.posts = 0;
        take(ledger->write([&](Transaction& t) -> Status {
            for (int i = 0; i < count; ++i) {
                const auto serial = static_cast<std::uint64_t>(1000 * count + i);
                const auto certificate =
                    make_certificate(bob.user, bob.key, clock_.now(), from_seconds(600), serial);
                LK_TRY(row, record_certificate(t, certificate, bob.user.id, bob.key.id, bob.unlock.id,
                                               ledger_key(), "bob"));
            }
            return {};
        }));
        EXPECT_LE(counted.runs, count + 2);
        EXPECT_LE(counted.posts, 2 * count + 2);
    }
}

TEST_F(Certificates, LeaveAnAuditRow) {
    const Person bob = add_person("bob");
    const CertificateRow row = issue(bob);
    const auto audit = take(read(
        [&](Transaction& t) { return list_audit(t, {.since = {}, .user = bob.user.name, .limit = 1}); }));
    ASSERT_EQ(audit.size(), 1u);
    EXPECT_EQ(audit[0].event.action, "certificate.issue");
    EXPECT_NE(audit[0].event.detail.find("\"serial\":\"" + std::to_string(row.serial.value) + "\""),
              std::string::npos);
}

TEST_F(Certificates, BearTheEpochAtTheirIssue) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    EXPECT_EQ(issue(bob).epoch.value, 0u);
    take(write([](Transaction& t) {
        return revoke(t, {revocation::SelectorKind::kUser, "eve"}, "", "root");
    }));
    EXPECT_EQ(issue(bob).epoch.value, 1u);
}

} // namespace
} // namespace latchkey::ledger
