// SPDX-License-Identifier: Apache-2.0
#include "plugins/totp/state.h"

#include <algorithm>

namespace latchkey::totp {
namespace {

// Fixed offsets, so that the secret is copied from wiped memory to wiped memory and never through a writer.
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kSecretAt = 5;
constexpr std::size_t kStepAt = kSecretAt + kSecretSize;
constexpr std::size_t kStateSize = kStepAt + 8;
constexpr std::uint8_t kHead[kSecretAt] = {kVersion, 0, 0, 0, kSecretSize};

} // namespace

Result<State> State::decode(ByteView state) {
    if (state.size() != kStateSize || !std::equal(std::begin(kHead), std::end(kHead), state.begin())) {
        return fail(Code::kTampered, "the stored TOTP state cannot be read",
                    "reset the factor and enrol again");
    }
    State decoded{SecretBytes(state.subspan(kSecretAt, kSecretSize)), 0};
    for (const std::uint8_t byte : state.subspan(kStepAt)) decoded.last_step = decoded.last_step << 8 | byte;
    return decoded;
}

SecretBytes State::encode() const {
    SecretBytes encoded(kStateSize);
    const std::span<std::uint8_t> out = encoded.writable();
    std::copy(std::begin(kHead), std::end(kHead), out.begin());
    std::copy_n(secret.view().begin(), kSecretSize, out.begin() + kSecretAt);
    for (std::size_t i = 0; i < 8; ++i) {
        out[kStepAt + i] = static_cast<std::uint8_t>(last_step >> (8 * (7 - i)));
    }
    return encoded;
}

} // namespace latchkey::totp
