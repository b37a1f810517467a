// SPDX-License-Identifier: Apache-2.0
// Runs the built program as sshd does, against a fake agent on a real Unix socket.
#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "agent/helper/fake_agent.h"
#include "core/posix/file.h"
#include "core/protocol/local.h"
#include "core/protocol/managed_logins.h"

namespace latchkey::agent {
namespace {

constexpr const char* kFingerprint = "SHA256:Ds2vMh82eTGCWjuFiFlBqoQGzsJ9I4V2edBxiPnGchE";
constexpr const char* kBlob = "AAAAC3NzaC1lZDI1NTE5";

struct Outcome {
    int status = -1;
    std::string out;
    std::string err;
};

std::string drain(int fd) {
    std::string all;
    std::array<char, 4096> chunk;
    for (ssize_t got = 0; (got = ::read(fd, chunk.data(), chunk.size())) > 0;)
        all.append(chunk.data(), static_cast<std::size_t>(got));
    return all;
}

Outcome run_helper(std::vector<std::string> words) {
    words.insert(words.begin(), LATCHKEY_HELPER);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::array<char*, 1> environment{nullptr};
    int out[2];
    int err[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    ::posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    pid_t pid = 0;
    EXPECT_EQ(::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environment.data()), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    ::close(err[1]);
    Outcome outcome;
    outcome.out = drain(out[0]);
    outcome.err = drain(err[0]);
    ::close(out[0]);
    ::close(err[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
    return outcome;
}

Outcome ask(const std::string& socket, const std::string& login = "alice") {
    return run_helper({"--socket", socket, login, "ssh-ed25519", kBlob, kFingerprint});
}

Outcome ask_agent_that_answers(std::optional<Bytes> answer) {
    FakeAgent agent([&](const protocol::Frame&) { return answer; });
    return ask(agent.socket());
}

void expect_refusal(const Outcome& outcome, const std::string& words) {
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find(words), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

TEST(HelperTest, PrintsTheLinesOfTheAgent) {
    protocol::Authorized answer;
    answer.lines = {"restrict,pty ssh-ed25519 AAAA", "cert-authority ssh-ed25519 BBBB"};
    FakeAgent agent([&](const protocol::Frame&) { return protocol::encode(answer); });
    const Outcome outcome = ask(agent.socket());
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "restrict,pty ssh-ed25519 AAAA\ncert-authority ssh-ed25519 BBBB\n");
    EXPECT_EQ(outcome.err, "");

    const auto requests = agent.requests();
    ASSERT_EQ(requests.size(), 1U);
    const auto asked = protocol::decode<protocol::Authorize>(requests[0]);
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->login.str(), "alice");
    EXPECT_EQ(asked->key_type, "ssh-ed25519");
    EXPECT_EQ(asked->key_blob, *from_base64(kBlob));
    EXPECT_EQ(asked->fingerprint.str(), kFingerprint);
}

TEST(HelperTest, PrintsNothingWhereTheAgentDenies) {
    const Outcome outcome = ask_agent_that_answers(protocol::encode(protocol::Authorized{}));
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err, "");
}

TEST(HelperTest, DoesNotAskForALoginThatCannotBeManaged) {
    FakeAgent agent([&](const protocol::Frame&) { return std::nullopt; });
    const Outcome outcome = ask(agent.socket(), "EXAMPLE\\alice");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(agent.requests().empty());
}

TEST(HelperTest, RefusesWithoutAnAgent) {
    expect_refusal(ask("/nonexistent/agent.sock"), "cannot connect to /nonexistent/agent.sock");
}

TEST(HelperTest, RefusesAfterTwoSecondsOfSilence) {
    const Micros start = SystemClock().monotonic();
    expect_refusal(ask_agent_that_answers(std::nullopt), "before the deadline");
    const Micros took = SystemClock().monotonic() - start;
    EXPECT_GE(took, from_millis(1990));
    EXPECT_LT(took, from_seconds(20));
}

TEST(HelperTest, RefusesWhereTheAgentClosesInTheMiddle) {
    protocol::Authorized answer;
    answer.lines = {"restrict,pty ssh-ed25519 AAAA"};
    Bytes half = protocol::encode(answer);
    half.resize(half.size() / 2);
    expect_refusal(ask_agent_that_answers(half), "closed the connection");
}

TEST(HelperTest, RefusesAnAnswerOfAnotherType) {
    expect_refusal(ask_agent_that_answers(protocol::encode(protocol::AccountAnswer{})), "message of type 13");
}

TEST(HelperTest, RefusesAnOversizedAnswer) {
    protocol::Authorized answer;
    answer.lines = {std::string(protocol::kLocalFrameLimit, 'a')};
    expect_refusal(ask_agent_that_answers(protocol::encode(answer)), "over the limit");
}

TEST(HelperTest, RefusesALineThatWouldBecomeTwo) {
    protocol::Authorized answer;
    answer.lines = {"restrict ssh-ed25519 AAAA\nssh-ed25519 BBBB"};
    expect_refusal(ask_agent_that_answers(protocol::encode(answer)), "control character");
}

TEST(HelperTest, SaysWhyTheAgentRefused) {
    expect_refusal(ask_agent_that_answers(protocol::encode(protocol::Refused{
                       "unauthenticated", "asker is not a child of sshd", "run it from sshd", {}})),
                   "the agent refused: asker is not a child of sshd; run it from sshd");
}

TEST(HelperTest, RefusesWrongArguments) {
    expect_refusal(run_helper({}), "usage: latchkey-authorized-keys");
    expect_refusal(run_helper({"alice", "ssh-ed25519", kBlob}), "usage: latchkey-authorized-keys");
    expect_refusal(run_helper({"alice", "ssh-ed25519", kBlob, kFingerprint, "more"}),
                   "AuthorizedKeysCommand PATH %u %t %k %f");
    expect_refusal(run_helper({"alice", "ssh-ed25519", "not base64!", kFingerprint}), "base64");
    expect_refusal(run_helper({"alice", "ssh-ed25519", kBlob, "MD5:00:11"}), "FingerprintHash sha256");
}

// --- Another command behind it
// ---------------------------------------------------------------------------------

constexpr const char* kOther = "/usr/bin/echo";

Outcome ask_then(const std::string& socket, std::vector<std::string> then, const std::string& login = "alice",
                 const std::string& list = "/nonexistent-folder/managed-logins") {
    std::vector<std::string> words = {"--socket",    socket, "--managed",  list,    login,
                                      "ssh-ed25519", kBlob,  kFingerprint, "--then"};
    words.insert(words.end(), then.begin(), then.end());
    return run_helper(std::move(words));
}

protocol::Authorized nothing_for_an_unmanaged_login() {
    protocol::Authorized answer;
    protocol::mark_unmanaged(answer);
    return answer;
}

// A list as the agent keeps it, in a folder of its own.
class List {
public:
    explicit List(std::string_view content) {
        std::string name = (std::filesystem::temp_directory_path() / "lk-list-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
        EXPECT_TRUE(posix::write_file(path(), as_bytes(content), 0644));
    }
    ~List() { std::filesystem::remove_all(folder_); }
    List(const List&) = delete;
    List& operator=(const List&) = delete;
    std::string path() const { return (folder_ / "managed-logins").string(); }

private:
    std::filesystem::path folder_;
};

std::string list_of(const std::vector<std::string>& names) {
    std::vector<Login> logins;
    for (const std::string& name : names) logins.push_back(*Login::parse(name));
    return protocol::encode_managed_logins(logins);
}

TEST(HelperChainTest, AsksTheOtherForALoginThatIsNotManaged) {
    FakeAgent agent(
        [](const protocol::Frame&) { return protocol::encode(nothing_for_an_unmanaged_login()); });
    const Outcome outcome = ask_then(agent.socket(), {kOther, "ssh-ed25519 AAAA", "two words"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "ssh-ed25519 AAAA two words\n");
}

TEST(HelperChainTest, NeverAsksTheOtherForAManagedLogin) {
    FakeAgent agent([](const protocol::Frame&) { return protocol::encode(protocol::Authorized{}); });
    const Outcome outcome = ask_then(agent.socket(), {kOther, "ssh-ed25519 AAAA"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out, "");
}

TEST(HelperChainTest, NeverAsksTheOtherWhereLatchkeyAllows) {
    protocol::Authorized answer = nothing_for_an_unmanaged_login();
    answer.lines = {"restrict ssh-ed25519 BBBB"};
    FakeAgent agent([&](const protocol::Frame&) { return protocol::encode(answer); });
    EXPECT_EQ(ask_then(agent.socket(), {kOther, "AAAA"}).out, "restrict ssh-ed25519 BBBB\n");
}

TEST(HelperChainTest, NeverAsksTheOtherWhereTheAgentRefusesTheAsker) {
    FakeAgent agent([](const protocol::Frame&) {
        return protocol::encode(protocol::Refused{"unauthenticated", "not a child of sshd", "", {}});
    });
    const List list(list_of({"deploy"}));
    const Outcome outcome = ask_then(agent.socket(), {kOther, "AAAA"}, "alice", list.path());
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(outcome.out, "");
}

TEST(HelperChainTest, PassesOnTheExitStatusOfTheOther) {
    FakeAgent agent(
        [](const protocol::Frame&) { return protocol::encode(nothing_for_an_unmanaged_login()); });
    EXPECT_EQ(ask_then(agent.socket(), {"/usr/bin/false"}).status, 1);
}

TEST(HelperChainTest, AsksTheOtherForANameThatIsNoneOfOurs) {
    EXPECT_EQ(ask_then("/nonexistent/agent.sock", {kOther, "AAAA"}, "EXAMPLE\\alice").out, "AAAA\n");
}

TEST(HelperChainTest, WithoutAnAgentAsksTheOtherByTheList) {
    if (::geteuid() != 0) GTEST_SKIP() << "the list must be root's";
    const List list(list_of({"deploy"}));
    EXPECT_EQ(ask_then("/nonexistent/agent.sock", {kOther, "AAAA"}, "alice", list.path()).out, "AAAA\n");
    expect_refusal(ask_then("/nonexistent/agent.sock", {kOther, "AAAA"}, "deploy", list.path()),
                   "cannot connect");
}

TEST(HelperChainTest, WithoutAnAgentAndWithADamagedListAsksNobody) {
    const std::string whole = list_of({"deploy", "web"});
    for (const std::string& content : {std::string(), whole.substr(0, whole.size() - 2),
                                       whole.substr(0, whole.size() - 4), whole + "no login, this\n"}) {
        const List list(content);
        expect_refusal(ask_then("/nonexistent/agent.sock", {kOther, "AAAA"}, "alice", list.path()),
                       "cannot connect");
    }
    const List list(list_of({}));
    std::filesystem::remove(list.path()); // beside its folder: lost
    expect_refusal(ask_then("/nonexistent/agent.sock", {kOther, "AAAA"}, "alice", list.path()),
                   "cannot connect");
}

TEST(HelperChainTest, DoesNotRunWhatOthersMayChange) {
    FakeAgent agent(
        [](const protocol::Frame&) { return protocol::encode(nothing_for_an_unmanaged_login()); });
    const List folder("");
    const std::string program = std::filesystem::path(folder.path()).replace_filename("other").string();
    std::filesystem::copy_file(kOther, program);
    expect_refusal(ask_then(agent.socket(), {program, "AAAA"}), "may be changed by others than root");
    expect_refusal(ask_then(agent.socket(), {"echo", "AAAA"}), "no program to ask then: echo");
    expect_refusal(ask_then(agent.socket(), {"/nonexistent/other"}), "no program to ask then");
}

TEST(HelperChainTest, RefusesThenWithoutACommand) {
    expect_refusal(run_helper({"alice", "ssh-ed25519", kBlob, kFingerprint, "--then"}), "usage:");
}

TEST(HelperTest, IsLinkedStatically) {
    const auto program = posix::read_file(LATCHKEY_HELPER);
    ASSERT_TRUE(program);
    Elf64_Ehdr head;
    ASSERT_GE(program->size(), sizeof head);
    std::memcpy(&head, program->data(), sizeof head);
    for (std::size_t i = 0; i < head.e_phnum; ++i) {
        Elf64_Phdr part;
        std::memcpy(&part, program->data() + head.e_phoff + i * head.e_phentsize, sizeof part);
        EXPECT_NE(part.p_type, static_cast<Elf64_Word>(PT_INTERP)) << "it names a dynamic loader";
    }
}

} // namespace
} // namespace latchkey::agent
