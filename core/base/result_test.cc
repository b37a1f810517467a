// SPDX-License-Identifier: Apache-2.0
#include "core/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace latchkey {
namespace {

Result<int> half(int value) {
    if (value % 2 != 0) return fail(Code::kUsage, "odd", "give an even one");
    return value / 2;
}

Result<int> quarter(int value) {
    LK_TRY(once, half(value));
    LK_CHECK(half(once));
    return half(once);
}

TEST(Result, CarriesAValueOrAnError) {
    EXPECT_EQ(*quarter(8), 2);
    const auto failed = quarter(6);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Code::kUsage);
    EXPECT_EQ(failed.error().line(), "odd; give an even one");
    EXPECT_EQ(half(3).value_or(7), 7);
}

TEST(Result, MovesWhatCannotBeCopied) {
    Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
    const std::unique_ptr<int> taken = *std::move(result);
    EXPECT_EQ(*taken, 5);
}

TEST(Status, IsGoodUnlessItFailed) {
    EXPECT_TRUE(Status());
    const Status failed = fail(Error{Code::kIo, "disk", ""});
    EXPECT_FALSE(failed);
    EXPECT_EQ(failed.error().line(), "disk");
}

TEST(Error, EveryCodeHasItsOwnNameAndAnExitStatus) {
    std::set<std::string_view> names;
    for (const CodeInfo& row : all_codes()) {
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
        EXPECT_GE(row.exit_status, 1);
        EXPECT_LE(row.exit_status, 4);
        EXPECT_TRUE(row.pam.starts_with("PAM_") && row.pam != "PAM_SUCCESS" && row.pam != "PAM_IGNORE")
            << row.name;
        EXPECT_EQ(info(row.code).name, row.name);
    }
    // The codes have no gap: each from the first to the last has its row.
    for (std::uint8_t code = 1; code <= static_cast<std::uint8_t>(Code::kInternal); ++code)
        EXPECT_EQ(info(static_cast<Code>(code)).code, static_cast<Code>(code)) << int{code};
}

} // namespace
} // namespace latchkey
