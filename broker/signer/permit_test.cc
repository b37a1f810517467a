// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/permit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/cert/certificate.h"
#include "core/keys/private_key.h"

namespace latchkey::signer {
namespace {

using ::testing::HasSubstr;

constexpr Micros kNow = from_seconds(1'800'000'000);
constexpr std::uint64_t kNowSeconds = 1'800'000'000;

keys::PublicKey fresh_key(keys::KeyType type = keys::KeyType::kEd25519, unsigned bits = 2048) {
    return keys::PrivateKey::generate(type, bits)->public_key();
}

const keys::PublicKey& ca() {
    static const keys::PublicKey key = fresh_key();
    return key;
}

cert::Content good_content() {
    cert::Content content;
    content.subject = fresh_key();
    content.serial = {7};
    content.key_id = "bob/7";
    content.principals = {"deploy"};
    content.valid_after = kNowSeconds - 60;
    content.valid_before = kNowSeconds + 3600;
    content.critical_options = {
        {"source-address", "10.0.0.0/8"}, {"force-command", "uptime"}, {"verify-required", ""}};
    content.extensions = {{"permit-pty", ""}};
    return content;
}

Result<keys::PublicKey> judge(const cert::Content& content, const keys::PublicKey& signed_by = ca(),
                              const Limits& limits = {}) {
    const auto bytes = cert::to_be_signed(content, Bytes(32, 1), signed_by);
    EXPECT_TRUE(bytes) << bytes.error().line();
    return permit(*bytes, {fresh_key(), ca()}, limits, kNow);
}

TEST(Permit, LetsAnOrdinaryUserCertificatePassAndNamesItsCa) {
    const auto named = judge(good_content());
    ASSERT_TRUE(named) << named.error().line();
    EXPECT_EQ(*named, ca());
}

struct Spoilt {
    const char* why; // part of the refusal
    void (*spoil)(cert::Content&);
};

class Permits : public ::testing::TestWithParam<Spoilt> {};

TEST_P(Permits, Refuse) {
    cert::Content content = good_content();
    GetParam().spoil(content);
    const auto named = judge(content);
    ASSERT_FALSE(named) << GetParam().why;
    EXPECT_EQ(named.error().code, Code::kRefused);
    EXPECT_THAT(named.error().message, HasSubstr(GetParam().why));
}

INSTANTIATE_TEST_SUITE_P(
    Table, Permits,
    ::testing::Values(
        Spoilt{"not a user certificate", [](cert::Content& c) { c.type = cert::kTypeHost; }},
        Spoilt{"lifetime", [](cert::Content& c) { c.valid_before = c.valid_after + 86400 + 301; }},
        Spoilt{"lifetime", [](cert::Content& c) { c.valid_before = UINT64_MAX; }},
        Spoilt{"future",
               [](cert::Content& c) {
                   c.valid_after = kNowSeconds + 301;
                   c.valid_before = kNowSeconds + 600;
               }},
        Spoilt{"past", [](cert::Content& c) { c.valid_after = kNowSeconds - 301; }},
        Spoilt{"principal that is no login", [](cert::Content& c) { c.principals = {"two words"}; }},
        Spoilt{"principal that is no login", [](cert::Content& c) { c.principals = {std::string(33, 'a')}; }},
        Spoilt{"serial", [](cert::Content& c) { c.serial = {0}; }},
        Spoilt{"key id", [](cert::Content& c) { c.key_id = "bob\n7"; }},
        Spoilt{"key id", [](cert::Content& c) { c.key_id.clear(); }},
        Spoilt{"unknown critical option",
               [](cert::Content& c) {
                   c.critical_options = {{"be-root", "yes"}};
               }},
        Spoilt{"unknown extension", [](cert::Content& c) {
                   c.extensions = {{"no-touch-required", ""}};
               }}));

TEST(Permit, TakesTheLongestLifetimeThatItsLimitNames) {
    cert::Content content = good_content();
    content.valid_before = content.valid_after + 86400 + 300;
    EXPECT_TRUE(judge(content));
}

TEST(Permit, RefusesACaThatIsNotOurs) {
    const auto named = judge(good_content(), fresh_key());
    ASSERT_FALSE(named);
    EXPECT_THAT(named.error().message, HasSubstr("not ours"));
}

TEST(Permit, RefusesAKeyTypeThatIsNotAllowed) {
    cert::Content content = good_content();
    content.subject = fresh_key(keys::KeyType::kEcdsa256);
    EXPECT_TRUE(judge(content));
    Limits narrow;
    narrow.subject_types = {keys::KeyType::kEd25519};
    const auto named = judge(content, ca(), narrow);
    ASSERT_FALSE(named);
    EXPECT_THAT(named.error().message, HasSubstr("ecdsa-sha2-nistp256"));
}

TEST(Permit, RefusesAShortRsaKey) {
    cert::Content content = good_content();
    content.subject = fresh_key(keys::KeyType::kRsa);
    EXPECT_TRUE(judge(content));
    Limits strict;
    strict.min_rsa_bits = 3072;
    EXPECT_FALSE(judge(content, ca(), strict));
}

// What to_be_signed() itself would not write: spoilt in the bytes.
TEST(Permit, RefusesAShortNonceNoPrincipalsAndBytesLeftOver) {
    const cert::Content content = good_content();
    const Bytes good = *cert::to_be_signed(content, Bytes(32, 1), ca());
    ASSERT_TRUE(permit(good, {ca()}, {}, kNow));

    Bytes longer = good;
    longer.push_back(0);
    EXPECT_FALSE(permit(longer, {ca()}, {}, kNow));
    EXPECT_FALSE(permit(ByteView(good).first(good.size() - 1), {ca()}, {}, kNow));
    EXPECT_FALSE(permit({}, {ca()}, {}, kNow));

    const std::size_t nonce_at = 4 + keys::cert_type_name(keys::KeyType::kEd25519).size();
    Bytes short_nonce = good;
    short_nonce.erase(short_nonce.begin() + static_cast<std::ptrdiff_t>(nonce_at) + 4,
                      short_nonce.begin() + static_cast<std::ptrdiff_t>(nonce_at) + 4 + 17);
    short_nonce[nonce_at + 3] = 15;
    const auto refused = permit(short_nonce, {ca()}, {}, kNow);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("nonce"));

    Bytes nobody = good; // the principals' string, "deploy" in it, emptied
    const auto name = as_bytes("deploy");
    const auto at = std::search(nobody.begin(), nobody.end(), name.begin(), name.end());
    ASSERT_NE(at, nobody.end());
    const auto head = at - 8;
    nobody.erase(at - 4, at + 6);
    *(head + 3) = 0;
    const auto open_to_all = permit(nobody, {ca()}, {}, kNow);
    ASSERT_FALSE(open_to_all);
    EXPECT_THAT(open_to_all.error().message, HasSubstr("without principals"));
}

} // namespace
} // namespace latchkey::signer
