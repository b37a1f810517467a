// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <thread>

#include "core/posix/descriptors.h"
#include "core/posix/file.h"
#include "core/posix/notify.h"
#include "core/posix/stream.h"
#include "core/protocol/local.h"

namespace latchkey::posix {
namespace {

class Files : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "lk-posix-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::filesystem::path folder_;
};

TEST_F(Files, AreReadBackAsWritten) {
    ASSERT_TRUE(write_file(folder_ / "a", as_bytes("one"), 0644));
    ASSERT_TRUE(write_file(folder_ / "a", as_bytes("two"), 0600));
    EXPECT_EQ(as_text(*read_file(folder_ / "a")), "two");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1)
        << "a temporary file stayed";
}

TEST_F(Files, MissingAndOversizedOnesHaveTheirOwnErrors) {
    EXPECT_EQ(read_file(folder_ / "none").error().code, Code::kNotFound);
    ASSERT_TRUE(write_file(folder_ / "a", as_bytes("12345"), 0644));
    EXPECT_EQ(read_file(folder_ / "a", 4).error().code, Code::kTooLarge);
    EXPECT_TRUE(read_file(folder_ / "a", 5));
}

TEST_F(Files, SecretsThatOthersMayReadAreRefused) {
    ASSERT_TRUE(write_file(folder_ / "key", as_bytes("secret"), 0600));
    EXPECT_TRUE(read_secret_file(folder_ / "key"));
    ::chmod((folder_ / "key").c_str(), 0640);
    EXPECT_EQ(read_secret_file(folder_ / "key").error().code, Code::kRefused);
}

TEST_F(Files, AFailedWriteLeavesTheOldContent) {
    ASSERT_TRUE(write_file(folder_ / "a", as_bytes("old"), 0644));
    std::filesystem::create_directory(folder_ / "d");
    std::filesystem::create_directory(folder_ / "d" / "x");
    EXPECT_FALSE(write_file(folder_ / "d", as_bytes("new"), 0644)); // a folder cannot be replaced by a file
    EXPECT_EQ(as_text(*read_file(folder_ / "a")), "old");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 2);
}

TEST_F(Files, ATellingOfTheServiceManagerGoesToTheSocketThatItNames) {
    EXPECT_TRUE(notify_ready()) << "without a manager nothing is owed";
    const std::string path = (folder_ / "notify").string();
    const UniqueFd manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(manager.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    EXPECT_TRUE(notify_ready());
    EXPECT_TRUE(notify_alive());
    std::array<char, 64> heard{};
    for (const std::string_view expected : {"READY=1", "WATCHDOG=1"}) {
        const ssize_t size = ::recv(manager.get(), heard.data(), heard.size(), MSG_DONTWAIT);
        ASSERT_GT(size, 0);
        EXPECT_EQ(std::string_view(heard.data(), static_cast<std::size_t>(size)), expected);
    }
    std::filesystem::remove(path);
    EXPECT_FALSE(notify_ready()) << "it is gone";
    ::unsetenv("NOTIFY_SOCKET");
}

struct Pair {
    Pair() {
        int fds[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        ours = std::make_unique<Stream>(UniqueFd(fds[0]));
        theirs.reset(fds[1]);
    }
    std::unique_ptr<Stream> ours;
    UniqueFd theirs;
};

TEST(StreamTest, GivesFramesOneByOneHoweverTheyArrive) {
    Pair pair;
    Bytes two = protocol::encode(protocol::Acknowledged{});
    const Bytes second = protocol::encode(protocol::AgentStatus{});
    two.insert(two.end(), second.begin(), second.end());
    std::thread writer([&] {
        for (const std::uint8_t byte : two) ASSERT_EQ(::write(pair.theirs.get(), &byte, 1), 1);
    });
    const Deadline deadline = Deadline::after(from_seconds(20));
    EXPECT_EQ(pair.ours->receive(protocol::kLocalFrameLimit, deadline)->type, protocol::Type::kAcknowledged);
    EXPECT_EQ(pair.ours->receive(protocol::kLocalFrameLimit, deadline)->type, protocol::Type::kAgentStatus);
    writer.join();
}

TEST(StreamTest, EndsAtTheDeadlineWhereNothingComes) {
    Pair pair;
    const auto got = pair.ours->receive(protocol::kLocalFrameLimit, Deadline::after(from_millis(20)));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Code::kTimedOut);
}

TEST(StreamTest, EndsAtTheDeadlineWhereNobodyReads) {
    Pair pair;
    const Bytes much(8 * 1024 * 1024);
    const auto sent = pair.ours->send(much, Deadline::after(from_millis(20)));
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().code, Code::kTimedOut);
}

TEST(StreamTest, SaysThatTheOtherSideIsGone) {
    Pair pair;
    pair.theirs.reset();
    EXPECT_EQ(pair.ours->receive(protocol::kLocalFrameLimit, Deadline::after(from_seconds(5))).error().code,
              Code::kUnavailable);
}

TEST(StreamTest, SaysThatNobodyListens) {
    const auto stream = Stream::connect_unix("/nonexistent/agent.sock", Deadline::after(from_millis(50)));
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().code, Code::kUnavailable);
}

TEST(Descriptors, AreAsManyAsTheHardLimitAllows) {
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit before = limit;
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 512);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(raise_descriptor_limit(), before.rlim_max);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

} // namespace
} // namespace latchkey::posix
