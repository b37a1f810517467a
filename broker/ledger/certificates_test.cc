// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/certificates.h"

#include "broker/ledger/audit.h"
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
    const auto newest = take(read([&](Transaction& t) { return newest_certificate(t, bob.unlock.id); }));
    ASSERT_TRUE(newest);
    EXPECT_EQ(newest->serial, second.serial);
    EXPECT_EQ(take(read([&](Transaction& t) { return live_certificates(t, bob.user.id); })).size(), 2u);
}

} // namespace
} // namespace latchkey::ledger
