// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/board.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace latchkey::hub {
namespace {

constexpr Micros kForEver = from_seconds(3600);

TEST(Board, LetsThoseWhoTellGoBeforeThoseWhoCount) {
    Board board;
    board.commit(Epoch{2});
    std::atomic<bool> is_told = false;
    std::thread teller([&] {
        board.tell(Epoch{1});
        is_told = true;
        board.tell(Epoch{2});
    });
    board.wait_until_told(kForEver);
    EXPECT_TRUE(is_told);
    teller.join();
}

TEST(Board, KeepsNobodyWaitingForATellingThatWillNotCome) {
    Board idle;
    idle.wait_until_told(kForEver);
    Board set_back;
    set_back.commit(Epoch{2});
    set_back.set_back(Epoch{1});
    set_back.wait_until_told(kForEver);
    Board closed;
    closed.commit(Epoch{2});
    closed.close();
    closed.wait_until_told(kForEver);
    Board slow;
    slow.commit(Epoch{2});
    slow.wait_until_told(from_millis(1));
}

} // namespace
} // namespace latchkey::hub
