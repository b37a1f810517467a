// SPDX-License-Identifier: Apache-2.0
#include "core/base/secret_bytes.h"

#include <cstring>

namespace latchkey {

void wipe(std::span<std::uint8_t> memory) {
    if (!memory.empty()) ::explicit_bzero(memory.data(), memory.size());
}

// Not CRYPTO_memcmp: core/base is linked into the helper and the PAM module, which carry no OpenSSL.
bool equal_secret(ByteView a, ByteView b) {
    if (a.size() != b.size()) return false;
    volatile std::uint8_t difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference = static_cast<std::uint8_t>(difference | (a[i] ^ b[i]));
    }
    return difference == 0;
}

} // namespace latchkey
