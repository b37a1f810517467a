// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::wire {
namespace {

Bytes hex(std::string_view text) {
    return *from_hex(text);
}

// The examples of RFC 4251 section 5.
TEST(Wire, WritesTheVectorsOfRfc4251) {
    Writer writer;
    writer.u32(699921578);
    EXPECT_EQ(to_hex(writer.take()), "29b7f4aa");
    writer.string("testing");
    EXPECT_EQ(to_hex(writer.take()), "0000000774657374696e67");
    const std::pair<const char*, const char*> numbers[] = {
        {"", "00000000"}, {"09a378f9b2e332a7", "0000000809a378f9b2e332a7"}, {"80", "000000020080"}};
    for (const auto& [magnitude, encoded] : numbers) {
        writer.mpint(hex(magnitude));
        EXPECT_EQ(to_hex(writer.take()), encoded);
    }
    const std::pair<std::vector<std::string>, const char*> lists[] = {
        {{}, "00000000"}, {{"zlib"}, "000000047a6c6962"}, {{"zlib", "none"}, "000000097a6c69622c6e6f6e65"}};
    for (const auto& [names, encoded] : lists) {
        writer.name_list(names);
        EXPECT_EQ(to_hex(writer.take()), encoded);
    }
}

TEST(Wire, ReadsTheNumbersOfRfc4251AndRefusesItsNegativeOnes) {
    for (const auto& [encoded, magnitude] : {std::pair{"00000000", ""},
                                             {"0000000809a378f9b2e332a7", "09a378f9b2e332a7"},
                                             {"000000020080", "80"}}) {
        const Bytes bytes = hex(encoded);
        Reader reader(bytes);
        const auto number = reader.mpint();
        ASSERT_TRUE(number) << encoded;
        EXPECT_EQ(to_hex(*number), magnitude);
        EXPECT_TRUE(reader.expect_end());
    }
    for (const char* encoded : {"00000002edcc", "00000005ff21524111", "0000000100", "00000002007f"}) {
        const Bytes bytes = hex(encoded);
        Reader reader(bytes);
        EXPECT_EQ(reader.mpint().error().code, Code::kMalformed) << encoded;
        EXPECT_EQ(reader.rest().size(), bytes.size()) << "a failed read moved the reader";
    }
}

TEST(Wire, ReadsBackWhatItWrote) {
    Writer writer;
    writer.u8(200);
    writer.boolean(true);
    writer.u32(0xfffefdfc);
    writer.u64(0x0102030405060708);
    writer.string("text");
    writer.mpint(hex("0000ff"));
    writer.raw(hex("0102"));
    const Bytes bytes = writer.take();
    EXPECT_TRUE(writer.bytes().empty());
    Reader reader(bytes);
    EXPECT_EQ(*reader.u8(), 200);
    EXPECT_EQ(*reader.boolean(), true);
    EXPECT_EQ(*reader.u32(), 0xfffefdfcU);
    EXPECT_EQ(*reader.u64(), 0x0102030405060708U);
    EXPECT_EQ(*reader.text(), "text");
    EXPECT_EQ(to_hex(*reader.mpint()), "ff");
    EXPECT_FALSE(reader.expect_end());
    EXPECT_EQ(to_hex(*reader.raw(2)), "0102");
    EXPECT_TRUE(reader.expect_end());
}

TEST(Wire, RefusesEveryTypeThatIsCutShortAndStaysWhereItWas) {
    const Bytes seven(7, 0);
    const Bytes three(3, 0);
    EXPECT_FALSE(Reader({}).u8());
    EXPECT_FALSE(Reader({}).boolean());
    EXPECT_FALSE(Reader(three).u32());
    EXPECT_FALSE(Reader(seven).u64());
    EXPECT_FALSE(Reader(three).string());
    const Bytes short_string = hex("000000036162");
    Reader reader(short_string);
    EXPECT_EQ(reader.string().error().code, Code::kMalformed);
    EXPECT_EQ(reader.rest().size(), short_string.size());
}

TEST(Wire, RefusesAStringOverItsLimitBeforeAnythingElse) {
    const Bytes huge = hex("ffffffff");
    EXPECT_EQ(Reader(huge).string().error().code, Code::kTooLarge);
    const Bytes four = hex("0000000461626364");
    EXPECT_EQ(Reader(four).string(3).error().code, Code::kTooLarge);
    EXPECT_EQ(Reader(four).text(4).value(), "abcd");
}

TEST(Wire, RefusesABooleanThatIsNeitherZeroNorOne) {
    const Bytes two = {2};
    const Bytes one = {1};
    EXPECT_FALSE(Reader(two).boolean());
    EXPECT_TRUE(*Reader(one).boolean());
}

} // namespace
} // namespace latchkey::wire
