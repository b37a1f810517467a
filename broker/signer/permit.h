// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the signer is willing to sign, whoever asks: its own limits, which no broker can widen. It parses the
// to-be-signed bytes itself. Each refusal has its own message; nothing that does not parse is signed. Pure
// but for the clock's reading that it is given; any thread.

#include <vector>

#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/keys/public_key.h"

namespace latchkey::signer {

struct Limits {
    std::uint32_t max_lifetime_seconds = 24 * 3600;
    std::uint32_t skew_seconds = 300; // how far valid_after may lie from now; added to the lifetime
    unsigned min_rsa_bits = 2048;
    std::vector<keys::KeyType> subject_types = {
        keys::KeyType::kEd25519,  keys::KeyType::kSkEd25519, keys::KeyType::kEcdsa256,
        keys::KeyType::kEcdsa384, keys::KeyType::kEcdsa521,  keys::KeyType::kSkEcdsa256,
        keys::KeyType::kRsa,
    };
};

// The CA key that is to sign these bytes, one of `ours`.
Result<keys::PublicKey> permit(ByteView to_be_signed, const std::vector<keys::PublicKey>& ours,
                               const Limits& limits, Micros now);

} // namespace latchkey::signer
