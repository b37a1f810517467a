// SPDX-License-Identifier: Apache-2.0
#include "agent/revoke/revoker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fixture/folder.h"
#include "agent/fixture/gate_house.h"
#include "core/posix/file.h"

namespace latchkey::agent {
namespace {

using fixture::kMonitor;
using fixture::kNow;
using ::testing::HasSubstr;

protocol::RevocationEntry entry(std::uint64_t epoch, const std::string& kind, const std::string& text) {
    return {{epoch}, kind, text, kNow + from_seconds(1), kNow + from_seconds(9999)};
}

protocol::Revoke message(std::uint64_t epoch, std::vector<protocol::RevocationEntry> entries) {
    protocol::Revoke revoke;
    revoke.epoch = {epoch};
    revoke.entries = std::move(entries);
    return revoke;
}

class RevokerTest : public ::testing::Test, protected fixture::GateHouse {
protected:
    void SetUp() override {
        ASSERT_TRUE(folder_.make());
        ASSERT_TRUE(folder_.save_revocations(revocation::RevocationSet().encode()));
        ASSERT_EQ(files_->load().damage, "");
        fetches.take(issuer.make());
    }
    void open_session() {
        ask(question());
        ASSERT_EQ(session(auth_info()).verdict, protocol::Verdict::kAllow);
    }
    static protocol::Welcome welcome(std::uint64_t epoch, bool is_full = false) {
        protocol::Welcome welcome;
        welcome.epoch = {epoch};
        welcome.full = is_full;
        return welcome;
    }
    // The receipts so far, each signed by this VM's key.
    std::vector<protocol::Receipt> receipts() const {
        auto all = hub.all<protocol::Receipt>();
        for (const auto& receipt : all)
            EXPECT_TRUE(
                identity_.public_key().verify(receipt.signature, protocol::receipt_signed_bytes(receipt)));
        return all;
    }
    std::uint64_t epoch_on_disk() const {
        const auto set = folder_.load_revocations();
        return set ? set->epoch().value : 0;
    }

    fixture::Folder parent_;
    StateFolder folder_{parent_ / "state"};
    keys::PrivateKey identity_ = fixture::new_key();
    DiskQueue disk_{loop};
    std::shared_ptr<RevocationFiles> files_ = std::make_shared<RevocationFiles>(parent_ / "state");
    Revoker revoker_{{state, loop, disk_, hub, sessions, folder_, identity_, files_},
                     Revoker::OnDisk::kWhole};
};

TEST_F(RevokerTest, DeniesAtOnceRecordsAndEndsTheSessionAndSignsTheReceipt) {
    open_session();
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    EXPECT_EQ(state.grants.size(), 0U);
    EXPECT_EQ(account().verdict, protocol::Verdict::kDeny);
    EXPECT_TRUE(ender.ended.empty());
    loop.run_one_job();
    EXPECT_EQ(epoch_on_disk(), 1U) << "the write is asked for first";
    EXPECT_TRUE(ender.ended.empty());
    EXPECT_TRUE(receipts().empty());
    loop.run_jobs();
    ASSERT_EQ(ender.ended.size(), 1U);
    ASSERT_EQ(receipts().size(), 1U);
    const protocol::Receipt receipt = receipts()[0];
    EXPECT_EQ(receipt.epoch.value, 1U);
    EXPECT_EQ(receipt.vm_id.value, 42U);
    EXPECT_EQ(receipt.sessions_found, 1U);
    EXPECT_EQ(receipt.sessions_ended, 1U);
    EXPECT_EQ(receipt.grants_purged, 1U);
    EXPECT_TRUE(receipt.trouble.empty());
    EXPECT_TRUE(sessions.all().empty());
}

TEST_F(RevokerTest, LetsTheSessionsOfOthersLive) {
    open_session();
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "alice")})));
    loop.run_jobs();
    EXPECT_TRUE(ender.ended.empty());
    EXPECT_EQ(sessions.all().size(), 1U);
    ASSERT_EQ(receipts().size(), 1U);
    EXPECT_EQ(receipts()[0].sessions_found, 0U);
    EXPECT_EQ(receipts()[0].grants_purged, 0U);
}

TEST_F(RevokerTest, SaysInTheReceiptThatASessionWouldNotEnd) {
    open_session();
    ender.result = EndResult::kStillThere;
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "cert", "7")})));
    loop.run_jobs();
    ASSERT_EQ(receipts().size(), 1U);
    EXPECT_EQ(receipts()[0].sessions_found, 1U);
    EXPECT_EQ(receipts()[0].sessions_ended, 0U);
    EXPECT_THAT(receipts()[0].trouble, HasSubstr("could not be ended"));
    EXPECT_EQ(sessions.all().size(), 1U);
}

