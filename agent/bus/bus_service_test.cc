// SPDX-License-Identifier: Apache-2.0
// The service on a bus of the test's own; the test is root's client and, through setpriv, other users'.
#include "agent/bus/bus_service.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <optional>

#include "agent/bus/caller.h"
#include "agent/bus/private_bus_for_test.h"
#include "agent/bus/sdbus.h"

namespace latchkey::agent::bus {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kPatience = std::chrono::seconds(30);
constexpr uid_t kNobody = 65534;
constexpr const char* kGroupOfNobody = "nogroup";
constexpr const char* kProperties = "org.freedesktop.DBus.Properties";

// Values that another thread sets and the test waits for.
class Board {
public:
    template <class Change>
    void change(Change change) {
        const std::lock_guard lock(mutex_);
        change(*this);
        changed_.notify_all();
    }
    template <class Good>
    bool becomes(Good good) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, [&] { return good(*this); });
    }

    std::vector<std::string> troubles;
    int resyncs = 0;
    std::vector<std::string> signals;

private:
    std::mutex mutex_;
    std::condition_variable changed_;
};

class FakeDesk : public BusDesk {
public:
    explicit FakeDesk(Board& board) : board_(board) {}
    std::vector<protocol::LiveSession> sessions() override {
        protocol::LiveSession session;
        session.id = 9;
        session.user = *UserName::parse("bob");
        session.login = *Login::parse("deploy");
        session.serial = {77};
        session.from = "192.0.2.9";
        session.since = {5};
        session.monitor_pid = 100;
        return {session};
    }
    Status resync() override {
        board_.change([](Board& b) { ++b.resyncs; });
        return resync_answer;
    }
    std::vector<std::string> explain(const Login& login, const Fingerprint& key) override {
        return {"login " + login.str(), "key " + key.str()};
    }
    void note_bus_trouble(const std::string& line) override {
        board_.change([&](Board& b) { b.troubles.push_back(line); });
    }

    Status resync_answer;

private:
    Board& board_;
};

// A client on the test's bus, with an ear for signals.
class Client {
public:
    Client() : bus_(sdbus::createSystemBusConnection()), proxy_(make_proxy(*bus_, kBusName, kBusPath)) {}

    void listen(Board& board) {
        proxy_->uponSignal("Revoked")
            .onInterface(kBusInterface)
            .call([&board](std::uint64_t epoch, const std::string& kind, std::uint32_t ended) {
                board.change([&](Board& b) {
                    b.signals.push_back("Revoked " + std::to_string(epoch) + " " + kind + " " +
                                        std::to_string(ended));
                });
            });
        proxy_->uponSignal("TrustChanged").onInterface(kBusInterface).call([&board] {
            board.change([](Board& b) { b.signals.emplace_back("TrustChanged"); });
        });
        proxy_->uponSignal("PropertiesChanged")
            .onInterface(kProperties)
            .call([&board](const std::string& /*interface*/,
                           const std::map<std::string, sdbus::Variant>& changed,
                           const std::vector<std::string>& /*invalidated*/) {
                board.change([&](Board& b) {
                    for (const auto& [name, value] : changed) b.signals.push_back("changed " + name);
                });
            });
#if LATCHKEY_SDBUS_MAJOR < 2
        proxy_->finishRegistration();
#endif
        bus_->enterEventLoopAsync();
    }
    template <class Value, class... Arguments>
    Value ask(const char* interface, const char* method, const Arguments&... arguments) {
        Value value;
        proxy_->callMethod(method)
            .onInterface(interface)
            .withTimeout(kPatience)
            .withArguments(arguments...)
            .storeResultsTo(value);
        return value;
    }
    template <class Value>
    Value property(const char* name) {
        return ask<sdbus::Variant>(kProperties, "Get", std::string(kBusInterface), std::string(name))
            .get<Value>();
    }
    // Empty: it went well; else the name of the error.
    template <class... Arguments>
    std::string error_of(const char* method, const Arguments&... arguments) {
        try {
            proxy_->callMethod(method)
                .onInterface(kBusInterface)
                .withTimeout(kPatience)
                .withArguments(arguments...);
        } catch (const sdbus::Error& error) {
            return error.getName();
        }
        return {};
    }
    void take_name_of_agent() {
        take_name(*bus_, kBusName);
    }

private:
    std::unique_ptr<sdbus::IConnection> bus_;
    std::unique_ptr<sdbus::IProxy> proxy_;
};

