// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <latch>
#include <thread>

#include "broker/ledger/audit.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/unlock/enrolment.h"
#include "broker/unlock/factors.h"

namespace latchkey::unlock {
namespace {

using ledger::take;
using ::testing::HasSubstr;

// Accepts its number once: the state is the count of codes taken, "code-0", "code-1", … are the codes.
class CountingFactor : public plugin_host::Factor {
public:
    std::string_view kind() const override { return "totp"; }
    Result<plugin_host::Enrolment> enrol(std::string_view, std::string_view, Micros) override {
        plugin_host::Enrolment enrolment;
        enrolment.state = SecretBytes(as_bytes("0"));
        enrolment.show_text = "secret";
        enrolment.prompt = "Code: ";
        return enrolment;
    }
    Result<std::string> challenge(const SecretBytes&) override { return std::string("Code: "); }
    Result<plugin_host::CheckOutcome> check(const SecretBytes& state, std::string_view answer,
                                            Micros) override {
        ++checks;
        if (is_broken) return fail(Code::kUnavailable, "no");
        const int taken = std::stoi(std::string(as_text(state.view())));
        plugin_host::CheckOutcome outcome;
        outcome.accepted = answer == "code-" + std::to_string(taken);
        outcome.reason = "wrong code";
        if (outcome.accepted) outcome.next_state = SecretBytes(as_bytes(std::to_string(taken + 1)));
        return outcome;
    }
    std::atomic<int> checks = 0;
    std::atomic<bool> is_broken = false;
};

class UnlockTest : public ledger::LedgerTest {
protected:
    UnlockTest() {
        auto plugin = std::make_unique<CountingFactor>();
        plugin_ = plugin.get();
        std::vector<std::unique_ptr<plugin_host::Factor>> plugins;
        plugins.push_back(std::move(plugin));
        Factors::Options options;
        options.clock = &clock_;
        factors_ = std::make_unique<Factors>(*ledger_, std::move(plugins), options);
        take(write([&](ledger::Transaction& t) -> Status {
            LK_TRY(user, ledger::add_user(t, ledger::user_name("bob"), "bob@example.org", ledger::Role::kUser,
                                          "test"));
            LK_TRY(key, ledger::add_key(t, user.id, ledger::new_public_key(), "laptop", "test"));
            LK_TRY(factor, ledger::add_factor(t, user.id, "totp", SecretBytes(as_bytes("0")), "test"));
            (void)factor;
            user_ = std::move(user);
            key_ = std::move(key);
            return {};
        }));
    }
    Outcome check(std::string_view answer) {
        return take(factors_->check(user_.id, key_.id, answer, "192.0.2.7"));
    }
    Result<ledger::FactorRow> keep_it(const Pending& pending) {
        return write([&](ledger::Transaction& t) { return keep(t, user_.id, pending, "bob"); });
    }
    std::optional<ledger::Unlock> live() {
        return take(read([&](ledger::Transaction& t) { return ledger::live_unlock(t, user_.id, key_.id); }));
    }

public:
    void lose_race() { EXPECT_TRUE(check("code-0").accepted); } // as if by another broker

protected:
    CountingFactor* plugin_ = nullptr;
    std::unique_ptr<Factors> factors_;
    ledger::User user_;
    ledger::Key key_;
};

using UnlockFactors = UnlockTest;
using UnlockEnrolment = UnlockTest;

TEST_F(UnlockFactors, OpenTheUnlockForTwelveHoursOnARightCode) {
    const Outcome outcome = check("code-0");
    ASSERT_TRUE(outcome.accepted);
    ASSERT_TRUE(live());
    EXPECT_EQ(live()->ends_at, clock_.now() + from_seconds(12 * 3600));
    EXPECT_EQ(live()->factor_at, clock_.now());
}

TEST_F(UnlockFactors, OpenNothingOnAWrongCode) {
    const Outcome outcome = check("code-7");
    EXPECT_FALSE(outcome.accepted);
    EXPECT_EQ(outcome.reason, "wrong code");
    EXPECT_FALSE(live());
}

TEST_F(UnlockFactors, StepUpWithoutOpeningAnUnlock) {
    int records = 0;
    const auto step_up = [&](std::string_view answer) {
        return take(factors_->step_up(user_.id, answer, "vm:web-1", [&](ledger::Transaction&) -> Status {
            ++records;
            return {};
        }));
    };
    EXPECT_FALSE(step_up("code-7").accepted);
    EXPECT_EQ(records, 0);
    EXPECT_TRUE(step_up("code-0").accepted);
    EXPECT_EQ(records, 1);
    EXPECT_FALSE(live());
    EXPECT_FALSE(step_up("code-0").accepted) << "good once";
    EXPECT_FALSE(check("code-0").accepted) << "at the door neither";
}

TEST_F(UnlockFactors, StepUpNeitherLengthensNorFreshensTheUnlock) {
    ASSERT_TRUE(check("code-0").accepted);
    const ledger::Unlock before = *live();
    clock_.advance(from_seconds(3600));
    const auto nothing = [](ledger::Transaction&) { return Status(); };
    ASSERT_TRUE(take(factors_->step_up(user_.id, "code-1", "vm:web-1", nothing)).accepted);
    EXPECT_EQ(live()->ends_at, before.ends_at);
    EXPECT_EQ(live()->factor_at, before.factor_at);
}

TEST_F(UnlockFactors, SpendNoCodeWhoseRecordFails) {
    const auto failing = [](ledger::Transaction&) -> Status { return fail(Code::kIo, "no"); };
    EXPECT_FALSE(factors_->step_up(user_.id, "code-0", "vm:web-1", failing));
    EXPECT_TRUE(check("code-0").accepted);
}

TEST_F(UnlockFactors, CountStepUpsAndLoginsTogether) {
    const auto nothing = [](ledger::Transaction&) { return Status(); };
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(check("code-7").accepted);
    EXPECT_FALSE(take(factors_->step_up(user_.id, "code-7", "vm:web-1", nothing)).accepted);
    const Outcome fifth = take(factors_->step_up(user_.id, "code-7", "vm:web-1", nothing));
    EXPECT_GT(fifth.blocked_until, clock_.now());
    const Outcome right = take(factors_->step_up(user_.id, "code-0", "vm:web-1", nothing));
    EXPECT_EQ(right.reason, "blocked");
    EXPECT_FALSE(check("code-0").accepted);
}

TEST_F(UnlockFactors, RefuseTheSameCodeAgain) {
    ASSERT_TRUE(check("code-0").accepted);
    EXPECT_FALSE(check("code-0").accepted);
}

TEST_F(UnlockFactors, TakeOneOfTwoThatBringTheSameCodeAtOnce) {
    std::atomic<int> accepted = 0;
    std::latch start(4);
    std::vector<std::thread> guests;
    guests.reserve(4);
    for (int i = 0; i < 4; ++i) {
        guests.emplace_back([&] {
            start.arrive_and_wait();
            if (check("code-0").accepted) ++accepted;
        });
    }
    for (std::thread& guest : guests) guest.join();
    EXPECT_EQ(accepted, 1);
}

TEST_F(UnlockFactors, TakeOneOfTwoBrokersThatAcceptTheSameCode) {
    // The other broker's check has gone through between our reading and our writing.
    class Racing : public CountingFactor {
    public:
        explicit Racing(UnlockTest* test) : test_(test) {}
        Result<plugin_host::CheckOutcome> check(const SecretBytes& state, std::string_view answer,
                                                Micros now) override {
            if (!has_raced_) {
                has_raced_ = true;
                test_->lose_race();
            }
            return CountingFactor::check(state, answer, now);
        }

    private:
        UnlockTest* test_;
        bool has_raced_ = false;
    };
    std::vector<std::unique_ptr<plugin_host::Factor>> plugins;
    plugins.push_back(std::make_unique<Racing>(this));
    Factors::Options options;
    options.clock = &clock_;
    Factors other(*ledger_, std::move(plugins), options);
    const Outcome late = take(other.check(user_.id, key_.id, "code-0", "192.0.2.8"));
    EXPECT_FALSE(late.accepted);
    EXPECT_EQ(late.reason, "code used before");
}

TEST_F(UnlockFactors, RefuseEvenTheRightCodeUncheckedWhileBlocked) {
    for (int i = 0; i < 5; ++i) check("code-7");
    const int checks = plugin_->checks;
    const Outcome blocked = check("code-0");
    EXPECT_FALSE(blocked.accepted);
    EXPECT_EQ(blocked.reason, "blocked");
    EXPECT_EQ(plugin_->checks, checks);
    clock_.advance(from_seconds(61));
    EXPECT_TRUE(check("code-0").accepted);
}

TEST_F(UnlockFactors, RefuseALockedAccountUnchecked) {
    take(write([&](ledger::Transaction& t) { return ledger::lock_user(t, user_.name, "gone", "test"); }));
    EXPECT_EQ(check("code-0").reason, "account locked");
    EXPECT_EQ(plugin_->checks, 0);
}

TEST_F(UnlockFactors, RefuseWhereThePluginCannotJudge) {
    plugin_->is_broken = true;
    EXPECT_FALSE(check("code-0").accepted);
    EXPECT_FALSE(live());
}

TEST_F(UnlockFactors, CountAnAnswerThatIsFarTooLongAsWrong) {
    EXPECT_FALSE(check(std::string(100'000, '1')).accepted);
    EXPECT_EQ(plugin_->checks, 0);
}

TEST_F(UnlockFactors, ProlongTheUnlockThatIsOpen) {
    ASSERT_TRUE(check("code-0").accepted);
    const RowId first = live()->id;
    clock_.advance(from_seconds(3600));
    ASSERT_TRUE(check("code-1").accepted);
    EXPECT_EQ(live()->id, first);
    EXPECT_EQ(live()->ends_at, clock_.now() + from_seconds(12 * 3600));
}

TEST_F(UnlockFactors, WriteOneAuditRowADecisionAndNeverTheCode) {
    check("code-7");
    check("code-0");
    const auto rows = take(read([&](ledger::Transaction& t) { return ledger::list_audit(t, {}); }));
    int decisions = 0;
    for (const auto& row : rows) {
        if (row.event.action != "factor.check") continue;
        ++decisions;
        EXPECT_EQ(row.event.detail.find("code-"), std::string::npos) << row.event.detail;
        EXPECT_THAT(row.event.detail, HasSubstr("\"from\":\"192.0.2.7\""));
    }
    EXPECT_EQ(decisions, 2);
}

TEST_F(UnlockFactors, TellTheListenerOfEachUnlock) {
    int told = 0;
    factors_->on_unlock([&](const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) {
        ++told;
        EXPECT_EQ(user.id, user_.id);
        EXPECT_EQ(key.id, key_.id);
        EXPECT_EQ(unlock.key, key_.id);
    });
    check("code-7");
    check("code-0");
    EXPECT_EQ(told, 1);
}

TEST_F(UnlockFactors, AskInTheSameWordsForAnybody) {
    EXPECT_EQ(factors_->prompt(user_.id), "Code: ");
    EXPECT_EQ(factors_->prompt(RowId{12345}), "Verification code: ");
}

TEST_F(UnlockEnrolment, KeepsAFactorOnlyOnceItIsConfirmed) {
    Pending pending = take(begin(*factors_, user_.name, "totp"));
    EXPECT_EQ(ledger::code_of(keep_it(pending)), Code::kRefused);
    EXPECT_FALSE(take(confirm(*factors_, pending, "code-5")));
    EXPECT_EQ(ledger::code_of(keep_it(pending)), Code::kRefused);
    EXPECT_TRUE(take(confirm(*factors_, pending, "code-0")));
    take(keep_it(pending));
    // The confirming code is spent: the state that is kept knows.
    EXPECT_FALSE(take(confirm(*factors_, pending, "code-0")));
}

TEST_F(UnlockEnrolment, NamesTheKindsWhereThereIsNoSuchFactor) {
    auto pending = begin(*factors_, user_.name, "retina");
    ASSERT_EQ(ledger::code_of(pending), Code::kNotFound);
    EXPECT_THAT(pending.error().line(), HasSubstr("kinds: totp"));
}

class UnlockJoin : public UnlockTest {
protected:
    UnlockJoin() {
        code_ = take(write([&](ledger::Transaction& t) -> Result<std::string> {
            LK_TRY(user, ledger::add_user(t, ledger::user_name("carol"), "c@example.org", ledger::Role::kUser,
                                          "test"));
            return ledger::add_invite(t, user.id, t.now + from_seconds(3600), "test");
        }));
        pending_ = take(begin(*factors_, ledger::user_name("carol"), "totp"));
    }
    std::string code_;
    Pending pending_;
};

TEST_F(UnlockJoin, MakesKeyFactorAndUnlockAndSpendsTheInvite) {
    take(confirm(*factors_, pending_, "code-0"));
    const Joined joined = take(join(*factors_, code_, ledger::new_public_key(), pending_));
    EXPECT_EQ(joined.user.name.str(), "carol");
    EXPECT_EQ(ledger::code_of(invited(*factors_, code_)), Code::kConflict);
    EXPECT_EQ(ledger::code_of(join(*factors_, code_, ledger::new_public_key(), pending_)), Code::kConflict);
}

TEST_F(UnlockJoin, LeavesTheInviteUnspentWhereTheKeyIsAnothers) {
    take(confirm(*factors_, pending_, "code-0"));
    const auto key = take(keys::PublicKey::from_blob(key_.blob));
    EXPECT_EQ(ledger::code_of(join(*factors_, code_, key, pending_)), Code::kExists);
    EXPECT_EQ(take(invited(*factors_, code_)).name.str(), "carol");
}

TEST_F(UnlockJoin, RefusesAFactorThatWasNotConfirmed) {
    EXPECT_EQ(ledger::code_of(join(*factors_, code_, ledger::new_public_key(), pending_)), Code::kRefused);
    EXPECT_EQ(take(invited(*factors_, code_)).name.str(), "carol");
}

TEST_F(UnlockJoin, RefusesAnExpiredInvite) {
    take(confirm(*factors_, pending_, "code-0"));
    clock_.advance(from_seconds(3601));
    EXPECT_EQ(ledger::code_of(join(*factors_, code_, ledger::new_public_key(), pending_)), Code::kExpired);
}

} // namespace
} // namespace latchkey::unlock
