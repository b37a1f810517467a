// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "core/protocol/codec.h"
#include "core/protocol/hub.h"
#include "core/protocol/local.h"
#include "core/protocol/signer.h"

namespace latchkey::protocol {
namespace {

Frame frame_of(const Bytes& whole) {
    const auto size = frame_size(whole, kHubFrameLimit);
    EXPECT_TRUE(size && *size && **size == whole.size());
    return *decode_frame(whole);
}

Grant sample_grant() {
    Grant grant;
    grant.request = 7;
    grant.decision = GrantDecision::kAllow;
    grant.user = *UserName::parse("bob");
    grant.login = *Login::parse("deploy");
    grant.key = *Fingerprint::parse("SHA256:" + std::string(43, 'A'));
    grant.certificate = {1, 2, 3};
    grant.lines = {{{5}, {"pty"}, "10.0.0.0/8", "", true}};
    grant.ends_at = from_seconds(1'800'000'000);
    return grant;
}

TEST(Codec, RoundTripsAMessageWithNestedFields) {
    const Grant grant = sample_grant();
    const auto back = decode<Grant>(frame_of(encode(grant)));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->user, grant.user);
    EXPECT_EQ(back->lines, grant.lines);
    EXPECT_EQ(encode(*back), encode(grant));
}

TEST(Codec, RefusesEveryTruncation) {
    const Bytes whole = encode(sample_grant());
    for (std::size_t keep = 5; keep < whole.size(); ++keep) {
        Frame frame{Type::kGrant,
                    Bytes(whole.begin() + 5, whole.begin() + static_cast<std::ptrdiff_t>(keep))};
        EXPECT_FALSE(decode<Grant>(frame)) << keep;
    }
}

TEST(Codec, RefusesBytesLeftOver) {
    Bytes whole = encode(sample_grant());
    Frame frame{Type::kGrant, Bytes(whole.begin() + 5, whole.end())};
    frame.fields.push_back(0);
    const auto back = decode<Grant>(frame);
    ASSERT_FALSE(back);
    EXPECT_EQ(back.error().code, Code::kMalformed);
}

TEST(Codec, RefusesTheWrongType) {
    EXPECT_FALSE(decode<Revoke>(frame_of(encode(sample_grant()))));
}

TEST(Codec, IgnoresAnUnknownExtensionButNotACriticalOne) {
    Grant grant = sample_grant();
    grant.extensions = {{"later", {9}}};
    EXPECT_TRUE(decode<Grant>(frame_of(encode(grant))));
    grant.extensions = {{"!later", {9}}};
    const auto refused = decode<Grant>(frame_of(encode(grant)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kUnsupported);
}

TEST(Codec, RefusesAnEnumerationValueOfZeroAndOneBeyondTheLast) {
    for (const int raw : {0, 4}) {
        AccountAnswer answer;
        answer.verdict = static_cast<Verdict>(raw);
        EXPECT_FALSE(decode<AccountAnswer>(frame_of(encode(answer)))) << raw;
    }
}

TEST(Codec, RefusesAListThatClaimsMoreEntriesThanBytes) {
    Frame frame{Type::kAuthorized, {0, 1, 0, 0}};
    const auto back = decode<Authorized>(frame);
    ASSERT_FALSE(back);
    EXPECT_EQ(back.error().code, Code::kTooLarge);
}

TEST(Codec, RefusesANameThatIsNotWellFormed) {
    wire::Writer writer;
    writer.string("../../etc");
    writer.string("sshd");
    writer.string("");
    writer.u32(0);
    EXPECT_FALSE(decode<AccountCheck>(Frame{Type::kAccountCheck, writer.take()}));
}

TEST(GrantOfSudo, IsCarriedByAnExtensionThatOlderAgentsPassOver) {
    for (const SudoRule rule : {SudoRule::kUnsaid, SudoRule::kFree, SudoRule::kFactor, SudoRule::kDenied}) {
        Grant grant;
        set_sudo_rule(grant, rule);
        const auto read = decode<Grant>(*decode_frame(encode(grant)));
        ASSERT_TRUE(read);
        EXPECT_EQ(sudo_rule_of(*read), rule);
    }
    EXPECT_TRUE(Grant().extensions.empty());
}

TEST(GrantOfSudo, AsksForACodeWhereTheAgentDoesNotKnowTheRule) {
    for (const Bytes& value : {Bytes{}, Bytes{0}, Bytes{5}, Bytes{2, 2}}) {
        Grant grant;
        grant.extensions.push_back({"sudo", value});
        EXPECT_EQ(sudo_rule_of(grant), SudoRule::kFactor);
    }
}

TEST(Frames, AskForMoreUntilTheyAreWhole) {
    const Bytes whole = encode(Acknowledged{});
    EXPECT_FALSE(frame_size(ByteView(whole).first(3), kLocalFrameLimit)->has_value());
    EXPECT_EQ(**frame_size(ByteView(whole).first(4), kLocalFrameLimit), whole.size());
}

TEST(Frames, RefuseLengthZeroAndOneOverTheLimit) {
    EXPECT_EQ(frame_size(Bytes{0, 0, 0, 0}, kLocalFrameLimit).error().code, Code::kMalformed);
    EXPECT_EQ(frame_size(Bytes{0, 1, 0, 1}, kLocalFrameLimit).error().code, Code::kTooLarge);
    EXPECT_TRUE(frame_size(Bytes{0, 1, 0, 0}, kLocalFrameLimit));
}

TEST(Receipt, SignedBytesChangeWithEveryField) {
    Receipt receipt;
    const Bytes before = receipt_signed_bytes(receipt);
    receipt.sessions_ended = 1;
    EXPECT_NE(receipt_signed_bytes(receipt), before);
}

TEST(Welcome, SaysWhereBrokersAreOrNothingThatCounts) {
    Welcome welcome;
    EXPECT_FALSE(brokers_of(welcome));
    const std::vector<BrokerAddress> brokers = {{"b1.example.org", 7443}, {"2001:db8::1", 7443}};
    set_brokers(welcome, brokers);
    EXPECT_EQ(brokers_of(welcome), brokers);
    welcome.extensions.front().value.pop_back();
    EXPECT_FALSE(brokers_of(welcome)) << "torn";
    welcome.extensions.front().value = encode_brokers({{"no host", 7443}});
    EXPECT_FALSE(brokers_of(welcome));
    welcome.extensions.front().value = encode_brokers(std::vector<BrokerAddress>(17, brokers[0]));
    EXPECT_FALSE(brokers_of(welcome)) << "too many";
    welcome.extensions.front().value.clear();
    EXPECT_EQ(brokers_of(welcome), std::vector<BrokerAddress>()) << "said: there are no others";
}

} // namespace
} // namespace latchkey::protocol
