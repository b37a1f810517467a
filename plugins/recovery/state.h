// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the broker keeps for a person, sealed: byte version (1), byte[16] salt, then byte[32] HMAC-SHA-256 of
// each code that is left, keyed by the salt. At most kCodes of them.

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/base/secret_bytes.h"

namespace latchkey::recovery {

inline constexpr std::size_t kCodes = 10;
inline constexpr std::size_t kSaltSize = 16;

using Digest = std::array<std::uint8_t, 32>;

struct State {
    std::array<std::uint8_t, kSaltSize> salt{};
    std::vector<Digest> left;

    // kTampered where it is not what encode() makes.
    static Result<State> decode(ByteView state);
    SecretBytes encode() const;
    // Of a code in its plain form: ten symbols, no dash.
    Result<Digest> digest(std::string_view plain_code) const;
};

} // namespace latchkey::recovery
