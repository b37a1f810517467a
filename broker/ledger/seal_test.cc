// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/seal.h"

#include "broker/ledger/ledger_for_tests.h"

namespace latchkey::ledger {
namespace {

const Bytes kContent = {1, 2, 3};
const Bytes kSecret = {9, 8, 7, 6};
constexpr RowName kRow{"factors", 42, 3};

TEST(Seal, OpensWhatItSealed) {
    const Sealer sealer = take(Sealer::make(data_key()));
    const Bytes sealed = take(sealer.seal(kRow, kContent, kSecret));
    EXPECT_EQ(to_bytes(take(sealer.open(kRow, kContent, sealed)).view()), kSecret);
    const Bytes again = take(sealer.seal(kRow, kContent, kSecret));
    EXPECT_NE(sealed, again) << "the nonce is new each time";
    const Bytes empty = take(sealer.seal(kRow, kContent, {}));
    EXPECT_TRUE(take(sealer.open(kRow, kContent, empty)).empty());
}

TEST(Seal, RefusesASecretMovedOrChanged) {
    const Sealer sealer = take(Sealer::make(data_key()));
    const Bytes sealed = take(sealer.seal(kRow, kContent, kSecret));
    EXPECT_EQ(code_of(sealer.open({"invites", 42, 3}, kContent, sealed)), Code::kTampered);
    EXPECT_EQ(code_of(sealer.open({"factors", 43, 3}, kContent, sealed)), Code::kTampered);
    EXPECT_EQ(code_of(sealer.open({"factors", 42, 4}, kContent, sealed)), Code::kTampered);
    EXPECT_EQ(code_of(sealer.open(kRow, kSecret, sealed)), Code::kTampered);
    const Sealer other = take(Sealer::make(data_key(8)));
    EXPECT_EQ(code_of(other.open(kRow, kContent, sealed)), Code::kTampered);
    for (std::size_t i = 0; i < sealed.size(); ++i) {
        Bytes changed = sealed;
        changed[i] ^= 1;
        EXPECT_EQ(code_of(sealer.open(kRow, kContent, changed)), Code::kTampered) << "byte " << i;
        EXPECT_FALSE(sealer.open(kRow, kContent, ByteView(sealed).first(i))) << "cut at " << i;
    }
}

TEST(Seal, MacFitsItsRowAlone) {
    const Sealer sealer = take(Sealer::make(data_key()));
    const auto mac = sealer.mac(kRow, kContent);
    EXPECT_TRUE(sealer.fits(kRow, kContent, mac));
    EXPECT_FALSE(sealer.fits({"keys", 42, 3}, kContent, mac));
    EXPECT_FALSE(sealer.fits({"factors", 43, 3}, kContent, mac));
    EXPECT_FALSE(sealer.fits({"factors", 42, 2}, kContent, mac));
    EXPECT_FALSE(sealer.fits(kRow, kSecret, mac));
    EXPECT_FALSE(sealer.fits(kRow, kContent, ByteView(mac).first(31)));
    EXPECT_FALSE(sealer.fits(kRow, kContent, {}));
    EXPECT_FALSE(sealer.fits(kRow, kContent, Sealer::Mac{}));
    const Sealer other = take(Sealer::make(data_key(8)));
    EXPECT_FALSE(other.fits(kRow, kContent, mac));
}

TEST(Seal, RefusesADataKeyOfAnotherLength) {
    EXPECT_EQ(code_of(Sealer::make(SecretBytes(31))), Code::kConfig);
    EXPECT_EQ(code_of(Sealer::make(SecretBytes())), Code::kConfig);
}

} // namespace
} // namespace latchkey::ledger
