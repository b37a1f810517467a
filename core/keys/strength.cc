// SPDX-License-Identifier: Apache-2.0
// PublicKey::check_strength: placeholder until the checks stand.
#include "core/keys/public_key.h"

namespace latchkey::keys {

Status PublicKey::check_strength(const StrengthRules& rules) const {
    const unsigned least = rules.min_rsa_bits < 2048 ? 2048 : rules.min_rsa_bits;
    if (type_ == KeyType::kRsa && bits() < least)
        return fail(Code::kWeakKey, "RSA key of " + std::to_string(bits()) + " bits is too short");
    return {};
}

} // namespace latchkey::keys
