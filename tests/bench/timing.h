// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every bench program needs: a stopwatch, a median, and a way to make the compiler keep a result.

#include <time.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace latchkey::bench {

class Stopwatch {
public:
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Counts this thread's own time on its core alone: other work on the machine does not enter.
class CpuStopwatch {
public:
    double seconds() const { return now() - start_; }

private:
    static double now() {
        timespec time{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    }
    double start_ = now();
};

// Of at least one value.
inline double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

template <class T>
void keep(const T& value) {
    asm volatile("" : : "g"(&value) : "memory");
}

} // namespace latchkey::bench
