// SPDX-License-Identifier: Apache-2.0
#pragma once
// The CA key behind the plugin seam, as latchkey-signer sees it. Calls may come from several threads at once.

#include <memory>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/keys/public_key.h"

namespace latchkey::plugin_host {

class CaSigner {
public:
    virtual ~CaSigner() = default;
    virtual Result<std::vector<keys::PublicKey>> public_keys() = 0;
    // An SSH signature blob by that key. The signer program has judged the bytes before.
    virtual Result<Bytes> sign(const keys::PublicKey& key, ByteView data) = 0;
};

} // namespace latchkey::plugin_host
