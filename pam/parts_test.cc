// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/protocol/managed_logins.h"
#include "pam/managed_logins.h"
#include "pam/options.h"
#include "pam/session_scope.h"

namespace latchkey::pam {
namespace {

Options read(std::vector<const char*> words) {
    return read_options(words);
}

TEST(OptionsTest, AreStrictByDefault) {
    const Options options = read({});
    EXPECT_EQ(options.socket, "/run/latchkey-agent/agent.sock");
    EXPECT_EQ(options.managed, "/var/lib/latchkey-agent/managed-logins");
    EXPECT_EQ(options.scope, Scope::kRequired);
    EXPECT_EQ(options.on_refusal, OnRefusal::kByService);
    EXPECT_FALSE(options.debug);
}

TEST(OptionsTest, AreReadWordByWord) {
    const Options options =
        read({"socket=/a", "managed=/b", "on_refusal=return", "scope=optional", "debug", "surprise"});
    EXPECT_EQ(options.socket, "/a");
    EXPECT_EQ(options.managed, "/b");
    EXPECT_EQ(options.scope, Scope::kOptional);
    EXPECT_EQ(options.on_refusal, OnRefusal::kReturn);
    EXPECT_TRUE(options.debug);
    EXPECT_EQ(options.unknown, std::vector<std::string>{"surprise"});
}

TEST(OptionsTest, KeepTheStrictChoiceWhereAWordIsMisspelt) {
    const Options options = read({"scope=optinal", "on_refusal=retrun", "socket=relative", "managed="});
    EXPECT_EQ(options.scope, Scope::kRequired);
    EXPECT_EQ(options.on_refusal, OnRefusal::kByService);
    EXPECT_EQ(options.socket, Options().socket);
    EXPECT_EQ(options.managed, Options().managed);
    EXPECT_EQ(options.unknown.size(), 4U);
}

TEST(OptionsTest, EndTheProcessInSshdOnly) {
    EXPECT_TRUE(ends_process(OnRefusal::kByService, "sshd"));
    EXPECT_TRUE(ends_process(OnRefusal::kByService, "sshd-lab"));
    EXPECT_FALSE(ends_process(OnRefusal::kByService, "sudo"));
    EXPECT_FALSE(ends_process(OnRefusal::kByService, nullptr));
    EXPECT_FALSE(ends_process(OnRefusal::kReturn, "sshd"));
    EXPECT_TRUE(ends_process(OnRefusal::kExit, "sudo"));
}

TEST(SessionScopeTest, IsFoundInEitherCgroupVersion) {
    EXPECT_TRUE(sits_in_scope("0::/user.slice/user-1000.slice/session-12.scope\n", "12"));
    EXPECT_TRUE(
        sits_in_scope("5:cpu:/\n1:name=systemd:/user.slice/user-0.slice/session-c3.scope\n0::/\n", "c3"));
}

TEST(SessionScopeTest, IsNotTakenForAnothersOrNone) {
    EXPECT_FALSE(sits_in_scope("0::/user.slice/user-1000.slice/session-12.scope\n", "2"));
    EXPECT_FALSE(sits_in_scope("0::/user.slice/user-1000.slice/session-12.scope\n", "1"));
    EXPECT_FALSE(sits_in_scope("0::/system.slice/ssh.service\n", "12"));
    EXPECT_FALSE(sits_in_scope("0::/user.slice/user-1000.slice/session-12.scope/below\n", "12"));
    EXPECT_FALSE(sits_in_scope("", "12"));
}

class Folder : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "lk-pam-parts-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path folder_;
};

TEST_F(Folder, WithSeatsOrSystemdAsksForAScope) {
    EXPECT_FALSE(logind_is_due(folder_ / "none"));
    EXPECT_FALSE(logind_is_due(folder_));
    std::filesystem::create_directory(folder_ / "system");
    EXPECT_TRUE(logind_is_due(folder_));
    std::filesystem::remove(folder_ / "system");
    std::filesystem::create_directory(folder_ / "seats");
    EXPECT_TRUE(logind_is_due(folder_));
}

TEST_F(Folder, ShowsWhetherTheScopeIsOurs) {
    const std::string file = folder_ / "cgroup";
    std::ofstream(file) << "0::/user.slice/user-1000.slice/session-12.scope\n";
    EXPECT_TRUE(check_own_scope("12", file));
    EXPECT_EQ(check_own_scope("13", file).error().code, Code::kRefused);
    EXPECT_EQ(check_own_scope("", file).error().code, Code::kRefused);
    EXPECT_FALSE(check_own_scope("12", folder_ / "none"));
}

TEST_F(Folder, WithAnEmptyListManagesNobody) {
    std::ofstream(folder_ / "managed-logins") << protocol::encode_managed_logins({});
    EXPECT_EQ(look_up(folder_ / "managed-logins", *Login::parse("alice")).standing, Standing::kUnmanaged);
}

TEST_F(Folder, WithAListThatIsTornAtAnyByteManagesEverybody) {
    const std::string whole = protocol::encode_managed_logins({*Login::parse("bob"), *Login::parse("carol")});
    for (std::size_t size = 0; size < whole.size(); ++size) {
        std::ofstream(folder_ / "managed-logins") << whole.substr(0, size);
        EXPECT_EQ(look_up(folder_ / "managed-logins", *Login::parse("alice")).standing, Standing::kUnknown)
            << size;
    }
    std::ofstream(folder_ / "managed-logins") << whole;
    EXPECT_EQ(look_up(folder_ / "managed-logins", *Login::parse("alice")).standing, Standing::kUnmanaged);
    EXPECT_EQ(look_up(folder_ / "managed-logins", *Login::parse("carol")).standing, Standing::kManaged);
}

TEST_F(Folder, WithAListOfAnOlderAgentGoesByItAsBefore) {
    std::ofstream(folder_ / "managed-logins") << "# written by latchkey-agent\nbob\n";
    EXPECT_EQ(look_up(folder_ / "managed-logins", *Login::parse("alice")).standing, Standing::kUnmanaged);
    EXPECT_EQ(look_up(folder_ / "managed-logins", *Login::parse("bob")).standing, Standing::kManaged);
}

TEST_F(Folder, WithoutAListSaysWhy) {
    const Finding finding = look_up(folder_ / "managed-logins", *Login::parse("alice"));
    EXPECT_EQ(finding.standing, Standing::kUnknown);
    EXPECT_NE(finding.why.find("managed-logins"), std::string::npos);
}

} // namespace
} // namespace latchkey::pam
