// SPDX-License-Identifier: Apache-2.0
// The real latchkey-signer with the real file signer.
#include "broker/signer/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "broker/signer/client.h"
#include "broker/signer/control.h"
#include "core/cert/certificate.h"
#include "core/keys/private_key.h"
#include "core/posix/file.h"

namespace latchkey::signer {
namespace {

using ::testing::HasSubstr;

class RealSigner : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "lk-signer-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder = name;
        ASSERT_TRUE(posix::write_file(folder / "ca", ca.to_openssh_pem("ca").view(), 0600));
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    SignerProcess::Options options() const {
        return {LK_SIGNER_PROGRAM,
                {"--plugin", "file-signer", "--plugin-dir", LK_PLUGIN_DIR, "--set",
                 "key=" + (folder / "ca").string()}};
    }
    Result<Bytes> sign(SignerClient& client) const {
        cert::Content content;
        content.subject = ca.public_key();
        content.serial = {7};
        content.key_id = "bob/7";
        content.principals = {"deploy"};
        content.valid_after = static_cast<std::uint64_t>(SystemClock().now().seconds()) - 60;
        content.valid_before = content.valid_after + 3600;
        return client.sign(*cert::to_be_signed(content, Bytes(32, 1), ca.public_key()));
    }

    std::filesystem::path folder;
    keys::PrivateKey ca = std::move(*keys::PrivateKey::generate(keys::KeyType::kEd25519));
};

TEST_F(RealSigner, SignsOverItsControlSocketAndEndsWithIt) {
    pid_t pid = -1;
    {
        auto process = SignerProcess::spawn(options());
        ASSERT_TRUE(process) << process.error().line();
        pid = (*process)->pid();
        SignerClient client([&](const posix::Deadline& deadline) { return (*process)->connect(deadline); });
        EXPECT_TRUE(sign(client));
        EXPECT_FALSE(client.sign(as_bytes("anything else")));
    }
    EXPECT_EQ(::kill(pid, 0), -1);
}

TEST_F(RealSigner, IsStartedAgainAfterItWasKilled) {
    auto process = SignerProcess::spawn(options());
    ASSERT_TRUE(process);
    SignerClient client([&](const posix::Deadline& deadline) { return (*process)->connect(deadline); });
    ASSERT_TRUE(sign(client));
    const pid_t first = (*process)->pid();
    ASSERT_EQ(::kill(first, SIGKILL), 0);
    siginfo_t ended;
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(first), &ended, WEXITED | WNOWAIT), 0);
    const auto signature = sign(client);
    EXPECT_TRUE(signature) << signature.error().line();
    EXPECT_NE((*process)->pid(), first);
}

TEST_F(RealSigner, DoesNotComeUpWithoutItsKey) {
    std::filesystem::remove(folder / "ca");
    const auto process = SignerProcess::spawn(options());
    ASSERT_FALSE(process);
    EXPECT_EQ(process.error().code, Code::kUnavailable);
}

TEST_F(RealSigner, DoesNotComeUpWithAKeyThatOthersMayRead) {
    std::filesystem::permissions(folder / "ca", std::filesystem::perms(0644));
    EXPECT_FALSE(SignerProcess::spawn(options()));
}

TEST_F(RealSigner, IsNotStartedFromAPathThatIsNotThere) {
    auto bad = options();
    bad.program = folder / "no-signer";
    const auto process = SignerProcess::spawn(bad);
    ASSERT_FALSE(process);
    EXPECT_THAT(process.error().message, HasSubstr("cannot start"));
}

TEST_F(RealSigner, HasNoCoreDumpsAndIsNotTraceable) {
    auto process = SignerProcess::spawn(options());
    ASSERT_TRUE(process);
    std::ifstream limits("/proc/" + std::to_string((*process)->pid()) + "/limits");
    std::string line;
    bool has_seen = false;
    while (std::getline(limits, line)) {
        if (line.rfind("Max core file size", 0) != 0) continue;
        has_seen = true;
        EXPECT_THAT(line, ::testing::ContainsRegex("Max core file size +0 +0"));
    }
    EXPECT_TRUE(has_seen || !limits.is_open());
}

