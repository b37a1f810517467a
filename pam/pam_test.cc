// SPDX-License-Identifier: Apache-2.0
// The built module, loaded by libpam into a program of its own (pam_probe), with a fake agent on a real
// socket.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>
#include <security/pam_modules.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <memory>

#include "core/protocol/break_glass.h"
#include "core/protocol/local.h"
#include "core/protocol/managed_logins.h"
#include "pam/fake_agent.h"

namespace latchkey::pam {
namespace {

struct Outcome {
    int status = -1;
    std::string out;
};

class Module : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "lk-pam-test-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    void answer(Bytes reply) {
        agent_ = std::make_unique<FakeAgent>([reply](const protocol::Frame&) { return reply; });
    }
    void stay_silent() {
        agent_ = std::make_unique<FakeAgent>([](const protocol::Frame&) { return std::nullopt; });
    }
    void answer_session(protocol::Verdict verdict) {
        agent_ = std::make_unique<FakeAgent>([verdict](const protocol::Frame& frame) -> std::optional<Bytes> {
            if (frame.type == protocol::Type::kSessionClose)
                return protocol::encode(protocol::Acknowledged{});
            return protocol::encode(protocol::SessionAnswer{verdict, "because", {}});
        });
    }
    void write_managed(const std::string& text, mode_t mode = 0644) {
        std::filesystem::create_directory(folder_ / "state");
        std::ofstream(managed()) << text;
        ::chmod(managed().c_str(), mode);
    }
    void manage(const std::vector<const char*>& logins, mode_t mode = 0644) {
        std::vector<Login> parsed;
        for (const char* login : logins) parsed.push_back(*Login::parse(login));
        write_managed(protocol::encode_managed_logins(parsed), mode);
    }
    std::string managed() const { return (folder_ / "state" / "managed-logins").string(); }

    // The stack turns our PAM_IGNORE into a code that nothing else returns, and passes every other code on.
    Outcome run(const std::string& words, const std::string& service = "lab", const std::string& more = "",
                const std::string& login = "alice") {
        const std::string socket = agent_ ? agent_->socket() : "/nonexistent/agent.sock";
        const std::string line = std::string(" [ignore=1 default=done] ") + LATCHKEY_PAM_MODULE +
                                 " scope=optional socket=" + socket + " managed=" + managed() + " " + more +
                                 "\n";
        std::ofstream file(folder_ / service);
        for (const std::string facility : {"auth", "account", "session"}) {
            file << facility << line << facility << " requisite pam_deny.so\n"
                 << facility
                 << " requisite pam_debug.so auth=authtok_expired cred=authtok_expired"
                    " acct=authtok_expired open_session=authtok_expired"
                    " close_session=authtok_expired\n";
        }
        file.close();
        const std::string command = std::string(LATCHKEY_PAM_PROBE) + " " + folder_.string() + " " + service +
                                    " '" + login + "' " + words;
        FILE* pipe = ::popen(command.c_str(), "re");
        Outcome outcome;
        std::array<char, 256> chunk;
        while (std::fgets(chunk.data(), chunk.size(), pipe) != nullptr) outcome.out += chunk.data();
        const int status = ::pclose(pipe);
        if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
        return outcome;
    }
    std::string account(const std::string& login = "alice") {
        const Outcome outcome = run("rhost=192.0.2.7 acct_mgmt", "lab", "", login);
        EXPECT_EQ(outcome.status, 0);
        return outcome.out;
    }

    std::filesystem::path folder_;
    std::unique_ptr<FakeAgent> agent_;
};

Bytes account_answer(protocol::Verdict verdict) {
    return protocol::encode(protocol::AccountAnswer{verdict, "because", {}});
}

TEST_F(Module, AllowsAnAccountThatTheAgentAllows) {
    answer(account_answer(protocol::Verdict::kAllow));
    EXPECT_EQ(account(), "success\n");
    ASSERT_EQ(agent_->requests().size(), 1U);
    const auto asked = protocol::decode<protocol::AccountCheck>(agent_->requests()[0]);
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->login.str(), "alice");
    EXPECT_EQ(asked->service, "lab");
    EXPECT_EQ(asked->remote_host, "192.0.2.7");
}

TEST_F(Module, DeniesAnAccountThatTheAgentDenies) {
    answer(account_answer(protocol::Verdict::kDeny));
    EXPECT_EQ(account(), "perm_denied\n");
}

TEST_F(Module, PassesOverAnAccountThatIsNotManaged) {
    answer(account_answer(protocol::Verdict::kUnmanaged));
    EXPECT_EQ(account(), "ignore\n");
}

