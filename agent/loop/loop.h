// SPDX-License-Identifier: Apache-2.0
#pragma once
// The seam to time and to the pool: the one thread that owns sockets and state runs everything through it,
// and tests move it by hand. What is handed over is run once or, when the loop ends first, dropped; it may
// point to whatever outlives the loop. Its functions are called on the loop's thread.

#include <functional>

#include "core/base/clock.h"

namespace latchkey::agent {

class Loop {
public:
    virtual ~Loop() = default;
    virtual void after(Micros delay, std::function<void()> then) = 0;
    // `job` may block and runs on a thread of the bounded pool; then `then` on the loop's thread.
    virtual void work(std::function<void()> job, std::function<void()> then) = 0;
    // The same for what finds nothing as a rule: `then` only where the job says true, or throws, so that the
    // loop's thread is not woken for nothing.
    virtual void look(std::function<bool()> job, std::function<void()> then) = 0;
};

} // namespace latchkey::agent
