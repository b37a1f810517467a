// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"

#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/revocations.h"

namespace latchkey::ledger {
namespace {

class Audit : public LedgerTest {
protected:
    void fill() {
        const Person bob = add_person("bob");
        for (int i = 0; i < 5; ++i) issue(bob);
    }
    Result<std::uint64_t> verify() {
        return read([](Transaction& t) { return verify_audit(t); });
    }
    std::int64_t rows() { return std::get<std::int64_t>(by_hand("SELECT COUNT(*) FROM audit").rows[0][0]); }
    void expect_broken_at(const std::string& row) {
        const auto verified = verify();
        ASSERT_EQ(code_of(verified), Code::kTampered);
        EXPECT_NE(verified.error().message.find("audit row " + row + " "), std::string::npos)
            << verified.error().message;
    }
};
class Settings : public LedgerTest {};

TEST_F(Audit, ChainVerifiesAsItWasWritten) {
    fill();
    EXPECT_EQ(take(verify()), static_cast<std::uint64_t>(rows()));
    reopen();
    add_person("eve");
    EXPECT_EQ(take(verify()), static_cast<std::uint64_t>(rows())) << "it goes on after a restart";
}

TEST_F(Audit, ChainIsLongerThanAPage) {
    take(write([](Transaction& t) -> Status {
        for (int i = 0; i < 1203; ++i) LK_CHECK(append_audit(t, {"a", "b", "c", "done", "{}"}));
        return {};
    }));
    EXPECT_EQ(take(verify()), static_cast<std::uint64_t>(rows()));
}

TEST_F(Audit, ChainLeavesOutWhatAFailedJobWrote) {
    const std::int64_t before = rows();
    EXPECT_FALSE(write([](Transaction& t) -> Status {
        LK_CHECK(append_audit(t, {"a", "b", "c", "done", "{}"}));
        return fail(Code::kRefused, "no");
    }));
    EXPECT_EQ(rows(), before);
    fill();
    EXPECT_EQ(take(verify()), static_cast<std::uint64_t>(rows()));
}

TEST_F(Audit, ChainShowsAnEditedRow) {
    fill();
    by_hand("UPDATE audit SET detail = '{}' WHERE sequence = 4");
    expect_broken_at("4");
}

TEST_F(Audit, ChainShowsADeletedRow) {
    fill();
    by_hand("DELETE FROM audit WHERE sequence = 3");
    expect_broken_at("3");
}

TEST_F(Audit, ChainShowsADeletedEnd) {
    fill();
    const std::int64_t last = rows();
    by_hand("DELETE FROM audit WHERE sequence = $1", {last});
    expect_broken_at(std::to_string(last));
}

TEST_F(Audit, ChainShowsReorderedRows) {
    fill();
    by_hand("UPDATE audit SET sequence = -1 WHERE sequence = 4");
    by_hand("UPDATE audit SET sequence = 4 WHERE sequence = 5");
    by_hand("UPDATE audit SET sequence = 5 WHERE sequence = -1");
    expect_broken_at("4");
}

TEST_F(Audit, ChainShowsAnAddedRow) {
    fill();
    const std::int64_t last = rows();
    by_hand(
        "INSERT INTO audit SELECT sequence + 1, made_at, actor, action, object, outcome, detail, hash "
        "FROM audit WHERE sequence = $1",
        {last});
    expect_broken_at(std::to_string(last + 1));
}

TEST_F(Audit, ChainShowsABreakForGoodAndChangesStillWork) {
    fill();
    const std::int64_t last = rows();
    by_hand("DELETE FROM audit WHERE sequence = $1", {last});
    take(write([](Transaction& t) {
        return revoke(t, {revocation::SelectorKind::kUser, "bob"}, "", "root");
    }));
    EXPECT_EQ(by_hand("SELECT 1 FROM audit WHERE action = 'audit.broken'").rows.size(), 1u);
    expect_broken_at(std::to_string(last));
    EXPECT_GE(ledger_->tampered_rows(), 1u);
}

TEST_F(Audit, ChainHeadMadeUpOrGoneIsNoticed) {
    fill();
    by_hand("UPDATE chain_head SET mac = hash");
    EXPECT_EQ(code_of(verify()), Code::kTampered);
    by_hand("DELETE FROM chain_head");
    EXPECT_EQ(code_of(verify()), Code::kTampered);
    add_person("eve");
    EXPECT_EQ(code_of(verify()), Code::kTampered) << "the break is in the chain";
}

TEST_F(Audit, IsListedNewestFirstByUserAndTime) {
    add_person("bob");
    clock_.advance(from_seconds(100));
    add_person("eve");
    const auto list = [&](const AuditFilter& filter) {
        return take(read([&](Transaction& t) { return list_audit(t, filter); }));
    };
    const auto all = list({});
    ASSERT_GE(all.size(), 6u);
    EXPECT_GT(all[0].sequence, all[1].sequence);
    for (const AuditRow& row : list({.since = {}, .user = user_name("bob"), .limit = 200})) {
        EXPECT_EQ(row.event.object, "bob");
    }
    EXPECT_EQ(list({.since = {}, .user = user_name("bob"), .limit = 200}).size(), 3u);
    EXPECT_EQ(list({.since = {}, .user = user_name("admin"), .limit = 200}).size(), 4u) << "as actor";
    EXPECT_EQ(list({.since = clock_.now(), .user = {}, .limit = 200}).size(), 3u);
    EXPECT_EQ(list({.since = {}, .user = {}, .limit = 2}).size(), 2u);
    EXPECT_TRUE(list({.since = clock_.now() + Micros{1}, .user = {}, .limit = 2}).empty());
}

TEST_F(Audit, FindsAUserByNameHoweverTheObjectWasWritten) {
    take(write([](Transaction& t) -> Status {
        LK_CHECK(append_audit(t, {"vm:web-1", "login.deny", "user:bob", "deny", "{}"}));
        return append_audit(t, {"vm:bob", "login.deny", "group:bob", "deny", "{}"});
    }));
    const auto found = take(read(
        [](Transaction& t) { return list_audit(t, {.since = {}, .user = user_name("bob"), .limit = 10}); }));
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].event.object, "bob");
}

