// SPDX-License-Identifier: Apache-2.0
#pragma once
// Blocking work on the hub's pool: `co_await offload(pool, std::move(work))` runs it there
// and goes on with its Result on the thread of the coroutine. What the work throws becomes kInternal. Include
// in .cc files only. Give the work a name first, `auto work = [..] …; co_await offload(pool,
// std::move(work))`: g++ 12 destroys a temporary lambda twice where it is an argument of an awaited
// coroutine.

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

#include "core/base/result.h"

namespace latchkey::hub {

template <class Work>
std::invoke_result_t<Work&> run_guarded(Work& work) {
    try {
        return work();
    } catch (...) {
        return fail(Code::kInternal, "the hub's work threw an exception");
    }
}

template <class Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> offload(boost::asio::thread_pool& pool, Work work) {
    using Outcome = std::invoke_result_t<Work&>;
    const auto executor = co_await boost::asio::this_coro::executor;
    auto start = [&pool, executor](auto handler, Work job) {
        boost::asio::post(pool, [executor, handler = std::move(handler), job = std::move(job)]() mutable {
            auto outcome = run_guarded(job);
            boost::asio::post(executor,
                              [handler = std::move(handler), outcome = std::move(outcome)]() mutable {
                                  std::move(handler)(std::move(outcome));
                              });
        });
    };
    co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Outcome)>(
        std::move(start), boost::asio::use_awaitable, std::move(work));
}

} // namespace latchkey::hub
