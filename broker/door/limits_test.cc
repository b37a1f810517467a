// SPDX-License-Identifier: Apache-2.0
// What bounds a stranger: caps, login grace, bytes that are no SSH; and what the door leaves alone.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <thread>
#include <vector>

#include "broker/door/door_for_tests.h"
#include "broker/ledger/users.h"

namespace latchkey::door {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kDeadlineMillis = 10'000;

class DoorLimits : public DoorTest {
protected:
    UniqueFd dial(std::uint32_t from = INADDR_LOOPBACK) const {
        UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(from);
        if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
        address.sin_port = htons(door_->port());
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
        return fd;
    }
    // What comes until the wanted text or the end; "" where nothing does in time.
    static std::string hear(int fd, std::string_view until) {
        std::string heard;
        while (heard.find(until) == std::string::npos) {
            pollfd entry{fd, POLLIN, 0};
            char part[4096];
            if (::poll(&entry, 1, kDeadlineMillis) != 1) return "";
            const ssize_t got = ::recv(fd, part, sizeof part, 0);
            if (got <= 0) break;
            heard.append(part, static_cast<std::size_t>(got));
        }
        return heard;
    }
    static bool hears_end(int fd) {
        for (;;) {
            pollfd entry{fd, POLLIN, 0};
            char part[4096];
            if (::poll(&entry, 1, kDeadlineMillis) != 1) return false;
            if (::recv(fd, part, sizeof part, 0) <= 0) return true;
        }
    }
};

TEST_F(DoorLimits, SaysNothingOfItselfInTheBanner) {
    const UniqueFd fd = dial();
    EXPECT_EQ(hear(fd.get(), "\n"), "SSH-2.0-SSH\r\n");
}

TEST_F(DoorLimits, EndsALoginThatTakesTooLong) {
    Door::Settings short_grace = settings();
    short_grace.login_grace = from_millis(100);
    open(short_grace);
    const UniqueFd silent = dial();
    EXPECT_TRUE(hears_end(silent.get()));
}

TEST_F(DoorLimits, TellsAPersonThatTheLoginTookTooLong) {
    const Person bob = add_person("bob");
    Door::Settings short_grace = settings();
    short_grace.login_grace = from_millis(300);
    open(short_grace);
    StockSsh::Options options = as(bob, "whoami");
    options.answers = {"@late"}; // when the grace is over
    const Ended done = ssh(options);
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr("login took too long"));
}

TEST_F(DoorLimits, CutsTheSilentForOneWhoWaitsAtTheSameAddress) {
    Door::Settings capped = settings();
    capped.admission.unauthenticated_per_address = 1;
    capped.admission.silence = from_millis(100);
    open(capped);
    const UniqueFd first = dial();
    ASSERT_THAT(hear(first.get(), "\n"), StartsWith("SSH-2.0"));
    const UniqueFd second = dial();
    EXPECT_THAT(hear(second.get(), "\n"), StartsWith("SSH-2.0"));
    EXPECT_TRUE(hears_end(first.get()));
}

TEST_F(DoorLimits, SendsTheOldestAwayWhereTooManyWait) {
    Door::Settings capped = settings();
    capped.admission.unauthenticated_per_address = 1;
    capped.admission.silence = capped.admission.turn = from_seconds(60);
    capped.waiting = 1;
    open(capped);
    const UniqueFd first = dial();
    ASSERT_THAT(hear(first.get(), "\n"), StartsWith("SSH-2.0"));
    const UniqueFd second = dial();
    const UniqueFd third = dial();
    EXPECT_EQ(hear(second.get(), "\n"), "Too many connections; try again later.\r\n");
}

