// SPDX-License-Identifier: Apache-2.0
#include "core/base/bytes.h"

#include <gtest/gtest.h>

namespace latchkey {
namespace {

TEST(Hex, GoesThereAndBack) {
    const Bytes bytes = {0x00, 0x7f, 0x80, 0xff};
    EXPECT_EQ(to_hex(bytes), "007f80ff");
    EXPECT_EQ(*from_hex("007F80ff"), bytes);
    EXPECT_EQ(*from_hex(""), Bytes());
}

TEST(Hex, RefusesOddLengthAndForeignCharacters) {
    EXPECT_EQ(from_hex("abc").error().code, Code::kMalformed);
    EXPECT_EQ(from_hex("0g").error().code, Code::kMalformed);
    EXPECT_EQ(from_hex(" 0").error().code, Code::kMalformed);
}

TEST(Base64, MatchesTheVectorsOfRfc4648) {
    const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                           {"f", "Zg=="},
                                                           {"fo", "Zm8="},
                                                           {"foo", "Zm9v"},
                                                           {"foob", "Zm9vYg=="},
                                                           {"fooba", "Zm9vYmE="},
                                                           {"foobar", "Zm9vYmFy"}};
    for (const auto& [plain, encoded] : vectors) {
        EXPECT_EQ(to_base64(as_bytes(plain)), encoded);
        const auto decoded = from_base64(encoded);
        ASSERT_TRUE(decoded) << encoded;
        EXPECT_EQ(as_text(*decoded), plain);
    }
}

TEST(Base64, GoesThereAndBackAtEveryLengthInBothForms) {
    Bytes bytes;
    for (int size = 0; size < 70; ++size) {
        for (const Padding padding : {Padding::kWith, Padding::kWithout})
            EXPECT_EQ(*from_base64(to_base64(bytes, padding), padding), bytes);
        bytes.push_back(static_cast<std::uint8_t>(size * 37 + 200));
    }
}

TEST(Base64, RefusesWhatIsNotItsOnlyEncoding) {
    for (const char* text :
         {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "Zm9v\n", "Zm 9v", "Zm9-", "=Zg="})
        EXPECT_FALSE(from_base64(text)) << text;
    for (const char* text : {"Zg==", "Z", "Zh", "Zm9v="})
        EXPECT_FALSE(from_base64(text, Padding::kWithout)) << text;
}

TEST(Bytes, AreEqualByContentOnly) {
    EXPECT_TRUE(equal(as_bytes("abc"), Bytes{'a', 'b', 'c'}));
    EXPECT_FALSE(equal(as_bytes("abc"), as_bytes("abd")));
    EXPECT_FALSE(equal(as_bytes("abc"), as_bytes("ab")));
}

} // namespace
} // namespace latchkey
