// SPDX-License-Identifier: Apache-2.0
#include "broker/door/crew.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <future>
#include <latch>
#include <memory>

namespace latchkey::door {
namespace {

// The kernel's number of the thread that ran it.
pid_t run_alone(Crew& crew) {
    std::promise<pid_t> done;
    EXPECT_TRUE(crew.run([&] { done.set_value(::gettid()); }));
    return done.get_future().get();
}

TEST(Crew, KeepsAThreadForTheNextJob) {
    Crew crew("test", 1);
    pid_t last = run_alone(crew);
    bool has_stayed = false;
    // A job may come before the one before has gone back: then, and only then, it gets another thread.
    for (int i = 0; i < 10'000 && !has_stayed; ++i) {
        const pid_t next = run_alone(crew);
        has_stayed = next == last;
        last = next;
    }
    EXPECT_TRUE(has_stayed);
}

TEST(Crew, ServesAllAtOnceHoweverFewItKeeps) {
    constexpr std::size_t kJobs = 12;
    Crew crew("test", 2);
    for (int round = 0; round < 3; ++round) {
        std::latch all_run(kJobs);
        std::latch all_done(kJobs);
        for (std::size_t i = 0; i < kJobs; ++i) {
            ASSERT_TRUE(crew.run([&] {
                all_run.arrive_and_wait(); // none returns before each has begun
                all_done.count_down();
            }));
        }
        all_done.wait();
    }
}

TEST(Crew, ThatKeepsNoneMakesAThreadAJob) {
    Crew crew("test", 0);
    for (int i = 0; i < 20; ++i) run_alone(crew);
}

TEST(Crew, DropsAJobsBelongingsAsSoonAsItIsDone) {
    Crew crew("test", 1);
    std::promise<void> dropped;
    const auto tell = [&](int* belonging) {
        delete belonging;
        dropped.set_value();
    };
    ASSERT_TRUE(crew.run([belonging = std::shared_ptr<int>(new int(1), tell)] {}));
    EXPECT_EQ(dropped.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready)
        << "though its thread stays";
}

TEST(Crew, WaitsForItsJobsAndTakesNoneAfterwards) {
    Crew crew("test", 4);
    std::array<bool, 8> is_done{};
    std::latch has_begun(is_done.size());
    std::promise<void> may_end;
    const std::shared_future<void> ends = may_end.get_future().share();
    for (bool& done : is_done) {
        ASSERT_TRUE(crew.run([&has_begun, &done, ends] {
            has_begun.count_down();
            ends.wait();
            done = true;
        }));
    }
    has_begun.wait();
    std::thread stopper([&] { crew.stop(); });
    may_end.set_value();
    stopper.join();
    for (const bool done : is_done) EXPECT_TRUE(done);
    const Status refused = crew.run([] {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kUnavailable);
    crew.stop();
}

} // namespace
} // namespace latchkey::door
