// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/descriptors.h"

#include <gtest/gtest.h>

#include <vector>

namespace latchkey::daemon {
namespace {

TEST(Descriptors, SufficeForTheConfiguredAgentsWhereTheLimitIsTheUnits) {
    std::vector<std::string> warnings;
    const auto warn = [&](const std::string& line) { warnings.push_back(line); };
    EXPECT_EQ(room_for_agents(65536, Config(), warn), Config().hub.max_agents);
    EXPECT_TRUE(warnings.empty());
}

TEST(Descriptors, AreLeftToLoginsWhereTheLimitIsLowAndTheLogSaysWhatToDo) {
    std::vector<std::string> warnings;
    const auto warn = [&](const std::string& line) { warnings.push_back(line); };
    const std::size_t agents = room_for_agents(4096, Config(), warn);
    EXPECT_LT(agents, 4096U - Config().door.max_logins);
    EXPECT_GT(agents, 1U);
    ASSERT_EQ(warnings.size(), 1U);
    EXPECT_NE(warnings[0].find("limit=4096"), std::string::npos) << warnings[0];
    EXPECT_NE(warnings[0].find("LimitNOFILE"), std::string::npos) << warnings[0];
    EXPECT_EQ(room_for_agents(100, Config(), warn), 1U) << "never none";
}

} // namespace
} // namespace latchkey::daemon