TEST_F(DoorLimits, LetsAUserInAmidStrangersFromManyAddresses) {
    Door::Settings capped = settings();
    capped.admission.unauthenticated = 4;
    open(capped);
    const Person bob = add_person("bob");
    open_unlock(bob.member);
    std::vector<UniqueFd> strangers;
    for (std::uint32_t i = 0; i < 12; ++i) {
        strangers.push_back(dial(INADDR_LOOPBACK + 256 + i / 2)); // two of each
        if (i % 2 == 0) (void)!::send(strangers.back().get(), "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL);
    }
    Ended done;
    for (int i = 0; i < 3 && done.status != 0; ++i) done = ssh(as(bob, "whoami")); // people try again
    EXPECT_EQ(done.status, 0) << done.err;
}

TEST_F(DoorLimits, GivesThePlaceBackWhereAConnectionEnds) {
    Door::Settings capped = settings();
    capped.admission.unauthenticated_per_address = 1;
    open(capped);
    {
        const UniqueFd first = dial();
        ASSERT_THAT(hear(first.get(), "\n"), StartsWith("SSH-2.0"));
    }
    std::string heard; // its thread sees the end in its own time
    for (int i = 0; i < 1000 && heard.rfind("SSH-2.0", 0) != 0; ++i) {
        const UniqueFd next = dial();
        heard = hear(next.get(), "\n");
    }
    EXPECT_THAT(heard, StartsWith("SSH-2.0"));
}

TEST_F(DoorLimits, CountsALoginNoMoreOnceItIsDone) {
    Door::Settings capped = settings();
    capped.admission.unauthenticated_per_address = 1;
    open(capped);
    const Person bob = add_person("bob");
    open_unlock(bob.member);
    const std::string socket = (folder_ / "master").string();
    StockSsh::Options master = as(bob, "whoami");
    master.extra = {"-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-o", "ControlPath=" + socket};
    ASSERT_EQ(ssh(master).status, 0);
    EXPECT_EQ(ssh(as(bob, "whoami")).status, 0);
    EXPECT_EQ(run_program({"/usr/bin/ssh", "-F", "none", "-o", "ControlPath=" + socket, "-O", "exit",
                           "bob@127.0.0.1"}),
              0);
}

TEST_F(DoorLimits, OneKeyDoesNotTakeThePlacesOfOthers) {
    Door::Settings capped = settings();
    capped.admission.logged_in_per_key = 1;
    open(capped);
    const Person bob = add_person("bob");
    const Person alice = add_person("alice", ledger::Role::kAdmin);
    open_unlock(bob.member);
    open_unlock(alice.member);
    const std::string socket = (folder_ / "master").string();
    StockSsh::Options master = as(bob, "whoami");
    master.extra = {"-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-o", "ControlPath=" + socket};
    ASSERT_EQ(ssh(master).status, 0);
    const Ended second = ssh(as(bob, "whoami"));
    EXPECT_EQ(second.status, 255);
    EXPECT_THAT(second.err, HasSubstr("too many connections of this key or account are open"));
    EXPECT_EQ(ssh(as(alice, "whoami")).status, 0);
    EXPECT_EQ(run_program({"/usr/bin/ssh", "-F", "none", "-o", "ControlPath=" + socket, "-O", "exit",
                           "bob@127.0.0.1"}),
              0);
    Ended again; // the door sees the end in its own time
    for (int i = 0; i < 100 && again.status != 0; ++i) again = ssh(as(bob, "whoami"));
    EXPECT_EQ(again.status, 0) << again.err;
}

TEST_F(DoorLimits, EndsTheIdleConnectionOfOneWhoLostTheirAccount) {
    Door::Settings quick = settings();
    quick.conversation.look = from_millis(50);
    open(quick);
    const Person bob = add_person("bob");
    const Person alice = add_person("alice");
    const auto at_master = [&](const Person& person, const char* what) {
        const std::string name = person.member.user.name.str();
        return run_program({"/usr/bin/ssh", "-F", "none", "-o",
                            "ControlPath=" + (folder_ / (name + ".s")).string(), "-O", what,
                            name + "@127.0.0.1"});
    };
    for (const Person* person : {&bob, &alice}) {
        open_unlock(person->member);
        StockSsh::Options master = as(*person, "whoami");
        const std::string socket = (folder_ / (person->member.user.name.str() + ".s")).string();
        master.extra = {"-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-o", "ControlPath=" + socket};
        ASSERT_EQ(ssh(master).status, 0);
        ASSERT_EQ(at_master(*person, "check"), 0);
    }
    ledger::take(write(
        [&](ledger::Transaction& t) { return ledger::lock_user(t, bob.member.user.name, "gone", "test"); }));
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (at_master(bob, "check") == 0 && std::chrono::steady_clock::now() < until) {
    }
    EXPECT_NE(at_master(bob, "check"), 0);
    EXPECT_EQ(at_master(alice, "exit"), 0) << "others stay";
}

TEST_F(DoorLimits, SurvivesBytesThatAreNoSsh) {
    for (const std::string& garbage :
         {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100'000, 'A'), std::string(4096, '\0'),
          std::string("SSH-2.0-x\r\n") + std::string(50'000, '\xff'), std::string("SSH-1.5-old\r\n"),
          std::string("SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x14", 17)}) {
        const UniqueFd fd = dial();
        (void)!::send(fd.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL);
        ::shutdown(fd.get(), SHUT_WR);
        EXPECT_TRUE(hears_end(fd.get()));
    }
    const Person bob = add_person("bob");
    open_unlock(bob.member);
    EXPECT_EQ(ssh(as(bob, "whoami")).status, 0);
}

// Talks until nobody listens any more.
class Chatterbox : public desk::Handler {
public:
    int run(const desk::Caller&, std::string_view, desk::Console& console) override {
        const std::string line(64 * 1024, 'x');
        has_begun.set_value();
        while (!console.is_gone() && said < kFarTooMuch) {
            console.out(line);
            said += line.size();
        }
        has_ended.set_value();
        return 0;
    }
    bool is_welcome(const desk::Caller&) override { return true; }
    static constexpr std::size_t kFarTooMuch = 1024UL * 1024 * 1024;
    std::promise<void> has_begun;
    std::promise<void> has_ended;
    std::size_t said = 0;
};

TEST_F(DoorLimits, GivesUpOnAClientThatNeverReads) {
    const Person bob = add_person("bob");
    open_unlock(bob.member);
    Chatterbox chatterbox;
    Door::Settings settings_here = settings();
    settings_here.conversation.console.write = from_millis(200);
    Door::Parts parts{*ledger_, *factors_, chatterbox, ledger::ledger_key(), clock_, {}, {}};
    door_ = ledger::take(Door::start(std::move(parts), settings_here));
    StockSsh client(folder_, as(bob, "talk"));
    chatterbox.has_begun.get_future().wait();
    ::kill(client.pid(), SIGSTOP);
    EXPECT_EQ(chatterbox.has_ended.get_future().wait_for(std::chrono::seconds(20)),
              std::future_status::ready);
    ::kill(client.pid(), SIGCONT);
    EXPECT_LT(chatterbox.said, Chatterbox::kFarTooMuch);
    client.wait();
}

TEST_F(DoorLimits, StopsWithGuestsInTheHouse) {
    const UniqueFd fd = dial();
    ASSERT_THAT(hear(fd.get(), "\n"), StartsWith("SSH-2.0"));
    door_->stop();
    EXPECT_TRUE(hears_end(fd.get()));
}

} // namespace
} // namespace latchkey::door
