// SPDX-License-Identifier: Apache-2.0
#include "plugins/recovery/state.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

namespace latchkey::recovery {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHeadSize = 1 + kSaltSize;
constexpr std::size_t kDigestSize = std::tuple_size_v<Digest>;

} // namespace

Result<State> State::decode(ByteView state) {
    const bool fits = state.size() >= kHeadSize && state[0] == kVersion &&
                      (state.size() - kHeadSize) % kDigestSize == 0 &&
                      (state.size() - kHeadSize) / kDigestSize <= kCodes;
    if (!fits) {
        return fail(Code::kTampered, "the stored recovery codes cannot be read",
                    "reset the factor and enrol again");
    }
    State decoded;
    std::copy_n(state.begin() + 1, kSaltSize, decoded.salt.begin());
    for (ByteView rest = state.subspan(kHeadSize); !rest.empty(); rest = rest.subspan(kDigestSize)) {
        std::copy_n(rest.begin(), kDigestSize, decoded.left.emplace_back().begin());
    }
    return decoded;
}

SecretBytes State::encode() const {
    SecretBytes encoded(kHeadSize + left.size() * kDigestSize);
    auto out = encoded.writable().begin();
    *out++ = kVersion;
    out = std::copy(salt.begin(), salt.end(), out);
    for (const Digest& digest : left) out = std::copy(digest.begin(), digest.end(), out);
    return encoded;
}

Result<Digest> State::digest(std::string_view plain_code) const {
    Digest made{};
    const ByteView code = as_bytes(plain_code);
    if (HMAC(EVP_sha256(), salt.data(), static_cast<int>(salt.size()), code.data(), code.size(), made.data(),
             nullptr) == nullptr) {
        return fail(Code::kInternal, "no HMAC from OpenSSL");
    }
    return made;
}

} // namespace latchkey::recovery
