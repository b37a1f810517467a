// SPDX-License-Identifier: Apache-2.0
#include "core/base/names.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace latchkey {
namespace {

TEST(UserName, TakesWhatAPersonIsCalled) {
    for (const char* text :
         {"bob", "b", "0x", "bob.smith", "bob-smith_2", "abcdefghijklmnopqrstuvwxyz012345"})
        EXPECT_TRUE(UserName::parse(text)) << text;
}

TEST(UserName, RefusesWhatCouldBeMistakenForSomethingElse) {
    for (const char* text : {"", "Bob", ".bob", "-bob", "bob smith", "bob/1", "bob\n", "b\xc3\xb6z",
                             "abcdefghijklmnopqrstuvwxyz0123456"})
        EXPECT_EQ(UserName::parse(text).error().code, Code::kMalformed) << text;
    EXPECT_FALSE(UserName::parse(std::string_view("bo\0b", 4)));
}

TEST(Login, TakesUnixAccounts) {
    for (const char* text : {"root", "_apt", "www-data", "Bob", "svc.deploy", "user@realm"})
        EXPECT_TRUE(Login::parse(text)) << text;
}

TEST(Login, RefusesWhatWouldBreakAnAuthorizedKeysLine) {
    for (const char* text :
         {"", "-oops", "a b", "a,b", "a\"b", "a:b", "a/b", "a\\b", "a\nb", "%u", "a*", "r\x7f", "\xc3\xb6"})
        EXPECT_FALSE(Login::parse(text)) << text;
    EXPECT_FALSE(Login::parse(std::string(33, 'a')));
}

TEST(VmName, TakesHostNamesAndRefusesOthers) {
    EXPECT_TRUE(VmName::parse("web-7.example.org"));
    EXPECT_TRUE(VmName::parse(std::string(64, 'a')));
    for (const char* text : {"", "Web", "-web", "web_7", "web 7"}) EXPECT_FALSE(VmName::parse(text)) << text;
    EXPECT_FALSE(VmName::parse(std::string(65, 'a')));
}

TEST(GroupName, FollowsTheRuleOfUserNames) {
    EXPECT_TRUE(GroupName::parse("dev"));
    EXPECT_FALSE(GroupName::parse("Dev"));
}

TEST(Fingerprint, TakesWhatSshKeygenPrintsAndNothingElse) {
    const std::string good = "SHA256:" + std::string(43, 'A');
    EXPECT_EQ(Fingerprint::parse(good)->str(), good);
    for (const std::string& text :
         {std::string(), "SHA256:" + std::string(42, 'A'), good + "=", "MD5:" + good.substr(7),
          "sha256:" + good.substr(7), "SHA256:" + std::string(43, '-')})
        EXPECT_FALSE(Fingerprint::parse(text)) << text;
}

TEST(Names, OfDifferentKindsDoNotMix) {
    static_assert(!std::is_convertible_v<UserName, Login>);
    static_assert(!std::is_convertible_v<Serial, Epoch>);
    static_assert(!std::is_convertible_v<std::string, UserName>);
}

} // namespace
} // namespace latchkey
