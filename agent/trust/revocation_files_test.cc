// SPDX-License-Identifier: Apache-2.0
#include "agent/trust/revocation_files.h"

#include <gtest/gtest.h>

#include "agent/fixture/folder.h"
#include "core/posix/file.h"

namespace latchkey::agent {
namespace {

revocation::Revocation of(std::uint64_t epoch) {
    return {{epoch}, *revocation::Selector::parse("cert", std::to_string(1000 + epoch)), {5}, {9000}};
}

class Files : public ::testing::Test {
protected:
    void SetUp() override {
        ASSERT_TRUE(files_.replace(revocation::RevocationSet().encode()));
        for (std::uint64_t epoch = 1; epoch <= 3; ++epoch) ASSERT_TRUE(files_.append({of(epoch)}));
        ASSERT_TRUE(files_.append({of(4), of(5)}));
    }
    RevocationFiles::Loaded again() const { return RevocationFiles(folder_.path()).load(); }
    Bytes log() const { return *posix::read_file(log_); }
    void write_log(ByteView content) const { ASSERT_TRUE(posix::write_file(log_, content, 0600)); }

    fixture::Folder folder_;
    std::filesystem::path log_ = folder_ / "revocations.log";
    RevocationFiles files_{folder_.path()};
};

TEST_F(Files, GiveBackWhatWasAdded) {
    const auto loaded = again();
    EXPECT_EQ(loaded.damage, "");
    EXPECT_EQ(loaded.set.epoch().value, 5U);
    ASSERT_EQ(loaded.set.size(), 5U);
    EXPECT_EQ(loaded.set.all()[2], of(3));
}

TEST_F(Files, GoOnFromWhatALaterRunFinds) {
    RevocationFiles later(folder_.path());
    EXPECT_FALSE(later.append({of(6)})) << "not before it has looked";
    EXPECT_EQ(later.load().damage, "");
    ASSERT_TRUE(later.append({of(6)}));
    EXPECT_EQ(again().set.epoch().value, 6U);
    EXPECT_EQ(again().damage, "");
}

// At a record's end a shorter log is one of an earlier moment: the broker sends the rest. Anywhere else it is
// torn.
TEST_F(Files, TornAtAnyByteAreDamagedOrAnEarlierState) {
    const Bytes whole = log();
    std::size_t earlier = 0;
    for (std::size_t size = 0; size < whole.size(); ++size) {
        write_log(ByteView(whole).first(size));
        const auto loaded = again();
        ASSERT_LT(loaded.set.epoch().value, 5U) << size;
        EXPECT_EQ(loaded.set.size(), loaded.set.epoch().value) << size;
        if (loaded.damage.empty()) ++earlier;
    }
    EXPECT_EQ(earlier, 6U) << "the log gone, its head alone, and after each of four records";
}

TEST_F(Files, WithOneByteChangedNeverGiveMoreOrOther) {
    const Bytes whole = log();
    for (std::size_t i = 16; i < whole.size(); ++i) {
        Bytes altered = whole;
        altered[i] ^= 0x41;
        write_log(altered);
        const auto loaded = again();
        EXPECT_NE(loaded.damage, "") << i;
        const auto entries = loaded.set.all();
        for (std::size_t at = 0; at < entries.size(); ++at) EXPECT_EQ(entries[at], of(at + 1)) << i;
    }
}

TEST_F(Files, WithRecordsSwappedAreDamaged) {
    Bytes content = log();
    const std::size_t record = (content.size() - 16) / 5;
    std::swap_ranges(content.begin() + 16, content.begin() + 16 + static_cast<std::ptrdiff_t>(record),
                     content.begin() + 16 + static_cast<std::ptrdiff_t>(record));
    write_log(content);
    EXPECT_NE(again().damage, "");
    EXPECT_EQ(again().set.epoch().value, 0U);
}

TEST_F(Files, WhoseSetIsTornAtAnyByteAreDamaged) {
    const Bytes whole = *posix::read_file(folder_ / "revocations");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        ASSERT_TRUE(posix::write_file(folder_ / "revocations", ByteView(whole).first(size), 0600));
        EXPECT_NE(again().damage, "") << size;
        EXPECT_FALSE(again().is_missing);
    }
    std::filesystem::remove(folder_ / "revocations");
    EXPECT_TRUE(again().is_missing);
}

TEST_F(Files, IgnoreTheLogOfASetThatWasReplacedSince) {
    revocation::RevocationSet newer;
    ASSERT_TRUE(newer.replace({9}, {of(8)}));
    ASSERT_TRUE(files_.replace(newer.encode())); // killed before it touched the log
    EXPECT_EQ(again().damage, "");
    EXPECT_EQ(again().set.epoch().value, 9U);
    ASSERT_TRUE(files_.append({of(10)}));
    EXPECT_EQ(again().set.size(), 2U);
    EXPECT_EQ(again().damage, "");
}

TEST_F(Files, DoNotAddToWhatSomebodyElseChanged) {
    std::filesystem::resize_file(log_, 30);
    EXPECT_EQ(files_.append({of(6)}).error().code, Code::kTampered);
    std::filesystem::remove(log_);
    EXPECT_EQ(files_.append({of(6)}).error().code, Code::kTampered);
}

TEST_F(Files, AreCompactedIntoOneSetWithoutWhatHasEnded) {
    EXPECT_FALSE(files_.wants_compaction());
    std::uint64_t epoch = 5;
    while (!files_.wants_compaction()) {
        std::vector<revocation::Revocation> some;
        for (int i = 0; i < 500; ++i) some.push_back(of(++epoch));
        ASSERT_TRUE(files_.append(some));
    }
    ASSERT_TRUE(files_.compact({0}));
    EXPECT_FALSE(files_.wants_compaction());
    EXPECT_EQ(again().set.size(), epoch);
    ASSERT_TRUE(files_.append({of(epoch + 1)}));
    EXPECT_EQ(again().set.epoch().value, epoch + 1);
    ASSERT_TRUE(files_.compact({9000}));
    EXPECT_EQ(again().set.size(), 0U);
    EXPECT_EQ(again().set.epoch().value, epoch + 1);
}

TEST_F(Files, OfAnAgentWithoutALogAreReadAsTheyAre) {
    std::filesystem::remove(log_);
    revocation::RevocationSet old;
    ASSERT_TRUE(old.apply(of(1)));
    ASSERT_TRUE(posix::write_file(folder_ / "revocations", old.encode(), 0600));
    EXPECT_EQ(again().damage, "");
    EXPECT_EQ(again().set.epoch().value, 1U);
}

} // namespace
} // namespace latchkey::agent