TEST_F(RevokerTest, TriesAgainWhatWouldNotEndAndSaysOnceItHasGone) {
    open_session();
    ender.result = EndResult::kStillThere;
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "cert", "7")})));
    loop.run_jobs();
    revoker_.tidy();
    EXPECT_EQ(loop.jobs(), 0U) << "not at once";
    loop.advance(kFirstPause);
    revoker_.tidy();
    loop.run_jobs();
    EXPECT_EQ(ender.ended.size(), 2U);
    EXPECT_EQ(receipts().size(), 1U) << "nothing new to say";
    loop.advance(kFirstPause);
    revoker_.tidy();
    EXPECT_EQ(loop.jobs(), 0U) << "later each time";
    ender.result = EndResult::kGone;
    loop.advance(kFirstPause);
    revoker_.tidy();
    loop.run_jobs();
    EXPECT_EQ(ender.ended.size(), 3U);
    ASSERT_EQ(receipts().size(), 2U);
    EXPECT_EQ(receipts()[1].epoch.value, 1U);
    EXPECT_EQ(receipts()[1].sessions_found, 1U);
    EXPECT_EQ(receipts()[1].sessions_ended, 1U);
    EXPECT_TRUE(receipts()[1].trouble.empty());
    revoker_.tidy();
    loop.run_jobs();
    EXPECT_EQ(receipts().size(), 2U);
}

TEST_F(RevokerTest, SaysThatASessionHasGoneWhichEndedByItself) {
    open_session();
    ender.result = EndResult::kStillThere;
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "cert", "7")})));
    loop.run_jobs();
    sessions.sweep(); // there is no such process
    loop.run_jobs();
    revoker_.tidy();
    ASSERT_EQ(receipts().size(), 2U);
    EXPECT_EQ(receipts()[1].sessions_ended, 1U);
    EXPECT_TRUE(receipts()[1].trouble.empty());
}

TEST_F(RevokerTest, CutsWithoutABrokerWhatAnEarlierRunRecordedButDidNotCut) {
    open_session();
    revoke("user", "bob"); // as read from the disk
    revoker_.tidy();
    loop.run_jobs();
    EXPECT_EQ(ender.ended.size(), 1U);
    EXPECT_TRUE(sessions.all().empty());
    ASSERT_EQ(receipts().size(), 1U);
    EXPECT_EQ(receipts()[0].sessions_ended, 1U);
}

TEST_F(RevokerTest, TriesNobodyAgainWhomNoRevocationCovers) {
    open_session();
    revoke("user", "alice");
    for (int i = 0; i < 3; ++i) {
        loop.advance(kLongestPause);
        revoker_.tidy();
        loop.run_jobs();
    }
    EXPECT_TRUE(ender.ended.empty());
    EXPECT_TRUE(receipts().empty());
}

TEST_F(RevokerTest, SignsTheReceiptInTimeWhereTheCutHangs) {
    open_session();
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    loop.run_one_job(); // the write
    ASSERT_EQ(loop.jobs(), 1U) << "the cut, on a thread that hangs";
    EXPECT_TRUE(receipts().empty());
    loop.advance(kCutPatience);
    ASSERT_EQ(receipts().size(), 1U);
    EXPECT_EQ(receipts()[0].sessions_ended, 0U);
    EXPECT_THAT(receipts()[0].trouble, HasSubstr("could not be ended"));
    loop.advance(kFirstPause);
    revoker_.tidy();
    EXPECT_EQ(loop.jobs(), 1U) << "not a second time beside the first";
    loop.run_jobs();
    EXPECT_EQ(receipts().size(), 1U);
    revoker_.tidy();
    ASSERT_EQ(receipts().size(), 2U) << "it has gone after all";
    EXPECT_EQ(receipts()[1].sessions_ended, 1U);
    EXPECT_TRUE(receipts()[1].trouble.empty());
}

TEST_F(RevokerTest, SaysInTheReceiptThatThereMayBeSessionsThatItDoesNotKnow) {
    state.troubles.set(TroubleKind::kSessions, "sessions of before the restart are not known");
    state.troubles.set(TroubleKind::kSessionsFile, "the list cannot be written");
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    loop.run_jobs();
    ASSERT_EQ(receipts().size(), 1U);
    EXPECT_EQ(receipts()[0].sessions_found, 0U);
    EXPECT_THAT(receipts()[0].trouble, HasSubstr("not known"));
    EXPECT_THAT(receipts()[0].trouble, HasSubstr("cannot be written"));
    state.troubles.clear(TroubleKind::kSessions);
    state.troubles.clear(TroubleKind::kSessionsFile);
    ASSERT_TRUE(revoker_.take(message(2, {entry(2, "user", "carol")})));
    loop.run_jobs();
    EXPECT_TRUE(receipts().back().trouble.empty());
}

