// SPDX-License-Identifier: Apache-2.0
#include "agent/local/local_server.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <string>
#include <thread>

#include "agent/fixture/folder.h"
#include "core/base/unique_handle.h"
#include "core/posix/stream.h"
#include "core/protocol/codec.h"
#include "core/protocol/local.h"

namespace latchkey::agent {
namespace {

constexpr uid_t kSomebody = 65534;
constexpr int kPatience = 20'000; // ms

// The server on a thread of its own; its handler says who asked, by the answer's vm_id.
class LocalServerTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "only root can ask as somebody else";
        std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
    }
    void TearDown() override {
        if (!thread_.joinable()) return;
        io_.stop();
        thread_.join();
        server_.stop();
    }
    // As where the socket may not be given to the helper's group: anybody can knock.
    void listen(uid_t helper) {
        ASSERT_TRUE(server_.listen(socket_, {helper, 0}));
        std::filesystem::permissions(socket_, std::filesystem::perms(0666));
        thread_ = std::thread([this] { io_.run(); });
    }
    Result<protocol::Frame> ask() const {
        const auto deadline = posix::Deadline::after(from_millis(kPatience));
        LK_TRY(stream, posix::Stream::connect_unix(socket_, deadline));
        LK_CHECK(stream.send(protocol::encode(protocol::AgentStatus{}), deadline));
        return stream.receive(protocol::kLocalFrameLimit, deadline);
    }

    fixture::Folder folder_;
    const std::string socket_ = (folder_ / "agent.sock").string();
    boost::asio::io_context io_{1};
    LocalServer server_{io_, [](const Peer& peer, const protocol::Frame&, const Front::Reply& reply) {
                            protocol::AgentStatusAnswer answer;
                            answer.trouble = std::to_string(peer.uid);
                            reply(protocol::encode(answer));
                        }};
    std::thread thread_;
};

int connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return -1;
    return fd;
}

bool is_refused(int fd) {
    pollfd ready{fd, POLLIN, 0};
    char head[5] = {}; // length, type
    return fd >= 0 && ::poll(&ready, 1, kPatience) > 0 && ::read(fd, head, sizeof head) == sizeof head &&
           head[4] == static_cast<char>(protocol::Type::kRefused);
}

// Another account's process, which opens `count` connections, says nothing on any, tells how many in a row
// were refused, and holds them until it is let go.
class Somebody {
public:
    Somebody(const std::string& path, std::size_t count) {
        int report[2];
        int leash[2];
        EXPECT_EQ(::pipe(report), 0);
        EXPECT_EQ(::pipe(leash), 0);
        child_ = ::fork();
        if (child_ == 0) {
            ::close(leash[1]);
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::setgroups(0, nullptr) != 0 || ::setgid(kSomebody) != 0 || ::setuid(kSomebody) != 0)
                ::_exit(1);
            std::size_t refused = 0;
            while (refused < count && is_refused(connect_to(path))) ++refused;
            (void)!::write(report[1], &refused, sizeof refused);
            char let_go = 0;
            (void)!::read(leash[0], &let_go, 1);
            ::_exit(0);
        }
        ::close(report[1]);
        ::close(leash[0]);
        report_ = UniqueFd(report[0]);
        leash_ = UniqueFd(leash[1]);
    }
    ~Somebody() {
        leash_.reset();
        ::waitpid(child_, nullptr, 0);
    }
    Somebody(const Somebody&) = delete;
    Somebody& operator=(const Somebody&) = delete;

    std::size_t refused() const {
        std::size_t count = 0;
        pollfd ready{report_.get(), POLLIN, 0};
        EXPECT_GT(::poll(&ready, 1, 2 * kPatience), 0);
        EXPECT_EQ(::read(report_.get(), &count, sizeof count), static_cast<ssize_t>(sizeof count));
        return count;
    }

private:
    pid_t child_ = -1;
    UniqueFd report_;
    UniqueFd leash_;
};

TEST_F(LocalServerTest, SendsStrangersAwayBeforeTheyHoldAPlace) {
    listen(0);
    const Somebody stranger(socket_, kMaxConnections + 10);
    EXPECT_EQ(stranger.refused(), kMaxConnections + 10) << "each is told, though it has not said a word";
    const auto answer = ask();
    ASSERT_TRUE(answer) << answer.error().line();
    EXPECT_EQ(protocol::decode<protocol::AgentStatusAnswer>(*answer)->trouble, "0");
}

TEST_F(LocalServerTest, HearsTheHelpersUserAndTellsTheHandlerWhoItIs) {
    listen(kSomebody);
    const pid_t child = ::fork();
    if (child == 0) {
        if (::setgid(kSomebody) != 0 || ::setuid(kSomebody) != 0) ::_exit(1);
        const auto frame = ask();
        const auto answer = frame ? protocol::decode<protocol::AgentStatusAnswer>(*frame)
                                  : Result<protocol::AgentStatusAnswer>(fail(frame.error()));
        ::_exit(answer && answer->trouble == std::to_string(kSomebody) ? 0 : 2);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

} // namespace
} // namespace latchkey::agent
