// SPDX-License-Identifier: Apache-2.0
#include "core/base/secret_bytes.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace latchkey {
namespace {

TEST(SecretBytes, MoveAndLeaveNothingBehind) {
    static_assert(!std::is_copy_constructible_v<SecretBytes>);
    SecretBytes first(as_bytes("secret"));
    SecretBytes second = std::move(first);
    EXPECT_TRUE(first.empty()); // NOLINT: what a moved-from secret holds is the point
    EXPECT_EQ(as_text(second.view()), "secret");
    EXPECT_EQ(as_text(second.clone().view()), "secret");
    second = SecretBytes();
    EXPECT_TRUE(second.empty());
}

TEST(SecretBytes, TakeABufferOverWithoutACopy) {
    Bytes bytes = {1, 2, 3};
    const std::uint8_t* place = bytes.data();
    const SecretBytes secret = SecretBytes::adopt(std::move(bytes));
    EXPECT_EQ(secret.view().data(), place);
}

TEST(SecretBytes, WipeOverwritesTheMemory) {
    Bytes bytes = {1, 2, 3};
    wipe(bytes);
    EXPECT_EQ(bytes, (Bytes{0, 0, 0}));
    wipe({});
}

TEST(EqualSecret, TellsEqualFromDifferent) {
    EXPECT_TRUE(equal_secret(as_bytes("code"), as_bytes("code")));
    EXPECT_FALSE(equal_secret(as_bytes("code"), as_bytes("codf")));
    EXPECT_FALSE(equal_secret(as_bytes("code"), as_bytes("cod")));
    EXPECT_TRUE(equal_secret({}, {}));
}

} // namespace
} // namespace latchkey
