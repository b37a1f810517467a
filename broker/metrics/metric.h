// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a room counts with: one atomic operation a count, no lock, no allocation. A room owns its metrics as
// members and names them to the Registry once; they must outlive whoever renders that. Any thread.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace latchkey::metrics {

// Only grows.
class Counter {
public:
    void add(std::uint64_t amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
    std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_ = 0;
};

class Gauge {
public:
    void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
    void add(std::int64_t amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
    std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::int64_t> value_ = 0;
};

// Seconds, from what a store takes to what a person waits for.
inline constexpr std::array kSeconds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                        0.1,    0.25,  0.5,    1.0,   2.5,  5.0,   10.0};
inline constexpr std::array kSizes = {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0};

// Upper bounds, ascending and fixed; the bucket above the last is there too.
class Histogram {
public:
    explicit Histogram(std::span<const double> bounds = kSeconds)
        : bounds_(bounds), buckets_(std::make_unique<std::atomic<std::uint64_t>[]>(bounds.size() + 1)) {}

    void observe(double value) {
        const auto bucket = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
        buckets_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
        sum_.fetch_add(value, std::memory_order_relaxed);
    }
    void observe(std::chrono::steady_clock::duration span) {
        observe(std::chrono::duration<double>(span).count());
    }

    std::span<const double> bounds() const { return bounds_; } // of static storage
    std::vector<std::uint64_t> buckets() const {               // not cumulative
        std::vector<std::uint64_t> counts(bounds_.size() + 1);
        for (std::size_t i = 0; i < counts.size(); ++i) {
            counts[i] = buckets_[i].load(std::memory_order_relaxed);
        }
        return counts;
    }
    double sum() const { return sum_.load(std::memory_order_relaxed); }

private:
    const std::span<const double> bounds_;
    const std::unique_ptr<std::atomic<std::uint64_t>[]> buckets_;
    std::atomic<double> sum_ = 0;
};

// Observes how long it lived.
class Stopwatch {
public:
    explicit Stopwatch(Histogram& into) : into_(into), since_(std::chrono::steady_clock::now()) {}
    ~Stopwatch() { into_.observe(std::chrono::steady_clock::now() - since_); }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

private:
    Histogram& into_;
    const std::chrono::steady_clock::time_point since_;
};

} // namespace latchkey::metrics
