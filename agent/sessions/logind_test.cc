// SPDX-License-Identifier: Apache-2.0
// The adapter of logind.cc on a bus of the test's own, with a logind there that the test speaks for.
#include "agent/sessions/logind.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "agent/bus/private_bus_for_test.h"
#include "agent/bus/sdbus.h"

namespace latchkey::agent {
namespace {

constexpr const char* kPath = "/org/freedesktop/login1";
constexpr const char* kFirstPath = "/org/freedesktop/login1/session/_31";
constexpr const char* kSecondPath = "/org/freedesktop/login1/session/_32";
constexpr pid_t kLeader = 4242;

posix::Deadline soon() {
    return posix::Deadline::after(from_seconds(20));
}

// Lists two sessions. The first is led by kLeader, and its properties can be kept back; the second has gone.
class SmallLogind {
public:
    SmallLogind()
        : bus_(sdbus::createSystemBusConnection()),
          manager_(bus::make_object(*bus_, kPath)),
          first_(bus::make_object(*bus_, kFirstPath)) {
        using Row = sdbus::Struct<std::string, std::uint32_t, std::string, std::string, sdbus::ObjectPath>;
        bus::InterfaceOf manager(*manager_, "org.freedesktop.login1.Manager");
        manager.method("ListSessions", {}, {"sessions"}, [] {
            return std::vector<Row>{Row("1", 1000U, "alice", "", sdbus::ObjectPath(kFirstPath)),
                                    Row("2", 1000U, "alice", "", sdbus::ObjectPath(kSecondPath))};
        });
        manager.put_on_bus();
        bus::InterfaceOf session(*first_, "org.freedesktop.login1.Session");
        const auto constant = sdbus::Flags::CONST_PROPERTY_VALUE;
        session.property("Id", constant, [] { return std::string("1"); });
        session.property("Leader", constant, [this] {
            if (is_slow) throw bus::make_error("org.freedesktop.DBus.Error.NoReply", "too slow");
            return static_cast<std::uint32_t>(kLeader);
        });
        session.property("State", constant, [] { return std::string("active"); });
        session.property("Class", constant, [] { return std::string("user"); });
        session.put_on_bus();
        bus::take_name(*bus_, "org.freedesktop.login1");
        bus_->enterEventLoopAsync();
    }
    ~SmallLogind() { bus_->leaveEventLoop(); }

    std::atomic<bool> is_slow = false;

private:
    std::unique_ptr<sdbus::IConnection> bus_;
    std::unique_ptr<sdbus::IObject> manager_;
    std::unique_ptr<sdbus::IObject> first_;
};

TEST(LogindTest, FindsASessionByItsLeaderAndNeverTakesSlowForNone) {
    bus::PrivateBus bus;
    bus.start();
    {
        SmallLogind there;
        const auto logind = connect_logind(soon());
        ASSERT_TRUE(logind) << logind.error().line();
        const auto found = (*logind)->session_led_by(kLeader);
        ASSERT_TRUE(found) << found.error().line();
        EXPECT_EQ(found->id, "1");
        EXPECT_EQ((*logind)->session_led_by(kLeader + 1).error().code, Code::kNotFound);
        there.is_slow = true;
        EXPECT_EQ((*logind)->session_led_by(kLeader).error().code, Code::kUnavailable);
        EXPECT_EQ((*logind)->session_led_by(kLeader + 1).error().code, Code::kUnavailable);
    }
    ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

TEST(LogindTest, SaysThatThereIsNoBus) {
    ::setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
    const auto logind = connect_logind(soon());
    ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    ASSERT_FALSE(logind);
    EXPECT_EQ(logind.error().code, Code::kUnavailable);
}

// A socket at the address of `bus`, at which nobody answers.
UniqueFd listen_at(const bus::PrivateBus& bus) {
    const std::string path = bus.address().substr(std::strlen("unix:path="));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return {};
    std::memcpy(address.sun_path, path.data(), path.size());
    UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* raw = reinterpret_cast<const sockaddr*>(&address);
    if (::bind(listener.get(), raw, sizeof address) != 0 || ::listen(listener.get(), 8) != 0) return {};
    return listener;
}

TEST(LogindTest, WaitsForABusThatHangsNoLongerThanItIsTold) {
    bus::PrivateBus bus;
    const UniqueFd listener = listen_at(bus);
    ASSERT_TRUE(listener);
    const auto logind = connect_logind(posix::Deadline::after(from_millis(50)));
    ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    ASSERT_FALSE(logind);
    EXPECT_EQ(logind.error().code, Code::kTimedOut) << "the library itself would have waited much longer";
}

TEST(LogindTest, GivesABusUpThatClosesTheConnection) {
    bus::PrivateBus bus;
    const UniqueFd listener = listen_at(bus);
    ASSERT_TRUE(listener);
    std::thread closing([&listener] {
        const UniqueFd caller(::accept(listener.get(), nullptr, nullptr));
        char words[64];
        while (::recv(caller.get(), words, sizeof words, 0) < 0 && errno == EINTR) {
        }
    });
    errno = EAGAIN; // what an earlier call may have left behind: the end of a stream sets none
    const auto logind = connect_logind(posix::Deadline::after(from_seconds(20)));
    closing.join();
    ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    ASSERT_FALSE(logind);
    EXPECT_EQ(logind.error().code, Code::kUnavailable);
}

} // namespace
} // namespace latchkey::agent
