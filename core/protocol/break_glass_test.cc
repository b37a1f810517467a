// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/break_glass.h"

#include <gtest/gtest.h>

namespace latchkey::protocol {
namespace {

TEST(BreakGlassSpool, GivesBackWhatWasWritten) {
    const BreakGlassUse remote{{1'700'000'000'000'000}, *Login::parse("rescue"), "sshd", "192.0.2.9"};
    const BreakGlassUse local{{1'700'000'000'000'001}, *Login::parse("rescue"), "login", ""};
    EXPECT_EQ(encode_use(remote), "1700000000000000 rescue sshd 192.0.2.9 end\n");
    const auto read = parse_uses(encode_use(remote) + encode_use(local));
    EXPECT_EQ(read.unreadable, 0U);
    EXPECT_EQ(read.uses, (std::vector{remote, local}));
}

TEST(BreakGlassSpool, IsNotSplitByWhatAStrangerCallsHimself) {
    const BreakGlassUse odd{{5}, *Login::parse("rescue"), "a b", "x\n6 root sshd y end"};
    const auto read = parse_uses(encode_use(odd));
    ASSERT_EQ(read.uses.size(), 1U);
    EXPECT_EQ(read.uses[0].service, "a?b");
}

TEST(BreakGlassSpool, CountsATornLineAndReadsTheOthers) {
    const BreakGlassUse use{{7}, *Login::parse("rescue"), "sshd", "192.0.2.9"};
    const std::string line = encode_use(use);
    for (std::size_t size = 1; size + 1 < line.size(); ++size) {
        const auto read = parse_uses(line.substr(0, size) + "\n" + line);
        EXPECT_EQ(read.unreadable, 1U) << size;
        ASSERT_EQ(read.uses.size(), 1U) << size;
        EXPECT_EQ(read.uses[0], use);
    }
}

} // namespace
} // namespace latchkey::protocol
