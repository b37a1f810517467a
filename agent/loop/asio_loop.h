// SPDX-License-Identifier: Apache-2.0
#pragma once
// Loop over an io_context (borrowed) and a Pool of kPoolThreads that it owns. stop() waits for the job that a
// pool thread is in; what has not begun is dropped. A process of many agents (tests/bench) gives them one
// pool that it owns itself and stops before them.

#include <memory>

#include "agent/loop/loop.h"

namespace boost::asio {
class io_context;
} // namespace boost::asio

namespace latchkey::agent {

class Pool;

// Ends several sessions at once and writes the disk besides.
inline constexpr std::size_t kPoolThreads = 9;

class AsioLoop : public Loop {
public:
    explicit AsioLoop(boost::asio::io_context& io, Pool* shared = nullptr);
    ~AsioLoop() override;
    void after(Micros delay, std::function<void()> then) override;
    void work(std::function<void()> job, std::function<void()> then) override;
    void look(std::function<bool()> job, std::function<void()> then) override;
    void stop();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace latchkey::agent
