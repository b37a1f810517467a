// SPDX-License-Identifier: Apache-2.0
#include "plugins/recovery/recovery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>

#include "plugins/recovery/state.h"
#include "plugins/sdk/fake_host.h"

namespace latchkey::recovery {
namespace {

class RecoveryTest : public testing::Test {
protected:
    RecoveryTest() {
        auto made = recovery_->enrol("bob", "Latchkey", from_seconds(0));
        needs_confirmation_ = made->needs_confirmation;
        state_ = std::move(made->state);
        const std::regex code("[0-9a-z]{5}-[0-9a-z]{5}");
        for (std::sregex_iterator it(made->show_text.begin(), made->show_text.end(), code), end; it != end;
             ++it) {
            codes_.push_back(it->str());
        }
    }

    std::string answer(std::string_view code) {
        auto outcome = recovery_->check(state_.view(), code, from_seconds(0));
        if (!outcome) return outcome.error().message;
        if (!outcome->accepted) return outcome->reason;
        state_ = std::move(outcome->next_state);
        return "accepted";
    }

    sdk::FakeHost host_;
    std::unique_ptr<Recovery> recovery_ = std::move(*Recovery::open(host_.host()));
    SecretBytes state_;
    std::vector<std::string> codes_;
    bool needs_confirmation_ = true;
};

TEST_F(RecoveryTest, ShowsTenDifferentCodesThatNeedNoConfirmation) {
    EXPECT_EQ(codes_.size(), 10u);
    EXPECT_EQ(std::set<std::string>(codes_.begin(), codes_.end()).size(), 10u);
    EXPECT_FALSE(needs_confirmation_);
}

TEST_F(RecoveryTest, AcceptsEachCodeOnceInAnyOrder) {
    std::reverse(codes_.begin(), codes_.end());
    for (const std::string& code : codes_) {
        EXPECT_EQ(answer(code), "accepted");
        EXPECT_NE(answer(code), "accepted");
    }
    EXPECT_EQ(answer(codes_.front()), "no recovery code left");
}

TEST_F(RecoveryTest, RefusesWhatIsNoCode) {
    for (const char* wrong : {"", "-", "00000-00000", "aaaaa", "aaaaa-aaaaa-aaaaa"}) {
        EXPECT_EQ(answer(wrong), "wrong code") << wrong;
    }
    EXPECT_EQ(answer(codes_[0] + "0"), "wrong code");
    EXPECT_EQ(answer(codes_[0].substr(0, 10)), "wrong code");
    EXPECT_EQ(answer(std::string(100'000, 'a')), "wrong code");
}

TEST_F(RecoveryTest, TakesACodeAsPeopleTypeIt) {
    std::string typed = " " + codes_[3] + " ";
    std::erase(typed, '-');
    std::transform(typed.begin(), typed.end(), typed.begin(), [](unsigned char c) {
        if (c == '0') return 'O';
        return c == '1' ? 'l' : static_cast<char>(std::toupper(c));
    });
    EXPECT_EQ(answer(typed), "accepted");
}

TEST_F(RecoveryTest, KeepsNoCodeInTheState) {
    const std::string state(as_text(state_.view()));
    for (std::string code : codes_) {
        EXPECT_EQ(state.find(code), std::string::npos);
        std::erase(code, '-');
        EXPECT_EQ(state.find(code), std::string::npos);
    }
}

TEST_F(RecoveryTest, DoesNotTakeOnePersonsCodeForAnother) {
    const auto other = recovery_->enrol("eve", "Latchkey", from_seconds(0));
    const auto outcome = recovery_->check(other->state.view(), codes_[0], from_seconds(0));
    EXPECT_FALSE(outcome->accepted);
    EXPECT_EQ(answer(codes_[0]), "accepted");
}

TEST_F(RecoveryTest, RefusesAStateThatIsDamaged) {
    Bytes damaged = to_bytes(state_.view());
    damaged.pop_back();
    EXPECT_EQ(recovery_->check(damaged, codes_[0], from_seconds(0)).error().code, Code::kTampered);
    damaged = to_bytes(state_.view());
    damaged[0] = 9;
    EXPECT_EQ(recovery_->check(damaged, codes_[0], from_seconds(0)).error().code, Code::kTampered);
    damaged = to_bytes(state_.view());
    damaged.resize(damaged.size() + 32); // an eleventh
    EXPECT_EQ(recovery_->check(damaged, codes_[0], from_seconds(0)).error().code, Code::kTampered);
    EXPECT_EQ(recovery_->check({}, codes_[0], from_seconds(0)).error().code, Code::kTampered);
}

} // namespace
} // namespace latchkey::recovery
