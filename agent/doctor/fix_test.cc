// SPDX-License-Identifier: Apache-2.0
// --fix on broken machines: what it mends, what it leaves alone, and what a kill in the middle leaves.
#include "agent/doctor/fix.h"

#include <gtest/gtest.h>

#include "agent/doctor/fake_machine.h"

namespace latchkey::agent::doctor {
namespace {

constexpr const char* kSshdConfig = "/etc/ssh/sshd_config";
constexpr const char* kEarlier = "/etc/ssh/sshd_config.d/00-earlier.conf";
constexpr const char* kPam = "/etc/pam.d/sshd";

std::string told(const std::vector<Deed>& deeds) {
    std::string text;
    for (const Deed& deed : deeds)
        text += std::string(deed.is_done ? "done " : "not done ") + deed.what + "\n";
    return text;
}

std::string in_effect(FakeMachine& machine, const std::string& keyword, const std::string& login = "deploy") {
    const auto settings = ask_sshd(machine, find_sshd(machine), login);
    return settings ? settings->first(keyword) : settings.error().message;
}

bool is_well(FakeMachine& machine, std::string_view id) {
    return find(examine(machine), id, Severity::kProblem) == nullptr &&
           find(examine(machine), id, Severity::kWarning) == nullptr;
}

const std::string kOwn = std::string(kHelperPath) + " %u %t %k %f";

void expect_nothing_more(FakeMachine& machine) {
    const int before = machine.changes;
    machine.done.clear();
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_TRUE(deeds.empty()) << told(deeds);
    EXPECT_EQ(machine.changes, before);
    EXPECT_TRUE(machine.done.empty());
}

TEST(DoctorFixTest, ChangesNothingOnAMachineInGoodOrder) {
    FakeMachine machine;
    expect_nothing_more(machine);
}

TEST(DoctorFixTest, ChainsAnotherCommandAndKeepsItsUser) {
    FakeMachine machine;
    machine.put(kEarlier, "AuthorizedKeysCommand /usr/bin/other --for %u\nAuthorizedKeysCommandUser nobody\n",
                0600);
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommand"), kOwn + " --then /usr/bin/other --for %u")
        << told(deeds);
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommanduser"), "nobody");
    EXPECT_NE(machine.text(kConfigFile).find("helper_user = \"nobody\""), std::string::npos);
    EXPECT_EQ(machine.done,
              (std::vector<std::string>{"restart latchkey-agent.service", "reload ssh.service"}));
    // The old one is kept, with the mode that it had.
    const FakeFile& old = machine.files.at(std::string(kEarlier) + ".latchkey-old");
    EXPECT_EQ(old.content,
              "AuthorizedKeysCommand /usr/bin/other --for %u\nAuthorizedKeysCommandUser nobody\n");
    EXPECT_EQ(old.mode, 0600U);
    for (const char* id : {"keys-command", "keys-command-user", "dropin-order"})
        EXPECT_TRUE(is_well(machine, id)) << id;
    expect_nothing_more(machine);
}

TEST(DoctorFixTest, GivesACommandWithoutWordsTheLogin) {
    FakeMachine machine;
    machine.files[kSshdConfig].content =
        "AuthorizedKeysCommand /usr/bin/other\nAuthorizedKeysCommandUser root\n" + machine.text(kSshdConfig);
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommand"), kOwn + " --then /usr/bin/other %u") << told(deeds);
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommanduser"), "root");
    expect_nothing_more(machine);
}

TEST(DoctorFixTest, ChainsACommandThatOursPutOutOfUse) {
    FakeMachine machine;
    machine.files[kSshdConfig].content +=
        "AuthorizedKeysCommand /usr/bin/other\nAuthorizedKeysCommandUser nobody\n";
    static_cast<void>(fix(machine, kConfigFile));
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommand"), kOwn + " --then /usr/bin/other %u");
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommanduser"), "nobody");
    expect_nothing_more(machine);
}

TEST(DoctorFixTest, LinksTheDropInOfThePackage) {
    FakeMachine machine;
    const std::string text = machine.text(std::string(kDropIn));
    machine.files.erase(std::string(kDropIn));
    machine.put(std::string(kDropInSource), text);
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_EQ(machine.files.at(std::string(kDropIn)).target, kDropInSource) << told(deeds);
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommand"), kOwn);
    EXPECT_EQ(machine.text(std::string(kDropInSource)), text);
    expect_nothing_more(machine);
}

TEST(DoctorFixTest, IncludesOursAndNothingElse) {
    FakeMachine machine;
    machine.put(kSshdConfig, "UsePAM yes\nMaxStartups 100:30:200\n");
    machine.put("/etc/ssh/sshd_config.d/50-other.conf", "PasswordAuthentication no\n");
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_TRUE(machine.text(kSshdConfig).starts_with("Include " + std::string(kDropIn) + "\n"))
        << told(deeds);
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommand"), kOwn);
    EXPECT_EQ(in_effect(machine, "passwordauthentication"), "yes");
    expect_nothing_more(machine);
}

TEST(DoctorFixTest, PutsPrincipalsAboveKeys) {
    FakeMachine machine;
    machine.put(std::string(kDropIn), "AuthorizedKeysCommand " + kOwn +
                                          "\nAuthorizedKeysCommandUser latchkey-akc\n"
                                          "AuthorizedPrincipalsCommand /usr/bin/principals %u\n"
                                          "AuthorizedPrincipalsCommandUser nobody\n");
    ASSERT_EQ(in_effect(machine, "authorizedprincipalscommand"), "none");
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_EQ(in_effect(machine, "authorizedprincipalscommand"), "/usr/bin/principals %u") << told(deeds);
    EXPECT_EQ(in_effect(machine, "authorizedkeyscommand"), kOwn);
    expect_nothing_more(machine);
}

TEST(DoctorFixTest, LeavesAloneWhatWouldChangeOtherLogins) {
    FakeMachine machine;
    machine.put(kSshdConfig, "UsePAM yes\n");
    machine.files[std::string(kDropIn)].content +=
        "PasswordAuthentication no\n"; // would come into effect for all
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_NE(
        told(deeds).find("not done sshd's files stay as they were: passwordauthentication would change"),
        std::string::npos)
        << told(deeds);
    EXPECT_EQ(machine.text(kSshdConfig), "UsePAM yes\n");
    EXPECT_TRUE(machine.done.empty());
}

TEST(DoctorFixTest, DoesNotBuildOnAConfigurationThatSshdRefuses) {
    FakeMachine machine;
    machine.put(kEarlier, "Garbage yes\nAuthorizedKeysCommand /usr/bin/other\n");
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_EQ(machine.changes, 0) << told(deeds);
}

TEST(DoctorFixTest, LeavesAnOptionOnTheCommandLineAlone) {
    FakeMachine machine;
    machine.running[0].command = "sshd: /usr/sbin/sshd -D -oAuthorizedKeysCommand=/x [listener] 0 of 1-2";
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_NE(told(deeds).find("not done"), std::string::npos);
    EXPECT_EQ(machine.changes, 0);
}

TEST(DoctorFixTest, TakesBackWhatSshdRefusesOnceItIsInstalled) {
    FakeMachine machine;
    machine.put(kEarlier, "AuthorizedKeysCommand /usr/bin/other\nAuthorizedKeysCommandUser latchkey-akc\n");
    const std::string drop_in = machine.text(std::string(kDropIn));
    machine.sshd_refuses_installed = true;
    const auto deeds = fix(machine, kConfigFile);
    EXPECT_NE(told(deeds).find("not done"), std::string::npos);
    EXPECT_EQ(machine.text(kEarlier),
              "AuthorizedKeysCommand /usr/bin/other\nAuthorizedKeysCommandUser latchkey-akc\n");
    EXPECT_EQ(machine.text(std::string(kDropIn)), drop_in);
    EXPECT_TRUE(machine.done.empty()) << "reloaded";
}

TEST(DoctorFixTest, PutsOurLinesIntoPam) {
    for (const std::string broken :
         {"@include common-auth\naccount required pam_nologin.so\n@include common-account\n@include "
          "common-session\n",
          "@include common-account\naccount required pam_latchkey.so\nsession required pam_latchkey.so "
          "scope=optional\n@include common-session\n",
          "account optional pam_latchkey.so\n@include common-session\nsession required pam_latchkey.so\n"}) {
        FakeMachine machine;
        machine.put(kPam, broken);
        const auto deeds = fix(machine, kConfigFile);
        EXPECT_TRUE(is_well(machine, "pam-account")) << told(deeds) << machine.text(kPam);
        EXPECT_TRUE(is_well(machine, "pam-session")) << told(deeds) << machine.text(kPam);
        EXPECT_EQ(machine.text(std::string(kPam) + ".latchkey-old"), broken);
        if (broken.find("scope=") != std::string::npos) {
            EXPECT_NE(machine.text(kPam).find("pam_latchkey.so scope=optional"), std::string::npos);
        }
        expect_nothing_more(machine);
    }
}

TEST(DoctorFixTest, WritesNoPamLineThatWouldDenyEverybody) {
    const std::string broken = "@include common-account\n@include common-session\n";
    FakeMachine without_module;
    without_module.put(kPam, broken);
    without_module.files.erase("/usr/lib/x86_64-linux-gnu/security/pam_latchkey.so");
    EXPECT_NE(told(fix(without_module, kConfigFile)).find("not done"), std::string::npos);
    EXPECT_EQ(without_module.text(kPam), broken);

    FakeMachine without_list;
    without_list.put(kPam, broken);
    without_list.agent = fail(Code::kUnavailable, "nobody listens");
    std::filesystem::remove(without_list.folder.path() / "managed-logins");
    EXPECT_NE(told(fix(without_list, kConfigFile)).find("not done"), std::string::npos);
    EXPECT_EQ(without_list.text(kPam), broken);
}

TEST(DoctorFixTest, ClosesModes) {
    FakeMachine machine;
    std::filesystem::permissions(machine.folder.path() / "identity", std::filesystem::perms(0644));
    std::filesystem::permissions(machine.folder.path() / "trust", std::filesystem::perms(0666));
    machine.files[std::string(kHelperPath)].mode = 0777;
    machine.files["/usr/libexec/latchkey"].owner = 1000;
    machine.files["/usr/lib/x86_64-linux-gnu/security/pam_latchkey.so"].mode = 0666;
    static_cast<void>(fix(machine, kConfigFile));
    for (const char* id : {"identity", "state-files", "helper-path", "pam-module"})
        EXPECT_TRUE(is_well(machine, id)) << id;
    EXPECT_EQ(machine.files[std::string(kHelperPath)].mode, 0755U);
    expect_nothing_more(machine);
}

TEST(DoctorFixTest, LeavesFoldersOfTheSystemAlone) {
    FakeMachine machine;
    machine.files["/usr/libexec"].mode = 0777;
    expect_nothing_more(machine);
    EXPECT_FALSE(is_well(machine, "helper-path"));
}

TEST(DoctorFixTest, MendsNothingWithoutRoot) {
    FakeMachine machine;
    machine.root = false;
    EXPECT_EQ(told(fix(machine, kConfigFile)), "not done nothing was mended: run it as root\n");
    EXPECT_EQ(machine.changes, 0);
}

// At each moment of its work: every file is whole, sshd takes the configuration, other logins are as they
// were, and the next run ends where one that was not killed does.
TEST(DoctorFixTest, SurvivesAKillAtEachMoment) {
    const auto broken = [](FakeMachine& machine) {
        machine.put(kEarlier, "AuthorizedKeysCommand /usr/bin/other %u\nAuthorizedKeysCommandUser nobody\n");
        machine.put(kPam, "@include common-account\n@include common-session\n");
        machine.files[std::string(kHelperPath)].mode = 0777;
    };
    FakeMachine whole;
    broken(whole);
    static_cast<void>(fix(whole, kConfigFile));
    const int changes = whole.changes;
    ASSERT_GT(changes, 8);
    for (int at = 0; at < changes; ++at) {
        FakeMachine machine;
        broken(machine);
        const std::string passwords = in_effect(machine, "passwordauthentication", "rescue");
        machine.changes_until_killed = at;
        EXPECT_THROW(static_cast<void>(fix(machine, kConfigFile)), KilledHere);
        machine.changes_until_killed = -1;
        EXPECT_TRUE(test_sshd(machine, find_sshd(machine))) << at;
        EXPECT_EQ(in_effect(machine, "passwordauthentication", "rescue"), passwords) << at;
        EXPECT_NE(in_effect(machine, "authorizedkeyscommand").find("/usr/bin/other"), std::string::npos)
            << at;
        const auto before = machine.done;
        static_cast<void>(fix(machine, kConfigFile));
        for (const char* path : {kEarlier, kPam, kDropIn.data()})
            EXPECT_EQ(machine.text(path), whole.text(path)) << at;
        const std::string all = testing::PrintToString(machine.done);
        EXPECT_NE(all.find("restart latchkey-agent.service"), std::string::npos) << at;
        EXPECT_NE(all.find("reload ssh.service"), std::string::npos) << at;
        expect_nothing_more(machine);
    }
}

} // namespace
} // namespace latchkey::agent::doctor
