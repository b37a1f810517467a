// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/gathered.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <stdexcept>

namespace latchkey::hub {
namespace {

namespace asio = boost::asio;
using Doubling = Gathered<int, Result<int>>;

// What each of 1 to `count` is answered, in their order.
std::vector<Result<int>> ask_all(const Doubling::Job& job, int count) {
    asio::io_context io(1);
    asio::thread_pool pool(1);
    Doubling gathered(io, pool, job);
    const auto work = asio::make_work_guard(io);
    std::vector<Result<int>> answers(static_cast<std::size_t>(count), fail(Code::kInternal, "none"));
    int left = count;
    auto ask = [&](int number) -> asio::awaitable<void> {
        auto answer = co_await gathered.ask(number, static_cast<std::size_t>(count));
        answers[static_cast<std::size_t>(number) - 1] = std::move(answer);
        if (--left == 0) io.stop();
    };
    for (int number = 1; number <= count; ++number) asio::co_spawn(io, ask(number), asio::detached);
    io.run();
    pool.join();
    return answers;
}

TEST(Gathered, AsksOnceForAllThatAreExpectedAndAnswersEach) {
    std::vector<std::size_t> sizes; // of the one thread of the pool
    const auto answers = ask_all(
        [&](const std::vector<int>& numbers) {
            sizes.push_back(numbers.size());
            std::vector<Result<int>> out;
            for (const int number : numbers) out.emplace_back(2 * number);
            return out;
        },
        100);
    std::size_t asked = 0;
    for (const std::size_t size : sizes) asked += size;
    EXPECT_EQ(asked, 100U);
    EXPECT_LT(sizes.size(), 100U) << "none has shared a job";
    for (int number = 1; number <= 100; ++number) {
        const Result<int>& answer = answers[static_cast<std::size_t>(number) - 1];
        ASSERT_TRUE(answer);
        EXPECT_EQ(*answer, 2 * number);
    }
}

TEST(Gathered, AnswersEachWithAFailureWhereItsJobThrows) {
    const auto answers = ask_all(
        [](const std::vector<int>&) -> std::vector<Result<int>> { throw std::runtime_error("no"); }, 3);
    for (const Result<int>& answer : answers) {
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().code, Code::kInternal);
        EXPECT_NE(answer.error().message, "none");
    }
}

} // namespace
} // namespace latchkey::hub
