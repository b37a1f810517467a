// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the broker keeps for a person, sealed: byte version (1), string secret (20 bytes), uint64 last
// accepted step (0: none yet), as RFC 4251 writes them.

#include <cstdint>

#include "core/base/secret_bytes.h"

namespace latchkey::totp {

inline constexpr std::size_t kSecretSize = 20; // 160 bits, RFC 4226's advice

struct State {
    SecretBytes secret;
    std::uint64_t last_step = 0;

    // kTampered where it is not what encode() makes.
    static Result<State> decode(ByteView state);
    SecretBytes encode() const;
};

} // namespace latchkey::totp
