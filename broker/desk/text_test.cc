// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/text.h"

#include <gtest/gtest.h>

#include "broker/desk/report.h"
#include "broker/desk/words.h"

namespace latchkey::desk {
namespace {

using Words = std::vector<std::string>;

Words split(std::string_view line) {
    auto words = split_words(line);
    EXPECT_TRUE(words.has_value()) << line;
    return words ? *words : Words();
}

TEST(CommandLine, IsSplitAsAShellWould) {
    EXPECT_EQ(split(""), Words());
    EXPECT_EQ(split("  a\tb  c "), (Words{"a", "b", "c"}));
    EXPECT_EQ(split("a 'b c' \"d e\""), (Words{"a", "b c", "d e"}));
    EXPECT_EQ(split("a\\ b 'it'\\''s' \"x\\\"y\""), (Words{"a b", "it's", "x\"y"}));
    EXPECT_EQ(split("'' \"\""), (Words{"", ""}));
    EXPECT_EQ(split("\"a\\nb\""), (Words{"a\\nb"}));
    EXPECT_EQ(split("$HOME `id` *"), (Words{"$HOME", "`id`", "*"})); // nothing is expanded
}

TEST(CommandLine, IsRefusedWhereItIsUnfinishedOrHasControlCharacters) {
    for (const std::string& line :
         {std::string("'a"), std::string("\"a"), std::string("a\\"), std::string("a\x1b[2J"),
          std::string("a\0b", 3), std::string(kMaxCommandLine + 1, 'a')}) {
        EXPECT_FALSE(split_words(line).has_value());
    }
    std::string many;
    for (int i = 0; i < 200; ++i) many += "a ";
    EXPECT_FALSE(split_words(many).has_value());
}

TEST(CommandLine, QuotesSoThatAShellTakesItBack) {
    for (const std::string& word : {std::string("plain"), std::string("two words"), std::string("it's"),
                                    std::string(""), std::string("$x"), std::string("\"")}) {
        EXPECT_EQ(split(quote_word(word)), Words{word});
    }
}

TEST(Spans, AreReadAndWritten) {
    EXPECT_EQ(parse_span("30s", "--for")->value, 30'000'000);
    EXPECT_EQ(parse_span("90", "--for")->seconds(), 90);
    EXPECT_EQ(parse_span("15m", "--for")->seconds(), 900);
    EXPECT_EQ(parse_span("12h", "--for")->seconds(), 43200);
    EXPECT_EQ(parse_span("7d", "--for")->seconds(), 604800);
    for (const char* bad : {"", "0", "-1s", "h", "1y", "367d", "99999999999999999999", "1 h"}) {
        EXPECT_FALSE(parse_span(bad, "--for").has_value()) << bad;
    }
    EXPECT_EQ(span_text(from_seconds(59)), "59 s");
    EXPECT_EQ(span_text(from_seconds(43140)), "11 h 59 min");
    EXPECT_EQ(span_text(from_seconds(43199)), "12 h");
    EXPECT_EQ(span_text(from_seconds(3599)), "1 h");
    EXPECT_EQ(span_text(from_seconds(86399)), "1 d");
    EXPECT_EQ(span_text(from_seconds(3 * 86400 + 3600)), "3 d 1 h");
}

TEST(Times, AreUtcBothWays) {
    const Micros at = *parse_time("2026-01-31T18:35:02Z", {}, "--since");
    EXPECT_EQ(time_text(at), "2026-01-31 18:35:02 UTC");
    EXPECT_EQ(time_rfc3339(at), "2026-01-31T18:35:02Z");
    EXPECT_EQ(parse_time("1h", at, "--since")->value, at.value - 3'600'000'000);
    for (const char* bad : {"2026-02-31T00:00:00Z", "2026-01-31", "yesterday", "2026-01-31T18:35:02Zx"}) {
        EXPECT_FALSE(parse_time(bad, at, "--since").has_value()) << bad;
    }
}

TEST(FreeText, LosesItsControlCharactersOnATerminal) {
    EXPECT_EQ(printable("a\x1b[31mb\n"), "a?[31mb?");
    EXPECT_EQ(printable("größe €"), "größe €");
    EXPECT_EQ(printable("\xc2\x9b"), "?"); // C1 CSI
    EXPECT_EQ(printable("\xff\xfe"), "??");
    EXPECT_TRUE(check_free_text("laptop stolen", "--reason", 64).has_value());
    EXPECT_FALSE(check_free_text("a\x07", "--reason", 64).has_value());
    EXPECT_FALSE(check_free_text("", "--reason", 64).has_value());
    EXPECT_FALSE(check_free_text("too long", "--reason", 3).has_value());
}

TEST(Reports, SayTheSameToBothReaders) {
    const std::vector<Record> rows = {
        {{"name", std::string("web-1")}, {"connected", true}, {"id", std::string("12"), Shown::kJsonOnly}},
        {{"name", std::string("db")}, {"connected", false}, {"id", std::string("7"), Shown::kJsonOnly}},
    };
    EXPECT_EQ(table_text(rows, 0), "NAME   CONNECTED\nweb-1  yes\ndb     no\n");
    EXPECT_EQ(list_json("vms", {rows[0]}),
              "{\n  \"vms\": [\n    {\n      \"name\": \"web-1\",\n      \"connected\": true,\n      \"id\": "
              "\"12\"\n"
              "    }\n  ]\n}\n");
    EXPECT_EQ(object_text({{"last_seen", Micros{}}, {"name", std::string("x")}}),
              "last seen: never\nname:      x\n");
    EXPECT_EQ(line_json({{"at", Micros{}}, {"detail", RawJson{"{\"a\":1}"}}}),
              "{\"at\":null,\"detail\":{\"a\":1}}\n");
}

} // namespace
} // namespace latchkey::desk
