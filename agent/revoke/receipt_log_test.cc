// SPDX-License-Identifier: Apache-2.0
#include "agent/revoke/receipt_log.h"

#include <gtest/gtest.h>

#include "agent/fixture/fakes.h"
#include "agent/fixture/folder.h"

namespace latchkey::agent {
namespace {

class Receipts : public ::testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(folder_.make()); }
    static protocol::Receipt receipt(std::uint64_t epoch, std::uint32_t found = 0, std::string trouble = {}) {
        protocol::Receipt made;
        made.epoch = {epoch};
        made.vm_id = {42};
        made.sessions_found = made.sessions_ended = found;
        made.trouble = std::move(trouble);
        made.signature = Bytes(83, 7);
        return made;
    }
    std::vector<protocol::Receipt> on_disk() const {
        auto held = folder_.load_receipts();
        EXPECT_TRUE(held) << held.error().line();
        return held ? *std::move(held) : std::vector<protocol::Receipt>();
    }

    fixture::Folder parent_;
    StateFolder folder_{parent_ / "state"};
    FakeClock clock_{{1}};
    fixture::HandLoop loop_{clock_};
    ReceiptLog log_{loop_, folder_};
};

TEST_F(Receipts, AreThereAgainAfterARestart) {
    log_.restore();
    log_.keep(receipt(1, 2, "session 5 of bob could not be ended"));
    log_.keep(receipt(2));
    loop_.run_jobs();
    ReceiptLog next(loop_, folder_);
    next.restore();
    ASSERT_EQ(next.all().size(), 2U);
    EXPECT_EQ(protocol::encode(next.all()[0]), protocol::encode(log_.all()[0]));
    next.keep(receipt(3));
    loop_.run_jobs();
    EXPECT_EQ(on_disk().size(), 3U);
}

TEST_F(Receipts, OfAReconnectAreNotKeptAgainButWhatIsNewIs) {
    log_.keep(receipt(0));
    log_.keep(receipt(7, 1));
    log_.keep(receipt(7));
    log_.keep(receipt(7));
    EXPECT_EQ(log_.all().size(), 1U);
    log_.keep(receipt(7, 1));
    log_.keep(receipt(7, 0, "the disk has not taken the record yet"));
    log_.keep(receipt(8));
    EXPECT_EQ(log_.all().size(), 4U);
}

TEST_F(Receipts, AreTheNewestThousandWrittenTogether) {
    for (std::uint64_t epoch = 1; epoch <= kReceiptsKept + 5; ++epoch) log_.keep(receipt(epoch));
    EXPECT_EQ(loop_.jobs(), 1U);
    loop_.run_one_job();
    EXPECT_EQ(on_disk().size(), 1U);
    EXPECT_EQ(loop_.jobs(), 1U) << "one write for all that came meanwhile";
    loop_.run_jobs();
    ASSERT_EQ(on_disk().size(), kReceiptsKept);
    EXPECT_EQ(on_disk().front().epoch.value, 6U);
    EXPECT_EQ(on_disk().back().epoch.value, kReceiptsKept + 5);
}

TEST_F(Receipts, ThatAreTornAreSetAsideAndNeverReadAsFewer) {
    log_.keep(receipt(1));
    log_.keep(receipt(2));
    loop_.run_jobs();
    const auto file = parent_ / "state/receipts";
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 40);
    EXPECT_EQ(folder_.load_receipts().error().code, Code::kTampered);
    ReceiptLog next(loop_, folder_);
    next.restore();
    EXPECT_TRUE(next.all().empty());
    EXPECT_TRUE(std::filesystem::exists(parent_ / "state/receipts.damaged"));
    next.keep(receipt(3));
    loop_.run_jobs();
    EXPECT_EQ(on_disk().size(), 1U);
}

TEST_F(Receipts, ThatTheDiskDoesNotTakeAreWrittenWithTheNext) {
    std::filesystem::remove_all(parent_ / "state");
    log_.keep(receipt(1));
    loop_.run_jobs();
    ASSERT_TRUE(folder_.make());
    log_.keep(receipt(2));
    loop_.run_jobs();
    EXPECT_EQ(on_disk().size(), 2U);
}

} // namespace
} // namespace latchkey::agent
