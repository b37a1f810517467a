// SPDX-License-Identifier: Apache-2.0
#include "core/revocation/revocation.h"

#include <gtest/gtest.h>

namespace latchkey::revocation {
namespace {

const std::string kKeyText = "SHA256:" + std::string(43, 'K');
const std::string kCaText = "SHA256:" + std::string(43, 'C');

Micros at(std::int64_t seconds) {
    return from_seconds(seconds);
}

Revocation revocation(std::uint64_t epoch, std::string_view kind, std::string_view text,
                      std::int64_t made_at = 1000, std::int64_t drop_at = 5000) {
    return {.epoch = {epoch},
            .selector = *Selector::parse(kind, text),
            .made_at = at(made_at),
            .drop_at = at(drop_at)};
}

Credential bobs(std::int64_t issued_at = 900) {
    return {.user = *UserName::parse("bob"),
            .key = *Fingerprint::parse(kKeyText),
            .serial = {42},
            .ca = *Fingerprint::parse(kCaText),
            .vm = *VmName::parse("web-7"),
            .issued_at = at(issued_at)};
}

RevocationSet set_of(const std::vector<Revocation>& revocations) {
    RevocationSet set;
    for (const Revocation& one : revocations) EXPECT_TRUE(set.apply(one));
    return set;
}

struct Case {
    const char* kind;
    std::string covering;
    std::string other;
};

void PrintTo(const Case& kind, std::ostream* out) {
    *out << kind.kind;
}

class SelectorOf : public testing::TestWithParam<Case> {};

TEST_P(SelectorOf, CoversWhatItNamesAndNothingElse) {
    const auto& [kind, covering, other] = GetParam();
    const auto found = set_of({revocation(1, kind, covering)}).covers(bobs());
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, revocation(1, kind, covering));
    EXPECT_EQ(found->selector.kind_name(), kind);
    EXPECT_FALSE(set_of({revocation(1, kind, other)}).covers(bobs()));
}

TEST_P(SelectorOf, CoversWhatWasIssuedUntilItWasMade) {
    const auto& [kind, covering, other] = GetParam();
    const RevocationSet set = set_of({revocation(1, kind, covering)});
    EXPECT_TRUE(set.covers(bobs(999)));
    const bool names_one_certificate = std::string_view(kind) == "cert";
    const bool names_a_time = std::string_view(kind) == "before";
    EXPECT_EQ(set.covers(bobs(1000)).has_value(), !names_a_time);
    EXPECT_EQ(set.covers(bobs(1001)).has_value(), names_one_certificate);
}

TEST_P(SelectorOf, SurvivesTheFile) {
    const RevocationSet set = set_of({revocation(1, GetParam().kind, GetParam().covering)});
    const auto read = RevocationSet::decode(set.encode());
    ASSERT_TRUE(read) << read.error().line();
    EXPECT_TRUE(read->covers(bobs()));
    EXPECT_EQ(read->all(), set.all());
    EXPECT_EQ(read->epoch(), Epoch{1});
}

INSTANTIATE_TEST_SUITE_P(EveryKind, SelectorOf,
                         testing::Values(Case{"user", "bob", "bobby"},
                                         Case{"key", kKeyText, "SHA256:" + std::string(43, 'X')},
                                         Case{"cert", "42", "43"}, Case{"vm", "web-7", "web-8"},
                                         Case{"ca", kCaText, kKeyText},
                                         Case{"before", "1000000000", "900000000"}),
                         [](const auto& kind) { return kind.param.kind; });

TEST(Selector, RefusesTextThatIsNotOfItsKind) {
    for (const auto& [kind, text] : {std::pair{"user", "Bob Smith"},
                                     {"user", ""},
                                     {"key", "bob"},
                                     {"ca", "MD5:00"},
                                     {"cert", "0"},
                                     {"cert", "-1"},
                                     {"cert", "007"},
                                     {"cert", "12x"},
                                     {"cert", ""},
                                     {"cert", "18446744073709551616"},
                                     {"vm", "Web 7"},
                                     {"before", "yesterday"},
                                     {"before", "9223372036854775808"}})
        EXPECT_EQ(Selector::parse(kind, text).error().code, Code::kMalformed) << kind << " " << text;
    EXPECT_EQ(Selector::parse("certificate", "1").error().code, Code::kUsage);
    EXPECT_TRUE(Selector::parse("cert", "18446744073709551615"));
}

TEST(RevocationSet, WithNothingInItCoversNothing) {
    const RevocationSet set;
    EXPECT_FALSE(set.covers(bobs()));
    EXPECT_FALSE(set.covers({}));
    EXPECT_EQ(set.epoch(), Epoch{0});
}

TEST(RevocationSet, DoesNotMixKindsOfTheSameText) {
    EXPECT_FALSE(set_of({revocation(1, "user", "web-7")}).covers(bobs()));
    EXPECT_FALSE(set_of({revocation(1, "vm", "bob")}).covers(bobs()));
}

TEST(RevocationSet, TakesEpochsInOrderWithoutAGap) {
    RevocationSet set = set_of({revocation(1, "user", "a"), revocation(2, "user", "b")});
    for (const std::uint64_t epoch : {0U, 1U, 2U, 4U}) {
        const Status refused = set.apply(revocation(epoch, "user", "bob"));
        ASSERT_FALSE(refused) << epoch;
        EXPECT_EQ(refused.error().code, Code::kConflict);
    }
    EXPECT_FALSE(set.covers(bobs())) << "a refused revocation left a trace";
    EXPECT_EQ(set.epoch(), Epoch{2});
    EXPECT_TRUE(set.apply(revocation(3, "user", "bob")));
    EXPECT_TRUE(set.covers(bobs()));
}

TEST(RevocationSet, ReplacedByAFullSetKnowsThatAlone) {
    RevocationSet set = set_of({revocation(1, "user", "bob")});
    ASSERT_TRUE(set.replace({9}, {revocation(8, "key", kKeyText), revocation(3, "vm", "db-1")}));
    EXPECT_EQ(set.epoch(), Epoch{9});
    EXPECT_EQ(set.size(), 2U);
    EXPECT_EQ(set.all().front().epoch, Epoch{3});
    EXPECT_EQ(set.covers(bobs())->epoch, Epoch{8});
    EXPECT_TRUE(set.apply(revocation(10, "user", "bob")));
    EXPECT_TRUE(set.replace({10}, {})) << "the same epoch, everything dropped";
    EXPECT_FALSE(set.covers(bobs()));
}

TEST(RevocationSet, NamesTheNewestInOrder) {
    RevocationSet set;
    for (std::uint64_t epoch = 1; epoch <= 5; ++epoch)
        ASSERT_TRUE(set.apply({{epoch}, {SelectorKind::kCertificate, std::to_string(epoch)}, {}, {9}}));
    EXPECT_TRUE(set.newer_than({5}, 9).empty());
    EXPECT_EQ(set.newer_than({3}, 9).at(0).epoch.value, 4U);
    ASSERT_EQ(set.newer_than({0}, 2).size(), 2U);
    EXPECT_EQ(set.newer_than({0}, 2).at(0).epoch.value, 4U);
}

TEST(RevocationSet, RefusesToGoBackAndSaysRollback) {
    RevocationSet set = set_of({revocation(1, "user", "a"), revocation(2, "user", "bob")});
    const Status refused = set.replace({1}, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kConflict);
    EXPECT_NE(refused.error().message.find("rollback"), std::string::npos);
    EXPECT_TRUE(set.covers(bobs()));
}

TEST(RevocationSet, RefusesASetThatCannotBe) {
    RevocationSet set = set_of({revocation(1, "user", "bob")});
    EXPECT_FALSE(set.replace({5}, {revocation(6, "user", "a")}));
    EXPECT_FALSE(set.replace({5}, {revocation(2, "user", "a"), revocation(2, "user", "b")}));
    EXPECT_FALSE(set.replace({5}, {revocation(0, "user", "a")}));
    EXPECT_TRUE(set.covers(bobs())) << "a refused set left a trace";
    EXPECT_EQ(set.epoch(), Epoch{1});
}

TEST(RevocationSet, OfSeveralForOneThingTheFarthestCounts) {
    // Two brokers whose clocks differ: commit order is not time order.
    const RevocationSet set = set_of({revocation(1, "user", "bob", 1000), revocation(2, "user", "bob", 800),
                                      revocation(3, "user", "bob", 900)});
    EXPECT_EQ(set.covers(bobs(950))->epoch, Epoch{1});
    EXPECT_FALSE(set.covers(bobs(1001)));
    const RevocationSet before =
        set_of({revocation(1, "before", "950000000"), revocation(2, "before", "10")});
    EXPECT_TRUE(before.covers(bobs(949)));
    EXPECT_FALSE(before.covers(bobs(950)));
}

TEST(RevocationSet, ForgetsWhatHasEndedAndKeepsTheEpoch) {
    RevocationSet set =
        set_of({revocation(1, "user", "bob", 1000, 2000), revocation(2, "cert", "42", 1000, 3000),
                revocation(3, "before", "1000000000", 1000, 4000)});
    EXPECT_EQ(set.drop_ended(at(1999)), 0U);
    EXPECT_EQ(set.drop_ended(at(2000)), 1U);
    EXPECT_EQ(set.covers(bobs())->epoch, Epoch{2});
    EXPECT_EQ(set.drop_ended(at(3500)), 1U);
    EXPECT_EQ(set.covers(bobs())->epoch, Epoch{3});
    EXPECT_EQ(set.drop_ended(at(9000)), 1U);
    EXPECT_FALSE(set.covers(bobs()));
    EXPECT_EQ(set.size(), 0U);
    EXPECT_EQ(set.epoch(), Epoch{3});
    EXPECT_TRUE(set.apply(revocation(4, "user", "bob", 10'000, 20'000)));
}

TEST(RevocationSet, DroppingOneOfSeveralLeavesTheOthersInForce) {
    RevocationSet set =
        set_of({revocation(1, "user", "bob", 1000, 2000), revocation(2, "user", "bob", 950, 3000),
                revocation(3, "cert", "42", 1000, 2000), revocation(4, "cert", "42", 1000, 3000)});
    EXPECT_EQ(set.drop_ended(at(2000)), 2U);
    EXPECT_EQ(set.covers(bobs())->epoch, Epoch{4});
    Credential without_serial = bobs();
    without_serial.serial = {};
    EXPECT_EQ(set.covers(without_serial)->epoch, Epoch{2});
}

TEST(RevocationFile, TornAlteredOrForeignIsTampered) {
    const Bytes good =
        set_of({revocation(1, "user", "bob"), revocation(2, "cert", "42"), revocation(3, "key", kKeyText)})
            .encode();
    for (std::size_t i = 0; i < good.size(); ++i) {
        Bytes flipped = good;
        flipped[i] ^= 0x10;
        EXPECT_EQ(RevocationSet::decode(flipped).error().code, Code::kTampered) << i;
        EXPECT_EQ(RevocationSet::decode(ByteView(good).first(i)).error().code, Code::kTampered) << i;
    }
    EXPECT_EQ(RevocationSet::decode({}).error().code, Code::kTampered);
    EXPECT_TRUE(RevocationSet::decode(RevocationSet().encode()));
}

} // namespace
} // namespace latchkey::revocation
