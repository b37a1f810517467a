// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/config.h"

#include <gtest/gtest.h>

namespace latchkey::daemon {
namespace {

Result<Config> parse(std::string_view text) {
    return parse_config(text, "/etc/latchkey/latchkeyd.toml");
}

std::string fault(std::string_view text) {
    const auto config = parse(text);
    EXPECT_FALSE(config);
    if (config) return "";
    EXPECT_EQ(config.error().code, Code::kConfig);
    return config.error().message;
}

TEST(BrokerConfig, TakesAnEmptyFileWithDefaults) {
    const auto config = parse("");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->door.login_grace_seconds, 60U);
    EXPECT_EQ(config->store.settings.at("path"), "/var/lib/latchkey/ledger.db");
    EXPECT_EQ(config->signer.settings.at("key"), "/var/lib/latchkey-signer/ca_ed25519");
    EXPECT_TRUE(config->factors.contains("totp"));
}

TEST(BrokerConfig, ReadsBackWhatInitWrites) {
    Config written;
    written.file = "/tmp/x.toml";
    written.broker.state_dir = "/srv/lk";
    written.door.listen = {"127.0.0.1:2222", "[::1]:2222"};
    written.hub.listen = written.hub.address = "127.0.0.1:7443";
    const auto config = parse(config_text(written));
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->door.listen, written.door.listen);
    EXPECT_EQ(config->broker.state_dir, "/srv/lk");
    EXPECT_EQ(config->factors.size(), 2U);
}

TEST(BrokerConfig, GivesAPluginItsOwnSettings) {
    const auto config = parse("[store]\nplugin = \"postgres\"\nhost = \"db\"\nport = 5432\n");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->store.settings, (PluginSettings{{"host", "db"}, {"port", "5432"}}));
}

TEST(BrokerConfig, ReadsWhereOtherBrokersAre) {
    const auto config = parse("[hub]\nbrokers = [\"b1.example.org:7443\", \"[2001:db8::1]:7443\"]\n");
    ASSERT_TRUE(config);
    ASSERT_EQ(config->hub.brokers.size(), 2U);
    EXPECT_EQ(config->hub.brokers[1].text(), "[2001:db8::1]:7443");
    EXPECT_NE(fault("[hub]\nbrokers = [\"b1\"]\n").find("line 2: hub.brokers holds what is no host:port"),
              std::string::npos);
    EXPECT_NE(fault("[hub]\nbrokers = \"b1:7443\"\n").find("wants a list"), std::string::npos);
}

TEST(BrokerConfig, NamesLineAndKeyOfAnUnknownKey) {
    EXPECT_EQ(fault("[door]\n\nlistn = [\"x\"]\n"),
              "/etc/latchkey/latchkeyd.toml line 3: door.listn is not a key that we know");
}

TEST(BrokerConfig, NamesLineAndKeyOfAWrongType) {
    EXPECT_NE(fault("[door]\nlogin_grace_seconds = \"60\"\n")
                  .find("line 2: door.login_grace_seconds wants a number"),
              std::string::npos);
}

TEST(BrokerConfig, RefusesNumbersOutOfRange) {
    EXPECT_NE(fault("[limits]\nmin_rsa_bits = 1024\n").find("limits.min_rsa_bits wants a number from 2048"),
              std::string::npos);
    EXPECT_TRUE(parse("[limits]\nmin_rsa_bits = 2048\n"));
}

TEST(BrokerConfig, RefusesUnknownSectionsAndBrokenSyntax) {
    EXPECT_NE(fault("[dor]\n").find("line 1: dor is not a section"), std::string::npos);
    EXPECT_NE(fault("[door]\nlisten = \n").find("line 2"), std::string::npos);
}

TEST(BrokerConfig, RefusesARelativePath) {
    EXPECT_NE(fault("[broker]\nstate_dir = \"lk\"\n").find("wants an absolute path"), std::string::npos);
}

TEST(BrokerConfig, TellsFiguresToThisMachineAlone) {
    for (const char* listen : {"127.0.0.1:9464", "127.9.9.9:1", "[::1]:9464", ""}) {
        EXPECT_TRUE(parse("[metrics]\nlisten = \"" + std::string(listen) + "\"\n")) << listen;
    }
    for (const char* listen : {"0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464", "localhost:9464"}) {
        const std::string text = "[metrics]\nlisten = \"" + std::string(listen) + "\"\n";
        EXPECT_NE(fault(text).find("line 2: metrics.listen wants a loopback address"), std::string::npos);
        EXPECT_TRUE(parse(text + "allow_remote = true\n")) << listen;
    }
}

TEST(BrokerConfig, SaysThatThereIsNoFile) {
    const auto config = read_config("/nonexistent/latchkeyd.toml");
    ASSERT_FALSE(config);
    EXPECT_NE(config.error().next.find("latchkeyd init"), std::string::npos);
}

} // namespace
} // namespace latchkey::daemon
