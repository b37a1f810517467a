// SPDX-License-Identifier: Apache-2.0
#pragma once
// Derive from SignerPlugin to hold a CA key. Both calls come from any thread, several at once.

#include <vector>

#include "plugins/sdk/boundary.h"

namespace latchkey::sdk {

class SignerPlugin {
public:
    virtual ~SignerPlugin() = default;
    // SSH public key blobs.
    virtual Result<std::vector<Bytes>> public_keys() = 0;
    // An SSH signature blob; kNotFound for a key that is not held.
    virtual Result<Bytes> sign(ByteView public_key, ByteView data) = 0;
};

namespace seam {

inline std::int32_t signer_public_keys(lk_instance* signer, const lk_sink* result, lk_error* error) noexcept {
    return guarded(error, [&]() -> Status {
        LK_TRY(keys, plugin_of<SignerPlugin>(signer).public_keys());
        for (const Bytes& key : keys) LK_CHECK(Sink(result).put(LK_FIELD_VALUE, key));
        return {};
    });
}

inline std::int32_t signer_sign(lk_instance* signer, lk_bytes public_key, lk_bytes data,
                                const lk_sink* result, lk_error* error) noexcept {
    return guarded(error, [&]() -> Status {
        LK_TRY(signature, plugin_of<SignerPlugin>(signer).sign(view(public_key), view(data)));
        return Sink(result).put(LK_FIELD_VALUE, signature);
    });
}

inline const lk_signer* signer_functions() {
    static const lk_signer table = {
        .size = sizeof(lk_signer), .public_keys = signer_public_keys, .sign = signer_sign};
    return &table;
}

} // namespace seam
} // namespace latchkey::sdk