TEST_F(Audit, IsNotWrittenByReaders) {
    EXPECT_EQ(code_of(read([](Transaction& t) {
                  return append_audit(t, {"a", "b", "c", "done", "{}"});
              })),
              Code::kInternal);
}

TEST_F(Settings, AreKept) {
    const auto get = [&] { return take(read([](Transaction& t) { return get_setting(t, "ca.stage"); })); };
    EXPECT_FALSE(get());
    take(write([](Transaction& t) { return put_setting(t, "ca.stage", "active"); }));
    EXPECT_EQ(get(), "active");
    take(write([](Transaction& t) { return put_setting(t, "ca.stage", "retired"); }));
    EXPECT_EQ(get(), "retired");
}

TEST_F(Settings, ChangedByHandAreRefused) {
    take(write([](Transaction& t) -> Status {
        LK_CHECK(put_setting(t, "ca.stage", "active"));
        return put_setting(t, "ca.other", "gone");
    }));
    by_hand("UPDATE settings SET value = 'gone' WHERE name = 'ca.stage'");
    const auto get = [&] { return read([](Transaction& t) { return get_setting(t, "ca.stage"); }); };
    EXPECT_EQ(code_of(get()), Code::kTampered);
    by_hand(
        "UPDATE settings SET (value, mac) = (SELECT value, mac FROM settings WHERE name = 'ca.other') "
        "WHERE name = 'ca.stage'");
    EXPECT_EQ(code_of(get()), Code::kTampered);
}

TEST(AuditDetail, IsOneJsonObjectWhateverItHolds) {
    EXPECT_EQ(Detail().json(), "{}");
    EXPECT_EQ(Detail().text("a", "x\"\\\n\x01y").number("n", -5).list("l", {"p", "q\""}).id("i", 7).json(),
              R"({"a":"x\"\\??y","n":-5,"l":["p","q\""],"i":"7"})");
    EXPECT_EQ(Detail().text("empty", "").list("none", {}).json(), "{}");
}

TEST(CleanText, KeepsTextAndDropsControlCharacters) {
    EXPECT_EQ(clean_text("Grüße, 日本 🔑"), "Grüße, 日本 🔑");
    EXPECT_EQ(clean_text("a\x1b[31m\x7f\tb"), "a?[31m??b");
    EXPECT_EQ(clean_text("\xc0\xaf|\xed\xa0\x80|\xff|\xe2\x82"), "??|???|?|??");
    EXPECT_EQ(clean_text("x\xe2\x80\xaey"), "x???y") << "text that turns its direction";
    EXPECT_EQ(clean_text("ab\xc3\xbc", 3), "ab") << "cut between characters";
    EXPECT_EQ(clean_text(std::string_view("a\0b", 3)), "a?b");
}

} // namespace
} // namespace latchkey::ledger