TEST_F(Module, PassesOverANameThatCannotBeManagedWithoutAsking) {
    answer(account_answer(protocol::Verdict::kDeny));
    EXPECT_EQ(account("EXAMPLE\\alice"), "ignore\n");
    EXPECT_TRUE(agent_->requests().empty());
}

TEST_F(Module, DeniesAManagedLoginWithoutAnAgent) {
    manage({"bob", "alice"});
    EXPECT_EQ(account(), "perm_denied\n");
}

TEST_F(Module, PassesOverAnUnmanagedLoginWithoutAnAgent) {
    manage({"bob", "alice2"});
    EXPECT_EQ(account(), "ignore\n");
}

TEST_F(Module, PassesOverEverybodyWhereTheMachineNeverJoined) {
    EXPECT_EQ(account(), "ignore\n");
}

TEST_F(Module, DeniesWithoutAnAgentWhereTheListIsMissing) {
    std::filesystem::create_directory(folder_ / "state");
    EXPECT_EQ(account(), "perm_denied\n");
}

TEST_F(Module, DeniesWithoutAnAgentWhereTheListIsNoFile) {
    std::filesystem::create_directories(managed());
    EXPECT_EQ(account(), "perm_denied\n");
}

TEST_F(Module, DeniesWithoutAnAgentWhereTheListIsDamaged) {
    write_managed("bob\n\x01\x02/../\n");
    EXPECT_EQ(account(), "perm_denied\n");
}

TEST_F(Module, DeniesWithoutAnAgentWhereOthersMayWriteTheList) {
    manage({"bob"}, 0664);
    EXPECT_EQ(account(), "perm_denied\n");
    manage({"bob"});
    EXPECT_EQ(account(), "ignore\n");
}

TEST_F(Module, LetsBreakGlassAccountsPassWhateverTheAgentSaysAndWritesEachSessionDown) {
    manage({"alice", "rescue"});
    std::ofstream(folder_ / "state" / "break-glass")
        << protocol::encode_managed_logins({*Login::parse("rescue")});
    answer(account_answer(protocol::Verdict::kDeny));
    EXPECT_EQ(account("rescue"), "ignore\n");
    EXPECT_TRUE(agent_->requests().empty());
    agent_.reset();
    EXPECT_EQ(run("rhost=192.0.2.7 open_session close_session", "sshd", "", "rescue").out,
              "ignore\nignore\n");
    EXPECT_EQ(run("rhost=192.0.2.8 open_session", "sshd", "", "rescue").out, "ignore\n");
    EXPECT_EQ(run("rhost=192.0.2.9 open_session", "sshd", "", "alice").status, 255) << "the others stay out";
    std::ifstream spool(folder_ / "state" / "break-glass-uses");
    const std::string text((std::istreambuf_iterator<char>(spool)), {});
    const auto read = protocol::parse_uses(text);
    ASSERT_EQ(read.uses.size(), 2U) << text;
    EXPECT_EQ(read.uses[0].login.str(), "rescue");
    EXPECT_EQ(read.uses[0].service, "sshd");
    EXPECT_EQ(read.uses[1].from, "192.0.2.8");
    struct stat facts {};
    ASSERT_EQ(::stat((folder_ / "state" / "break-glass-uses").c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 07777, 0600U);
}

TEST_F(Module, TakesNobodyForABreakGlassAccountByAListThatIsTornOrForeign) {
    manage({"rescue"});
    const std::string whole = protocol::encode_managed_logins({*Login::parse("rescue")});
    std::ofstream(folder_ / "state" / "break-glass") << whole.substr(0, whole.size() - 1);
    EXPECT_EQ(account("rescue"), "perm_denied\n");
    std::ofstream(folder_ / "state" / "break-glass") << whole;
    ::chmod((folder_ / "state" / "break-glass").c_str(), 0666);
    EXPECT_EQ(account("rescue"), "perm_denied\n");
    ::chmod((folder_ / "state" / "break-glass").c_str(), 0644);
    EXPECT_EQ(account("rescue"), "ignore\n");
}

TEST_F(Module, LetsABreakGlassAccountInWhereItsUseCannotBeWritten) {
    manage({"alice"});
    std::ofstream(folder_ / "state" / "break-glass")
        << protocol::encode_managed_logins({*Login::parse("rescue")});
    std::filesystem::create_directory(folder_ / "state" / "break-glass-uses");
    EXPECT_EQ(run("open_session", "sshd", "", "rescue").out, "ignore\n");
}

TEST_F(Module, GoesByTheListAfterTwoSecondsOfSilence) {
    stay_silent();
    manage({"alice"});
    const Micros start = SystemClock().monotonic();
    EXPECT_EQ(account(), "perm_denied\n");
    EXPECT_GE(SystemClock().monotonic() - start, from_millis(1990));
    EXPECT_LT(SystemClock().monotonic() - start, from_seconds(20));
    EXPECT_EQ(account("carol"), "ignore\n");
}

TEST_F(Module, GoesByTheListWhereTheAgentTalksNonsense) {
    manage({"alice"});
    answer(protocol::encode(protocol::SessionAnswer{protocol::Verdict::kAllow, {}, {}}));
    EXPECT_EQ(account(), "perm_denied\n");
    answer(protocol::encode(protocol::Refused{"internal", "out of order", "", {}}));
    EXPECT_EQ(account(), "perm_denied\n");
    Bytes no_verdict = account_answer(protocol::Verdict::kAllow);
    no_verdict[5] = 0;
    answer(no_verdict);
    EXPECT_EQ(account(), "perm_denied\n");
    EXPECT_EQ(account("carol"), "ignore\n");
}

TEST_F(Module, BindsASessionToItsCredentialAndLetsItGo) {
    answer_session(protocol::Verdict::kAllow);
    const Outcome outcome =
        run("rhost=192.0.2.7 'SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA' XDG_SESSION_ID=c7 open_session "
            "close_session");
    EXPECT_EQ(outcome.out, "success\nsuccess\n");
    const auto requests = agent_->requests();
    ASSERT_EQ(requests.size(), 2U);
    const auto opened = protocol::decode<protocol::SessionOpen>(requests[0]);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->login.str(), "alice");
    EXPECT_EQ(opened->service, "lab");
    EXPECT_EQ(opened->remote_host, "192.0.2.7");
    EXPECT_EQ(opened->auth_info, "publickey ssh-ed25519 AAAA");
    EXPECT_EQ(opened->xdg_session, "c7");
    const auto closed = protocol::decode<protocol::SessionClose>(requests[1]);
    ASSERT_TRUE(closed);
    EXPECT_EQ(closed->login.str(), "alice");
}

