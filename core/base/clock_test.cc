// SPDX-License-Identifier: Apache-2.0
#include "core/base/clock.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "core/base/unique_handle.h"

namespace latchkey {
namespace {

TEST(Clock, SystemTimeIsAfterThisWasWrittenAndMonotonicNeverStepsBack) {
    const SystemClock clock;
    EXPECT_GT(clock.now(), from_seconds(1'700'000'000));
    const Micros first = clock.monotonic();
    EXPECT_LE(first, clock.monotonic());
}

TEST(Clock, FakeTimeMovesOnlyByHand) {
    FakeClock clock(from_seconds(100));
    const Micros start = clock.monotonic();
    clock.advance(from_millis(1500));
    EXPECT_EQ(clock.now(), Micros{101'500'000});
    EXPECT_EQ(clock.monotonic() - start, from_millis(1500));
    clock.step_wall(from_seconds(-50)); // an administrator sets the wall clock back
    EXPECT_EQ(clock.now().seconds(), 51);
    EXPECT_EQ(clock.monotonic() - start, from_millis(1500));
}

TEST(UniqueFd, ClosesItsDescriptorOnce) {
    const int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    {
        UniqueFd fd(raw);
        UniqueFd taken = std::move(fd);
        EXPECT_FALSE(fd); // NOLINT: what a moved-from owner holds is the point
        EXPECT_EQ(taken.get(), raw);
    }
    EXPECT_EQ(::fcntl(raw, F_GETFD), -1);
}

} // namespace
} // namespace latchkey
