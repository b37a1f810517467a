// SPDX-License-Identifier: Apache-2.0
#pragma once
// The CA key in a file of OpenSSH's own format, read once at open and kept in memory. Setting: key=/path, a
// file that nobody but its owner can read. Any thread.

#include <memory>
#include <vector>

#include "core/keys/private_key.h"
#include "plugins/sdk/plugin.h"

namespace latchkey::file_signer {

class FileSigner : public sdk::SignerPlugin {
public:
    static Result<std::unique_ptr<FileSigner>> open(const sdk::Host& host);

    Result<std::vector<Bytes>> public_keys() override;
    Result<Bytes> sign(ByteView public_key, ByteView data) override;

private:
    explicit FileSigner(keys::PrivateKey key) : key_(std::move(key)) {}

    const keys::PrivateKey key_;
};

} // namespace latchkey::file_signer