TEST_F(RevokerTest, CutsEvenWhereTheDiskIsFullButSaysSoAndClaimsNoEpoch) {
    open_session();
    std::filesystem::remove_all(parent_ / "state"); // nothing can be written there
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    loop.run_jobs();
    EXPECT_EQ(ender.ended.size(), 1U);
    ASSERT_EQ(receipts().size(), 1U);
    EXPECT_FALSE(receipts()[0].trouble.empty());
    EXPECT_EQ(receipts()[0].sessions_ended, 1U);
    EXPECT_EQ(state.revocations.epoch().value, 1U);
    EXPECT_EQ(revoker_.goes_on_from().value, 0U);
    EXPECT_FALSE(state.troubles.of(TroubleKind::kDisk).empty());

    ASSERT_TRUE(folder_.make()); // room again
    revoker_.tidy();
    loop.run_jobs();
    EXPECT_EQ(revoker_.goes_on_from().value, 1U);
    EXPECT_EQ(epoch_on_disk(), 1U);
    EXPECT_TRUE(state.troubles.of(TroubleKind::kDisk).empty());
}

TEST_F(RevokerTest, CutsEvenWhereTheDiskHangs) {
    open_session();
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    loop.advance(kDiskPatience);
    ASSERT_EQ(loop.jobs(), 2U) << "the write that hangs, and the cut";
    loop.run_last_job();
    EXPECT_EQ(ender.ended.size(), 1U);
    ASSERT_EQ(receipts().size(), 1U);
    EXPECT_THAT(receipts()[0].trouble, HasSubstr("disk"));
    loop.run_jobs();
    EXPECT_EQ(receipts().size(), 1U) << "one receipt for one message";
    EXPECT_EQ(epoch_on_disk(), 1U);
}

TEST_F(RevokerTest, CutsBesideTheWriteAndSignsTheReceiptAfterBoth) {
    open_session();
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    ASSERT_EQ(loop.jobs(), 2U) << "the write, and the cut that does not wait for it";
    loop.run_last_job();
    EXPECT_EQ(ender.ended.size(), 1U);
    EXPECT_EQ(epoch_on_disk(), 0U);
    EXPECT_TRUE(receipts().empty()) << "a receipt says that it is on disk";
    loop.run_jobs();
    ASSERT_EQ(receipts().size(), 1U);
    EXPECT_TRUE(receipts()[0].trouble.empty());
}

TEST_F(RevokerTest, WritesOnceForAllThatComeWhileItWrites) {
    for (std::uint64_t epoch = 1; epoch <= 10; ++epoch)
        ASSERT_TRUE(revoker_.take(message(epoch, {entry(epoch, "cert", std::to_string(100 + epoch))})));
    EXPECT_EQ(loop.jobs(), 1U);
    loop.run_one_job();
    EXPECT_EQ(receipts().size(), 1U);
    EXPECT_EQ(loop.jobs(), 1U);
    loop.run_one_job();
    EXPECT_EQ(receipts().size(), 10U);
    EXPECT_EQ(epoch_on_disk(), 10U);
}

TEST_F(RevokerTest, TakesADuplicateForWhatItIsAndConfirmsIt) {
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    loop.run_jobs();
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    loop.run_jobs();
    EXPECT_EQ(state.revocations.size(), 1U);
    EXPECT_EQ(receipts().size(), 2U);
}

TEST_F(RevokerTest, DropsAConnectionThatLeavesAGap) {
    const Status gap = revoker_.take(message(2, {entry(2, "user", "bob")}));
    ASSERT_FALSE(gap);
    EXPECT_EQ(gap.error().code, Code::kConflict);
    EXPECT_FALSE(revoker_.take(message(3, {})));
    EXPECT_EQ(state.revocations.epoch().value, 0U);
}

