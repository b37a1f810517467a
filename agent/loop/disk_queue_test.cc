// SPDX-License-Identifier: Apache-2.0
#include "agent/loop/disk_queue.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <new>
#include <vector>

#include "agent/loop/asio_loop.h"

namespace latchkey::agent {
namespace {

TEST(DiskQueueTest, TakesAJobThatThrewForOneThatFailedAndGoesOn) {
    boost::asio::io_context io(1);
    AsioLoop loop(io);
    DiskQueue disk(loop);
    std::vector<Status> outcomes;
    const auto note = [&](const Status& outcome) { outcomes.push_back(outcome); };
    disk.write([]() -> Status { throw std::bad_alloc(); }, note);
    disk.write([]() -> Status { return {}; }, note);
    disk.write([]() -> Status { return fail(Code::kIo, "the disk is full"); }, note);
    io.run(); // ends with the last of them
    ASSERT_EQ(outcomes.size(), 3U);
    EXPECT_EQ(outcomes[0].error().code, Code::kInternal);
    EXPECT_TRUE(outcomes[1]);
    EXPECT_EQ(outcomes[2].error().code, Code::kIo);
}

} // namespace
} // namespace latchkey::agent
