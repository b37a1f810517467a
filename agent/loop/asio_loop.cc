// SPDX-License-Identifier: Apache-2.0
#include "agent/loop/asio_loop.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include <chrono>

#include "agent/log/log.h"

namespace latchkey::agent {
namespace {

// A thrown exception ends in the log, not in the thread: whoever waits for `then` gets it.
void run_guarded(const std::function<void()>& job) {
    try {
        job();
    } catch (const std::exception& problem) {
        log_error(std::string("fail job why=") + problem.what());
    } catch (...) {
        log_error("fail job why=unknown");
    }
}

} // namespace

struct AsioLoop::State {
    State(boost::asio::io_context& context, boost::asio::thread_pool* everybodys)
        : io(context), shared(everybodys) {}
    boost::asio::thread_pool& threads() { // started by the first job: an idle agent has one thread
        if (shared != nullptr) return *shared;
        if (!pool) pool = std::make_unique<boost::asio::thread_pool>(kPoolThreads);
        return *pool;
    }

    boost::asio::io_context& io;
    boost::asio::thread_pool* const shared;
    std::unique_ptr<boost::asio::thread_pool> pool;
};

AsioLoop::AsioLoop(boost::asio::io_context& io, boost::asio::thread_pool* shared)
    : state_(std::make_unique<State>(io, shared)) {}

AsioLoop::~AsioLoop() {
    stop();
}

void AsioLoop::stop() {
    if (!state_->pool) return;
    state_->pool->stop();
    state_->pool->join();
}

void AsioLoop::after(Micros delay, std::function<void()> then) {
    auto timer = std::make_shared<boost::asio::steady_timer>(state_->io);
    timer->expires_after(std::chrono::microseconds(delay.value));
    timer->async_wait([timer, then = std::move(then)](boost::system::error_code error) {
        if (!error) run_guarded(then);
    });
}

void AsioLoop::work(std::function<void()> job, std::function<void()> then) {
    boost::asio::post(state_->threads(), [&io = state_->io, job = std::move(job), then = std::move(then),
                                          guard = boost::asio::make_work_guard(state_->io)]() mutable {
        run_guarded(job);
        boost::asio::post(io, [then = std::move(then)] { run_guarded(then); });
    });
}

} // namespace latchkey::agent