TEST_F(RevokerTest, DeniesEverythingWhereItDoesNotUnderstandARevocation) {
    ASSERT_TRUE(revoker_.begin(welcome(2)));
    EXPECT_TRUE(revoker_.take(message(1, {entry(1, "moon-phase", "full")}))) << "coming back changes nothing";
    EXPECT_TRUE(state.troubles.denies());
    ask(question());
    EXPECT_TRUE(is_denied());
    EXPECT_TRUE(revoker_.take(message(2, {entry(2, "user", "alice")})));
    EXPECT_FALSE(revoker_.has_caught_up());
    EXPECT_EQ(state.revocations.epoch().value, 0U);
    const auto told = hub.all<protocol::Unsupported>();
    ASSERT_EQ(told.size(), 2U) << "so the broker waits for no receipt";
    EXPECT_EQ(told[0].type, static_cast<std::uint8_t>(protocol::Type::kRevoke));
    loop.run_jobs();
    EXPECT_TRUE(receipts().empty());
    ASSERT_TRUE(revoker_.begin(welcome(1)));
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "alice")})));
    EXPECT_FALSE(state.troubles.denies());
}

TEST_F(RevokerTest, TakesNoFullSetOfWhichItDoesNotUnderstandAPart) {
    ASSERT_TRUE(revoker_.begin(welcome(2, true)));
    protocol::Revoke first = message(1, {entry(1, "moon-phase", "full")});
    first.last = false;
    EXPECT_TRUE(revoker_.take(first));
    EXPECT_TRUE(revoker_.take(message(2, {entry(2, "user", "alice")})));
    EXPECT_TRUE(state.troubles.denies());
    EXPECT_FALSE(revoker_.has_caught_up());
    EXPECT_EQ(state.revocations.epoch().value, 0U);
}

TEST_F(RevokerTest, RefusesABrokerThatIsOlderThanItsDisk) {
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "bob")})));
    const Status rollback = revoker_.begin(welcome(0));
    ASSERT_FALSE(rollback);
    EXPECT_EQ(rollback.error().code, Code::kConflict);
    EXPECT_THAT(state.troubles.line(), HasSubstr("rollback"));
    EXPECT_TRUE(revoker_.begin(welcome(1)));
    EXPECT_TRUE(state.troubles.of(TroubleKind::kRollback).empty());
}

TEST_F(RevokerTest, HasCaughtUpOnlyWithTheLastOfWhatItMissed) {
    ASSERT_TRUE(revoker_.begin(welcome(2)));
    EXPECT_FALSE(revoker_.has_caught_up());
    protocol::Revoke first = message(1, {entry(1, "user", "alice")});
    first.last = false;
    ASSERT_TRUE(revoker_.take(first));
    EXPECT_FALSE(revoker_.has_caught_up());
    ASSERT_TRUE(revoker_.take(message(2, {entry(2, "user", "carol")})));
    EXPECT_TRUE(revoker_.has_caught_up());
    ASSERT_TRUE(revoker_.begin(welcome(2)));
    EXPECT_TRUE(revoker_.has_caught_up()) << "nothing was missed";
}

TEST_F(RevokerTest, ReplacesItsSetByAFullOneOnceThatIsWhole) {
    open_session();
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "alice")})));
    loop.run_jobs();
    ASSERT_TRUE(revoker_.begin(welcome(9, true)));
    protocol::Revoke first = message(5, {entry(5, "user", "bob")});
    first.last = false;
    ASSERT_TRUE(revoker_.take(first));
    EXPECT_EQ(state.revocations.epoch().value, 1U) << "half a set counts for nothing";
    EXPECT_TRUE(ender.ended.empty());
    ASSERT_TRUE(revoker_.take(message(9, {entry(8, "cert", "99")})));
    loop.run_jobs();
    EXPECT_TRUE(revoker_.has_caught_up());
    EXPECT_EQ(state.revocations.epoch().value, 9U);
    EXPECT_EQ(state.revocations.size(), 2U);
    EXPECT_EQ(ender.ended.size(), 1U);
    EXPECT_EQ(receipts().size(), 2U);
    EXPECT_EQ(receipts().back().epoch.value, 9U);
    EXPECT_EQ(epoch_on_disk(), 9U);
}

TEST_F(RevokerTest, TakesAFullSetInPlaceOfAnEqualEpochWhereItAskedForOne) {
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "alice")})));
    revoker_.ask_for_all();
    EXPECT_TRUE(revoker_.wants_all());
    ASSERT_TRUE(revoker_.begin(welcome(1, true)));
    EXPECT_FALSE(revoker_.has_caught_up()) << "nothing is served before it is whole";
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "carol")})));
    EXPECT_TRUE(revoker_.has_caught_up());
    EXPECT_FALSE(revoker_.wants_all());
    EXPECT_EQ(state.revocations.all().at(0).selector.text, "carol");
}

TEST_F(RevokerTest, KeepsItsSetWhereAnOlderBrokerSendsOnlyWhatIsNew) {
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "alice")})));
    revoker_.ask_for_all();
    ASSERT_TRUE(revoker_.begin(welcome(1, false)));
    ASSERT_TRUE(revoker_.take(message(1, {})));
    EXPECT_FALSE(revoker_.wants_all());
    EXPECT_EQ(state.revocations.size(), 1U);
}

