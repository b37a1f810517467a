// SPDX-License-Identifier: Apache-2.0
#include "agent/config/agent_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fixture/folder.h"

namespace latchkey::agent {
namespace {

using ::testing::HasSubstr;

TEST(Config, ReadsEveryKey) {
    const auto config = parse_config(R"(
state_dir = "/tmp/state"
socket = "/tmp/agent.sock"
helper_user = "asker"
managed_logins = ["deploy", "backup"]
local_logins = ["build"]
break_glass = ["rescue", "root"]
brokers = ["b1.example.org:7443", "[2001:db8::1]:7443"]
logind = "off"
dbus = "off"
log_level = "debug"
join_token_file = "/etc/latchkey/token"
)",
                                     "agent.toml");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->state_dir, "/tmp/state");
    EXPECT_EQ(config->socket, "/tmp/agent.sock");
    EXPECT_EQ(config->helper_user, "asker");
    ASSERT_EQ(config->managed_logins.size(), 2U);
    EXPECT_EQ(config->local_logins.at(0).str(), "build");
    ASSERT_EQ(config->break_glass.size(), 2U);
    EXPECT_EQ(config->break_glass[1].str(), "root");
    ASSERT_EQ(config->brokers.size(), 2U);
    EXPECT_EQ(config->brokers[1].text(), "[2001:db8::1]:7443");
    EXPECT_EQ(config->logind, LogindUse::kOff);
    EXPECT_EQ(config->dbus, BusUse::kOff);
    EXPECT_EQ(config->log_level, LogLevel::kDebug);
    EXPECT_EQ(config->join_token_file, "/etc/latchkey/token");
}

TEST(Config, MeansDefaultsWhereItIsEmptyOrTheDefaultFileIsMissing) {
    EXPECT_EQ(parse_config("", "x")->state_dir, "/var/lib/latchkey-agent");
    const fixture::Folder folder;
    EXPECT_EQ(load_config(folder / "none.toml", MissingFile::kMeansDefaults)->helper_user, "latchkey-akc");
    const auto missing = load_config(folder / "none.toml", MissingFile::kIsAnError);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Code::kConfig);
}

TEST(Config, NamesLineAndKeyOfWhatIsWrong) {
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"socket = \"/x\"\nsokcet = \"/y\"", "agent.toml line 2: sokcet is not a key of this file"},
        {"\n\nlogind = \"on\"", "line 3: logind is"},
        {"dbus = true", "line 1: dbus wants"},
        {"dbus = \"on\"", "line 1: dbus is"},
        {"log_level = 3", "line 1: log_level wants a text"},
        {"log_level = \"loud\"", "line 1: log_level is"},
        {"state_dir = \"relative\"", "line 1: state_dir wants an absolute path"},
        {"managed_logins = \"deploy\"", "line 1: managed_logins wants a list"},
        {"managed_logins = [\n\"deploy\",\n\"no such/name\"]", "line 3: managed_logins holds"},
        {"local_logins = [7]", "line 1: local_logins wants a text"},
        {"brokers = \"b1:7443\"", "line 1: brokers wants a list"},
        {"brokers = [\n\"b1\"]", "line 2: brokers holds what is no address"},
        {"brokers = [7443]", "line 1: brokers wants a text"},
        {"[agent]\nsocket = \"/x\"", "line 1: agent is not a key"},
        {"socket = ", "agent.toml line 1: "},
    };
    for (const auto& [text, message] : cases) {
        const auto config = parse_config(text, "agent.toml");
        ASSERT_FALSE(config) << text;
        EXPECT_EQ(config.error().code, Code::kConfig);
        EXPECT_THAT(config.error().message, HasSubstr(message));
        EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
    }
}

} // namespace
} // namespace latchkey::agent
