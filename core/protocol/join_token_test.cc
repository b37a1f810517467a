// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/join_token.h"

#include <gtest/gtest.h>

namespace latchkey::protocol {
namespace {

const std::string kKey = "SHA256:" + std::string(41, 'A') + "+/";

TEST(JoinToken, IsReadFromTheRightBecauseAddressesHoldDots) {
    const auto token = JoinToken::parse("lk1.broker.example.org:7443." + kKey + ".tk-1.s3cret_x");
    ASSERT_TRUE(token);
    EXPECT_EQ(token->broker.host, "broker.example.org");
    EXPECT_EQ(token->broker.port, 7443);
    EXPECT_EQ(token->broker_key.str(), kKey);
    EXPECT_EQ(token->id, "tk-1");
    EXPECT_EQ(as_text(token->secret.view()), "s3cret_x");
}

TEST(JoinToken, RoundTripsWithNamesAndBothKindsOfAddresses) {
    for (const std::string address : {"192.0.2.1:22", "[2001:db8::1]:65535", "localhost:1"}) {
        const std::string text = "lk1." + address + "." + kKey + ".id.secret";
        const auto token = JoinToken::parse(text);
        ASSERT_TRUE(token) << address;
        EXPECT_EQ(*token->encode(), text);
        EXPECT_EQ(token->broker.text(), address);
    }
}

TEST(JoinToken, RefusesWhatIsDamagedAndNeverRepeatsTheSecret) {
    for (const std::string& text : std::vector<std::string>{
             "",
             "lk2.h:1." + kKey + ".id.hush",
             "lk1." + kKey + ".id.hush",
             "lk1.h." + kKey + ".id.hush",
             "lk1.h:0." + kKey + ".id.hush",
             "lk1.h:65536." + kKey + ".id.hush",
             "lk1.h:1x." + kKey + ".id.hush",
             "lk1.2001:db8::1:22." + kKey + ".id.hush",
             "lk1.h:1.SHA256:short.id.hush",
             "lk1.h:1." + kKey + "..hush",
             "lk1.h:1." + kKey + ".id.",
             "lk1.h:1." + kKey + ".id.hush hush",
             "lk1.h h:1." + kKey + ".id.hush",
             "lk1.h:1." + kKey + ".id.hush" + std::string(kMaxJoinTokenSize, 'x'),
         }) {
        const auto token = JoinToken::parse(text);
        ASSERT_FALSE(token) << text;
        EXPECT_EQ(token.error().code, Code::kMalformed);
        EXPECT_EQ(token.error().line().find("hush"), std::string::npos);
    }
}

TEST(JoinToken, IsNotWrittenWhereItCouldNotBeReadBack) {
    JoinToken token;
    token.broker = {"h", 1};
    token.broker_key = *Fingerprint::parse(kKey);
    token.id = "with.dot";
    token.secret = SecretBytes(as_bytes("secret"));
    EXPECT_FALSE(token.encode());
    token.id = "plain";
    EXPECT_TRUE(token.encode());
}

} // namespace
} // namespace latchkey::protocol
