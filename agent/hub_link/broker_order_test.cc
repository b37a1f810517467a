// SPDX-License-Identifier: Apache-2.0
#include "agent/hub_link/broker_order.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace latchkey::agent {
namespace {

using protocol::BrokerAddress;
using Addresses = std::vector<BrokerAddress>;

const BrokerAddress kJoined{"joined.example.org", 7443};
const Addresses kThree = {{"b1.example.org", 7443}, {"b2.example.org", 7443}, {"b3.example.org", 7443}};

// One whole round, from the first choice on.
Addresses round_of(BrokerOrder& order) {
    Addresses round;
    order.try_first();
    for (std::size_t i = 0; i < order.count(); ++i) {
        round.push_back(order.current());
        order.try_next();
    }
    return round;
}

TEST(BrokerOrder, IsTheJoinTokensBrokerAloneWhereNobodySaidMore) {
    BrokerOrder order({7}, {kJoined, {}, {}});
    EXPECT_EQ(order.count(), 1U);
    EXPECT_EQ(order.current(), kJoined);
    order.try_next();
    EXPECT_EQ(order.current(), kJoined);
}

TEST(BrokerOrder, HoldsEachAddressOnceAndTheJoinTokensLast) {
    BrokerOrder order({7}, {kJoined, {kThree[1], kThree[0]}, kThree});
    const Addresses round = round_of(order);
    ASSERT_EQ(round.size(), 4U);
    EXPECT_EQ(round.back(), kJoined);
    EXPECT_EQ(std::set<BrokerAddress>(round.begin(), round.end()).size(), 4U);
    BrokerOrder among({7}, {kThree[0], {}, kThree});
    EXPECT_EQ(among.count(), 3U) << "one that is in the list is no second time at its end";
}

TEST(BrokerOrder, IsTheSameForAVmHoweverTheListIsWritten) {
    BrokerOrder one({7}, {kThree[0], {}, kThree});
    BrokerOrder other({7}, {kThree[0], {kThree[2], kThree[1]}, {kThree[0]}});
    EXPECT_EQ(round_of(one), round_of(other));
}

TEST(BrokerOrder, SpreadsVmsAndThoseOfABrokerThatFallsOverAllOthers) {
    std::map<BrokerAddress, int> first;
    std::map<BrokerAddress, int> second_of_b1;
    for (std::uint64_t vm = 1; vm <= 3000; ++vm) {
        BrokerOrder order({vm}, {kThree[0], {}, kThree});
        const Addresses round = round_of(order);
        ++first[round[0]];
        if (round[0] == kThree[0]) ++second_of_b1[round[1]];
    }
    for (const BrokerAddress& broker : kThree) EXPECT_GT(first[broker], 800);
    EXPECT_GT(second_of_b1[kThree[1]], 350);
    EXPECT_GT(second_of_b1[kThree[2]], 350);
}

TEST(BrokerOrder, MovesNoVmButThoseOfABrokerThatIsTakenAway) {
    const Addresses two = {kThree[0], kThree[1]};
    for (std::uint64_t vm = 1; vm <= 200; ++vm) {
        BrokerOrder before({vm}, {kThree[0], {}, kThree});
        BrokerOrder after({vm}, {kThree[0], {}, two});
        if (before.current() != kThree[2]) {
            EXPECT_EQ(after.current(), before.current());
        }
    }
}

TEST(BrokerOrder, KeepsTheCurrentOneWhileItLearnsAndGoesOnFromThere) {
    BrokerOrder order({7}, {kJoined, {}, {}});
    EXPECT_TRUE(order.learn(kThree));
    EXPECT_FALSE(order.learn(kThree));
    EXPECT_EQ(order.current(), kJoined);
    EXPECT_EQ(order.count(), 4U);
    order.try_next(); // it was the last one
    const BrokerAddress first = order.current();
    EXPECT_NE(first, kJoined);
    EXPECT_TRUE(order.learn({}));
    EXPECT_EQ(order.current(), first);
    order.try_next(); // it is known no more
    EXPECT_EQ(order.current(), kJoined);
}

} // namespace
} // namespace latchkey::agent
