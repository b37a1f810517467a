// SPDX-License-Identifier: Apache-2.0
#include "cli/profile.h"

#include <gtest/gtest.h>

#include "cli/ssh_command.h"

namespace latchkey::cli {
namespace {

TEST(Target, NamesUserHostAndPort) {
    const auto profile = parse_target("bob@broker.example.org:2022", {});
    ASSERT_TRUE(profile);
    EXPECT_EQ(profile->user, "bob");
    EXPECT_EQ(profile->host, "broker.example.org");
    EXPECT_EQ(profile->port, "2022");
}

TEST(Target, KeepsWhatIsKnownWhereNothingIsSaid) {
    Profile known;
    known.host = "broker";
    known.user = "bob";
    const auto profile = parse_target("", known);
    ASSERT_TRUE(profile);
    EXPECT_EQ(profile->host, "broker");
    EXPECT_EQ(profile->port, "2222");
}

TEST(Target, TakesIpv6WithAndWithoutAPort) {
    EXPECT_EQ(parse_target("[::1]:22", {})->host, "::1");
    EXPECT_EQ(parse_target("[::1]:22", {})->port, "22");
    EXPECT_EQ(parse_target("2001:db8::1", {})->host, "2001:db8::1");
}

TEST(Target, RefusesWhatSshWouldTakeForAnOption) {
    for (const char* bad : {"", "-oProxyCommand=x", "bob@", "bob@host:port", "b ob@host", "Bob;x@host"}) {
        EXPECT_FALSE(parse_target(bad, {})) << bad;
    }
}

TEST(Quoting, LeavesPlainWordsAndHoldsTheRest) {
    EXPECT_EQ(quote("vm"), "vm");
    EXPECT_EQ(quote("a b"), "'a b'");
    EXPECT_EQ(quote("it's; rm"), "'it'\\''s; rm'");
    EXPECT_EQ(quote(""), "''");
}

TEST(ProfileFile, IsReadBackAsWritten) {
    std::string folder = "/tmp/lk-profile-XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    const std::filesystem::path file = folder + "/latchkey/profile";
    Profile profile;
    profile.host = "broker";
    profile.user = "bob";
    profile.identity = "/home/bob/.ssh/my key";
    ASSERT_TRUE(write_profile(file, profile));
    const auto back = read_profile(file);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->identity, profile.identity);
    EXPECT_EQ(back->certificate_file(), "/home/bob/.ssh/my key-cert.pub");
    std::filesystem::remove_all(folder);
}

TEST(ProfileFile, ThatIsMissingSaysWhatToRun) {
    const auto missing = read_profile("/nonexistent/profile");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Code::kNotFound);
    EXPECT_NE(missing.error().next.find("latchkey login"), std::string::npos);
}

} // namespace
} // namespace latchkey::cli
