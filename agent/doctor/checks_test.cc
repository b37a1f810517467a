// SPDX-License-Identifier: Apache-2.0
// Each check on a machine that is broken in its way; the same machine unbroken is the other half of each.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/doctor/doctor.h"
#include "agent/doctor/fake_machine.h"

namespace latchkey::agent::doctor {
namespace {

std::string all_of(const Findings& findings) {
    return to_text(findings, {}, true);
}

TEST(DoctorTest, FindsNothingOnAMachineInGoodOrder) {
    FakeMachine machine;
    const Findings findings = examine(machine);
    for (const Finding& finding : findings)
        EXPECT_EQ(name_of(finding.severity), "ok") << finding.id << ": " << finding.what;
    EXPECT_EQ(exit_status(findings), 0);
}

TEST(DoctorTest, SaysSomethingOfEachCheck) {
    FakeMachine machine;
    std::set<std::string_view> said;
    for (const Finding& finding : examine(machine)) said.insert(finding.id);
    for (const NamedCheck& check : checks()) EXPECT_TRUE(said.contains(check.id)) << check.id;
    EXPECT_EQ(said.size(), checks().size());
}

TEST(DoctorTest, ChangesNothingWhereItOnlyLooks) {
    FakeMachine machine;
    machine.put("/etc/ssh/sshd_config", "AuthorizedKeysCommand /usr/bin/other\n");
    static_cast<void>(examine(machine));
    EXPECT_EQ(machine.changes, 0);
    EXPECT_TRUE(machine.done.empty());
}

TEST(DoctorTest, IsTheTableOfItsPage) {
    const auto page = posix::read_file(LK_DOCTOR_MD);
    ASSERT_TRUE(page);
    std::vector<std::string> rows;
    for (const std::string& line : lines_of(as_text(*page))) {
        if (line.starts_with("| `")) rows.push_back(line);
    }
    ASSERT_EQ(rows.size(), checks().size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::string start =
            "| `" + std::string(checks()[i].id) + "` | " + std::string(checks()[i].looks_at) + " |";
        EXPECT_TRUE(rows[i].starts_with(start)) << rows[i] << "\n" << start;
    }
}

TEST(DoctorTest, SaysWithoutRootWhatItCouldNotLookAt) {
    FakeMachine machine;
    machine.root = false;
    machine.agent = fail(Code::kIo, "permission denied");
    machine.greeting = fail(Code::kRefused, "only root reads the key");
    const Findings findings = examine(machine);
    for (const char* id : {"keys-command", "sshd-config", "agent-running", "use-pam", "broker-reach"})
        EXPECT_NE(find(findings, id, Severity::kUnseen), nullptr) << id;
    EXPECT_EQ(exit_status(findings), 3) << all_of(findings);
}

TEST(DoctorTest, WritesOneDocumentOfJson) {
    FakeMachine machine;
    machine.put("/etc/pam.d/sshd", "account required pam_\xff.so\n");
    const auto document = nlohmann::json::parse(to_json(examine(machine), {{"pam-account", true, "done"}}));
    EXPECT_GT(document["problems"], 0);
    EXPECT_EQ(document["fixes"][0]["done"], true);
    for (const char* field : {"id", "severity", "what", "why", "next", "can_fix"})
        EXPECT_TRUE(document["findings"][0].contains(field)) << field;
}

std::size_t problems_in(const Findings& findings) {
    std::size_t count = 0;
    for (const Finding& finding : findings) count += finding.severity == Severity::kProblem ? 1U : 0U;
    return count;
}

struct Breakage {
    const char* name;
    const char* id;
    Severity severity;
    std::function<void(FakeMachine&)> breaks;
};

void PrintTo(const Breakage& breakage, std::ostream* out) {
    *out << breakage.name;
}

constexpr const char* kSshdConfig = "/etc/ssh/sshd_config";
constexpr const char* kEarlier = "/etc/ssh/sshd_config.d/00-earlier.conf";

const std::vector<Breakage>& breakages() {
    static const std::vector<Breakage> all = {
        {"UnknownKey", "agent-config", Severity::kProblem,
         [](FakeMachine& m) { m.put(kConfigFile, "colour = 1\n"); }},
        {"NotJoined", "joined", Severity::kProblem,
         [](FakeMachine& m) { std::filesystem::remove(m.folder.path() / "broker"); }},
        {"TornPin", "state-files", Severity::kProblem,
         [](FakeMachine& m) { std::filesystem::resize_file(m.folder.path() / "broker", 20); }},
        {"TornRevocations", "state-files", Severity::kProblem,
         [](FakeMachine& m) { std::filesystem::resize_file(m.folder.path() / "revocations", 9); }},
        {"LostList", "state-files", Severity::kProblem,
         [](FakeMachine& m) { std::filesystem::remove(m.folder.path() / "managed-logins"); }},
        {"WritableState", "state-files", Severity::kProblem,
         [](FakeMachine& m) {
             std::filesystem::permissions(m.folder.path() / "trust", std::filesystem::perms(0666));
         }},
        {"OpenIdentity", "identity", Severity::kProblem,
         [](FakeMachine& m) {
             std::filesystem::permissions(m.folder.path() / "identity", std::filesystem::perms(0644));
         }},
        {"NoAgent", "agent-running", Severity::kProblem,
         [](FakeMachine& m) { m.agent = fail(Code::kUnavailable, "nobody listens"); }},
        {"AgentInTrouble", "agent-running", Severity::kProblem,
         [](FakeMachine& m) { m.agent->trouble = "disk"; }},
        {"LeaseOver", "agent-running", Severity::kProblem, [](FakeMachine& m) { m.agent->serving = false; }},
        {"NoBroker", "agent-running", Severity::kWarning, [](FakeMachine& m) { m.agent->connected = false; }},
        {"OtherVersion", "agent-version", Severity::kWarning,
         [](FakeMachine& m) { m.agent->version = "0.0.1"; }},
        {"NoHelperUser", "helper-user", Severity::kProblem,
         [](FakeMachine& m) { m.users.erase("latchkey-akc"); }},
        {"NoName", "broker-reach", Severity::kProblem, [](FakeMachine& m) { m.names.clear(); }},
        {"NoPort", "broker-reach", Severity::kProblem,
         [](FakeMachine& m) { m.greeting = fail(Code::kUnavailable, "connection refused"); }},
        {"OtherPin", "broker-pin", Severity::kProblem,
         [](FakeMachine& m) { m.greeting = fail(Code::kUnauthenticated, "another key"); }},
        {"ClockOff", "clock", Severity::kWarning,
         [](FakeMachine& m) { m.agent->offset_magnitude = 9'000'000; }},
        {"ClockFarOff", "clock", Severity::kProblem,
         [](FakeMachine& m) { m.agent->offset_magnitude = 900'000'000; }},
        {"BadLine", "sshd-config", Severity::kProblem,
         [](FakeMachine& m) { m.put(kEarlier, "Garbage yes\n"); }},
        {"NoInclude", "sshd-include", Severity::kProblem,
         [](FakeMachine& m) { m.put(kSshdConfig, "UsePAM yes\n"); }},
        {"NoDropIn", "sshd-include", Severity::kProblem,
         [](FakeMachine& m) { m.files.erase(std::string(kDropIn)); }},
        {"NoCommand", "keys-command", Severity::kProblem,
         [](FakeMachine& m) { m.files.erase(std::string(kDropIn)); }},
        {"OptionInDefaults", "sshd-options", Severity::kProblem,
         [](FakeMachine& m) { m.put("/etc/default/ssh", "SSHD_OPTS=\"-o UsePAM=no\"\n"); }},
        {"OptionInUnit", "sshd-options", Severity::kProblem,
         [](FakeMachine& m) {
             m.unit_text += "ExecStart=\nExecStart=/usr/sbin/sshd -D -o AuthorizedKeysCommand=none\n";
         }},
        {"OptionOfTheRunningSshd", "sshd-options", Severity::kProblem,
         [](FakeMachine& m) {
             m.running[0].command =
                 "sshd: /usr/sbin/sshd -D -o AuthorizedKeysCommand /x %u -p 22 [listener] 0 of 1-2";
         }},
        {"OptionInEffect", "keys-command", Severity::kProblem,
         [](FakeMachine& m) {
             m.running[0].command =
                 "sshd: /usr/sbin/sshd -D -oAuthorizedKeysCommand=none [listener] 0 of 1-2";
         }},
        {"OtherConfig", "sshd-options", Severity::kWarning,
         [](FakeMachine& m) {
             m.put("/etc/ssh/other", "UsePAM yes\n");
             m.running[0].command = "sshd: /usr/sbin/sshd -D -f /etc/ssh/other [listener] 0 of 1-2";
         }},
        {"EarlierFile", "dropin-order", Severity::kProblem,
         [](FakeMachine& m) { m.put(kEarlier, "AuthorizedKeysCommand /usr/bin/other %u\n"); }},
        {"ForeignCommand", "keys-command", Severity::kProblem,
         [](FakeMachine& m) { m.put(kEarlier, "AuthorizedKeysCommand /usr/bin/other %u\n"); }},
        {"UnaskedCommand", "keys-command", Severity::kWarning,
         [](FakeMachine& m) { m.files[kSshdConfig].content += "AuthorizedKeysCommand /usr/bin/other\n"; }},
        {"WrongWords", "keys-command", Severity::kProblem,
         [](FakeMachine& m) {
             m.put(std::string(kDropIn), "AuthorizedKeysCommand " + std::string(kHelperPath) + " %u %i\n");
         }},
        {"OtherHash", "keys-command", Severity::kProblem,
         [](FakeMachine& m) { m.files[kSshdConfig].content += "FingerprintHash md5\n"; }},
        {"OtherUser", "keys-command-user", Severity::kProblem,
         [](FakeMachine& m) { m.put(kEarlier, "AuthorizedKeysCommandUser nobody\n"); }},
        {"ForgottenPrincipals", "principals-order", Severity::kProblem,
         [](FakeMachine& m) {
             m.put(std::string(kDropIn), "AuthorizedKeysCommand " + std::string(kHelperPath) +
                                             " %u %t %k %f\nAuthorizedKeysCommandUser latchkey-akc\n"
                                             "AuthorizedPrincipalsCommand /usr/bin/principals %u\n");
         }},
        {"MatchBlock", "match-blocks", Severity::kWarning,
         [](FakeMachine& m) { m.files[kSshdConfig].content += "Match Address 10.0.0.0/8\nUsePAM no\n"; }},
        {"WritableHelper", "helper-path", Severity::kProblem,
         [](FakeMachine& m) { m.files[std::string(kHelperPath)].mode = 0757; }},
        {"GroupWritableHelper", "helper-path", Severity::kProblem,
         [](FakeMachine& m) {
             m.files[std::string(kHelperPath)].mode = 0775;
             m.files[std::string(kHelperPath)].group = 900;
         }},
        {"ParentOfAnother", "helper-path", Severity::kProblem,
         [](FakeMachine& m) { m.files["/usr/libexec"].owner = 1000; }},
        {"NotExecutable", "helper-path", Severity::kProblem,
         [](FakeMachine& m) { m.files[std::string(kHelperPath)].mode = 0644; }},
        {"NoHelper", "helper-path", Severity::kProblem,
         [](FakeMachine& m) { m.files.erase(std::string(kHelperPath)); }},
        {"TrustedCa", "trusted-ca", Severity::kWarning,
         [](FakeMachine& m) { m.files[kSshdConfig].content += "TrustedUserCAKeys /etc/ssh/ca.pub\n"; }},
        {"EmptyRevokedKeys", "revoked-keys", Severity::kProblem,
         [](FakeMachine& m) {
             m.files[kSshdConfig].content += "RevokedKeys /etc/ssh/krl\n";
             m.put("/etc/ssh/krl", "");
         }},
        {"MissingRevokedKeys", "revoked-keys", Severity::kProblem,
         [](FakeMachine& m) { m.files[kSshdConfig].content += "RevokedKeys /etc/ssh/krl\n"; }},
        {"ManagedRoot", "managed-root", Severity::kWarning, [](FakeMachine& m) { m.users["deploy"] = 0; }},
        {"Penalties", "penalties", Severity::kWarning,
         [](FakeMachine& m) { m.files[kSshdConfig].content += "PerSourcePenalties crash:90 authfail:5\n"; }},
        {"SmallBursts", "max-startups", Severity::kWarning,
         [](FakeMachine& m) { m.put(kEarlier, "MaxStartups 10:30:100\n"); }},
        {"NoPam", "use-pam", Severity::kProblem, [](FakeMachine& m) { m.put(kEarlier, "UsePAM no\n"); }},
        {"NoModule", "pam-module", Severity::kProblem,
         [](FakeMachine& m) { m.files.erase("/usr/lib/x86_64-linux-gnu/security/pam_latchkey.so"); }},
        {"NoAccountLine", "pam-account", Severity::kProblem,
         [](FakeMachine& m) {
             m.put("/etc/pam.d/sshd", "@include common-account\n@include common-session\n");
         }},
        {"AccountPassedBy", "pam-account", Severity::kProblem,
         [](FakeMachine& m) {
             m.put("/etc/pam.d/sshd", "@include common-account\naccount required pam_latchkey.so\n");
         }},
        {"OptionalAccount", "pam-account", Severity::kProblem,
         [](FakeMachine& m) { m.put("/etc/pam.d/sshd", "account optional pam_latchkey.so\n"); }},
        {"NoSessionLine", "pam-session", Severity::kProblem,
         [](FakeMachine& m) { m.put("/etc/pam.d/sshd", "account required pam_latchkey.so\n"); }},
        {"SessionTooEarly", "pam-session", Severity::kProblem,
         [](FakeMachine& m) {
             m.put("/etc/pam.d/sshd", "session required pam_latchkey.so\n@include common-session\n");
         }},
        {"SudoPassedBy", "pam-sudo", Severity::kProblem,
         [](FakeMachine& m) {
             m.put("/etc/pam.d/sudo", "auth sufficient pam_unix.so\nauth required pam_latchkey.so\n");
         }},
        {"NoLogind", "logind", Severity::kProblem,
         [](FakeMachine& m) { m.unit_states["systemd-logind.service"] = "failed"; }},
        {"NoSystemd", "logind", Severity::kWarning,
         [](FakeMachine& m) { m.files.erase("/run/systemd/system"); }},
        {"NoPamSystemd", "logind", Severity::kProblem,
         [](FakeMachine& m) { m.put("/etc/pam.d/common-session", "session required pam_unix.so\n"); }},
        {"UnixSocket", "generated-sockets", Severity::kWarning,
         [](FakeMachine& m) {
             m.put("/run/systemd/generator/sshd-unix-local.socket", "");
             m.unit_states["sshd-unix-local.socket"] = "active";
         }},
        {"SeLinux", "confinement", Severity::kWarning,
         [](FakeMachine& m) { m.put("/sys/fs/selinux/enforce", "1"); }},
        {"AppArmor", "confinement", Severity::kWarning,
         [](FakeMachine& m) {
             m.put("/sys/kernel/security/apparmor/profiles", "/usr/sbin/sshd (enforce)\n");
         }},
    };
    return all;
}

class BrokenMachineTest : public testing::TestWithParam<Breakage> {};

TEST_P(BrokenMachineTest, IsFound) {
    FakeMachine machine;
    ASSERT_EQ(find(examine(machine), GetParam().id, GetParam().severity), nullptr);
    GetParam().breaks(machine);
    const Findings findings = examine(machine);
    const Finding* finding = find(findings, GetParam().id, GetParam().severity);
    ASSERT_NE(finding, nullptr) << all_of(findings);
    EXPECT_FALSE(finding->why.empty());
    EXPECT_FALSE(finding->next.empty());
    EXPECT_EQ(finding->what.find('\n'), std::string::npos);
    EXPECT_EQ(exit_status(findings) == 1, problems_in(findings) > 0);
}

INSTANTIATE_TEST_SUITE_P(Each, BrokenMachineTest, testing::ValuesIn(breakages()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(DoctorSshdTest, ReadsOptionsAsSshdDoes) {
    const auto options =
        parse_sshd_words({"sshd", "-D", "-p22", "-oUsePAM=no", "-f", "/x", "-4", "-o", "Port 2"});
    EXPECT_EQ(options.config, "/x");
    EXPECT_EQ(options.options, (std::vector<std::string>{"UsePAM=no", "Port 2"}));
}

TEST(DoctorSshdTest, LeavesTheConditionOfAMatchWithItsFile) {
    FakeMachine machine;
    machine.put("/etc/ssh/sshd_config.d/50-match.conf", "Match User x\nUsePAM no\n");
    const auto files = read_sshd_files(machine, std::string(kMainConfig));
    ASSERT_TRUE(files);
    ASSERT_NE(files->first("usepam"), nullptr);
    EXPECT_EQ(files->first("usepam")->file, kMainConfig);
}

TEST(DoctorPamTest, ASubstackEndsItselfOnly) {
    FakeMachine machine;
    machine.put("/etc/pam.d/sshd", "account substack inner\naccount required pam_latchkey.so\n");
    machine.put("/etc/pam.d/inner", "account sufficient pam_unix.so\n");
    EXPECT_EQ(find(examine(machine), "pam-account", Severity::kProblem), nullptr);
    machine.put("/etc/pam.d/sshd", "account include inner\naccount required pam_latchkey.so\n");
    EXPECT_NE(find(examine(machine), "pam-account", Severity::kProblem), nullptr);
}

} // namespace
} // namespace latchkey::agent::doctor
