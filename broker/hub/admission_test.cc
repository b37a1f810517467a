// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/admission.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <set>
#include <string>
#include <thread>

#include "broker/hub/hub_for_tests.h"
#include "broker/listen/address_group.h"

namespace latchkey::hub {
namespace {

constexpr Micros kStart = from_seconds(1000);

TEST(TokenBucket, LetsAFewInAtOnceAndThenSoManyASecond) {
    TokenBucket bucket(10, 3);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(bucket.take(kStart).value, 0) << i;
    EXPECT_EQ(bucket.take(kStart), from_millis(100));
    EXPECT_EQ(bucket.take(kStart + from_millis(50)), from_millis(50))
        << "who is told to wait has taken nothing";
    EXPECT_EQ(bucket.take(kStart + from_millis(101)).value, 0);
    EXPECT_NE(bucket.take(kStart + from_millis(102)).value, 0);
}

TEST(TokenBucket, SavesNoMoreThanWhatGoesInAtOnce) {
    TokenBucket bucket(10, 3);
    static_cast<void>(bucket.take(kStart));
    const Micros later = kStart + from_seconds(3600);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(bucket.take(later).value, 0) << i;
    EXPECT_NE(bucket.take(later).value, 0);
}

TEST(Admission, HoldsTheQueueShortEnoughForThoseInIt) {
    EXPECT_EQ(backlog_for(300), 1500);
    EXPECT_EQ(backlog_for(1), 128);
    EXPECT_EQ(backlog_for(100'000), 4096);
}

TEST(Admission, KnowsWhoHasLeft) {
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), 0);
    const UniqueFd ours(pair[0]);
    UniqueFd theirs(pair[1]);
    EXPECT_FALSE(has_left(ours.get()));
    ASSERT_EQ(::write(theirs.get(), "x", 1), 1);
    EXPECT_FALSE(has_left(ours.get())) << "it has something to say";
    char byte = 0;
    ASSERT_EQ(::read(ours.get(), &byte, 1), 1) << "which is still there";
    theirs.reset();
    EXPECT_TRUE(has_left(ours.get()));
}

TEST(Admission, KnowsThatWhoHasSpokenHasLeft) { // as a client of TLS, which speaks first
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), 0);
    const UniqueFd ours(pair[0]);
    UniqueFd theirs(pair[1]);
    ASSERT_EQ(::write(theirs.get(), "x", 1), 1);
    EXPECT_FALSE(has_left(ours.get()));
    theirs.reset();
    EXPECT_TRUE(has_left(ours.get())) << "though what it said is there still";
}

TEST(Admission, CountsAnIpv6NetworkAsOne) {
    const auto group_of = [](const std::string& text) {
        sockaddr_storage storage{};
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        EXPECT_EQ(::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr), 1);
        std::memcpy(&storage, &v6, sizeof v6);
        return address_group(storage);
    };
    std::set<std::string> groups;
    for (int i = 1; i <= 65; ++i) groups.insert(group_of("2001:db8:1:2::" + std::to_string(i)));
    EXPECT_EQ(groups.size(), 1U);
    EXPECT_FALSE(groups.contains(group_of("2001:db8:1:3::1")));
    EXPECT_NE(group_of("::ffff:192.0.2.1"), group_of("::ffff:192.0.2.2")) << "each IPv4 address is its own";
}

class Paced : public HubTest {};

TEST_F(Paced, ShakesSoManyHandsASecondAndLetsTheOthersWait) {
    Settings settings;
    settings.handshakes_per_second = 1;
    start(std::move(settings));
    const ledger::Person bob = add_person("bob");
    const Member first = add_member("first");
    const Member second = add_member("second");
    TestAgent agent = connect(first);
    agent.greet();
    std::atomic<bool> is_in{false};
    std::thread late([&] {
        const TestAgent waiting = connect(second); // until TLS is done
        is_in = waiting.is_connected();
    });
    for (int i = 0; i < 20; ++i) { // time enough for a handshake that does not wait
        agent.send(fetch_of(bob, "deploy"));
        EXPECT_EQ(agent.receive<protocol::Grant>().request, 1u);
    }
    EXPECT_FALSE(is_in);
    clock_.advance(from_seconds(1));
    late.join();
    EXPECT_TRUE(is_in);
}

TEST_F(Paced, TurnsAwayWhoIsTooMuchAndSaysSoOnce) {
    Settings settings;
    settings.max_agents = 1;
    start(std::move(settings));
    const Member good = add_member("good");
    TestAgent agent = connect(good);
    agent.greet();
    for (int i = 0; i < 3; ++i) {
        const UniqueFd one_more = connect_local(hub_->port());
        EXPECT_TRUE(is_closed_by_peer(one_more.get()));
    }
    EXPECT_TRUE(has_logged("turn away agents"));
    const std::lock_guard lock(log_mutex_);
    EXPECT_EQ(
        std::count_if(log_.begin(), log_.end(),
                      [](const std::string& line) { return line.find("turn away") != std::string::npos; }),
        1);
}

} // namespace
} // namespace latchkey::hub
