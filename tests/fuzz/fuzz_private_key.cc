// SPDX-License-Identifier: Apache-2.0
#include "core/keys/private_key.h"
#include "tests/fuzz/fuzz.h"

using latchkey::keys::PrivateKey;

// The input is a PEM file. What was read signs, and is the same key once written and read again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto key = PrivateKey::from_pem({data, size});
    if (!key) return 0;
    const auto pem = key->to_openssh_pem("fuzz");
    const auto again = PrivateKey::from_pem(pem.view());
    LK_MUST(again);
    LK_MUST(again->public_key() == key->public_key());
    const auto message = latchkey::as_bytes("message");
    const auto signature = again->sign(message);
    LK_MUST(signature);
    LK_MUST(key->public_key().verify(*signature, message));
    return 0;
}