class BusServiceTest : public ::testing::Test {
protected:
    BusServiceTest() : loop_([this] { io_.run(); }) {}
    ~BusServiceTest() override {
        service_.reset();
        guard_.reset();
        io_.stop();
        loop_.join();
    }
    void start(const std::string& group = kBusGroup) {
        bus_.start();
        start_service(group);
        ASSERT_TRUE(comes_up());
    }
    void start_service(const std::string& group = kBusGroup) {
        service_.emplace(
            desk_, [this](auto job) { boost::asio::post(io_, std::move(job)); }, group);
        service_->start();
    }
    bool comes_up(std::size_t after = 0) {
        return board_.becomes(
            [&](const Board& b) { return b.troubles.size() > after && b.troubles.back().empty(); });
    }
    std::string last_trouble() {
        std::string last;
        board_.change([&](const Board& b) { last = b.troubles.empty() ? std::string() : b.troubles.back(); });
        return last;
    }
    // What dbus-send says as another user.
    std::string say_as_nobody(const std::string& method) const {
        const std::string command =
            "timeout 30 setpriv --reuid=" + std::to_string(kNobody) + " --regid=" + std::to_string(kNobody) +
            " --clear-groups dbus-send --system " + "--print-reply --reply-timeout=20000 --dest=" + kBusName +
            " " + kBusPath + " " + kBusInterface + "." + method + " 2>&1";
        std::FILE* pipe = ::popen(command.c_str(), "r");
        std::string text;
        std::array<char, 512> chunk{};
        while (std::fgets(chunk.data(), chunk.size(), pipe) != nullptr) text += chunk.data();
        ::pclose(pipe);
        return text;
    }

    PrivateBus bus_;
    Board board_;
    FakeDesk desk_{board_};
    boost::asio::io_context io_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{io_.get_executor()};
    std::optional<BusService> service_;
    std::thread loop_;
};

TEST_F(BusServiceTest, DescribesItselfWithSignaturesAndAnnotations) {
    start();
    const auto text = Client().ask<std::string>("org.freedesktop.DBus.Introspectable", "Introspect");
    EXPECT_THAT(text, AllOf(HasSubstr("<interface name=\"org.latchkey.Agent1\">"),
                            HasSubstr("<arg type=\"a(tssststu)\" name=\"sessions\" direction=\"out\"/>")));
    EXPECT_THAT(text, HasSubstr("<property name=\"Connected\" type=\"b\" access=\"read\">"));
    EXPECT_THAT(text, HasSubstr("\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"const\""));
    EXPECT_THAT(text, HasSubstr("<signal name=\"Revoked\">"));
}

TEST_F(BusServiceTest, ShowsWhatIsPublishedAndTellsOnlyWhatChangesSeldom) {
    start();
    Client client;
    client.listen(board_);
    EXPECT_FALSE(client.property<bool>("Connected"));
    service_->publish({true, {0}, {1'000'000}, {-3}});
    EXPECT_TRUE(board_.becomes([](const Board& b) { return !b.signals.empty(); }));
    EXPECT_TRUE(client.property<bool>("Connected"));
    EXPECT_EQ(client.property<std::uint64_t>("LastHeartbeat"), 1'000'000U);
    EXPECT_EQ(client.property<std::int64_t>("ClockOffset"), -3);
    service_->publish({true, {0}, {2'000'000}, {4}}); // told to nobody, and shown to who asks
    EXPECT_EQ(client.property<std::uint64_t>("LastHeartbeat"), 2'000'000U);
    service_->publish({true, {8}, {2'000'000}, {4}});
    service_->tell({{8}, "user", 2});
    service_->tell_trust_changed();
    EXPECT_TRUE(board_.becomes([](const Board& b) { return b.signals.size() >= 4; }));
    board_.change([](const Board& b) {
        EXPECT_THAT(b.signals,
                    ElementsAre("changed Connected", "changed Epoch", "Revoked 8 user 2", "TrustChanged"));
    });
}

TEST_F(BusServiceTest, ListsSessionsAndExplains) {
    start();
    Client client;
    using Row = sdbus::Struct<std::uint64_t, std::string, std::string, std::string, std::uint64_t,
                              std::string, std::uint64_t, std::uint32_t>;
    const auto rows = client.ask<std::vector<Row>>(kBusInterface, "ListSessions");
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0], Row(9, "bob", "deploy", "", 77, "192.0.2.9", 5, 100));
    const std::string key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    EXPECT_THAT(client.ask<std::vector<std::string>>(kBusInterface, "Explain", std::string("deploy"), key),
                ElementsAre("login deploy", "key " + key));
    EXPECT_EQ(client.error_of("Explain", std::string("no such/login"), key), "org.latchkey.Error.Malformed");
}

