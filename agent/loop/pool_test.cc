// SPDX-License-Identifier: Apache-2.0
#include "agent/loop/pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <future>
#include <set>
#include <stdexcept>

#include "agent/loop/asio_loop.h"

namespace latchkey::agent {
namespace {

TEST(PoolTest, RunsAsManyJobsAtOnceAsItMayAndEachOfThem) {
    constexpr std::size_t kThreads = 3;
    constexpr int kJobs = 30;
    Pool pool(kThreads);
    std::mutex mutex;
    std::condition_variable changed;
    std::set<std::thread::id> threads;
    int ended = 0;
    for (int i = 0; i < kJobs; ++i) {
        pool.post([&] {
            std::unique_lock lock(mutex);
            threads.insert(std::this_thread::get_id());
            changed.notify_all();
            changed.wait(lock, [&] { return threads.size() == kThreads; }); // for ever, where there are fewer
            ++ended;
            changed.notify_all();
        });
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ended == kJobs; });
    EXPECT_EQ(threads.size(), kThreads);
}

TEST(PoolTest, DropsWhatHasNotBegunWhenItStops) {
    Pool pool(1);
    std::promise<void> begun;
    std::promise<void> released;
    std::atomic<int> ended = 0;
    pool.post([&] {
        begun.set_value();
        released.get_future().wait();
        ++ended;
    });
    pool.post([&] { ++ended; });
    begun.get_future().wait();
    auto stopped = std::async(std::launch::async, [&] { pool.stop(); });
    while (true) { // what is posted once it stops is dropped at once, with what it holds
        const auto held = std::make_shared<int>(0);
        pool.post([held] {});
        if (held.use_count() == 1) break;
        std::this_thread::yield();
    }
    released.set_value();
    stopped.get();
    EXPECT_EQ(ended, 1);
}

TEST(AsioLoopTest, GoesBackToTheLoopOnlyForALookThatFoundSomething) {
    boost::asio::io_context io(1);
    AsioLoop loop(io);
    int found = 0;
    loop.look([] { return false; }, [&] { found += 1; });
    loop.look([] { return true; }, [&] { found += 10; });
    loop.look([]() -> bool { throw std::runtime_error("nothing is known"); }, [&] { found += 100; });
    io.run(); // ends with the last of them
    EXPECT_EQ(found, 110);
}

} // namespace
} // namespace latchkey::agent