TEST_F(Module, PassesOverASessionThatIsNotManagedAndClosesNothing) {
    answer_session(protocol::Verdict::kUnmanaged);
    EXPECT_EQ(run("open_session close_session", "sshd-lab").out, "ignore\nignore\n");
    EXPECT_EQ(agent_->requests().size(), 1U);
}

TEST_F(Module, ClosesASessionEvenWhereTheAgentHasGone) {
    agent_ = std::make_unique<FakeAgent>([](const protocol::Frame& frame) -> std::optional<Bytes> {
        if (frame.type == protocol::Type::kSessionClose) return Bytes{};
        return protocol::encode(protocol::SessionAnswer{protocol::Verdict::kAllow, {}, {}});
    });
    EXPECT_EQ(run("open_session close_session").out, "success\nsuccess\n");
}

TEST_F(Module, EndsAnSshdWhoseSessionIsRefused) {
    answer_session(protocol::Verdict::kDeny);
    for (const char* service : {"sshd", "sshd-lab"}) {
        const Outcome outcome = run("open_session close_session", service);
        EXPECT_EQ(outcome.status, 255);
        EXPECT_EQ(outcome.out, "");
    }
}

TEST_F(Module, ReturnsARefusalToOtherServices) {
    answer_session(protocol::Verdict::kDeny);
    const Outcome outcome = run("open_session");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "perm_denied\n");
}

TEST_F(Module, RefusesASessionAsItsOptionSays) {
    answer_session(protocol::Verdict::kDeny);
    EXPECT_EQ(run("open_session", "sshd", "on_refusal=return").out, "perm_denied\n");
    EXPECT_EQ(run("open_session", "lab", "on_refusal=exit").status, 255);
    EXPECT_EQ(run("open_session", "sshd", "on_refusal=retrun").status, 255) << "a slip must not weaken it";
}

TEST_F(Module, RefusesTheSessionOfAManagedLoginWithoutAnAgent) {
    manage({"alice"});
    EXPECT_EQ(run("open_session", "sshd").status, 255);
    EXPECT_EQ(run("open_session", "sshd", "", "carol").out, "ignore\n");
}

