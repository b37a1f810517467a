// SPDX-License-Identifier: Apache-2.0
#include "broker/door/admission.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "broker/door/lobby.h"
#include "broker/listen/address_group.h"

namespace latchkey::door {
namespace {

TEST(Admission, CountsAnIpv6NetworkAsOne) {
    sockaddr_storage storage{};
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    inet_pton(AF_INET6, "2001:db8:1:2:3:4:5:6", &v6.sin6_addr);
    std::memcpy(&storage, &v6, sizeof v6);
    EXPECT_EQ(address_group(storage), "2001:db8:1:2::/64");
    EXPECT_EQ(address_text(storage), "2001:db8:1:2:3:4:5:6");
}

// Two ends of a connection; the near one is what a ticket watches.
struct Pair {
    Pair() {
        int ends[2] = {-1, -1};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        near.reset(ends[0]);
        far.reset(ends[1]);
    }
    bool is_cut() const {
        char byte = 0;
        return ::recv(far.get(), &byte, 1, MSG_DONTWAIT) == 0;
    }
    UniqueFd near;
    UniqueFd far;
};

class AdmissionTest : public testing::Test {
protected:
    Admission make(Admission::Limits limits) {
        return Admission(limits,
                         {.on_free = [this] { ++freed; }, .silence = [this](int) { return silence; }});
    }
    Micros silence;
    int freed = 0;
};

TEST_F(AdmissionTest, RefusesOverAllOverAddressAndOverConnections) {
    Admission admission = make({.connections = 3, .unauthenticated = 2, .unauthenticated_per_address = 1});
    const Pair pair;
    const auto admit = [&](const char* group) { return admission.admit(group, pair.near.get(), Micros{0}); };
    auto first = admit("a");
    ASSERT_TRUE(first);
    EXPECT_FALSE(admit("a")); // the address
    auto second = admit("b");
    ASSERT_TRUE(second);
    EXPECT_FALSE(admit("c")); // strangers in all
    first->proved_key();
    auto third = admit("a");
    ASSERT_TRUE(third);
    second->proved_key();
    EXPECT_FALSE(admit("d")); // connections
    EXPECT_EQ(freed, 2);
    second.reset();
    EXPECT_EQ(freed, 3);
    EXPECT_TRUE(admit("d"));
}

TEST_F(AdmissionTest, KeepsHalfOfTheStrangersPlacesForThoseThatSpeak) {
    Admission admission = make({.unauthenticated = 4});
    const Pair pair;
    std::vector<std::optional<Admission::Ticket>> held;
    for (const char* group : {"a", "b", "c"}) {
        EXPECT_TRUE(admission.has_place(group, false)) << group;
        held.push_back(admission.admit(group, pair.near.get(), Micros{0}));
    }
    EXPECT_FALSE(admission.has_place("d", false));
    EXPECT_TRUE(admission.has_place("d", true));
}

TEST_F(AdmissionTest, BoundsWhatOneKeyAndOneAccountHoldOnceLoggedIn) {
    Admission admission = make({});
    const Pair pair;
    std::list<Admission::Ticket> held;
    const auto enters = [&](const char* user, const char* key) {
        auto ticket = admission.admit(std::to_string(held.size()), pair.near.get(), Micros{0});
        if (!ticket || !ticket->logged_in(user, key)) return false;
        held.push_back(std::move(*ticket));
        return true;
    };
    for (int i = 0; i < 32; ++i) ASSERT_TRUE(enters("bob", "stolen")) << i;
    EXPECT_FALSE(enters("bob", "stolen"));
    EXPECT_TRUE(enters("bob", "another"));
    EXPECT_TRUE(enters("admin", "theirs"));
    held.pop_front();
    EXPECT_TRUE(enters("bob", "stolen")) << "one has left";
    for (int i = 0; i < 31; ++i) ASSERT_TRUE(enters("bob", "another")) << i;
    EXPECT_FALSE(enters("bob", "third")) << "the account";
    EXPECT_TRUE(enters("admin", "theirs"));
}

TEST_F(AdmissionTest, CutsAStrangerForOneWhoWaitsOnceItHasHadItsTime) {
    Admission admission = make({.unauthenticated = 1});
    const Pair pair;
    const auto ticket = admission.admit("a", pair.near.get(), Micros{0});
    ASSERT_TRUE(ticket);
    EXPECT_FALSE(admission.cut_for("b", true, from_seconds(1)));
    EXPECT_FALSE(pair.is_cut());
    silence = from_seconds(3);
    EXPECT_TRUE(admission.cut_for("b", true, from_seconds(3)));
    EXPECT_TRUE(pair.is_cut());
    EXPECT_FALSE(admission.cut_for("b", true, from_seconds(4))); // its place is coming free
}

TEST_F(AdmissionTest, CutsAlsoWhoeverDripsWordsForTooLong) {
    Admission admission = make({.unauthenticated = 1});
    const Pair pair;
    const auto ticket = admission.admit("a", pair.near.get(), Micros{0});
    EXPECT_TRUE(admission.cut_for("b", true, from_seconds(6)));
    EXPECT_TRUE(pair.is_cut());
}

TEST_F(AdmissionTest, CutsNobodyWithoutNeed) {
    Admission admission = make({.unauthenticated = 8});
    const Pair pair;
    const auto ticket = admission.admit("a", pair.near.get(), Micros{0});
    silence = from_seconds(100);
    EXPECT_FALSE(admission.cut_for("b", true, from_seconds(100)));
    EXPECT_FALSE(pair.is_cut());
}

TEST_F(AdmissionTest, GivesAShownKeyTimeToBeTouchedAndAProvenOneAllTime) {
    Admission admission = make({.unauthenticated = 1});
    silence = from_seconds(10);
    const Pair shown;
    auto showing = admission.admit("a", shown.near.get(), Micros{0});
    ASSERT_TRUE(showing);
    showing->named_key();
    EXPECT_FALSE(admission.cut_for("b", true, from_seconds(10)));
    EXPECT_TRUE(admission.cut_for("b", true, from_seconds(16)));
    showing.reset();
    const Pair proven;
    auto typing = admission.admit("a", proven.near.get(), Micros{0});
    ASSERT_TRUE(typing);
    typing->proved_key();
    EXPECT_FALSE(admission.cut_for("b", true, from_seconds(1000)));
    EXPECT_FALSE(proven.is_cut());
}

TEST_F(AdmissionTest, LetsAnAddressCrowdOutItselfAlone) {
    Admission admission = make({.unauthenticated = 8, .unauthenticated_per_address = 1});
    silence = from_seconds(10);
    const Pair of_a;
    const Pair of_b;
    const auto a = admission.admit("a", of_a.near.get(), Micros{0});
    const auto b = admission.admit("b", of_b.near.get(), Micros{0});
    EXPECT_TRUE(admission.cut_for("a", true, from_seconds(10)));
    EXPECT_TRUE(of_a.is_cut());
    EXPECT_FALSE(of_b.is_cut());
}

TEST_F(AdmissionTest, BoundsHowManyOfAKeyWaitForTheirFactor) {
    Admission admission = make({.without_factor_per_key = 1});
    const Pair pair;
    auto first = admission.admit("a", pair.near.get(), Micros{0});
    auto second = admission.admit("b", pair.near.get(), Micros{0});
    EXPECT_TRUE(first->waits_for_factor("k"));
    EXPECT_FALSE(second->waits_for_factor("k"));
    EXPECT_TRUE(second->waits_for_factor("other"));
    EXPECT_TRUE(first->logged_in("bob", "key"));
    auto third = admission.admit("c", pair.near.get(), Micros{0});
    EXPECT_TRUE(third->waits_for_factor("k"));
}

TEST_F(AdmissionTest, RemembersWhereSomebodyLoggedIn) {
    Admission admission = make({.regulars = 2});
    const Pair pair;
    EXPECT_FALSE(admission.is_regular("a"));
    for (const char* group : {"a", "b", "a", "c"}) {
        auto ticket = admission.admit(group, pair.near.get(), Micros{0});
        EXPECT_TRUE(ticket->logged_in("bob", "key"));
    }
    EXPECT_TRUE(admission.is_regular("a"));
    EXPECT_FALSE(admission.is_regular("b")); // the longest ago
    EXPECT_TRUE(admission.is_regular("c"));
}

Visitor visitor(const std::string& group, bool has_spoken = true, bool is_regular = false) {
    Visitor one;
    one.group = group;
    one.has_spoken = has_spoken;
    one.is_regular = is_regular;
    return one;
}

std::string order_of(Lobby& lobby) {
    std::string order;
    while (auto next = lobby.next([](const Visitor&) { return true; })) order += next->group;
    return order;
}

TEST(LobbyTest, LetsAddressesTakeTurns) {
    Lobby lobby(16);
    for (const char* group : {"a", "a", "a", "a", "b", "c", "b"}) lobby.enter(visitor(group));
    EXPECT_EQ(order_of(lobby), "abcabaa");
    EXPECT_TRUE(lobby.is_empty());
}

TEST(LobbyTest, PutsRegularsFirstAndTheSilentLast) {
    Lobby lobby(16);
    const auto silent = lobby.enter(visitor("s", false));
    lobby.enter(visitor("a"));
    lobby.enter(visitor("r", true, true));
    lobby.enter(visitor("t", false, true));
    EXPECT_EQ(lobby.turns(2).front().group, "r");
    lobby.spoke(silent.id);
    EXPECT_EQ(order_of(lobby), "rsat");
}

TEST(LobbyTest, PassesOverWhoeverMayNotEnter) {
    Lobby lobby(16);
    lobby.enter(visitor("a"));
    lobby.enter(visitor("b"));
    const auto next = lobby.next([](const Visitor& one) { return one.group == "b"; });
    ASSERT_TRUE(next);
    EXPECT_EQ(next->group, "b");
    EXPECT_FALSE(lobby.next([](const Visitor&) { return false; }));
    EXPECT_EQ(lobby.size(), 1U);
}

TEST(LobbyTest, TakesRoomFromTheAddressWithTheMost) {
    Lobby lobby(3);
    lobby.enter(visitor("a"));
    lobby.enter(visitor("b"));
    const auto oldest_silent = lobby.enter(visitor("a", false));
    const auto entered = lobby.enter(visitor("c"));
    ASSERT_TRUE(entered.sent_away);
    EXPECT_EQ(entered.sent_away->id, oldest_silent.id);
    EXPECT_EQ(lobby.size(), 3U);
}

TEST(LobbyTest, NamesWhoHasWaitedTooLong) {
    Lobby lobby(3);
    Visitor early = visitor("a");
    early.since = from_seconds(1);
    lobby.enter(std::move(early));
    Visitor later = visitor("a");
    later.since = from_seconds(5);
    lobby.enter(std::move(later));
    EXPECT_TRUE(lobby.late(from_seconds(3)));
    EXPECT_FALSE(lobby.late(from_seconds(3)));
    EXPECT_EQ(lobby.size(), 1U);
}

} // namespace
} // namespace latchkey::door