TEST_F(BusServiceTest, ResyncsForRootAndSaysWhatTheDeskRefuses) {
    start();
    EXPECT_EQ(Client().error_of("Resync"), "");
    desk_.resync_answer = fail(Code::kUnavailable, "not joined");
    EXPECT_EQ(Client().error_of("Resync"), "org.latchkey.Error.Unavailable");
}

TEST_F(BusServiceTest, RefusesTheCommonUserWhatNamesPeopleOrChangesAnything) {
    start();
    EXPECT_THAT(say_as_nobody("Resync"), HasSubstr("org.freedesktop.DBus.Error.AccessDenied"));
    EXPECT_THAT(say_as_nobody("ListSessions"), HasSubstr("org.freedesktop.DBus.Error.AccessDenied"));
    board_.change([](const Board& b) { EXPECT_EQ(b.resyncs, 0); });
}

TEST_F(BusServiceTest, ServesTheGroup) {
    start(kGroupOfNobody);
    EXPECT_THAT(say_as_nobody("Resync"), HasSubstr("method return"));
    board_.change([](const Board& b) { EXPECT_EQ(b.resyncs, 1); });
}

TEST_F(BusServiceTest, GivesUpOnABusyLoopAndNeverDoesLateWhatItGaveUp) {
    start();
    std::promise<void> go_on;
    boost::asio::post(io_, [&go_on] { go_on.get_future().wait(); });
    EXPECT_EQ(Client().error_of("Resync"), "org.latchkey.Error.TimedOut");
    go_on.set_value();
    EXPECT_EQ(Client().error_of("ListSessions"), "") << "behind the one that was given up";
    board_.change([](const Board& b) { EXPECT_EQ(b.resyncs, 0); });
}

TEST_F(BusServiceTest, TakesAMachineWithoutABusForWhatItIsAndComesWhenThereIsOne) {
    start_service();
    ASSERT_TRUE(board_.becomes([](const Board& b) { return b.troubles.size() == 1; }));
    EXPECT_THAT(last_trouble(), IsEmpty());
    service_->look();
    bus_.start();
    service_->look();
    EXPECT_TRUE(comes_up(1));
}

TEST_F(BusServiceTest, SaysThatTheBusWentAwayAndComesBackWithIt) {
    start();
    bus_.kill();
    EXPECT_TRUE(board_.becomes([](const Board& b) { return b.troubles.size() == 2; }));
    EXPECT_THAT(last_trouble(), HasSubstr("D-Bus"));
    bus_.start();
    EXPECT_TRUE(comes_up(2));
    EXPECT_EQ(Client().error_of("Resync"), "");
}

TEST_F(BusServiceTest, SaysThatItsNameIsTakenAndWaitsForIt) {
    bus_.start();
    {
        Client other;
        other.take_name_of_agent();
        start_service();
        EXPECT_TRUE(board_.becomes([](const Board& b) { return !b.troubles.empty(); }));
        EXPECT_THAT(last_trouble(), HasSubstr("D-Bus"));
    }
    EXPECT_TRUE(comes_up(1));
}

TEST(BusHandlers, LetNothingButTheLibrarysErrorOut) {
    EXPECT_THROW(answer_bus([] { throw std::bad_alloc(); }), sdbus::Error);
    EXPECT_THROW(answer_bus([] { throw 5; }), sdbus::Error);
    EXPECT_EQ(answer_bus([] { return 5; }), 5);
}

TEST(BusErrors, HaveNamesThatTheBusTakes) {
    EXPECT_EQ(error_name(Code::kTimedOut), "org.latchkey.Error.TimedOut");
    for (const CodeInfo& code : all_codes())
        EXPECT_THAT(error_name(code.code),
                    ::testing::MatchesRegex("org\\.latchkey\\.Error\\.[A-Z][A-Za-z]+"));
}

TEST(BusCallers, AreRootAndTheGroup) {
    EXPECT_TRUE(check_caller(0, "no-such-group"));
    EXPECT_TRUE(check_caller(kNobody, kGroupOfNobody));
    EXPECT_EQ(check_caller(kNobody, "root").error().code, Code::kUnauthenticated);
    EXPECT_EQ(check_caller(kNobody, "no-such-group").error().code, Code::kUnauthenticated);
    EXPECT_EQ(check_caller(4'000'000'000U, "root").error().code, Code::kUnauthenticated);
}

} // namespace
} // namespace latchkey::agent::bus