protocol::StepUpAnswer step_up_answer(protocol::StepUpVerdict verdict, const std::string& reason = {}) {
    protocol::StepUpAnswer answer;
    answer.verdict = verdict;
    answer.reason = reason;
    if (verdict == protocol::StepUpVerdict::kAsk) answer.prompt = "Latchkey code for bob on web-1: ";
    return answer;
}

class Sudo : public Module {
protected:
    // The first answer to the question whether a code is due, the second to the code.
    void answer_sudo(protocol::StepUpAnswer first, protocol::StepUpAnswer second = {}) {
        agent_ = std::make_unique<FakeAgent>([first, second](const protocol::Frame& frame) {
            return protocol::encode(frame.type == protocol::Type::kStepUp ? first : second);
        });
    }
    std::string sudo(const std::string& words, const std::string& login = "alice") {
        return run(words, "sudo", "", login).out;
    }
};

using protocol::StepUpVerdict;

TEST_F(Sudo, AsksForACodeInThePromptAndTakesTheRightOne) {
    answer_sudo(step_up_answer(StepUpVerdict::kAsk), step_up_answer(StepUpVerdict::kAllow));
    EXPECT_EQ(sudo("code=123456 authenticate setcred"),
              "asks <Latchkey code for bob on web-1: >\nsuccess\nsuccess\n");
    ASSERT_EQ(agent_->requests().size(), 2U);
    const auto asked = protocol::decode<protocol::StepUp>(agent_->requests()[0]);
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->login.str(), "alice");
    EXPECT_EQ(asked->service, "sudo");
    const auto judged = protocol::decode<protocol::StepUpCode>(agent_->requests()[1]);
    ASSERT_TRUE(judged);
    EXPECT_EQ(as_text(judged->code.view()), "123456");
}

TEST_F(Sudo, RefusesAWrongCodeAndSaysWhy) {
    answer_sudo(step_up_answer(StepUpVerdict::kAsk),
                step_up_answer(StepUpVerdict::kAsk, "this code has been used; wait for the next one"));
    EXPECT_EQ(sudo("code=123456 authenticate"),
              "asks <Latchkey code for bob on web-1: >\n"
              "says <Latchkey: this code has been used; wait for the next one>\nauth_err\n");
}

TEST_F(Sudo, GivesUpWhereAnotherTryChangesNothing) {
    answer_sudo(step_up_answer(StepUpVerdict::kDeny, "policy allows no sudo"));
    EXPECT_EQ(sudo("code=123456 authenticate"),
              "says <Latchkey: policy allows no sudo>\ncred_insufficient\n");
    answer_sudo(step_up_answer(StepUpVerdict::kAsk), step_up_answer(StepUpVerdict::kDeny, "locked"));
    EXPECT_NE(sudo("code=123456 authenticate").find("says <Latchkey: locked>\ncred_insufficient\n"),
              std::string::npos);
}

TEST_F(Sudo, AsksNothingInItsGraceNorWhereLatchkeyHasNoSay) {
    answer_sudo(step_up_answer(StepUpVerdict::kAllow));
    EXPECT_EQ(sudo("authenticate setcred"), "success\nsuccess\n");
    answer_sudo(step_up_answer(StepUpVerdict::kUnmanaged));
    EXPECT_EQ(sudo("authenticate setcred"), "ignore\nignore\n");
}

TEST_F(Sudo, FailsAtOnceWhereNobodyCanBeAsked) {
    answer_sudo(step_up_answer(StepUpVerdict::kAsk), step_up_answer(StepUpVerdict::kAllow));
    EXPECT_EQ(sudo("authenticate"),
              "asks <Latchkey code for bob on web-1: >\n"
              "says <Latchkey: a code is needed, and sudo may not or cannot ask for it here>\n"
              "cred_insufficient\n");
    EXPECT_EQ(agent_->requests().size(), 1U);
}

TEST_F(Sudo, JudgesNoEmptyCode) {
    answer_sudo(step_up_answer(StepUpVerdict::kAsk), step_up_answer(StepUpVerdict::kAllow));
    EXPECT_NE(sudo("code= authenticate").find("says <Latchkey: no code was given>\nauth_err\n"),
              std::string::npos);
    EXPECT_EQ(agent_->requests().size(), 1U);
}

TEST_F(Sudo, WithoutAnAgentIsDeniedToManagedLoginsAlone) {
    manage({"alice"});
    EXPECT_NE(sudo("code=123456 authenticate").find("does not answer"), std::string::npos);
    EXPECT_NE(sudo("code=123456 authenticate").find("\ncred_insufficient\n"), std::string::npos);
    EXPECT_EQ(sudo("code=123456 authenticate", "carol"), "ignore\n");
}

