// SPDX-License-Identifier: Apache-2.0
#include "core/cert/statement.h"

#include <gtest/gtest.h>

namespace latchkey::cert {
namespace {

using keys::KeyType;
using keys::PrivateKey;

PrivateKey new_key() {
    return *PrivateKey::generate(KeyType::kEd25519);
}

Statement statement() {
    return {.certificate_digest = Bytes(32, 0xab),
            .serial = {42},
            .sequence = {7},
            .epoch = {3},
            .issued_at = from_seconds(1'800'000'000)};
}

TEST(Statement, OpensUnderTheKeyThatSignedIt) {
    const PrivateKey ledger = new_key();
    const auto opened =
        Statement::open(*statement().sign(ledger), {new_key().public_key(), ledger.public_key()});
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->certificate_digest, statement().certificate_digest);
    EXPECT_EQ(opened->serial, Serial{42});
    EXPECT_EQ(opened->sequence, Sequence{7});
    EXPECT_EQ(opened->epoch, Epoch{3});
    EXPECT_EQ(opened->issued_at, from_seconds(1'800'000'000));
}

TEST(Statement, SignedByAnotherKeyIsRefused) {
    const PrivateKey ledger = new_key();
    const auto refused = Statement::open(*statement().sign(new_key()), {ledger.public_key()});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kBadSignature);
    EXPECT_EQ(Statement::open(*statement().sign(ledger), {}).error().code, Code::kBadSignature);
}

TEST(Statement, OverAnotherCertificateNamesAnotherDigest) {
    const PrivateKey ledger = new_key();
    Statement other = statement();
    other.certificate_digest[31] ^= 1;
    const auto opened = Statement::open(*other.sign(ledger), {ledger.public_key()});
    ASSERT_TRUE(opened) << "the signature is good";
    EXPECT_NE(opened->certificate_digest, statement().certificate_digest);
}

TEST(Statement, WithAnyByteFlippedOrCutShortIsRefused) {
    const PrivateKey ledger = new_key();
    const Bytes good = *statement().sign(ledger);
    for (std::size_t i = 0; i < good.size(); ++i) {
        Bytes flipped = good;
        flipped[i] ^= 0x01;
        EXPECT_FALSE(Statement::open(flipped, {ledger.public_key()})) << i;
        EXPECT_FALSE(Statement::open(ByteView(good).first(i), {ledger.public_key()})) << i;
    }
    Bytes longer = good;
    longer.push_back(0);
    EXPECT_FALSE(Statement::open(longer, {ledger.public_key()}));
    EXPECT_EQ(Statement::open(Bytes(5000), {ledger.public_key()}).error().code, Code::kTooLarge);
}

TEST(Statement, WithoutADigestIsNotSigned) {
    Statement empty = statement();
    empty.certificate_digest.clear();
    EXPECT_EQ(empty.sign(new_key()).error().code, Code::kUsage);
}

} // namespace
} // namespace latchkey::cert
