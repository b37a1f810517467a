// SPDX-License-Identifier: Apache-2.0
#include "plugins/totp/totp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qrencode.h>

#include "core/base/unique_handle.h"
#include "plugins/sdk/fake_host.h"
#include "plugins/totp/qr.h"
#include "plugins/totp/state.h"

namespace latchkey::totp {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view kRfcSecret = "12345678901234567890"; // RFC 6238, appendix B

class TotpTest : public testing::Test {
protected:
    sdk::FakeHost host_;
    std::unique_ptr<Totp> totp_ = std::move(*Totp::open(host_.host()));
    SecretBytes state_ = State{SecretBytes(as_bytes(kRfcSecret)), 0}.encode();

    // What the broker does: the next state takes the place of the last.
    std::string answer(std::string_view code, std::int64_t at_seconds) {
        auto outcome = totp_->check(state_.view(), code, from_seconds(at_seconds));
        if (!outcome) return outcome.error().message;
        if (!outcome->accepted) return outcome->reason;
        state_ = std::move(outcome->next_state);
        return "accepted";
    }
};

TEST_F(TotpTest, AcceptsTheVectorsOfRfc6238) {
    // The RFC prints eight digits; six are the last of them.
    EXPECT_EQ(answer("287082", 59), "accepted");
    EXPECT_EQ(answer("081804", 1'111'111'109), "accepted");
    EXPECT_EQ(answer("050471", 1'111'111'111), "accepted");
    EXPECT_EQ(answer("005924", 1'234'567'890), "accepted");
    EXPECT_EQ(answer("279037", 2'000'000'000), "accepted");
    EXPECT_EQ(answer("353130", 20'000'000'000), "accepted");
}

TEST_F(TotpTest, RefusesEveryOtherAnswer) {
    for (const char* wrong : {"287083", "", "28708", "2870822", "28708a", "94287082", "287 08", "\xff"}) {
        EXPECT_EQ(answer(wrong, 59), "wrong code") << wrong;
    }
    EXPECT_EQ(answer(std::string(100'000, '2'), 59), "wrong code");
    EXPECT_EQ(answer(std::string_view("287082\0", 7), 59), "wrong code");
}

TEST_F(TotpTest, TakesACodeWithSpacesAsAppsShowIt) {
    EXPECT_EQ(answer(" 287 082 ", 59), "accepted");
}

TEST_F(TotpTest, RefusesACodeThatWasUsedBefore) {
    EXPECT_EQ(answer("081804", 1'111'111'109), "accepted");
    EXPECT_EQ(answer("081804", 1'111'111'109), "code used before");
    EXPECT_EQ(answer("081804", 1'111'111'111), "code used before"); // the next step, still in the window
}

TEST_F(TotpTest, RefusesAnOlderCodeOnceANewerOneWasTaken) {
    EXPECT_EQ(answer("050471", 1'111'111'111), "accepted");
    EXPECT_EQ(answer("081804", 1'111'111'111), "code used before"); // of the step before, never used
}

TEST_F(TotpTest, TakesOneStepOfSkewAndNotTwo) {
    // 081804 belongs to the step 1111111080 … 1111111109.
    EXPECT_EQ(answer("081804", 1'111'111'049), "wrong code");
    EXPECT_EQ(answer("081804", 1'111'111'140), "wrong code");
    EXPECT_EQ(answer("081804", 1'111'111'139), "accepted");
    state_ = State{SecretBytes(as_bytes(kRfcSecret)), 0}.encode();
    EXPECT_EQ(answer("081804", 1'111'111'050), "accepted");
}

TEST_F(TotpTest, KeepsRefusingAUsedCodeAfterTheClockWasSetBack) {
    EXPECT_EQ(answer("050471", 1'111'111'111), "accepted");
    EXPECT_EQ(answer("287082", 59), "code used before");
}

TEST_F(TotpTest, StandsAClockBeforeTheEpoch) {
    EXPECT_EQ(answer("287082", -5), "accepted"); // steps 0 and 1; 287082 is of step 1
}

TEST_F(TotpTest, RefusesAStateThatIsDamaged) {
    Bytes damaged = to_bytes(state_.view());
    damaged[0] = 2;
    EXPECT_EQ(totp_->check(damaged, "287082", from_seconds(59)).error().code, Code::kTampered);
    damaged[0] = 1;
    damaged.pop_back();
    EXPECT_EQ(totp_->check(damaged, "287082", from_seconds(59)).error().code, Code::kTampered);
    EXPECT_EQ(totp_->check({}, "287082", from_seconds(59)).error().code, Code::kTampered);
}

TEST_F(TotpTest, EnrolsWithANewSecretEachTime) {
    const auto first = totp_->enrol("bob", "Latchkey", from_seconds(0));
    const auto second = totp_->enrol("bob", "Latchkey", from_seconds(0));
    ASSERT_TRUE(first);
    ASSERT_TRUE(second);
    EXPECT_TRUE(first->needs_confirmation);
    EXPECT_EQ(State::decode(first->state.view())->secret.size(), 20u);
    EXPECT_FALSE(equal(first->state.view(), second->state.view()));
}

TEST_F(TotpTest, ShowsAnOtpauthUriThatEscapesWhatItHolds) {
    const auto made = totp_->enrol("bob smith", "A&B", from_seconds(0));
    EXPECT_THAT(made->show_text, HasSubstr("otpauth://totp/A%26B:bob%20smith?secret="));
    EXPECT_THAT(made->show_text, HasSubstr("&issuer=A%26B"));
    EXPECT_FALSE(made->show_qr.empty());
}

TEST_F(TotpTest, HasNoSettings) {
    const sdk::FakeHost host{{"digits", "8"}};
    EXPECT_EQ(Totp::open(host.host()).error().code, Code::kConfig);
}

// Reads the drawing back: true where a module is light.
std::vector<bool> modules_of(const std::string& drawn, std::size_t width) {
    std::vector<bool> upper, lower, all;
    for (std::size_t at = 0; at < drawn.size();) {
        if (drawn[at] == '\n' || drawn[at] == ' ') {
            if (drawn[at] == ' ') upper.push_back(false), lower.push_back(false);
            if (drawn[at] == '\n') {
                EXPECT_EQ(upper.size(), width);
                all.insert(all.end(), upper.begin(), upper.end());
                all.insert(all.end(), lower.begin(), lower.end());
                upper.clear(), lower.clear();
            }
            ++at;
            continue;
        }
        const std::string block = drawn.substr(at, 3);
        upper.push_back(block == "█" || block == "▀");
        lower.push_back(block == "█" || block == "▄");
        at += 3;
    }
    return all;
}

TEST(Qr, DrawsEveryModuleInsideAQuietZone) {
    const std::string text = "otpauth://totp/Latchkey:bob?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    const UniqueHandle<QRcode, QRcode_free> code(QRcode_encodeString8bit(text.c_str(), 0, QR_ECLEVEL_L));
    const int side = code->width + 4;
    const std::vector<bool> light = modules_of(draw_qr(text), static_cast<std::size_t>(side));
    for (int y = 0; y < side; ++y) {
        for (int x = 0; x < side; ++x) {
            const int cx = x - 2, cy = y - 2;
            const bool inside = cx >= 0 && cy >= 0 && cx < code->width && cy < code->width;
            const bool expected = !inside || (code->data[cy * code->width + cx] & 1) == 0;
            ASSERT_EQ(light[static_cast<std::size_t>(y * side + x)], expected) << x << "," << y;
        }
    }
}

TEST(Qr, DrawsNothingForATextThatIsTooLong) {
    EXPECT_EQ(draw_qr(std::string(5'000, 'x')), "");
}

} // namespace
} // namespace latchkey::totp