TEST_F(RevokerTest, AnnouncesEachNewRevocationOnceWithTheSessionsItEnded) {
    std::vector<std::string> told;
    revoker_.on_applied([&](const Revoker::Applied& applied) {
        told.push_back(std::to_string(applied.epoch.value) + " " + applied.kind + " " +
                       std::to_string(applied.sessions_ended));
    });
    open_session();
    ASSERT_TRUE(revoker_.take(message(2, {entry(1, "user", "alice"), entry(2, "user", "bob")})));
    ASSERT_TRUE(revoker_.take(message(2, {entry(2, "user", "bob")}))); // heard before
    loop.run_jobs();
    EXPECT_THAT(told, ::testing::ElementsAre("1 user 0", "2 user 1"));
}

TEST_F(RevokerTest, RefusesAFullSetThatGoesBack) {
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "alice")})));
    ASSERT_TRUE(revoker_.begin(welcome(1, true)));
    EXPECT_FALSE(revoker_.take(message(0, {})));
    EXPECT_EQ(state.revocations.size(), 1U);
    EXPECT_FALSE(revoker_.has_caught_up());
}

TEST_F(RevokerTest, AddsToTheLogAndWritesTheSetWholeOnlyWhereItMust) {
    const auto set_before = *posix::read_file(parent_ / "state/revocations");
    for (std::uint64_t epoch = 1; epoch <= 3; ++epoch) {
        ASSERT_TRUE(revoker_.take(message(epoch, {entry(epoch, "cert", std::to_string(epoch))})));
        loop.run_jobs();
    }
    EXPECT_EQ(*posix::read_file(parent_ / "state/revocations"), set_before);
    EXPECT_EQ(epoch_on_disk(), 3U);
    std::filesystem::resize_file(parent_ / "state/revocations.log", 20); // under a running agent
    ASSERT_TRUE(revoker_.take(message(4, {entry(4, "user", "alice")})));
    loop.run_jobs();
    EXPECT_EQ(folder_.load_revocations()->size(), 4U) << "noticed, and all of it is there again";
    EXPECT_TRUE(receipts().back().trouble.empty());
}

TEST_F(RevokerTest, WantsEverythingWhereItsDiskWasTornAndDeniesUntilItIsHere) {
    open_session();
    state.troubles.set(TroubleKind::kRevocations, "torn");
    Revoker torn({state, loop, disk_, hub, sessions, folder_, identity_, files_}, Revoker::OnDisk::kDamaged);
    EXPECT_EQ(torn.goes_on_from().value, 0U);
    ASSERT_TRUE(torn.begin(welcome(0)));
    EXPECT_FALSE(torn.has_caught_up()) << "although the epochs are level";
    EXPECT_TRUE(state.troubles.denies());
    torn.tidy();
    EXPECT_EQ(loop.jobs(), 0U) << "and nothing that is half is written";
    ASSERT_TRUE(torn.begin(welcome(2)));
    protocol::Revoke first = message(1, {entry(1, "user", "bob")});
    first.last = false;
    ASSERT_TRUE(torn.take(first));
    EXPECT_TRUE(state.troubles.denies());
    ASSERT_TRUE(torn.take(message(2, {entry(2, "user", "carol")})));
    EXPECT_TRUE(torn.has_caught_up());
    EXPECT_FALSE(state.troubles.denies());
    loop.run_jobs();
    EXPECT_EQ(ender.ended.size(), 1U);
    EXPECT_EQ(torn.goes_on_from().value, 2U);
    EXPECT_EQ(folder_.load_revocations()->size(), 2U);
}

TEST_F(RevokerTest, ForgetsWhatHasEndedADayAfterwards) {
    ASSERT_TRUE(revoker_.take(message(1, {entry(1, "user", "alice")})));
    loop.run_jobs();
    loop.advance(from_seconds(10'000));
    state.broker_clock.hear(clock.now());
    revoker_.tidy();
    EXPECT_EQ(state.revocations.size(), 1U);
    loop.advance(from_seconds(24 * 3600));
    revoker_.tidy();
    EXPECT_EQ(state.revocations.size(), 1U) << "not while the broker is not heard";
    state.broker_clock.hear(clock.now());
    revoker_.tidy();
    EXPECT_EQ(state.revocations.size(), 0U);
    EXPECT_EQ(state.revocations.epoch().value, 1U);
}

} // namespace
} // namespace latchkey::agent
