// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/run_program.h"

#include <gtest/gtest.h>

namespace latchkey::agent::doctor {
namespace {

TEST(RunProgramTest, GivesWhatWasPrintedAndTheStatus) {
    const auto ran = run_program({"sh", "-c", "echo out; echo err >&2; exit 7"}, from_seconds(30));
    ASSERT_TRUE(ran);
    EXPECT_EQ(ran->status, 7);
    EXPECT_EQ(ran->out, "out\n");
    EXPECT_EQ(ran->err, "err\n");
}

TEST(RunProgramTest, KillsWhatDoesNotEnd) {
    const Micros start = SystemClock().monotonic();
    const auto ran = run_program({"sh", "-c", "sleep 600 & sleep 600"}, from_millis(200));
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().code, Code::kTimedOut);
    EXPECT_LT(SystemClock().monotonic() - start, from_seconds(30));
}

TEST(RunProgramTest, SaysThatAProgramIsNotThere) {
    const auto ran = run_program({"/nonexistent/program"}, from_seconds(30));
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().code, Code::kNotFound);
}

TEST(RunProgramTest, KeepsABoundedPartOfEndlessOutput) {
    const auto ran = run_program({"sh", "-c", "head -c 3000000 /dev/zero"}, from_seconds(30));
    ASSERT_TRUE(ran);
    EXPECT_LE(ran->out.size(), 1100U * 1024);
}

} // namespace
} // namespace latchkey::agent::doctor
