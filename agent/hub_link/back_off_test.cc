// SPDX-License-Identifier: Apache-2.0
#include "agent/hub_link/back_off.h"

#include <gtest/gtest.h>

namespace latchkey::agent {
namespace {

constexpr Micros kPeriod = from_seconds(5);

TEST(BackOffTest, GrowsWithEachRoundOfAllBrokersUpToItsEnd) {
    BackOff two;
    EXPECT_EQ(two.after({}, kPeriod, 2), kFirstBackOff);
    EXPECT_EQ(two.after({}, kPeriod, 2), kFirstBackOff);
    EXPECT_EQ(two.after({}, kPeriod, 2), from_millis(400));
    BackOff one;
    for (int attempt = 0; attempt < 100; ++attempt) one.after({}, kPeriod, 1);
    EXPECT_EQ(one.after({}, kPeriod, 1), kLongestBackOff);
}

TEST(BackOffTest, GrowsWhereEachConnectionIsWelcomeAndThenFails) {
    BackOff back_off;
    EXPECT_EQ(back_off.after(from_millis(3), kPeriod, 1), kFirstBackOff);
    EXPECT_EQ(back_off.after(kPeriod - Micros{1}, kPeriod, 1), from_millis(400));
    EXPECT_EQ(back_off.after(from_millis(3), kPeriod, 1), from_millis(800));
}

TEST(BackOffTest, BeginsAnewAfterAConnectionThatLasted) {
    BackOff back_off;
    for (int attempt = 0; attempt < 9; ++attempt) back_off.after({}, kPeriod, 1);
    EXPECT_EQ(back_off.after(kPeriod, kPeriod, 1), kFirstBackOff);
    EXPECT_EQ(back_off.after({}, kPeriod, 1), from_millis(400));
}

} // namespace
} // namespace latchkey::agent
