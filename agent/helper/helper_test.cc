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

#include "agent/helper/fake_agent.h"
#include "core/posix/file.h"
#include "core/protocol/local.h"

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