// The worker under root's keeper, of which there is one child.
pid_t worker_of(pid_t keeper) {
    std::ifstream children("/proc/" + std::to_string(keeper) + "/task/" + std::to_string(keeper) +
                           "/children");
    pid_t worker = -1;
    children >> worker;
    return worker;
}

TEST_F(RealSigner, DropsRootAndItsKeeperStartsItAgain) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root starts it as another user";
    const passwd* nobody = ::getpwnam("nobody");
    ASSERT_NE(nobody, nullptr);
    ASSERT_EQ(::chown(folder.c_str(), nobody->pw_uid, nobody->pw_gid), 0);
    ASSERT_EQ(::chown((folder / "ca").c_str(), nobody->pw_uid, nobody->pw_gid), 0);
    auto as_nobody = options();
    as_nobody.arguments.insert(as_nobody.arguments.end(), {"--user", "nobody"});
    auto process = SignerProcess::spawn(as_nobody);
    if (!process) GTEST_SKIP() << "nobody cannot read the build folder: " << process.error().message;
    const pid_t keeper = (*process)->pid();
    const pid_t first = worker_of(keeper);
    ASSERT_GT(first, 0);
    std::ifstream status("/proc/" + std::to_string(first) + "/status");
    const std::string text(std::istreambuf_iterator<char>(status), {});
    const std::string uid = std::to_string(nobody->pw_uid);
    EXPECT_THAT(text, HasSubstr("Uid:\t" + uid + "\t" + uid + "\t" + uid + "\t" + uid));
    EXPECT_THAT(text, HasSubstr("NoNewPrivs:\t1"));

    SignerClient client([&](const posix::Deadline& deadline) { return (*process)->connect(deadline); },
                        {.connections = 2, .deadline = from_seconds(20)});
    ASSERT_TRUE(sign(client));
    ASSERT_EQ(::kill(first, SIGKILL), 0);
    EXPECT_TRUE(sign(client)); // waits in the control socket until the next worker takes it
    EXPECT_EQ((*process)->pid(), keeper);
    EXPECT_NE(worker_of(keeper), first);
}

TEST_F(RealSigner, ServesTheBrokersUserAtItsSocketAndNobodyElse) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can play another user";
    std::filesystem::permissions(folder, std::filesystem::perms(0755));
    const std::string path = (folder / "signer.sock").string();
    auto listening = options();
    const pid_t pid = ::fork();
    if (pid == 0) {
        std::vector<std::string> words = listening.arguments;
        words.insert(words.begin(), listening.program.string());
        words.insert(words.end(), {"--socket", path, "--broker-user", "daemon"});
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    SignerClient client(SignerClient::at_socket(path));
    const auto patience = posix::Deadline::after(from_seconds(20));
    while (!client.public_keys() && !patience.passed()) ::usleep(5'000); // until it listens
    EXPECT_TRUE(sign(client));                                           // root may

    const auto as_user = [&](const char* name) {
        const uid_t uid = ::getpwnam(name)->pw_uid;
        const pid_t child = ::fork();
        if (child == 0) {
            if (::setresuid(uid, uid, uid) != 0) ::_exit(99);
            SignerClient own(SignerClient::at_socket(path));
            ::_exit(own.public_keys() ? 0 : 1);
        }
        int status = -1;
        ::waitpid(child, &status, 0);
        return WEXITSTATUS(status);
    };
    EXPECT_EQ(as_user("daemon"), 0);
    EXPECT_EQ(as_user("nobody"), 1);
    ::kill(pid, SIGTERM);
    ::waitpid(pid, nullptr, 0);
}

TEST(Control, PassesADescriptorAndTellsWhenTheOtherSideIsGone) {
    auto pair = make_pair(SOCK_SEQPACKET);
    ASSERT_TRUE(pair);
    auto carried = make_pair(SOCK_STREAM);
    ASSERT_TRUE(carried);
    ASSERT_TRUE(send_descriptor(pair->ours.get(), carried->theirs.get()));
    const auto received = receive_descriptor(pair->theirs.get());
    ASSERT_TRUE(received);
    EXPECT_NE(received->get(), carried->theirs.get());
    pair->ours.reset();
    EXPECT_EQ(receive_descriptor(pair->theirs.get()).error().code, Code::kUnavailable);
}

} // namespace
} // namespace latchkey::signer
