// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/managed_logins.h"

#include <gtest/gtest.h>

namespace latchkey::protocol {
namespace {

std::vector<Login> some(std::size_t count) {
    std::vector<Login> logins;
    for (std::size_t i = 0; i < count; ++i) logins.push_back(*Login::parse("login" + std::to_string(i)));
    return logins;
}

TEST(ManagedLogins, ComeBackAsWritten) {
    for (const std::size_t count : {0U, 1U, 3U, 300U}) {
        const auto read = parse_managed_logins(encode_managed_logins(some(count)));
        ASSERT_TRUE(read);
        EXPECT_EQ(*read, some(count));
    }
}

TEST(ManagedLogins, AreWrittenAsTheDocumentSays) {
    EXPECT_EQ(encode_managed_logins({*Login::parse("backup"), *Login::parse("deploy")}),
              "# written by latchkey-agent; logins 2; crc32 c016f60a\nbackup\ndeploy\n");
}

TEST(ManagedLogins, TornAtAnyByteAreTampered) {
    const std::string whole = encode_managed_logins(some(4));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto read = parse_managed_logins(whole.substr(0, size));
        ASSERT_FALSE(read) << size;
        EXPECT_EQ(read.error().code, Code::kTampered);
    }
}

TEST(ManagedLogins, WithOneBitFlippedAreTampered) {
    const std::string whole = encode_managed_logins(some(4));
    for (std::size_t i = 0; i < whole.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string flipped = whole;
            flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
            EXPECT_FALSE(parse_managed_logins(flipped)) << i << " bit " << bit;
        }
    }
}

TEST(ManagedLogins, OfAnAgentBeforeTheChecksumAreStillRead) {
    const auto read = parse_managed_logins("# written by latchkey-agent\nbackup\ndeploy\n");
    ASSERT_TRUE(read);
    EXPECT_EQ(read->size(), 2U);
    EXPECT_TRUE(parse_managed_logins("# written by latchkey-agent\n")->empty());
    EXPECT_FALSE(parse_managed_logins("# written by latchkey-agent\nbackup\ndepl"));
    EXPECT_FALSE(parse_managed_logins("# written by hand\nbackup\n"));
    EXPECT_FALSE(parse_managed_logins("backup\n"));
    EXPECT_FALSE(parse_managed_logins(""));
}

} // namespace
} // namespace latchkey::protocol
