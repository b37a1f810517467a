// SPDX-License-Identifier: Apache-2.0
#include "agent/loop/asio_loop.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "agent/log/log.h"
#include "agent/loop/pool.h"

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
    State(boost::asio::io_context& context, Pool* everybodys)
        : io(context), own(kPoolThreads), pool(everybodys != nullptr ? *everybodys : own) {}

    boost::asio::io_context& io;
    Pool own;
    Pool& pool;
};

AsioLoop::AsioLoop(boost::asio::io_context& io, Pool* shared) : state_(std::make_unique<State>(io, shared)) {}

AsioLoop::~AsioLoop() {
    stop();
}

void AsioLoop::stop() {
    state_->own.stop();
}

void AsioLoop::after(Micros delay, std::function<void()> then) {
    auto timer = std::make_shared<boost::asio::steady_timer>(state_->io);
    timer->expires_after(std::chrono::microseconds(delay.value));
    timer->async_wait([timer, then = std::move(then)](boost::system::error_code error) {
        if (!error) run_guarded(then);
    });
}

void AsioLoop::work(std::function<void()> job, std::function<void()> then) {
    look(
        [job = std::move(job)] {
            job();
            return true;
        },
        std::move(then));
}

void AsioLoop::look(std::function<bool()> job, std::function<void()> then) {
    state_->pool.post([&io = state_->io, job = std::move(job), then = std::move(then),
                       guard = boost::asio::make_work_guard(state_->io)]() mutable {
        bool is_due = true;
        run_guarded([&] { is_due = job(); });
        if (is_due) boost::asio::post(io, [then = std::move(then)] { run_guarded(then); });
    });
}

} // namespace latchkey::agent