TEST_F(Sudo, OfABreakGlassAccountIsNeverGated) {
    manage({"alice"});
    std::ofstream(folder_ / "state" / "break-glass")
        << protocol::encode_managed_logins({*Login::parse("rescue")});
    answer_sudo(step_up_answer(StepUpVerdict::kDeny));
    EXPECT_EQ(sudo("authenticate acct_mgmt", "rescue"), "ignore\nignore\n");
    EXPECT_TRUE(agent_->requests().empty());
    EXPECT_NE(sudo("authenticate").find("cred_insufficient"), std::string::npos);
}

TEST_F(Sudo, AsksInNoOtherServiceForAnotherAccountsPassword) {
    answer_sudo(step_up_answer(StepUpVerdict::kAsk), step_up_answer(StepUpVerdict::kAllow));
    for (const char* service : {"su", "sshd", "lab"}) {
        EXPECT_EQ(run("code=123456 authenticate setcred", service).out, "ignore\nignore\n") << service;
    }
    EXPECT_TRUE(agent_->requests().empty());
}

TEST_F(Sudo, SaysWhyItsAccountPhaseIsRefused) {
    answer(account_answer(protocol::Verdict::kDeny));
    EXPECT_EQ(sudo("acct_mgmt"), "says <Latchkey: because>\nperm_denied\n");
    EXPECT_EQ(run("acct_mgmt", "sshd").out, "perm_denied\n") << "a stranger is told nothing";
}

TEST_F(Sudo, IsNotGatedWhereRootCallsIt) {
    answer(account_answer(protocol::Verdict::kDeny));
    EXPECT_EQ(sudo("ruser=root acct_mgmt"), "ignore\n");
    EXPECT_TRUE(agent_->requests().empty());
    EXPECT_EQ(sudo("ruser=daemon acct_mgmt"), "says <Latchkey: because>\nperm_denied\n");
    EXPECT_EQ(run("ruser=root acct_mgmt", "sshd").out, "perm_denied\n");
}

TEST_F(Sudo, WaitsForTheJudgementLongerThanForOtherAnswers) {
    manage({"alice"});
    agent_ = std::make_unique<FakeAgent>([](const protocol::Frame& frame) -> std::optional<Bytes> {
        if (frame.type == protocol::Type::kStepUp)
            return protocol::encode(step_up_answer(StepUpVerdict::kAsk));
        return std::nullopt;
    });
    const Micros start = SystemClock().monotonic();
    EXPECT_NE(sudo("code=123456 authenticate").find("\ncred_insufficient\n"), std::string::npos);
    EXPECT_GE(SystemClock().monotonic() - start, from_millis(5900));
    EXPECT_LT(SystemClock().monotonic() - start, from_seconds(30));
}

TEST(ModuleFile, HasNothingToSayInTheOtherFacilities) {
    void* module = ::dlopen(LATCHKEY_PAM_MODULE, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(module, nullptr) << ::dlerror();
    using Entry = int (*)(pam_handle_t*, int, int, const char**);
    for (const char* name : {"pam_sm_authenticate", "pam_sm_setcred", "pam_sm_chauthtok"}) {
        const auto entry = reinterpret_cast<Entry>(::dlsym(module, name));
        ASSERT_NE(entry, nullptr) << name;
        EXPECT_EQ(entry(nullptr, 0, 0, nullptr), PAM_IGNORE) << name;
    }
    ::dlclose(module);
}

TEST(ModuleFile, NeedsLibpamAndLibcOnlyAndShowsNothingOfItsInside) {
    void* module = ::dlopen(LATCHKEY_PAM_MODULE, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(module, nullptr) << ::dlerror();
    link_map* map = nullptr;
    ASSERT_EQ(::dlinfo(module, RTLD_DI_LINKMAP, static_cast<void*>(&map)), 0);
    const char* names = nullptr;
    for (const auto* entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
        if (entry->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(entry->d_un.d_ptr);
    }
    for (const auto* entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
        if (entry->d_tag != DT_NEEDED) continue;
        const std::string needed = names + entry->d_un.d_val;
        EXPECT_TRUE(needed == "libpam.so.0" || needed == "libc.so.6" || needed.starts_with("ld-linux"))
            << needed;
    }
    EXPECT_EQ(::dlsym(module, "__cxa_throw"), nullptr);
    EXPECT_NE(::dlsym(module, "pam_sm_open_session"), nullptr);
    ::dlclose(module);
}

} // namespace
} // namespace latchkey::pam
